//! `statshub audit`: whether the rollups of a table are the sums of what its ids reported.

use std::process::ExitCode;

use anyhow::Context;
use aws_sdk_dynamodb::Client;
use clap::Args;

/// The exit code of an audit that found discrepancies: not that of one that failed.
pub const DRIFT: u8 = 3;

const HOW_TO_REACH_IT: &str = "\
AWS's own variables say where it is and who asks: AWS_REGION; AWS_PROFILE, or AWS_ACCESS_KEY_ID and \
AWS_SECRET_ACCESS_KEY; AWS_ENDPOINT_URL_DYNAMODB for a DynamoDB elsewhere. The audit needs the permission \
dynamodb:Scan.";

/// What to audit.
#[derive(Debug, Args)]
#[command(after_help = "\
Audit a table that nobody writes to, such as one restored from a backup: an update that arrives meanwhile looks \
like drift. The audit reads the whole table consistently, which costs a read unit per 4 KB.

Examples:
  AWS_REGION=eu-west-1 statshub audit --table statshub-restored
  AWS_ENDPOINT_URL_DYNAMODB=http://localhost:8000 statshub audit")]
pub struct AuditOptions {
    /// The table's name
    #[arg(long, env = "TABLE_NAME", default_value = shared::config::DEFAULT_TABLE_NAME)]
    table: String,
}

/// What an audit found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audited {
    /// Every number is what it should be.
    Exact,
    /// Some are not; they were printed.
    Drift,
}

impl From<Audited> for ExitCode {
    fn from(audited: Audited) -> Self {
        match audited {
            Audited::Exact => Self::SUCCESS,
            Audited::Drift => Self::from(DRIFT),
        }
    }
}

/// Audits the table, and prints each discrepancy as a line.
///
/// # Errors
/// The table can't be read.
pub fn run(options: &AuditOptions) -> anyhow::Result<Audited> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let discrepancies = runtime.block_on(async {
        let client = Client::new(&aws_config::load_from_env().await);
        shared::store::audit(&client, &options.table).await
    });
    let discrepancies = discrepancies.with_context(|| {
        format!("the table {} can't be audited. {HOW_TO_REACH_IT}\nThe cause", options.table)
    })?;
    for discrepancy in &discrepancies {
        println!("{discrepancy}");
    }
    if discrepancies.is_empty() {
        return Ok(Audited::Exact);
    }
    eprintln!("statshub: {} discrepancies", discrepancies.len());
    Ok(Audited::Drift)
}
