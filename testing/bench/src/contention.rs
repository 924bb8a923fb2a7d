//! `cargo xtask contention`: many writers on one key, whose transactions conflict as they do on the
//! real service.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use aws_sdk_dynamodb::Client;
use clap::Args;
use fastrand::Rng;
use fault_proxy::Proxy;
use shared::{
    domain::{Cell, DimensionName, Id, PeriodLength, RollupKey, Sum, UnixSeconds, Update},
    store::{Deadline, Settings, Store, StoreError},
    table::ItemKey,
};
use tokio::task::JoinSet;

const TABLE: &str = "contention";
const NOW: UnixSeconds = UnixSeconds(1_800_000_000);
const ADD_ONE: &str = r#"{"dims":{"d":"k"},"increments":{"x":1}}"#;

/// How many write, and for how long.
#[derive(Debug, Clone, Args)]
pub struct ContentionOptions {
    /// How many write at once, each for an id of its own
    #[arg(long, default_value_t = 64)]
    pub writers: usize,
    /// How many processes share the writers; each process learns about cells on its own
    #[arg(long, default_value_t = 64)]
    pub processes: usize,
    /// How long a transaction holds its items, in milliseconds
    #[arg(long, default_value_t = 10)]
    pub hold: u64,
    /// How long to let them find their cells, in seconds
    #[arg(long, default_value_t = 5)]
    pub warm_up: u64,
    /// How long to measure, in seconds
    #[arg(long, default_value_t = 10)]
    pub seconds: u64,
}

/// What was measured.
#[derive(Debug, Clone, Copy)]
pub struct MeasuredContention {
    /// How many cells a sum may have at most.
    pub max_cells: u8,
    /// Updates that were acknowledged during the measurement.
    pub updates: u64,
    /// Transactions that a conflict cancelled meanwhile.
    pub conflicts: u64,
    /// How long the measurement took.
    pub time: Duration,
    /// How many cells the sum had at the end.
    pub cells: usize,
    /// The sum: that of all updates that were acknowledged.
    pub sum: u64,
}

impl MeasuredContention {
    /// Updates a second.
    #[must_use]
    pub fn throughput(&self) -> f64 {
        f64::from(u32::try_from(self.updates).unwrap_or(u32::MAX)) / self.time.as_secs_f64()
    }

    /// Conflicts per update.
    #[must_use]
    pub fn conflicts_per_update(&self) -> f64 {
        let number = |count| f64::from(u32::try_from(count).unwrap_or(u32::MAX));
        number(self.conflicts) / number(self.updates.max(1))
    }
}

impl fmt::Display for MeasuredContention {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "at most {:3} cells: {:.0} updates a second, {:.3} conflicts per update, {} cells, sum {} \
             exact",
            self.max_cells,
            self.throughput(),
            self.conflicts_per_update(),
            self.cells,
            self.sum,
        )
    }
}

/// Measures with sums of at most this many cells.
///
/// # Errors
/// An update fails for good, or the sum is wrong.
pub async fn measure(
    options: &ContentionOptions,
    max_cells: u8,
) -> anyhow::Result<MeasuredContention> {
    let endpoint = local_dynamodb::start_in_memory().await?;
    let direct = local_dynamodb::client(&endpoint);
    local_dynamodb::create_table(&direct, TABLE).await?;
    let proxy = Proxy::start(&endpoint).await?;
    proxy.set_hold(Some(Duration::from_millis(options.hold)));
    let settings = Settings { max_cells, ..Settings::new(TABLE, PeriodLength::DEFAULT) };

    let stop = Arc::new(AtomicBool::new(false));
    let acknowledged = Arc::new(AtomicU64::new(0));
    let stores: Vec<_> = (0..options.processes.max(1))
        .map(|_| {
            // Processes share no connections.
            let client = local_dynamodb::client(proxy.endpoint());
            Arc::new(Store::new(client, settings.clone(), Rng::new()))
        })
        .collect();
    let mut writers = JoinSet::new();
    for (writer, store) in (0..options.writers).zip(stores.iter().cycle()) {
        let (store, stop, acknowledged) = (store.clone(), stop.clone(), acknowledged.clone());
        writers.spawn(async move { write(&store, writer, &stop, &acknowledged).await });
    }

    tokio::time::sleep(Duration::from_secs(options.warm_up)).await;
    let (from, conflicts_before) = (acknowledged.load(Relaxed), proxy.counts().hold_conflicts);
    let started = Instant::now();
    tokio::time::sleep(Duration::from_secs(options.seconds)).await;
    let time = started.elapsed();
    let (to, conflicts) = (acknowledged.load(Relaxed), proxy.counts().hold_conflicts);
    stop.store(true, Relaxed);
    while let Some(written) = writers.join_next().await {
        written??;
    }

    let sum = acknowledged.load(Relaxed);
    let shown = total(&Store::new(direct.clone(), settings, Rng::new())).await?;
    ensure!(shown == sum.to_string(), "stored {shown}, acknowledged {sum}");
    Ok(MeasuredContention {
        max_cells,
        updates: to - from,
        conflicts: conflicts - conflicts_before,
        time,
        cells: count_cells(&direct).await?,
        sum,
    })
}

async fn write(
    store: &Store,
    writer: usize,
    stop: &AtomicBool,
    acknowledged: &AtomicU64,
) -> anyhow::Result<()> {
    let id = Id::new(&format!("writer-{writer}"))?;
    let update = Update::from_json(ADD_ONE.as_bytes())?;
    while !stop.load(Relaxed) {
        let deadline = Deadline::after(Duration::from_secs(25));
        match store.update(&id, &update, None, NOW, deadline).await {
            Ok(_) => acknowledged.fetch_add(1, Relaxed),
            // With one cell, some updates don't get through.
            Err(StoreError::Unavailable(_)) => continue,
            Err(error) => return Err(error.into()),
        };
    }
    Ok(())
}

async fn total(store: &Store) -> anyhow::Result<String> {
    let deadline = Deadline::after(Duration::from_secs(20));
    let summary = store.summary(&DimensionName::new("d")?, NOW, deadline).await?;
    let sums = summary.total().counters.values();
    Ok(sums.map(Sum::to_string).next().unwrap_or_default())
}

async fn count_cells(client: &Client) -> anyhow::Result<usize> {
    let update = Update::from_json(ADD_ONE.as_bytes())?;
    let (dimension, key) = update.dims.into_iter().next().context("one dimension")?;
    let of = RollupKey { dimension, key };
    let mut cells = 0;
    for cell in (0..Cell::MOST).filter_map(Cell::new) {
        let key = ItemKey::counters(&of, cell).attributes();
        let got = client.get_item().table_name(TABLE).set_key(Some(key)).send().await?;
        cells += usize::from(got.item.is_some());
    }
    Ok(cells)
}
