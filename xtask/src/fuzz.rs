//! `cargo xtask fuzz`: generated inputs, tried on what must hold for every input.

use std::{fs, path::PathBuf, process::Command};

use anyhow::Context;
use clap::{Args, ValueEnum};

use service::{
    tools::{install, require},
    workspace::{self, cargo, root, say, target},
};

const CARGO_FUZZ_VERSION: &str = "0.13.2";

#[derive(Debug, Args)]
pub struct FuzzOptions {
    /// What to fuzz [default: all targets]
    #[arg(long)]
    target: Option<FuzzTarget>,
    /// How many inputs to try on each target
    #[arg(long, conflicts_with = "seconds")]
    runs: Option<u64>,
    /// How long to try inputs on each target
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// The seed, to repeat a run on the same corpus [default: random]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    seed: Option<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum FuzzTarget {
    /// Updates, from bytes to transactions
    Update,
    /// The keys of items
    Keys,
}

pub fn run(options: &FuzzOptions) -> anyhow::Result<()> {
    let seed = options.seed.unwrap_or_else(|| fastrand::u32(1..));
    let limit = match options.runs {
        Some(runs) => format!("-runs={runs}"),
        None => format!("-max_total_time={}", options.seconds),
    };
    let cargo_fuzz = cargo_fuzz()?;
    let all = FuzzTarget::value_variants();
    for target in options.target.as_ref().map_or(all, std::slice::from_ref) {
        let name = target.name();
        say(&format!("fuzzing {name} with {limit} -seed={seed}"));
        let mut command = Command::new(&cargo_fuzz);
        target.arguments(&mut command)?;
        command.args([limit.clone(), format!("-seed={seed}")]);
        let failed = || format!("fuzzing {name} failed; the input is in fuzz/artifacts/{name}");
        workspace::run(&mut command).with_context(failed)?;
    }
    Ok(())
}

impl FuzzTarget {
    fn name(self) -> &'static str {
        match self {
            Self::Update => "update",
            Self::Keys => "keys",
        }
    }

    /// New inputs go below the build folder: the kept corpus changes only on purpose.
    fn arguments(self, command: &mut Command) -> anyhow::Result<()> {
        let name = self.name();
        let found = target(&format!("fuzz-corpus/{name}"));
        fs::create_dir_all(&found)?;
        // Without a sanitizer: only a nightly toolchain has one, and only unsafe code needs it.
        command
            .current_dir(root())
            .args(["run", "--sanitizer", "none", "--target-dir"])
            .arg(target("fuzz"))
            .arg(name)
            .arg(found)
            .arg(root().join("fuzz/corpus").join(name))
            .args(["--", "-timeout=10", "-print_final_stats=1"]);
        let dictionary = root().join(format!("fuzz/dictionaries/{name}.dict"));
        if dictionary.exists() {
            command.arg(format!("-dict={}", dictionary.display()));
        }
        Ok(())
    }
}

/// The `cargo-fuzz` binary, installed below `target/tools`.
fn cargo_fuzz() -> anyhow::Result<PathBuf> {
    require(
        "c++",
        &["--version"],
        "a C++ compiler is needed to build libFuzzer: `apt install g++`",
    )?;
    let folder = target(&format!("tools/cargo-fuzz-{CARGO_FUZZ_VERSION}"));
    install(&folder, |folder| {
        say(&format!("installing cargo-fuzz {CARGO_FUZZ_VERSION}"));
        workspace::run(
            cargo()
                .args(["install", "--quiet", "--locked", "--version", CARGO_FUZZ_VERSION, "--root"])
                .arg(folder)
                .arg("cargo-fuzz"),
        )
    })?;
    Ok(folder.join("bin/cargo-fuzz"))
}
