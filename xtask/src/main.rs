//! Developer commands. `cargo xtask dev` runs the service, `cargo xtask test` runs all tests. Most
//! others have their homes elsewhere: `cli`, `testing/scenarios`, `testing/bench` and `testing/scale`.

mod archive_schedule;
mod cargo_lambda;
mod dev;
mod fuzz;
mod long_runs;
mod steps;

use std::process::ExitCode;

use bench::{large_answers, large_archive};
use clap::Parser;
use scenarios::{
    crash, deploy_test,
    page_in_a_browser::{self, PageFiles},
    replay,
};
use service::workspace;
use statshub::{make_token, revoke_token, run_archive, run_sql};

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Developer commands of statshub")]
enum Command {
    /// Run the whole service on this machine
    Dev(dev::DevOptions),
    /// Run the function `archive` of a running service once, as the schedule does
    Archive(run_archive::ArchiveOptions),
    /// Run a query on the BigQuery emulator, and print each row as a line of JSON
    Sql(run_sql::SqlOptions),
    /// Build the page from its sources in `page/src`
    Page,
    /// Make a token for a client, and the entry of the configuration that lets it in
    Token(make_token::TokenOptions),
    /// Shut out whoever holds a token: remove its entry from a deployed stack, now
    Revoke(revoke_token::RevokeOptions),
    /// Run all checks and tests
    Test(steps::TestOptions),
    /// Try generated inputs on what must hold for every input
    Fuzz(fuzz::FuzzOptions),
    /// Send generated updates to a running service and compare every rollup with an independent
    /// calculation
    Replay(replay::ReplayOptions),
    /// Play random updates under faults of every class for some minutes, and compare with a model
    Torture(long_runs::TortureOptions),
    /// Count and time what docs/benchmarks.md has, and write it, or compare with it
    Bench(long_runs::BenchArguments),
    /// Measure many writers on one key, whose transactions conflict, with cells and without
    Contention(long_runs::BenchArguments),
    /// Simulate fleets of up to 100 million clients, and write docs/scale.md
    Scale(long_runs::BenchArguments),
    /// Measure what an update costs in a dimension of a million keys, and in one of a single key
    ManyKeys(long_runs::BenchArguments),
    /// Measure how much memory questions about a dimension of a million keys take
    LargeQuery(long_runs::BenchArguments),
    /// Measure audits, a repair and an export of a dimension of a million keys
    LargeAudit(long_runs::BenchArguments),
    /// Delete stats of many rollups beside updates, and measure what it takes
    LargeDeletion(long_runs::BenchArguments),
    /// Measure how much memory and time it takes to archive a large dimension
    Large(large_archive::LargeArchiveOptions),
    /// Ask a running service for answers of several megabytes, on a busy machine
    LargeAnswers(large_answers::LargeAnswersOptions),
    /// Kill the service's processes under load and compare every rollup with what was acknowledged
    Crash(crash::CrashOptions),
    /// Build what the template deploys, deploy it into an emulator of AWS, and use it there
    DeployTest(deploy_test::DeployTestOptions),
}

fn main() -> ExitCode {
    let result = match Command::parse() {
        Command::Dev(options) => dev::run(&options),
        Command::Archive(options) => run_archive::run(&options),
        Command::Sql(options) => run_sql::run(&options),
        Command::Page => page_in_a_browser::build(PageFiles::Written),
        Command::Token(options) => make_token::run(&options),
        Command::Revoke(options) => revoke_token::run(&options),
        Command::Test(options) => steps::run(&options),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Replay(options) => replay::run(&options),
        Command::Torture(options) => long_runs::run_torture(&options),
        Command::Bench(options) => long_runs::run_bench("all", &options),
        Command::Contention(options) => long_runs::run_bench("contention", &options),
        Command::Scale(options) => long_runs::run_scale(&options),
        Command::ManyKeys(options) => long_runs::run_bench("many-keys", &options),
        Command::LargeQuery(options) => long_runs::run_bench("large-query", &options),
        Command::LargeAudit(options) => long_runs::run_bench("large-audit", &options),
        Command::LargeDeletion(options) => long_runs::run_bench("large-deletion", &options),
        Command::Large(options) => large_archive::run(&options),
        Command::LargeAnswers(options) => large_answers::run(&options),
        Command::Crash(options) => crash::run(&options),
        Command::DeployTest(options) => deploy_test::run(&options),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            workspace::say(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}
