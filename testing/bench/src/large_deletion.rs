//! `cargo xtask large-deletion`: stats of many rollups are deleted while updates of others go on.
//! The deletion is killed twice. All other numbers have to be exact before and after.

use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, ensure};
use aws_sdk_dynamodb::Client;
use clap::Args;
use fastrand::Rng;
use shared::{
    domain::{
        DeletionOfAllIds, DimensionName, Id, PeriodLength, RollupKey, StatName, StatPattern, Sum,
        UnixSeconds, Update,
    },
    store::{
        Deadline, Deleted, DeletionMode, DeletionRun, Pacer, Settings, Store, StoreError,
        Submission,
    },
};
use tokio::{sync::Notify, task::JoinSet, time::interval};

const TABLE: &str = "large-deletion";
/// How many dimensions an update names: as many as it may.
const DIMENSIONS: usize = 20;
/// How many updates are sent together to fill the table.
const BATCH: usize = 4;
/// How many clients report meanwhile, each for ids of its own.
const CLIENTS: usize = 4;
/// How often each of them does. The embedded database does one thing at a time: if they were faster,
/// the deletion would wait for them.
const BETWEEN_REPORTS: Duration = Duration::from_millis(200);
/// One id in so many has a member in sets that are deleted.
const IDS_PER_MEMBER: usize = 10;
/// As fast as it goes.
const UNBOUNDED: NonZeroU32 = NonZeroU32::MAX;

/// How large the deletion is.
#[derive(Debug, Clone, Args)]
pub struct LargeDeletionOptions {
    /// How many rollups have stats that are deleted: rounded up to a multiple of 80
    #[arg(long, default_value_t = 100_000)]
    pub rollups: usize,
}

/// What came of it.
#[derive(Debug)]
pub struct LargeDeletion {
    /// What a preview has found of the stats of which the deletion is not killed.
    pub preview: Deleted,
    /// What that deletion has deleted.
    pub deleted: Deleted,
    /// Updates that were counted meanwhile.
    pub updates: u64,
}

/// The sums that have to be there, by key.
type Expected = BTreeMap<RollupKey, Sum>;

/// Deletes, and prints what it took.
///
/// # Errors
/// A number is not what it should be, or the database fails.
pub async fn run(options: &LargeDeletionOptions) -> anyhow::Result<LargeDeletion> {
    let endpoint = local_dynamodb::start_in_memory().await?;
    let client = local_dynamodb::client(&endpoint);
    local_dynamodb::create_table(&client, TABLE).await?;
    // Each client has as many ids as the others.
    let ids = (options.rollups / DIMENSIONS).next_multiple_of(CLIENTS);
    let began = Instant::now();
    fill(&client, ids).await?;
    println!("{} rollups of {ids} ids, filled in {:.0?}", ids * DIMENSIONS, began.elapsed());
    let mut expected = expected(ids)?;
    check(&client, &expected, true).await?;

    let reporting = Reporting::start(&client, ids);
    let store = store(&client);
    let whole = DeletionOfAllIds::Stats(StatPattern::new("extra*")?);
    let preview = timed("preview", &store, &whole, DeletionMode::Preview, None).await?;
    let deleted = timed("deletion", &store, &whole, DeletionMode::Delete, None).await?;
    let (mut preview, deleted) = preview.zip(deleted).context("nobody has killed these")?;
    // Ids have become larger meanwhile.
    preview.bytes = deleted.bytes;
    ensure!(preview == deleted, "previewed {preview:?}, deleted {deleted:?}");

    let killed = DeletionOfAllIds::Stats(StatPattern::new("debug_?")?);
    let third = u64::try_from(options.rollups / 3)?;
    for kill_at in [Some(third), Some(third), None] {
        timed("deletion", &store, &killed, DeletionMode::Delete, kill_at).await?;
    }
    let updates = reporting.stop(&mut expected).await?;
    println!("{updates} updates were counted meanwhile");
    check(&client, &expected, false).await?;
    println!("all other numbers are exact");
    Ok(LargeDeletion { preview, deleted, updates })
}

fn store(client: &Client) -> Store {
    Store::new(client.clone(), Settings::new(TABLE, PeriodLength::DEFAULT), Rng::new())
}

fn now() -> UnixSeconds {
    SystemTime::now().into()
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(300))
}

fn id(number: usize) -> anyhow::Result<Id> {
    Ok(Id::new(&format!("id{number}"))?)
}

/// The dimensions of an id, each with a key of the id's own.
fn dims(number: usize) -> String {
    let dims = (0..DIMENSIONS).map(|dimension| format!(r#""d{dimension}":"k{number}""#));
    dims.collect::<Vec<_>>().join(",")
}

async fn fill(client: &Client, ids: usize) -> anyhow::Result<()> {
    let store = store(client);
    let numbers: Vec<_> = (0..ids).collect();
    for batch in numbers.chunks(BATCH) {
        let mut updates = Vec::new();
        for number in batch {
            let members = match number % IDS_PER_MEMBER {
                0 => r#","members":{"extra_users":"somebody"}"#,
                _ => "",
            };
            let body = format!(
                r#"{{"dims":{{{}}},"counters":{{"keep":{number},"debug_a":1,"debug_b":2,"extra":3}}{members}}}"#,
                dims(*number)
            );
            updates.push((id(*number)?, Update::from_json(body.as_bytes())?));
        }
        let submissions =
            updates.iter().map(|(id, update)| Submission { id, update, idempotency: None });
        let submissions: Vec<_> = submissions.collect();
        for result in Box::pin(store.update_all(&submissions, now(), soon())).await {
            result?;
        }
    }
    Ok(())
}

fn expected(ids: usize) -> anyhow::Result<Expected> {
    let mut expected = Expected::new();
    for number in 0..ids {
        let update = Update::from_json(format!(r#"{{"dims":{{{}}}}}"#, dims(number)).as_bytes())?;
        for (dimension, key) in update.dims {
            expected.insert(RollupKey { dimension, key }, Sum::from(i64::try_from(number)?));
        }
    }
    Ok(expected)
}

/// Compares all that counts with what is expected, and audits the table.
async fn check(client: &Client, expected: &Expected, has_others: bool) -> anyhow::Result<()> {
    let (store, keep) = (store(client), StatName::new("keep")?);
    let mut keys = 0;
    for dimension in 0..DIMENSIONS {
        let dimension = DimensionName::new(&format!("d{dimension}"))?;
        let summary = Box::pin(store.summary(&dimension, now(), soon())).await?;
        for (key, stats) in summary.keys() {
            let of = RollupKey { dimension: dimension.clone(), key: key.clone() };
            let sum = stats.counters.get(&keep);
            ensure!(sum == expected.get(&of), "{of:?}: {sum:?}");
            let others = stats.counters.len() - 1 + stats.members.len();
            ensure!((others > 0) == has_others, "{of:?} has {others} stats besides");
            keys += 1;
        }
    }
    ensure!(keys == expected.len(), "{keys} keys");
    let found = local_dynamodb::audit(client, TABLE).await?;
    ensure!(found.is_empty(), "the audit found {} differences", found.len());
    Ok(())
}

/// Deletes or previews, and prints how long it took and how many units; none if it was killed, after
/// it had taken something out of so many rollups.
async fn timed(
    what: &str,
    store: &Store,
    deletion: &DeletionOfAllIds,
    mode: DeletionMode,
    kill_at: Option<u64>,
) -> anyhow::Result<Option<Deleted>> {
    let (began, enough) = (Instant::now(), Notify::new());
    let mut pacer = Pacer::new(UNBOUNDED);
    let mut watch = |deleted: &Deleted, _| {
        if kill_at.is_some_and(|enough| deleted.rollups >= enough) {
            enough.notify_one();
        }
    };
    let mut run = DeletionRun {
        mode,
        clock: now,
        pacer: &mut pacer,
        patience: Duration::from_secs(60),
        deleted: Deleted::default(),
        watch: &mut watch,
    };
    let result: Option<Result<(), StoreError>> = tokio::select! {
        biased;
        () = enough.notified() => None,
        result = Box::pin(store.delete_of_all_ids(deletion, &mut run)) => Some(result),
    };
    let deleted = run.deleted;
    let Deleted { ids, rollups, sums, members, .. } = deleted;
    let (read, write) = (pacer.read_units(), pacer.write_units());
    let end = if result.is_some() { "done" } else { "killed" };
    println!(
        "{what}, {end} after {:.0?}: {sums} sums and {members} members in {rollups} rollups of {ids} ids; {read} read \
         units, {write} write units",
        began.elapsed()
    );
    result.transpose()?;
    Ok((end == "done").then_some(deleted))
}

/// Clients that report meanwhile.
struct Reporting {
    clients: JoinSet<anyhow::Result<BTreeMap<usize, i64>>>,
    is_over: Arc<AtomicBool>,
}

impl Reporting {
    fn start(client: &Client, ids: usize) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let (client, is_over) = (client.clone(), Arc::clone(&is_over));
            clients.spawn(Box::pin(report(client, number, ids, is_over)));
        }
        Self { clients, is_over }
    }

    /// Ends, adds what was counted to what is expected, and returns how many updates that were.
    async fn stop(mut self, expected: &mut Expected) -> anyhow::Result<u64> {
        self.is_over.store(true, Relaxed);
        let mut updates = 0;
        while let Some(counted) = self.clients.join_next().await {
            for (number, count) in counted?? {
                let body = format!(r#"{{"dims":{{{}}}}}"#, dims(number));
                for (dimension, key) in Update::from_json(body.as_bytes())?.dims {
                    let sum = expected.entry(RollupKey { dimension, key }).or_default();
                    *sum = sum.checked_add(Sum::from(count))?;
                }
                updates += u64::try_from(count)?;
            }
        }
        Ok(updates)
    }
}

/// Reports for some of the ids, one after the other, until it is over. How often it did for each.
async fn report(
    client: Client,
    client_number: usize,
    ids: usize,
    is_over: Arc<AtomicBool>,
) -> anyhow::Result<BTreeMap<usize, i64>> {
    let store = store(&client);
    let mut counted: BTreeMap<usize, i64> = BTreeMap::new();
    let mut random = Rng::new();
    let mut ticks = interval(BETWEEN_REPORTS);
    while !is_over.load(Relaxed) {
        ticks.tick().await;
        let number = random.usize(..ids) / CLIENTS * CLIENTS + client_number;
        let body = format!(r#"{{"dims":{{{}}},"increments":{{"keep":1}}}}"#, dims(number));
        let update = Update::from_json(body.as_bytes())?;
        Box::pin(store.update(&id(number)?, &update, None, now(), soon())).await?;
        *counted.entry(number).or_default() += 1;
    }
    Ok(counted)
}
