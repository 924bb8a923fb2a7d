//! `cargo xtask deploy-test`: deploys the template into MiniStack, an emulator of AWS, and uses it
//! there. MiniStack runs the functions as they are built, and lets them do only what their roles
//! permit.

mod aws_calls;
mod aws_tools;
mod client_tokens;
mod exchanges;
mod exercise;
mod least_permission;
mod revocation;
mod scheduled_runs;
mod stack;

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::Args;
use service::workspace::say;

use self::{client_tokens::ClientTokens, exercise::Api, stack::Stack};
use crate::readme_session;

/// How long answers for the dimension `country` are cached.
const CACHED: Duration = Duration::from_secs(2);
/// A day, so that no period ends while the test runs, unless it runs at midnight.
const PERIOD: Duration = Duration::from_secs(24 * 60 * 60);

/// How to deploy, and what to try.
#[derive(Debug, Args)]
pub struct DeployTestOptions {
    /// Deploy the last build
    #[arg(long)]
    no_build: bool,
    /// Also take each permission from each function in turn, and see the function fail
    #[arg(long)]
    least: bool,
}

/// Builds, deploys, and uses what was deployed.
///
/// # Errors
/// A step fails; the message names it.
pub fn run(options: &DeployTestOptions) -> anyhow::Result<()> {
    let began = Instant::now();
    fs::create_dir_all(stack::folder())?;
    if !options.no_build {
        step("build", stack::build)?;
    }
    let access = ClientTokens::new()?;
    let mut stack = step("deploy", || Stack::deploy(&parameters(&access)))?;
    let api = Api::new(&stack, &access);
    step("the sessions of the docs", || readme(&stack, &access))?;
    step("answers that are no stats", || exchanges::of_others(&api))?;
    step("the page", || exchanges::of_the_page(&api))?;
    step("access", || exchanges::of_tokens(&api, &access))?;
    step("updates of every kind", || exercise::update(&api, "everything"))?;
    step("queries of them", || exercise::query(&api, "everything"))?;
    step("the schedule", || scheduled_runs::on_schedule(&mut stack, &api))?;
    step("a run that fails", || scheduled_runs::that_fails(&mut stack))?;
    step("a leaked token", || revocation::during_a_flood(&mut stack, &api, &access))?;
    step("permissions are enforced", || least_permission::is_enforced(&mut stack, &api))?;
    if options.least {
        step("least permissions", || least_permission::run(&mut stack, &api))?;
    }
    say(&format!("deployed and used, in {:.0?}", began.elapsed()));
    Ok(())
}

fn step<T>(name: &str, run: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let started = Instant::now();
    let result = run().with_context(|| format!("deploy-test: {name}"))?;
    say(&format!("deploy-test: {name}: passed in {:.1?}", started.elapsed()));
    Ok(result)
}

fn parameters(access: &ClientTokens) -> Vec<String> {
    vec![
        format!("Auth={}", access.parameter),
        format!("PeriodSeconds={}", PERIOD.as_secs()),
        format!("QueryCache=country={}", CACHED.as_secs()),
    ]
}

fn readme(stack: &Stack, access: &ClientTokens) -> anyhow::Result<()> {
    let reader = r#"curl -H "Authorization: Bearer $reader""#;
    let writer = r#"curl -H "Authorization: Bearer $writer""#;
    let variables = [
        ("reader", access.read.as_str()),
        ("writer", &access.write),
        // The address contains this, and the shell takes it for a variable.
        ("default", "$default"),
    ];
    let played = readme_session::play_on(&stack.url, (reader, writer), &variables, CACHED)?;
    say(&format!("{played} commands of the README answer as printed"));
    Ok(())
}
