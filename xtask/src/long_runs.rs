//! `cargo xtask torture`, `scale`, `bench`, `contention`, `many-keys`, `large-query` and
//! `large-deletion`: they run too long for tests, or are about time. They are built with the profile
//! `bench`.

use clap::Args;
use service::workspace::{cargo, run};

#[derive(Debug, Args)]
pub struct TortureOptions {
    /// How long to play random updates under faults
    #[arg(long, default_value_t = 5)]
    minutes: u64,
    /// The first seed [default: random]
    #[arg(long)]
    seed: Option<u64>,
}

#[derive(Debug, Args)]
pub struct BenchArguments {
    /// Options such as `--keys 200`; see `--help` after `--`
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    options: Vec<String>,
}

pub fn run_torture(options: &TortureOptions) -> anyhow::Result<()> {
    let mut arguments = vec!["--minutes".to_owned(), options.minutes.to_string()];
    if let Some(seed) = options.seed {
        arguments.extend(["--seed".to_owned(), seed.to_string()]);
    }
    run_bench_build("scenarios", "torture", &arguments)
}

pub fn run_bench(command: &str, options: &BenchArguments) -> anyhow::Result<()> {
    let arguments = [&[command.to_owned()], &options.options[..]].concat();
    run_bench_build("bench", "bench", &arguments)
}

pub fn run_scale(options: &BenchArguments) -> anyhow::Result<()> {
    run_bench_build("scale", "scale", &options.options)
}

fn run_bench_build(package: &str, binary: &str, arguments: &[String]) -> anyhow::Result<()> {
    let build = ["run", "--package", package, "--bin", binary, "--profile", "bench", "--"];
    run(cargo().args(build).args(arguments))
}
