//! What is measured on a store in this process: `contention` and `many-keys`.

use bench::{contention, many_keys};
use clap::Parser;

#[derive(Parser)]
enum Command {
    /// Measure many writers on one dimension, with cells and with one cell
    Contention(contention::ContentionOptions),
    /// Measure what an update costs among many keys, and under a single one
    ManyKeys(many_keys::ManyKeysOptions),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Contention(options) => contention::run(&options).await,
        Command::ManyKeys(options) => many_keys::run(&options).await,
    }
}
