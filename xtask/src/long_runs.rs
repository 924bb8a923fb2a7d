//! `cargo xtask torture` and `cargo xtask contention`: runs too long, or too much about time, for tests.

use clap::Args;

use crate::workspace::{cargo, run};

#[derive(Debug, Args)]
pub struct Options {
    /// How long to play random updates under faults
    #[arg(long, default_value_t = 5)]
    minutes: u64,
    /// The first seed; a random one when there is none
    #[arg(long)]
    seed: Option<u64>,
}

#[derive(Debug, Args)]
pub struct ContentionOptions {
    /// Options such as `--writers 64 --processes 64 --hold 10`; see `--help` after `--`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<String>,
}

pub fn run_model(options: &Options) -> anyhow::Result<()> {
    let mut arguments =
        vec!["model".to_owned(), "--minutes".to_owned(), options.minutes.to_string()];
    if let Some(seed) = options.seed {
        arguments.extend(["--seed".to_owned(), seed.to_string()]);
    }
    torture(&arguments)
}

pub fn run_contention(options: &ContentionOptions) -> anyhow::Result<()> {
    torture(&[&["contention".to_owned()][..], &options.options].concat())
}

fn torture(arguments: &[String]) -> anyhow::Result<()> {
    let build = ["run", "--package", "torture", "--profile", "bench", "--"];
    run(cargo().args(build).args(arguments))
}
