//! `statshub audit`: whether the rollups of a table are the sums of what its ids reported.

use anyhow::Context;
use clap::Args;

use crate::{
    exit::Exit,
    output::{OutputOptions, print, print_json},
    table_access::{HOW_TO_REACH_IT, TableOptions, run_async},
};

const PERMISSIONS: &str = "The audit needs the permission dynamodb:Scan.";

/// What to audit.
#[derive(Debug, Args)]
#[command(after_help = "\
Audit a table that nobody writes to, such as one restored from a backup: an update that arrives meanwhile looks \
like drift. The audit reads the whole table consistently, which costs a read unit per 4 KB.

Examples:
  AWS_REGION=eu-west-1 statshub audit --table statshub-restored
  AWS_ENDPOINT_URL_DYNAMODB=http://localhost:8000 statshub audit")]
pub struct AuditOptions {
    #[command(flatten)]
    table: TableOptions,
    #[command(flatten)]
    output: OutputOptions,
}

/// Audits the table, and prints each discrepancy as a line.
///
/// # Errors
/// The table can't be read.
pub fn run(options: &AuditOptions) -> anyhow::Result<Exit> {
    let discrepancies = run_async(async {
        let table = options.table.open().await?;
        let audited = shared::store::audit(&table.client(), table.name()).await;
        audited.with_context(|| {
            let name = table.name();
            format!("the table {name} can't be audited. {HOW_TO_REACH_IT} {PERMISSIONS}\nThe cause")
        })
    })?;
    for discrepancy in &discrepancies {
        match options.output.json {
            true => print_json(&serde_json::json!({"discrepancy": discrepancy.to_string()}))?,
            false => print(&discrepancy.to_string())?,
        }
    }
    if discrepancies.is_empty() {
        return Ok(Exit::Done);
    }
    eprintln!("statshub: {} discrepancies", discrepancies.len());
    Ok(Exit::Different)
}
