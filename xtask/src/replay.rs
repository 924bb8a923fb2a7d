//! `cargo xtask replay`: generated updates, sent to a running service, and every rollup compared with
//! what this module calculates from the contract by itself.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{bail, ensure};
use clap::Args;
use fastrand::Rng;
use serde::Deserialize;
use serde_json::{Value, json, value::RawValue};

use crate::http::Client;

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

/// An answer to a query: sums by dimension, key, group and stat, with all of their digits.
#[derive(Debug, Deserialize)]
struct Answer {
    dims: BTreeMap<String, BTreeMap<String, Groups>>,
}

type Groups = BTreeMap<String, BTreeMap<String, Box<RawValue>>>;

/// Sums by dimension, key and stat.
type Sums = BTreeMap<(String, String, String), i128>;

/// What the contract says the rollups are, for the ids of one thread.
#[derive(Debug, Default)]
struct Expected {
    counters: Sums,
    /// By the start of the period.
    gauges: BTreeMap<u64, Sums>,
    members: BTreeMap<(String, String, String), BTreeSet<String>>,
}

/// An id's last values.
#[derive(Debug, Default)]
struct Reporter {
    country: usize,
    platform: usize,
    counters: BTreeMap<&'static str, i128>,
    gauges: BTreeMap<&'static str, i128>,
    gauge_period: u64,
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
    compare(options, seed, &expected)
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
        all.merge(part?);
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
        let period = quiet_period(options.period);
        let update = expected.next_update(&mut rng, options, seed, reporter, period);
        let (status, body) =
            client.post(&format!("/stats/replay-{seed}-{id}"), &update.to_string())?;
        ensure!(status == 200, "{update}: {status} {body}");
    }
    Ok(expected)
}

/// The start of the current period; when it is about to end, of the next one, once that has begun. So
/// no update is on its way while one period ends and another begins.
fn quiet_period(length: u64) -> u64 {
    let margin = Duration::from_secs(1).min(Duration::from_secs(length) / 4);
    loop {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let start = now.as_secs() - now.as_secs() % length;
        if Duration::from_secs(start + length).saturating_sub(now) > margin {
            return start;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

impl Expected {
    fn next_update(
        &mut self,
        rng: &mut Rng,
        options: &Options,
        seed: u64,
        reporter: &mut Reporter,
        period: u64,
    ) -> Value {
        if rng.u8(0..20) == 0 {
            reporter.country = rng.usize(0..options.countries);
        }
        let mut dims = BTreeMap::from([
            (dimension("country", seed), format!("c{}", reporter.country)),
            (
                dimension("platform", seed),
                PLATFORMS.get(reporter.platform).unwrap_or(&"").to_string(),
            ),
        ]);
        if rng.u8(0..4) > 0 {
            dims.insert(dimension("version", seed), format!("1.{}", rng.u8(0..4)));
        }
        let counters = self.counters(rng, reporter, &dims);
        let increments = self.increments(rng, reporter, &dims);
        let gauges = self.gauges(rng, reporter, &dims, period);
        let members = self.members(rng, &dims);
        json!({
            "dims": dims, "counters": counters, "increments": increments, "gauges": gauges,
            "multiMembers": {"visitors": members}
        })
    }

    fn counters(
        &mut self,
        rng: &mut Rng,
        reporter: &mut Reporter,
        dims: &BTreeMap<String, String>,
    ) -> Value {
        let mut part = BTreeMap::new();
        for stat in COUNTERS {
            let old = reporter.counters.get(stat).copied().unwrap_or_default();
            // Most counters grow; now and then a reporter starts again, or is huge.
            let new = match rng.u8(0..40) {
                0 => 0,
                1 => i64::MAX.into(),
                2 => i64::MIN.into(),
                3..6 => old,
                _ => (old + i128::from(rng.u32(0..100_000))).min(i64::MAX.into()),
            };
            reporter.counters.insert(stat, new);
            add(&mut self.counters, dims, stat, new - old);
            part.insert(stat, json!(i64::try_from(new).unwrap_or_default()));
        }
        json!(part)
    }

    fn increments(
        &mut self,
        rng: &mut Rng,
        reporter: &mut Reporter,
        dims: &BTreeMap<String, String>,
    ) -> Value {
        let mut part = BTreeMap::new();
        for stat in INCREMENTS {
            let value = rng.i64(-10..100);
            *reporter.counters.entry(stat).or_default() += i128::from(value);
            add(&mut self.counters, dims, stat, value.into());
            part.insert(stat, value);
        }
        json!(part)
    }

    fn gauges(
        &mut self,
        rng: &mut Rng,
        reporter: &mut Reporter,
        dims: &BTreeMap<String, String>,
        period: u64,
    ) -> Value {
        if reporter.gauge_period != period {
            reporter.gauge_period = period;
            reporter.gauges.clear();
        }
        let mut part = BTreeMap::new();
        for stat in GAUGES {
            let value = rng.i64(-5..1_000);
            let old = reporter.gauges.insert(stat, value.into()).unwrap_or_default();
            add(self.gauges.entry(period).or_default(), dims, stat, i128::from(value) - old);
            part.insert(stat, value);
        }
        json!(part)
    }

    fn members(&mut self, rng: &mut Rng, dims: &BTreeMap<String, String>) -> Vec<String> {
        let members: Vec<_> =
            (0..rng.usize(0..4)).map(|_| format!("v{}", rng.u16(0..2_000))).collect();
        for (dimension, key) in dims {
            if !members.is_empty() {
                let set = (dimension.clone(), key.clone(), "visitors".to_owned());
                self.members.entry(set).or_default().extend(members.iter().cloned());
            }
        }
        members
    }

    fn merge(&mut self, other: Self) {
        merge(&mut self.counters, other.counters);
        for (period, gauges) in other.gauges {
            merge(self.gauges.entry(period).or_default(), gauges);
        }
        for (set, members) in other.members {
            self.members.entry(set).or_default().extend(members);
        }
    }

    /// The group `gauges` of an answer: of the prior period, and the numbers of members.
    fn gauges_and_members(&self, prior: u64) -> Sums {
        let mut sums = self.gauges.get(&prior).cloned().unwrap_or_default();
        for (set, members) in &self.members {
            sums.insert(set.clone(), i128::try_from(members.len()).unwrap_or_default());
        }
        sums
    }
}

fn dimension(name: &str, seed: u64) -> String {
    format!("replay_{seed}_{name}")
}

fn add(sums: &mut Sums, dims: &BTreeMap<String, String>, stat: &str, delta: i128) {
    for (dimension, key) in dims {
        *sums.entry((dimension.clone(), key.clone(), stat.to_owned())).or_default() += delta;
    }
}

fn merge(sums: &mut Sums, more: Sums) {
    for (at, delta) in more {
        *sums.entry(at).or_default() += delta;
    }
}

fn compare(options: &Options, seed: u64, expected: &Expected) -> anyhow::Result<()> {
    let client = Client::new(&options.url);
    let current = quiet_period(options.period);
    let answers = ["country", "platform", "version"].map(|name| {
        let dimension = dimension(name, seed);
        let answer: Answer = client.get_json(&format!("/stats/{dimension}"))?;
        Ok((dimension, answer))
    });
    let answers: Vec<_> = answers.into_iter().collect::<anyhow::Result<_>>()?;
    ensure!(quiet_period(options.period) == current, "the period ended meanwhile; run it again");

    let no_gauges = Sums::new();
    let groups = [
        ("counters", &expected.counters),
        ("gauges", &expected.gauges_and_members(current - options.period)),
        ("gaugesCurrent", expected.gauges.get(&current).unwrap_or(&no_gauges)),
    ];
    let mut wrong = 0;
    println!("{:<28} {:<14} {:>6} {:>8} {:>6}", "dimension", "group", "keys", "numbers", "wrong");
    for (dimension, answer) in &answers {
        for (group, sums) in groups {
            let expected = with_total(sums, dimension);
            let reported = reported(answer, dimension, group);
            let differences = differences(&expected, &reported);
            for difference in differences.iter().take(5) {
                println!("  {dimension} {group} {difference}");
            }
            let keys: BTreeSet<_> = expected.keys().map(|(key, _)| key).collect();
            println!(
                "{dimension:<28} {group:<14} {:>6} {:>8} {:>6}",
                keys.len(),
                expected.len(),
                differences.len()
            );
            wrong += differences.len();
        }
    }
    ensure!(wrong == 0, "{wrong} numbers are wrong");
    println!("every rollup and total is as calculated");
    Ok(())
}

/// The sums of a dimension by key and stat, `total` included.
fn with_total(sums: &Sums, of: &str) -> BTreeMap<(String, String), String> {
    let mut all: BTreeMap<(String, String), i128> = BTreeMap::new();
    for ((dimension, key, stat), sum) in sums {
        if dimension == of {
            *all.entry((key.clone(), stat.clone())).or_default() += sum;
            *all.entry(("total".to_owned(), stat.clone())).or_default() += sum;
        }
    }
    all.into_iter().map(|(at, sum)| (at, sum.to_string())).collect()
}

fn reported(answer: &Answer, dimension: &str, group: &str) -> BTreeMap<(String, String), String> {
    let mut all = BTreeMap::new();
    for (key, groups) in answer.dims.get(dimension).into_iter().flatten() {
        for (stat, sum) in groups.get(group).into_iter().flatten() {
            all.insert((key.clone(), stat.clone()), sum.get().to_owned());
        }
    }
    all
}

fn differences(
    expected: &BTreeMap<(String, String), String>,
    reported: &BTreeMap<(String, String), String>,
) -> Vec<String> {
    let all: BTreeSet<_> = expected.keys().chain(reported.keys()).collect();
    let different = all.into_iter().filter(|at| expected.get(*at) != reported.get(*at));
    let shown = different.map(|at| {
        let [expected, reported] =
            [expected, reported].map(|sums| sums.get(at).map_or("nothing", String::as_str));
        format!("{}.{}: {reported} instead of {expected}", at.0, at.1)
    });
    shown.collect()
}
