//! `statshub`: what an operator does from a shell.

use std::process::ExitCode;

use clap::Parser;
use statshub::{audit_table, delete_data, make_token, revoke_token, run_archive, run_sql};

const EXAMPLES: &str = "\
Examples:
  statshub token --name fleet-2026 --scope write
  AWS_REGION=eu-west-1 statshub revoke --stack statshub --name fleet-2026
  statshub archive --url http://localhost:9000
  statshub sql 'SELECT * FROM statshub.country ORDER BY _ts, _dim'
  AWS_REGION=eu-west-1 AWS_PROFILE=production statshub audit --table statshub
  AWS_REGION=eu-west-1 AWS_PROFILE=production statshub delete --id myid1

Exit codes:
  0  done, or there was nothing to do
  1  failed; the message says why
  2  the command line is wrong
  3  the audit found numbers that are not what they should be";

#[derive(Parser)]
#[command(
    name = "statshub",
    version,
    about = "What an operator of statshub does from a shell",
    after_help = EXAMPLES
)]
enum Command {
    /// Make a token for a client, and the entry of the configuration that lets it in
    Token(make_token::TokenOptions),
    /// Shut out whoever holds a token: remove its entry from a deployed stack, now
    Revoke(revoke_token::RevokeOptions),
    /// Run the function `archive` of a running service once, as the schedule does
    Archive(run_archive::ArchiveOptions),
    /// Run a query on the BigQuery emulator, and print each row as a line of JSON
    Sql(run_sql::SqlOptions),
    /// Delete an id, a member, a key, a dimension or stats; without --yes, say what there is
    Delete(delete_data::DeleteOptions),
    /// Check that the rollups of a table are the sums of what its ids reported
    Audit(audit_table::AuditOptions),
}

fn main() -> ExitCode {
    let result = match Command::parse() {
        Command::Token(options) => make_token::run(&options).map(|()| ExitCode::SUCCESS),
        Command::Revoke(options) => revoke_token::run(&options).map(|()| ExitCode::SUCCESS),
        Command::Archive(options) => run_archive::run(&options).map(|()| ExitCode::SUCCESS),
        Command::Sql(options) => run_sql::run(&options).map(|()| ExitCode::SUCCESS),
        Command::Delete(options) => delete_data::run(&options).map(|()| ExitCode::SUCCESS),
        Command::Audit(options) => audit_table::run(&options).map(ExitCode::from),
    };
    result.unwrap_or_else(|error| {
        eprintln!("statshub: {error:#}");
        ExitCode::FAILURE
    })
}
