//! `contention` measures many writers on one key, with cells and with one cell.

use bench::contention;
use clap::Parser;

/// Measure many writers on one key, with cells and with one cell
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    options: contention::ContentionOptions,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Arguments { options } = Arguments::parse();
    println!("{options:?}");
    let one = contention::measure(&options, 1).await?;
    println!("{one}");
    let many = contention::measure(&options, 128).await?;
    println!("{many}");
    println!("{:.1} times the throughput", many.throughput() / one.throughput());
    Ok(())
}
