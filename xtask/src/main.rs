//! Developer commands. `cargo xtask dev` runs the service, `cargo xtask test` runs all tests.

mod archive;
mod bigquery;
mod cargo_lambda;
mod children;
mod crash;
mod deploy_test;
mod dev;
mod expected;
mod fuzz;
mod http;
mod large;
mod large_answers;
mod load;
mod replay;
mod service;
mod session;
mod sql;
mod test;
mod timestamp;
mod token;
mod tools;
mod torture;
mod workspace;

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Developer commands of statshub")]
enum Command {
    /// Run the whole service on this machine
    Dev(dev::Options),
    /// Run the function `archive` of a running service once, as the schedule does
    Archive(archive::Options),
    /// Run a query on the BigQuery emulator, and print each row as a line of JSON
    Sql(sql::Options),
    /// Make a token for a client, and the entry of the configuration that lets it in
    Token(token::Options),
    /// Run all checks and tests
    Test(test::Options),
    /// Try generated inputs on what must hold for every input
    Fuzz(fuzz::Options),
    /// Send generated updates to a running service and compare every rollup with a calculation of its own
    Replay(replay::Options),
    /// Play random updates under faults of every class for some minutes, and compare with a model
    Torture(torture::Options),
    /// Measure many writers on one key, whose transactions conflict, with cells and without
    Contention(torture::ContentionOptions),
    /// Measure how much memory and time it takes to archive a large dimension
    Large(large::Options),
    /// Ask a running service for answers of several megabytes, on a busy machine
    LargeAnswers(large_answers::Options),
    /// Kill the service's processes under load and compare every rollup with what was acknowledged
    Crash(crash::Options),
    /// Build what the template deploys, deploy it into an emulator of AWS, and use it there
    DeployTest(deploy_test::Options),
}

fn main() -> ExitCode {
    let result = match Command::parse() {
        Command::Dev(options) => dev::run(&options),
        Command::Archive(options) => archive::run(&options),
        Command::Sql(options) => sql::run(&options),
        Command::Token(options) => token::run(&options),
        Command::Test(options) => test::run(&options),
        Command::Fuzz(options) => fuzz::run(&options),
        Command::Replay(options) => replay::run(&options),
        Command::Torture(options) => torture::run_model(&options),
        Command::Contention(options) => torture::run_contention(&options),
        Command::Large(options) => large::run(&options),
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
