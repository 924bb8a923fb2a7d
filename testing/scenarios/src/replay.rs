//! `cargo xtask replay`: generated updates, sent to a running service, and every rollup compared with
//! an independent calculation.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Instant,
};

use anyhow::{bail, ensure};
use clap::Args;
use fastrand::Rng;

use crate::{
    expected::{self, Expected, Update, Values, quiet_period},
    http::Client,
};

#[derive(Debug, Args)]
pub struct Options {
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
    /// Requests on their way at once
    #[arg(long, default_value_t = 8)]
    concurrency: usize,
    /// What the updates are generated from; random when absent
    #[arg(long)]
    seed: Option<u64>,
    /// The length of the service's periods, in seconds
    #[arg(long, env = "STATS_PERIOD_SECONDS", default_value_t = 360)]
    period: u64,
}

const COUNTERS: [&str; 3] = ["bytesSent", "bytesReceived", "requests"];
const INCREMENTS: [&str; 2] = ["errors", "sessions"];
const GAUGES: [&str; 2] = ["connections", "load"];
const PLATFORMS: [&str; 5] = ["linux", "macos", "windows", "android", "ios"];

/// An id, and what it reported last.
#[derive(Debug, Default)]
struct Reporter {
    country: usize,
    platform: usize,
    counters: BTreeMap<&'static str, i64>,
    values: Values,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
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
    compare(options, &expected)
}

/// Each thread has ids of its own, whose updates it sends in their order.
fn send_all(options: &Options, seed: u64, sent: &AtomicUsize) -> anyhow::Result<Expected> {
    let threads = options.concurrency.clamp(1, options.ids.max(1));
    let parts: Vec<anyhow::Result<Expected>> = thread::scope(|scope| {
        let threads: Vec<_> = (0..threads)
            .map(|thread| scope.spawn(move || send_of_thread(options, seed, thread, threads, sent)))
            .collect();
        let results = threads.into_iter().map(|thread| match thread.join() {
            Ok(result) => result,
            Err(_) => bail!("a thread panicked"),
        });
        results.collect()
    });
    let mut all = Expected::default();
    for part in parts {
        all.merge(&part?);
    }
    Ok(all)
}

fn send_of_thread(
    options: &Options,
    seed: u64,
    thread: usize,
    threads: usize,
    sent: &AtomicUsize,
) -> anyhow::Result<Expected> {
    let client = Client::new(&options.url);
    let mut rng = Rng::with_seed(seed.wrapping_add(thread as u64));
    let mut reporters: BTreeMap<usize, Reporter> = BTreeMap::new();
    let mut expected = Expected::default();
    while sent.fetch_add(1, Ordering::Relaxed) < options.updates {
        let id = thread + threads * rng.usize(0..options.ids.div_ceil(threads));
        let id = id.min(options.ids - 1);
        if id % threads != thread {
            // The last id belongs to another thread; this update is another one's to send.
            sent.fetch_sub(1, Ordering::Relaxed);
            continue;
        }
        let reporter = reporters.entry(id).or_insert_with(|| Reporter {
            country: rng.usize(0..options.countries),
            platform: rng.usize(0..PLATFORMS.len()),
            ..Reporter::default()
        });
        let update = next_update(&mut rng, options, seed, reporter);
        expected.count(&update, &mut reporter.values, quiet_period(options.period));
        let update = serde_json::to_string(&update)?;
        let (status, body) = client.post(&format!("/stats/replay-{seed}-{id}"), &update)?;
        ensure!(status == 200, "{update}: {status} {body}");
    }
    Ok(expected)
}

fn next_update(rng: &mut Rng, options: &Options, seed: u64, reporter: &mut Reporter) -> Update {
    if rng.u8(0..20) == 0 {
        reporter.country = rng.usize(0..options.countries);
    }
    let platform = PLATFORMS.get(reporter.platform).copied().unwrap_or_default();
    let mut dims = BTreeMap::from([
        (dimension("country", seed), format!("c{}", reporter.country)),
        (dimension("platform", seed), platform.to_owned()),
    ]);
    if rng.u8(0..4) > 0 {
        dims.insert(dimension("version", seed), format!("1.{}", rng.u8(0..4)));
    }
    let visitors = (0..rng.usize(0..4)).map(|_| format!("v{}", rng.u16(0..2_000))).collect();
    Update {
        dims,
        counters: next_counters(rng, reporter),
        increments: INCREMENTS.map(|stat| (stat.to_owned(), rng.i64(-10..100))).into(),
        gauges: GAUGES.map(|stat| (stat.to_owned(), rng.i64(-5..1_000))).into(),
        members: BTreeMap::new(),
        multi_members: BTreeMap::from([("visitors".to_owned(), visitors)]),
    }
}

fn next_counters(rng: &mut Rng, reporter: &mut Reporter) -> BTreeMap<String, i64> {
    let counters = COUNTERS.map(|stat| {
        let counter = reporter.counters.entry(stat).or_default();
        // Most counters grow; now and then a reporter starts again, or is huge.
        *counter = match rng.u8(0..40) {
            0 => 0,
            1 => i64::MAX,
            2 => i64::MIN,
            3..6 => *counter,
            _ => counter.saturating_add(rng.u32(0..100_000).into()),
        };
        (stat.to_owned(), *counter)
    });
    counters.into()
}

fn dimension(name: &str, seed: u64) -> String {
    format!("replay_{seed}_{name}")
}

fn compare(options: &Options, expected: &Expected) -> anyhow::Result<()> {
    let client = Client::new(&options.url);
    let mut wrong = 0;
    println!("{:<28} {:<14} {:>6} {:>8} {:>6}", "dimension", "group", "keys", "numbers", "wrong");
    for compared in expected::compare(&client, expected, options.period)? {
        let expected::Comparison { dimension, group, keys, numbers, differences } = compared;
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
