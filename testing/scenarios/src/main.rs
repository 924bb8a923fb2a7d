//! `torture` plays rounds of random updates under faults for some minutes.

use std::{
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::{Duration, Instant},
};

use anyhow::ensure;
use clap::Parser;
use futures_util::{StreamExt, stream};
use scenarios::torture::{TortureReport, play};

/// How many rounds are played at once. Most of their time is spent waiting.
const AT_ONCE: usize = 16;

/// Play rounds of random updates under faults, each from a seed of its own
#[derive(Parser)]
struct TortureArguments {
    /// How long
    #[arg(long, default_value_t = 1)]
    minutes: u64,
    /// The first seed [default: random]
    #[arg(long)]
    seed: Option<u64>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let TortureArguments { minutes, seed } = TortureArguments::parse();
    let first = seed.unwrap_or_else(|| u64::from(fastrand::u32(..)));
    play_for(Duration::from_secs(minutes * 60), first).await
}

async fn play_for(time: Duration, first: u64) -> anyhow::Result<()> {
    let started = Instant::now();
    println!("first seed {first}");
    let seed = AtomicU64::new(first);
    let rounds = stream::repeat_with(|| seed.fetch_add(1, Relaxed))
        .take_while(|_| std::future::ready(started.elapsed() < time))
        .map(|seed| tokio::spawn(async move { (seed, play(seed).await) }))
        .buffer_unordered(AT_ONCE);
    let mut rounds = std::pin::pin!(rounds);
    let (mut report, mut violations) = (TortureReport::default(), 0);
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
