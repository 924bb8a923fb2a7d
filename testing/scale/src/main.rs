//! `cargo xtask scale`: simulates fleets, and writes docs/scale.md with its plots.

use std::fs;

use clap::Parser;
use contract::workspace;
use scale::{
    all_runs::{contention_rows, simulate},
    page::{FIGURES, FOLDER, PAGE, page, read_record},
    plots::plots,
    record::Record,
};

/// Simulate fleets of up to 100 million clients, and write docs/scale.md
#[derive(Debug, Parser)]
struct Options {
    /// Write the page and its plots from the figures that are committed, without simulating
    #[arg(long)]
    page_only: bool,
    /// Simulate the comparison with `cargo xtask contention` alone, and keep the other figures
    #[arg(long, conflicts_with = "page_only")]
    contention_only: bool,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let root = workspace();
    if !options.page_only {
        let record = match options.contention_only {
            true => Record { contention: contention_rows()?, ..read_record(&root)? },
            false => simulate(|line| eprintln!("{line}"))?,
        };
        fs::create_dir_all(root.join(FOLDER))?;
        fs::write(root.join(FIGURES), serde_json::to_string_pretty(&record)? + "\n")?;
    }
    // As it is read, so that the page is always made of the same numbers.
    let record = read_record(&root)?;
    for (name, plot) in plots(&record)? {
        fs::write(root.join(FOLDER).join(name), plot)?;
    }
    fs::write(root.join(PAGE), page(&record))?;
    Ok(())
}
