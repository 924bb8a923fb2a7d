//! `contention` measures many writers on one dimension, with cells and with one cell.

use bench::contention;
use clap::Parser;

/// Measure many writers on one dimension, with cells and with one cell
#[derive(Parser)]
struct Arguments {
    #[command(flatten)]
    options: contention::ContentionOptions,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let Arguments { options } = Arguments::parse();
    println!("{options:?}");
    for keys in &options.keys {
        let one = contention::measure(&options, *keys, 1).await?;
        println!("{one}");
        let many = contention::measure(&options, *keys, 128).await?;
        println!("{many}");
        println!("    {:.1} times the rate", many.rate() / one.rate());
    }
    Ok(())
}
