//! `statshub`: what an operator does from a shell.

use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use statshub::{
    audit_table, delete_data,
    exit::{self, Exit},
    export_table, get_stats, import_table, make_token, migrate_redis, output, revoke_token,
    run_archive, run_sql, send_update, shell_help, tail_stats,
};

const EXAMPLES: &str = "\
Examples:
  statshub send --id myid1 --dim country=es --counter hits=50
  statshub top country hits
  statshub tail country --stack statshub
  statshub token --name fleet-2026 --scope write
  AWS_REGION=eu-west-1 statshub revoke --stack statshub --name fleet-2026
  AWS_REGION=eu-west-1 statshub delete --stack statshub --id myid1
  AWS_REGION=eu-west-1 statshub audit --stack statshub
  AWS_REGION=eu-west-1 statshub export --stack statshub --file statshub.ndjson.gz
  statshub archive --url http://localhost:9000

Commands that work on the table take --table or --stack, and AWS's own variables: AWS_REGION, \
AWS_PROFILE and others. Commands that talk to the service take --url or --stack, and the token \
from STATSHUB_TOKEN. NO_COLOR=1 turns colours off.";

#[derive(Parser)]
#[command(
    name = "statshub",
    version,
    max_term_width = 100,
    about = "What an operator of statshub does from a shell",
    after_help = format!("{EXAMPLES}\n\n{}", exit::HELP)
)]
enum Command {
    /// Send an update, or many
    Send(send_update::SendOptions),
    /// Show the stats of a dimension, or what an id last reported
    Get(get_stats::GetOptions),
    /// Show the largest keys of a dimension by a stat
    Top(get_stats::TopOptions),
    /// Show values every few seconds, and how fast they change
    Tail(tail_stats::TailOptions),
    /// Delete an id, a member, keys or stats; without --yes, say what there is
    Delete(delete_data::DeleteOptions),
    /// Check that the rollups of a table are the sums of what its ids reported; repair them
    Audit(audit_table::AuditOptions),
    /// Write all that a table means, as lines of JSON
    Export(export_table::ExportOptions),
    /// Add what an export has to a table
    Import(import_table::ImportOptions),
    /// Take over what a first statshub has counted, which is in Redis
    MigrateFromRedis(migrate_redis::MigrateOptions),
    /// Make a token for a client, and the entry of the configuration that lets it in
    Token(make_token::TokenOptions),
    /// Shut out whoever holds a token: remove its entry from a deployed stack, now
    Revoke(revoke_token::RevokeOptions),
    /// Run the function `archive` once, as the schedule does
    Archive(run_archive::ArchiveOptions),
    /// Run a query on the BigQuery emulator, and print each row as a line of JSON
    Sql(run_sql::SqlOptions),
    /// Print what a shell needs to complete commands and options
    Completions(shell_help::CompletionsOptions),
    /// Print the manual page, or write those of all commands to a folder
    Man(shell_help::ManOptions),
}

impl Command {
    fn run(&self) -> anyhow::Result<Exit> {
        let done = match self {
            Self::Send(options) => send_update::run(options),
            Self::Get(options) => get_stats::get(options),
            Self::Top(options) => get_stats::top(options),
            Self::Tail(options) => tail_stats::run(options),
            Self::Delete(options) => return delete_data::run(options),
            Self::MigrateFromRedis(options) => return migrate_redis::run(options),
            Self::Audit(options) => return audit_table::run(options),
            Self::Export(options) => return export_table::run(options),
            Self::Import(options) => return import_table::run(options),
            Self::Token(options) => make_token::run(options),
            Self::Revoke(options) => revoke_token::run(options),
            Self::Archive(options) => run_archive::run(options),
            Self::Sql(options) => run_sql::run(options),
            Self::Completions(options) => shell_help::print_completions(options, Self::command()),
            Self::Man(options) => shell_help::write_man_pages(options, Self::command()),
        };
        done.map(|()| Exit::Done)
    }
}

fn main() -> ExitCode {
    match Command::parse().run() {
        Ok(exit) => exit.into(),
        Err(error) if output::is_closed_pipe(&error) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("statshub: {error:#}");
            ExitCode::FAILURE
        }
    }
}
