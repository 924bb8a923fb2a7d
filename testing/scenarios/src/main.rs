//! `torture model` plays rounds of random updates under faults; `torture contention` measures many writers
//! on one key.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use anyhow::ensure;
use clap::Parser;
use futures_util::{StreamExt, stream};
use torture::{
    contention,
    round::{self, Report},
};

/// Rounds that are played at once; most of their time is spent waiting.
const AT_ONCE: usize = 16;

#[derive(Parser)]
#[command(about)]
enum Command {
    /// Play rounds of random updates under faults, each from a seed of its own
    Model {
        /// How long
        #[arg(long, default_value_t = 1)]
        minutes: u64,
        /// The first seed; a random one when there is none
        #[arg(long)]
        seed: Option<u64>,
    },
    /// Measure many writers on one key, with cells and with one cell
    Contention(contention::Options),
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Model { minutes, seed } => {
            let first = seed.unwrap_or_else(|| u64::from(fastrand::u32(..)));
            play_for(Duration::from_secs(minutes * 60), first).await
        }
        Command::Contention(options) => {
            println!("{options:?}");
            let one = contention::measure(&options, 1).await?;
            println!("{one}");
            let many = contention::measure(&options, 128).await?;
            println!("{many}");
            println!("{:.1} times the throughput", many.throughput() / one.throughput());
            Ok(())
        }
    }
}

async fn play_for(time: Duration, first: u64) -> anyhow::Result<()> {
    let started = Instant::now();
    println!("first seed {first}");
    let seed = AtomicU64::new(first);
    let rounds = stream::repeat_with(|| seed.fetch_add(1, Relaxed))
        .take_while(|_| std::future::ready(started.elapsed() < time))
        .map(|seed| tokio::spawn(async move { (seed, round::play(seed).await) }))
        .buffer_unordered(AT_ONCE);
    let mut rounds = std::pin::pin!(rounds);
    let (mut report, mut violations) = (Report::default(), 0);
    while let Some(played) = rounds.next().await {
        match played? {
            (_, Ok(more)) => report += more,
            (seed, Err(error)) => {
                violations += 1;
                println!("violation of seed {seed}: {error:#}");
            }
        }
    }
    println!("{report}\n{violations} violations");
    ensure!(violations == 0, "{violations} violations");
    Ok(())
}
