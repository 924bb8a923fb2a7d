//! `cargo xtask replay`: sends generated updates to a running service, and compares every rollup
//! with an independent calculation.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Instant,
};

use anyhow::{bail, ensure};
use clap::Args;
use fastrand::Rng;
use model::{Population, PopulationDimension, ReferenceModel, Reporter};
use statshub::HttpClient;

use crate::comparison::{Comparison, compare, quiet_period};

/// Which updates to send, and where to.
#[derive(Debug, Args)]
pub struct ReplayOptions {
    /// The service
    #[arg(long, default_value = "http://localhost:9000")]
    url: String,
    /// How many updates to send
    #[arg(long, default_value_t = 5_000)]
    updates: usize,
    /// How many ids report
    #[arg(long, default_value_t = 200)]
    ids: usize,
    /// How many countries they report from
    #[arg(long, default_value_t = 50)]
    countries: usize,
    /// How many requests are under way at once
    #[arg(long, default_value_t = 8)]
    concurrency: usize,
    /// The seed of the updates [default: random]
    #[arg(long)]
    seed: Option<u64>,
    /// The length of the service's periods, in seconds
    #[arg(long, env = "STATS_PERIOD_SECONDS", default_value_t = 360)]
    period: u64,
}

/// Sends the updates, and compares; prints what differs.
///
/// # Errors
/// Something differs, or the service does not answer.
pub fn run(options: &ReplayOptions) -> anyhow::Result<()> {
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(0..1 << 32));
    println!(
        "replaying {} updates of {} ids in {} countries, seed {seed}",
        options.updates, options.ids, options.countries
    );
    let started = Instant::now();
    let sent = AtomicUsize::new(0);
    let expected = send_all(options, seed, &sent)?;
    let took = started.elapsed();
    let rate = options.updates as u128 * 1_000 / took.as_millis().max(1);
    println!("sent in {took:.1?}: {rate} updates a second");
    check(options, &expected)
}

/// Each thread has ids of its own, and sends their updates in order.
fn send_all(
    options: &ReplayOptions,
    seed: u64,
    sent: &AtomicUsize,
) -> anyhow::Result<ReferenceModel> {
    let threads = options.concurrency.clamp(1, options.ids.max(1));
    let parts: Vec<anyhow::Result<ReferenceModel>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || send_of_thread(options, seed, thread, threads, sent)))
            .collect();
        let results = threads.into_iter().map(|thread| match thread.join() {
            Ok(result) => result,
            Err(_) => bail!("a thread panicked"),
        });
        results.collect()
    });
    let mut all = ReferenceModel::new(options.period);
    for part in parts {
        all.merge(&part?);
    }
    Ok(all)
}

fn send_of_thread(
    options: &ReplayOptions,
    seed: u64,
    thread: usize,
    threads: usize,
    sent: &AtomicUsize,
) -> anyhow::Result<ReferenceModel> {
    let client = HttpClient::new(&options.url);
    let mut rng = Rng::with_seed(seed.wrapping_add(thread as u64));
    let mut reporters: BTreeMap<usize, Reporter> = BTreeMap::new();
    let mut expected = ReferenceModel::new(options.period);
    let population = population(options, seed);
    while sent.fetch_add(1, Ordering::Relaxed) < options.updates {
        let id = thread + threads * rng.usize(0..options.ids.div_ceil(threads));
        let id = id.min(options.ids - 1);
        if id % threads != thread {
            // The last id belongs to another thread, which sends this update.
            sent.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let reporter = reporters
            .entry(id)
            .or_insert_with(|| Reporter::new(format!("replay-{seed}-{id}"), &population, &mut rng));
        let update = reporter.next(&population, &mut rng);
        expected.count(reporter.id(), &update, quiet_period(options.period));
        let update = update.json();
        let (status, body) = client.post(&format!("/stats/{}", reporter.id()), &update)?;
        ensure!(status == 200, "{update}: {status} {body}");
    }
    Ok(expected)
}

/// Dimensions of their own, so that earlier updates do not count.
fn population(options: &ReplayOptions, seed: u64) -> Population {
    let name = |name| format!("replay_{seed}_{name}");
    Population {
        dimensions: vec![
            PopulationDimension::settled(name("country"), options.countries),
            PopulationDimension { moves: 0.0, ..PopulationDimension::settled(name("platform"), 5) },
            PopulationDimension::restless(name("version"), 4),
        ],
        visitors: 2_000,
        // None of these updates is large.
        large: 0..1,
        crowd: (0, 1),
    }
}

fn check(options: &ReplayOptions, expected: &ReferenceModel) -> anyhow::Result<()> {
    let client = HttpClient::new(&options.url);
    let mut wrong = 0;
    println!("{:<28} {:<14} {:>6} {:>8} {:>6}", "dimension", "group", "keys", "numbers", "wrong");
    for compared in compare(&client, expected, options.period)? {
        let Comparison { dimension, group, keys, numbers, differences } = compared;
        for difference in differences.iter().take(5) {
            println!("  {dimension} {group} {difference}");
        }
        let differences = differences.len();
        println!("{dimension:<28} {group:<14} {keys:>6} {numbers:>8} {differences:>6}");
        wrong += differences;
    }
    ensure!(wrong == 0, "{wrong} numbers are wrong");
    println!("every rollup and total is as calculated");
    Ok(())
}
