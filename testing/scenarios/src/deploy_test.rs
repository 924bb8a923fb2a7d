//! `cargo xtask deploy-test`: the template, deployed into MiniStack, an emulator of AWS, and used there. It runs the
//! functions as they are built, and lets them do what their roles permit.

mod access;
mod answers;
mod archive;
mod aws;
mod exercise;
mod least;
mod stack;

use std::{
    fs,
    time::{Duration, Instant},
};

use anyhow::Context;
use clap::Args;

use self::{access::Access, exercise::Api, stack::Stack};
use crate::{session, workspace::say};

/// How long answers for the dimension `country` are cached.
const CACHED: Duration = Duration::from_secs(2);
/// So long that no period ends while the test runs, unless at midnight.
const PERIOD: Duration = Duration::from_secs(24 * 60 * 60);

#[derive(Debug, Args)]
pub struct Options {
    /// Deploy what was built the last time
    #[arg(long)]
    no_build: bool,
    /// Then take each permission from each function in turn, and see it fail
    #[arg(long)]
    least: bool,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    let began = Instant::now();
    fs::create_dir_all(stack::folder())?;
    if !options.no_build {
        step("build", stack::build)?;
    }
    let access = Access::new()?;
    let mut stack = step("deploy", || Stack::deploy(&parameters(&access)))?;
    let api = Api::new(&stack, &access);
    step("the README's session", || readme(&stack, &access))?;
    step("answers that are no stats", || answers::of_others(&api))?;
    step("access", || answers::of_tokens(&api, &access))?;
    step("updates of every kind", || exercise::update(&api, "everything"))?;
    step("queries of them", || exercise::query(&api, "everything"))?;
    step("the schedule", || archive::on_schedule(&mut stack, &api))?;
    step("a run that fails", || archive::that_fails(&mut stack))?;
    step("permissions are enforced", || least::is_enforced(&mut stack, &api))?;
    if options.least {
        step("least permissions", || least::run(&mut stack, &api))?;
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

fn parameters(access: &Access) -> Vec<String> {
    vec![
        format!("Auth={}", access.parameter),
        format!("PeriodSeconds={}", PERIOD.as_secs()),
        format!("QueryCache=country={}", CACHED.as_secs()),
    ]
}

fn readme(stack: &Stack, access: &Access) -> anyhow::Result<()> {
    let reader = r#"curl -H "Authorization: Bearer $reader""#;
    let writer = r#"curl -H "Authorization: Bearer $writer""#;
    let variables = [
        ("reader", access.read.as_str()),
        ("writer", &access.write),
        // The address has this in it, where the shell takes it for a variable.
        ("default", "$default"),
    ];
    let played = session::play_on(&stack.url, (reader, writer), &variables, CACHED)?;
    say(&format!("{played} commands of the README answer as printed"));
    Ok(())
}
