//! `cargo xtask test`: all checks and tests, in steps.

use std::{fs, time::Instant};

use anyhow::Context;
use clap::{Args, ValueEnum};
use scenarios::{crash, page_in_a_browser, readme_session};
use service::{
    bigquery_emulator::Emulator,
    ports::free_port,
    processes::Running,
    tools, wait_for_port,
    workspace::{self, cargo, say, target},
};

use crate::cargo_lambda;

#[derive(Debug, Args)]
pub struct TestOptions {
    /// Run only these steps [default: all]
    steps: Vec<TestStep>,
}

/// The steps, in the order in which they run: what fails fast comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum TestStep {
    /// Formatting
    Format,
    /// Lints, warnings included
    Lint,
    /// Unit, property, store and documentation tests, on the embedded DynamoDB
    Cargo,
    /// Documentation builds without a warning
    Doc,
    /// The store tests again, on Amazon's DynamoDB Local
    DynamodbLocal,
    /// The sessions of README.md and docs/api.md, played over HTTP against the built functions
    EndToEnd,
    /// The page, in a browser
    Page,
    /// The archive's tests, on an emulator of BigQuery
    Bigquery,
    /// The migration from the first statshub, and what is counted beside it, on a Redis
    Redis,
    /// The built functions and the database, killed under load
    Crash,
    /// The functions under `cargo lambda watch` and `cargo lambda invoke`, built anew by
    /// cargo-lambda
    CargoLambda,
}

fn run_steps(steps: &[TestStep]) -> anyhow::Result<()> {
    let all = Instant::now();
    for step in steps {
        let started = Instant::now();
        say(&format!("test step {step:?}"));
        step.run().with_context(|| format!("test step {step:?} failed"))?;
        say(&format!("test step {step:?} passed in {:.0?}", started.elapsed()));
    }
    say(&format!("all {} steps passed in {:.0?}", steps.len(), all.elapsed()));
    Ok(())
}

pub fn run(options: &TestOptions) -> anyhow::Result<()> {
    if options.steps.is_empty() {
        run_steps(TestStep::value_variants())
    } else {
        run_steps(&options.steps)
    }
}

impl TestStep {
    fn run(self) -> anyhow::Result<()> {
        match self {
            Self::Format => workspace::run(cargo().args(["fmt", "--all", "--check"])),
            Self::Lint => workspace::run(cargo().args([
                "clippy",
                "--workspace",
                "--all-targets",
                "--",
                "-D",
                "warnings",
            ])),
            Self::Cargo => workspace::run(cargo().args(["test", "--workspace"])),
            Self::Doc => workspace::run(
                cargo()
                    .args(["doc", "--workspace", "--no-deps", "--document-private-items"])
                    .env("RUSTDOCFLAGS", "-D warnings"),
            ),
            Self::DynamodbLocal => store_tests_on_dynamodb_local(),
            Self::EndToEnd => readme_session::run(),
            Self::Page => page_in_a_browser::test(),
            Self::CargoLambda => cargo_lambda::test(),
            Self::Bigquery => tests_on_the_bigquery_emulator(),
            Self::Redis => tests_on_redis(),
            Self::Crash => crash::run(&crash::CrashOptions::default()),
        }
    }
}

fn store_tests_on_dynamodb_local() -> anyhow::Result<()> {
    let port = free_port()?;
    let mut dynamodb = Running::start("dynamodb", &mut tools::dynamodb_local_command(port, None)?)?;
    wait_for_port("DynamoDB", &mut dynamodb, port)?;
    workspace::run(
        cargo()
            .args(["test", "--workspace", "--test", "store", "--test", "pages"])
            .env("STATSHUB_TEST_DYNAMODB", format!("http://127.0.0.1:{port}")),
    )
}

fn tests_on_redis() -> anyhow::Result<()> {
    let port = free_port()?;
    let mut redis = Running::start("redis", &mut tools::redis_command(port)?)?;
    wait_for_port("Redis", &mut redis, port)?;
    workspace::run(
        cargo()
            .args(["test", "--workspace", "--test", "redis", "--", "--ignored"])
            .env("STATSHUB_TEST_REDIS", format!("127.0.0.1:{port}")),
    )
}

fn tests_on_the_bigquery_emulator() -> anyhow::Result<()> {
    let data = target("test-bigquery");
    if data.exists() {
        fs::remove_dir_all(&data)?;
    }
    let emulator = Emulator { port: free_port()?, data };
    let _running = emulator.start()?;
    // From the whole workspace, which is built already: single packages would be built with other
    // features.
    workspace::run(
        cargo()
            .args(["test", "--workspace", "--test", "emulator", "--", "--ignored"])
            .env("STATSHUB_TEST_BIGQUERY", emulator.host()),
    )
}
