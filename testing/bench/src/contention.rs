//! `cargo xtask contention`: many writers on one dimension, whose transactions conflict and whose
//! partitions get full as they do on the real service.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, ensure};
use aws_sdk_dynamodb::{Client, types::AttributeValue};
use clap::Args;
use fastrand::Rng;
use fault_proxy::{Direction, Proxy, Throughput};
use shared::{
    domain::{
        DimensionName, DimensionSummary, Id, Period, PeriodLength, StatName, Sum, UnixSeconds,
        Update,
    },
    store::{Deadline, Settings, Store, StoreError},
    table::{DimensionEntry, ItemKey, decode_dimension},
};
use tokio::task::JoinSet;

const TABLE: &str = "contention";
const DIMENSION: &str = "d";
/// Write units of an update's rollup. Its detail is on a partition of its own.
const UNITS_OF_UPDATE: f64 = 2.0;
/// How many ids a writer has at least: each takes as much as a partition does.
const LEAST_IDS: usize = 50;
/// Short enough that periods turn during a measurement.
const PERIOD_SECONDS: u32 = 7;
/// The rate at which a dimension counts as spread, as a multiple of what one partition takes.
const SPREAD: f64 = 20.0;

/// How many write, to what, and for how long.
#[derive(Debug, Clone, Args)]
pub struct ContentionOptions {
    /// How many write at once
    #[arg(long, default_value_t = 64)]
    pub writers: usize,
    /// How many processes share the writers; each process learns on its own
    #[arg(long, default_value_t = 64)]
    pub processes: usize,
    /// How many keys of one dimension they write to, evenly; each number is measured
    #[arg(long, value_delimiter = ',', default_values_t = [1, 200, 10_000])]
    pub keys: Vec<usize>,
    /// The throughput of a partition, as a part of the real one; 0 for no limit
    #[arg(long, default_value_t = 0.01)]
    pub throughput: f64,
    /// How long a transaction holds its items, in milliseconds
    #[arg(long, default_value_t = 10)]
    pub hold: u64,
    /// How long to measure, in seconds
    #[arg(long, default_value_t = 30)]
    pub seconds: u64,
}

/// What was measured.
#[derive(Debug, Clone, Copy)]
pub struct MeasuredContention {
    /// How many keys were written to.
    pub keys: usize,
    /// How many cells a sum, and partitions a dimension, may have at most.
    pub max_cells: u8,
    /// Updates that were acknowledged in the last third of the time.
    pub updates: u64,
    /// How long that was.
    pub time: Duration,
    /// Updates a second that one partition takes; none without a limit.
    pub ceiling: Option<f64>,
    /// When the rate first was so many times the ceiling that the dimension counts as spread.
    pub spread_after: Option<Duration>,
    /// Updates that gave up because they were throttled or other writers were in the way.
    pub refused: u64,
    /// Requests that conflicts refused, per update of the last third.
    pub conflicts_per_update: f64,
    /// Requests that full partitions refused, per update of the last third.
    pub throttles_per_update: f64,
    /// How many partitions the dimension had at the end.
    pub partitions: u8,
    /// The sum: that of all updates that were acknowledged.
    pub sum: u64,
}

/// Measures each number of keys, with one cell and with many, and prints both.
///
/// # Errors
/// A sum is wrong, or the database fails.
pub async fn run(options: &ContentionOptions) -> anyhow::Result<()> {
    println!("{options:?}");
    for keys in &options.keys {
        let one = measure(options, *keys, 1).await?;
        println!("{one}");
        let many = measure(options, *keys, 128).await?;
        println!("{many}");
        println!("    {:.1} times the rate", many.rate() / one.rate());
    }
    Ok(())
}

impl MeasuredContention {
    /// Updates a second.
    #[must_use]
    pub fn rate(&self) -> f64 {
        float(self.updates) / self.time.as_secs_f64()
    }
}

fn float(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

impl fmt::Display for MeasuredContention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { keys, max_cells, .. } = self;
        write!(
            f,
            "{keys:6} keys, at most {max_cells:3} cells: {:5.0} updates a second",
            self.rate()
        )?;
        if let Some(ceiling) = self.ceiling {
            write!(f, " ({:.1} times a partition's {ceiling:.1})", self.rate() / ceiling)?;
            match self.spread_after {
                Some(after) => write!(f, ", {SPREAD} times after {:.1} s", after.as_secs_f64())?,
                None => write!(f, ", never {SPREAD} times")?,
            }
        }
        write!(
            f,
            "; per update {:.3} conflicts, {:.3} throttles; {} refused; {} partitions; sum {} exact",
            self.conflicts_per_update,
            self.throttles_per_update,
            self.refused,
            self.partitions,
            self.sum,
        )
    }
}

/// What writers share.
#[derive(Debug, Default)]
struct Written {
    stop: AtomicBool,
    acknowledged: AtomicU64,
    refused: AtomicU64,
    /// The ids whose gauge was counted, by period.
    gauges: Mutex<BTreeMap<Period, BTreeSet<usize>>>,
}

/// Measures with so many keys, and with sums of at most `max_cells` cells.
///
/// # Errors
/// An update fails for good, or a sum or a gauge is wrong.
pub async fn measure(
    options: &ContentionOptions,
    keys: usize,
    max_cells: u8,
) -> anyhow::Result<MeasuredContention> {
    let endpoint = local_dynamodb::start_in_memory().await?;
    let direct = local_dynamodb::client(&endpoint);
    local_dynamodb::create_table(&direct, TABLE).await?;
    let proxy = Proxy::start(&endpoint).await?;
    let settings = Settings { max_cells, ..Settings::new(TABLE, period_length()?) };
    let ids = LEAST_IDS.max(keys.div_ceil(options.writers.max(1)));
    let reader = Store::new(direct.clone(), settings.clone(), Rng::new());
    introduce(&reader, options.writers * ids, keys).await?;

    proxy.set_hold(Some(Duration::from_millis(options.hold)));
    let is_limited = options.throughput > 0.0;
    let throughput = Throughput::REAL.times(options.throughput);
    proxy.set_throughput(is_limited.then_some(throughput));
    let ceiling = is_limited.then(|| throughput.write_units / UNITS_OF_UPDATE);
    let written = Arc::new(Written::default());
    let stores: Vec<_> = (0..options.processes.max(1))
        .map(|_| {
            // Processes share no connections.
            let client = local_dynamodb::client(proxy.endpoint());
            Arc::new(Store::new(client, settings.clone(), Rng::new()))
        })
        .collect();
    let mut writers = JoinSet::new();
    for (writer, store) in (0..options.writers).zip(stores.iter().cycle()) {
        let (store, written) = (store.clone(), written.clone());
        writers.spawn(async move { write(&store, writer * ids, ids, keys, &written).await });
    }

    let began = Instant::now();
    let spread_after = watch(&written, ceiling, options.seconds * 2 / 3).await;
    let (from, before) = (written.acknowledged.load(Relaxed), proxy.counts());
    let started = Instant::now();
    let rest = Duration::from_secs(options.seconds).saturating_sub(began.elapsed());
    tokio::time::sleep(rest.max(Duration::from_secs(1))).await;
    let time = started.elapsed();
    let (updates, after) = (written.acknowledged.load(Relaxed) - from, proxy.counts());
    written.stop.store(true, Relaxed);
    while let Some(done) = writers.join_next().await {
        done??;
    }

    let sum = check(&reader, &written, options.writers * ids).await?;
    print_fullest(&proxy);
    let per_update = |count: u64| float(count) / float(updates.max(1));
    Ok(MeasuredContention {
        keys,
        max_cells,
        updates,
        time,
        ceiling,
        spread_after,
        refused: written.refused.load(Relaxed),
        conflicts_per_update: per_update(after.hold_conflicts - before.hold_conflicts),
        throttles_per_update: per_update(after.throttled - before.throttled),
        partitions: entry(&direct).await?.spread.cells,
        sum,
    })
}

fn period_length() -> anyhow::Result<PeriodLength> {
    Ok(PeriodLength::new(PERIOD_SECONDS.try_into()?))
}

/// Each id reports once, without limits: what is measured is not how keys become known.
async fn introduce(store: &Store, ids: usize, keys: usize) -> anyhow::Result<()> {
    for id in 0..ids {
        let deadline = Deadline::after(Duration::from_secs(25));
        store.update(&name(id)?, &update(id, keys)?, None, UnixSeconds(0), deadline).await?;
    }
    Ok(())
}

fn name(id: usize) -> anyhow::Result<Id> {
    Ok(Id::new(&format!("id-{id}"))?)
}

fn update(id: usize, keys: usize) -> anyhow::Result<Update> {
    let key = id % keys.max(1);
    let body = format!(
        r#"{{"dims":{{"{DIMENSION}":"k{key}"}},"increments":{{"x":1}},"gauges":{{"g":1}}}}"#
    );
    Ok(Update::from_json(body.as_bytes())?)
}

fn now() -> UnixSeconds {
    SystemTime::now().into()
}

async fn write(
    store: &Store,
    first: usize,
    ids: usize,
    keys: usize,
    written: &Written,
) -> anyhow::Result<()> {
    for id in (first..first + ids).cycle() {
        if written.stop.load(Relaxed) {
            break;
        }
        let (now, deadline) = (now(), Deadline::after(Duration::from_secs(25)));
        match store.update(&name(id)?, &update(id, keys)?, None, now, deadline).await {
            Ok(_) => {
                written.acknowledged.fetch_add(1, Relaxed);
                let period = period_length()?.containing(now);
                let mut gauges = written.gauges.lock().unwrap_or_else(PoisonError::into_inner);
                gauges.entry(period).or_default().insert(id);
            }
            Err(StoreError::Unavailable(_) | StoreError::Throttled(_)) => {
                written.refused.fetch_add(1, Relaxed);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Ok(())
}

/// Waits for some seconds; when the rate of a second first was so high that the dimension is
/// spread.
async fn watch(written: &Written, ceiling: Option<f64>, seconds: u64) -> Option<Duration> {
    let began = Instant::now();
    let mut spread_after = None;
    let mut before = written.acknowledged.load(Relaxed);
    for _ in 0..seconds.max(1) {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let after = written.acknowledged.load(Relaxed);
        let is_spread = ceiling.is_some_and(|ceiling| float(after - before) >= SPREAD * ceiling);
        if is_spread {
            spread_after.get_or_insert_with(|| began.elapsed());
        }
        before = after;
    }
    spread_after
}

/// Checks the sum of the increments, and the gauges of the two periods that queries report; returns
/// the sum. A refused update was not counted.
async fn check(store: &Store, written: &Written, introduced: usize) -> anyhow::Result<u64> {
    let sum = written.acknowledged.load(Relaxed);
    let now = now();
    let summary = summary(store, now).await?;
    let expected = sum + u64::try_from(introduced)?;
    let shown = number(&summary.total().counters, "x")?;
    ensure!(shown == expected.to_string(), "stored {shown}, acknowledged {expected}");

    let gauges = written.gauges.lock().unwrap_or_else(PoisonError::into_inner);
    let reported = |period| gauges.get(&period).map_or(0, BTreeSet::len).to_string();
    let (length, total) = (period_length()?, summary.total());
    let current = length.containing(now);
    for (period, shown) in
        [(current, &total.gauges_current), (length.prior(current), &total.gauges)]
    {
        let shown = number(shown, "g")?;
        let expected = reported(period);
        // A period that nobody has reported in is not shown.
        ensure!(
            shown == expected || (shown.is_empty() && expected == "0"),
            "gauges of {period:?}: stored {shown}, acknowledged {expected}"
        );
    }
    Ok(sum)
}

async fn summary(store: &Store, now: UnixSeconds) -> anyhow::Result<DimensionSummary> {
    let deadline = Deadline::after(Duration::from_secs(60));
    Ok(store.summary(&DimensionName::new(DIMENSION)?, now, deadline).await?)
}

fn number(sums: &BTreeMap<StatName, Sum>, stat: &str) -> anyhow::Result<String> {
    Ok(sums.get(&StatName::new(stat)?).map(Sum::to_string).unwrap_or_default())
}

async fn entry(client: &Client) -> anyhow::Result<DimensionEntry> {
    let key: std::collections::HashMap<String, AttributeValue> =
        ItemKey::dimension(&DimensionName::new(DIMENSION)?).attributes();
    let got = client.get_item().table_name(TABLE).set_key(Some(key)).send().await?;
    Ok(decode_dimension(&got.item.context("the dimension has an entry")?)?)
}

/// How full the fullest partitions were.
fn print_fullest(proxy: &Proxy) {
    let used = proxy.partition_use(Direction::Write);
    let rollups = used.iter().filter(|(pk, _)| pk.starts_with("dim#"));
    for (pk, used) in rollups.take(3) {
        println!(
            "    {pk}: {:.0} write units, {:.0} in the fullest second, {} throttled",
            used.units, used.most_in_a_second, used.throttled,
        );
    }
}
