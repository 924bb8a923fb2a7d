//! A round: random updates from one seed against a store whose DynamoDB fails, compared with a model after
//! each step.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    ops::AddAssign,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use anyhow::{Context, anyhow, bail, ensure};
use aws_sdk_dynamodb::Client;
use fastrand::Rng;
use fault_proxy::{Counts, FaultPlan, Probabilities, Proxy, Rates};
use futures_util::future::join_all;
use shared::{
    domain::{
        DimensionName, Fingerprint, Id, IdempotencyKey, PeriodLength, StatName, Sum, UnixSeconds,
        Update as Parsed,
    },
    store::{Deadline, Pace, Settings, Store, StoreError},
    table::{ItemKey, decode_detail},
};

use crate::model::{Model, Numbers, Update};

const TABLE: &str = "torture";
const IDS: usize = 8;
/// Batches of updates in a round; the updates of one run at once.
const STEPS: usize = 10;
/// How often an update with a key is sent until it is acknowledged.
const MOST_ATTEMPTS: u32 = 60;
/// The probabilities of each class of faults; a round has one of them.
const INTENSITIES: [f64; 4] = [0.01, 0.03, 0.05, 0.08];
/// The deadline of a request that will be sent again. Each time it has a quarter more, so that a busy
/// machine gets there too.
const DEADLINE: Duration = Duration::from_millis(1_000);
/// The deadline of one that will not, in milliseconds: often too short, so that its end is tested too.
const DEADLINE_OF_ONE: std::ops::Range<u64> = 20..300;

/// What rounds did.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// How many.
    pub rounds: u64,
    /// Updates that were acknowledged, those with a key after any number of attempts.
    pub acknowledged: u64,
    /// Updates without a key that failed and were not counted, as their errors said.
    pub refused: u64,
    /// Updates without a key of which nobody knew whether they were counted.
    pub indeterminate: u64,
    /// Of those, how many had been counted.
    pub indeterminate_counted: u64,
    /// Updates that were sent again by the client.
    pub retries: u64,
    /// Copies of an update that were sent at the same time.
    pub copies: u64,
    /// Cells that were folded.
    pub folded: u64,
    /// Numbers that were compared.
    pub compared: u64,
    /// What the proxies saw and did.
    pub proxies: Counts,
}

impl AddAssign for Report {
    fn add_assign(&mut self, other: Self) {
        self.rounds += other.rounds;
        self.acknowledged += other.acknowledged;
        self.refused += other.refused;
        self.indeterminate += other.indeterminate;
        self.indeterminate_counted += other.indeterminate_counted;
        self.retries += other.retries;
        self.copies += other.copies;
        self.folded += other.folded;
        self.compared += other.compared;
        self.proxies += other.proxies;
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} seeds, {} numbers compared\nupdates: {} acknowledged, {} refused, {} indeterminate \
             (of which {} counted), {} retries, {} copies at once\n{} cells folded",
            self.rounds,
            self.compared,
            self.acknowledged,
            self.refused,
            self.indeterminate,
            self.indeterminate_counted,
            self.retries,
            self.copies,
            self.folded,
        )?;
        self.proxies.fmt(f)
    }
}

/// Plays the round of a seed.
///
/// # Errors
/// What is stored is not what was counted, or a fault made something fail that should not.
pub async fn play(seed: u64) -> anyhow::Result<Report> {
    let mut round = Round::start(seed).await?;
    for step in 0..STEPS {
        round.step().await.with_context(|| format!("seed {seed}, step {step}"))?;
    }
    let discrepancies = local_dynamodb::audit(&round.direct, TABLE).await?;
    ensure!(discrepancies.is_empty(), "seed {seed}: the audit found {discrepancies:?}");
    round.report.proxies = round.proxy.counts();
    round.report.rounds = 1;
    Ok(round.report)
}

struct Round {
    random: Rng,
    proxy: Proxy,
    /// A client that meets no faults.
    direct: Client,
    /// Stores as of two processes, through the proxy.
    stores: [Store; 2],
    reader: Store,
    model: Model,
    now: u64,
    keys: u64,
    report: Report,
}

/// How a client sends an update.
#[derive(Debug, Clone)]
enum Sending {
    /// Once, with this deadline.
    Once(Duration),
    /// With this key, again and again until it is acknowledged.
    UntilAcknowledged(String),
    /// Several times at once with this key, and again until it is acknowledged.
    Copies(String),
}

#[derive(Debug)]
enum Sent {
    Acknowledged { retries: u64 },
    Refused,
    Indeterminate,
}

impl Round {
    async fn start(seed: u64) -> anyhow::Result<Self> {
        let mut random = Rng::with_seed(seed);
        let endpoint = local_dynamodb::start_in_memory().await?;
        let direct = local_dynamodb::client(&endpoint);
        local_dynamodb::create_table(&direct, TABLE).await?;
        let proxy = Proxy::start(&endpoint).await?;
        let intensity = INTENSITIES.get(random.usize(..INTENSITIES.len())).copied();
        let probabilities = Probabilities::each(intensity.unwrap_or_default());
        let rates = Rates {
            delay: Duration::ZERO..=Duration::from_millis(20),
            late: Duration::ZERO..=Duration::from_millis(80),
            ..Rates::same(probabilities)
        };
        proxy.set_plan(FaultPlan::random(random.u64(..), rates));

        let settings = settings();
        let config = settings.pace.client_config(local_dynamodb::client_config(proxy.endpoint()));
        let client = Client::from_conf(config.build());
        let mut store = || Store::new(client.clone(), settings.clone(), random.fork());
        Ok(Self {
            stores: [store(), store()],
            reader: Store::new(direct.clone(), settings.clone(), random.fork()),
            random,
            proxy,
            direct,
            model: Model::default(),
            now: 1_800_000_000,
            keys: 0,
            report: Report::default(),
        })
    }

    async fn step(&mut self) -> anyhow::Result<()> {
        match self.random.u8(..8) {
            0 => self.now += 60,
            1 => self.now += 360,
            2 => self.fold().await?,
            _ => {}
        }
        let batch = self.batch();
        let sent = join_all(batch.iter().map(|(update, sending, store)| async {
            let store = self.stores.get(*store).context("no such store")?;
            send(store, update, sending, self.now).await
        }));
        let sent = sent.await.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
        self.proxy.settle().await;

        let sent_and_told: Vec<_> = batch
            .iter()
            .zip(&sent)
            .map(|((update, sending, store), sent)| {
                format!("\nstore {store}, {} {}: {sending:?}: {sent:?}", update.id, update.body())
            })
            .collect();
        let mut unknown = Vec::new();
        for ((update, sending, _), sent) in batch.iter().zip(sent) {
            match sent {
                Sent::Acknowledged { retries } => {
                    self.report.acknowledged += 1;
                    self.report.retries += retries;
                    self.report.copies += u64::from(matches!(sending, Sending::Copies(_)));
                    self.model.count(update, self.now);
                }
                Sent::Refused => self.report.refused += 1,
                Sent::Indeterminate => unknown.push(update),
            }
        }
        let ids: Vec<_> = batch.iter().map(|(update, ..)| update.id.as_str()).collect();
        self.compare(&unknown, &ids).await.with_context(|| sent_and_told.concat())
    }

    fn batch(&mut self) -> Vec<(Update, Sending, usize)> {
        let mut ids: Vec<_> = (0..IDS).collect();
        self.random.shuffle(&mut ids);
        ids.truncate(self.random.usize(1..5));
        let of_id = |id| {
            self.keys += 1;
            let key = self.keys.to_string();
            let sending = match self.random.u8(..6) {
                0 => Sending::Copies(key),
                1 | 2 => Sending::UntilAcknowledged(key),
                _ => Sending::Once(Duration::from_millis(self.random.u64(DEADLINE_OF_ONE))),
            };
            // Of a large update that failed, some members may have been counted.
            let large = !matches!(sending, Sending::Once(_)) && self.random.u8(..12) == 0;
            let update = Update::random(id, &mut self.random, large);
            (update, sending, self.random.usize(..2))
        };
        ids.into_iter().map(of_id).collect()
    }

    /// Some steps of folding, at times when no reader is left that began before the last one.
    async fn fold(&mut self) -> anyhow::Result<()> {
        for _ in 0..self.random.usize(1..4) {
            self.now += 1_800;
            for dimension in Model::dimensions() {
                let store = self.stores.first().context("no store")?;
                let dimension = DimensionName::new(dimension)?;
                let now = UnixSeconds(self.now);
                // It may well fail; then it goes on the next time.
                if let Ok(folded) = store.fold(&dimension, || now, Deadline::after(DEADLINE)).await
                {
                    self.report.folded += u64::try_from(folded.removed)?;
                }
            }
            self.proxy.settle().await;
        }
        Ok(())
    }

    /// Compares what is stored with what was counted, and finds out which of the `unknown` updates were.
    /// The values of the `ids` that reported are compared too: not every update changes a rollup.
    async fn compare(&mut self, unknown: &[&Update], ids: &[&str]) -> anyhow::Result<()> {
        let stored = self.stored().await?;
        let values = join_all(ids.iter().map(|id| self.values(id))).await;
        let values = values.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
        self.report.compared += u64::try_from(stored.len())?;
        let mut nearest = None;
        for counted in 0_u32..1 << unknown.len() {
            let mut world = self.model.clone();
            for (i, update) in unknown.iter().enumerate() {
                if counted & (1 << i) != 0 {
                    world.count(update, self.now);
                }
            }
            let expected = world.numbers(self.now);
            let same_values =
                ids.iter().zip(&values).all(|(id, values)| world.values(id, self.now) == *values);
            if same_values && non_zero(&expected) == non_zero(&stored) {
                self.model = world;
                self.report.indeterminate += u64::try_from(unknown.len())?;
                self.report.indeterminate_counted += u64::from(counted.count_ones());
                return Ok(());
            }
            nearest.get_or_insert_with(|| differences(&expected, &stored));
        }
        let counted: Vec<_> = ids.iter().map(|id| self.model.values(id, self.now)).collect();
        bail!(
            "stored is not what was counted: {}\nvalues of {ids:?}: counted {counted:?}, stored {values:?}",
            nearest.unwrap_or_default(),
        )
    }

    /// The last values of an id, as [`Model::values`] has them.
    async fn values(&self, id: &str) -> anyhow::Result<BTreeMap<String, i128>> {
        let key = ItemKey::detail(&Id::new(id)?).attributes();
        let got = self.direct.get_item().table_name(TABLE).set_key(Some(key)).send().await?;
        let Some(item) = got.item else {
            return Ok(BTreeMap::new());
        };
        let detail = decode_detail(&item)?.detail;
        let mut values = BTreeMap::new();
        for (stat, value) in &detail.counters {
            values.insert(stat.to_string(), number(stat, *value)?);
        }
        let period = PeriodLength::DEFAULT.containing(UnixSeconds(self.now));
        if detail.gauge_period == Some(period) {
            for (stat, value) in &detail.gauges {
                values.insert(format!("current {stat}"), number(stat, *value)?);
            }
        }
        Ok(values)
    }

    async fn stored(&self) -> anyhow::Result<Numbers> {
        let mut numbers = Numbers::new();
        for name in Model::dimensions() {
            let dimension = DimensionName::new(name)?;
            let deadline = Deadline::after(Duration::from_secs(20));
            let summary = self.reader.summary(&dimension, UnixSeconds(self.now), deadline).await?;
            let keys = summary.keys().map(|(key, stats)| (key.to_string(), stats));
            for (key, stats) in keys.chain([("total".to_owned(), summary.total())]) {
                let groups = [
                    ("counters", &stats.counters),
                    ("gauges", &stats.gauges),
                    ("gaugesCurrent", &stats.gauges_current),
                    ("members", &stats.members),
                ];
                for (group, sums) in groups {
                    for (stat, sum) in sums {
                        let place = (name.to_owned(), key.clone(), group, stat.to_string());
                        numbers.insert(place, number(stat, *sum)?);
                    }
                }
            }
        }
        Ok(numbers)
    }
}

/// Short enough that a round takes seconds.
fn settings() -> Settings {
    let pace = Pace {
        connect: Duration::from_secs(1),
        attempt: Duration::from_secs(2),
        first_wait: Duration::from_millis(2),
        longest_wait: Duration::from_millis(20),
        settling: Duration::from_millis(100),
    };
    Settings { pace, ..Settings::new(TABLE, PeriodLength::DEFAULT) }
}

async fn send(store: &Store, update: &Update, sending: &Sending, now: u64) -> anyhow::Result<Sent> {
    match sending {
        Sending::Once(deadline) => once(store, update, None, now, *deadline).await,
        Sending::UntilAcknowledged(key) => until_acknowledged(store, update, key, now).await,
        Sending::Copies(key) => {
            let retries = AtomicU64::new(0);
            let copies = (0..3).map(|_| until_acknowledged(store, update, key, now));
            for sent in join_all(copies).await {
                if let Sent::Acknowledged { retries: more } = sent? {
                    retries.fetch_add(more, Relaxed);
                }
            }
            Ok(Sent::Acknowledged { retries: retries.into_inner() })
        }
    }
}

async fn until_acknowledged(
    store: &Store,
    update: &Update,
    key: &str,
    now: u64,
) -> anyhow::Result<Sent> {
    for retries in 0_u32.. {
        let deadline = DEADLINE + DEADLINE / 4 * retries;
        if let Sent::Acknowledged { .. } = once(store, update, Some(key), now, deadline).await? {
            return Ok(Sent::Acknowledged { retries: retries.into() });
        }
        ensure!(retries < MOST_ATTEMPTS, "{update:?} is never acknowledged");
    }
    unreachable!("the loop has no other end")
}

async fn once(
    store: &Store,
    update: &Update,
    key: Option<&str>,
    now: u64,
    deadline: Duration,
) -> anyhow::Result<Sent> {
    let body = update.body();
    let parsed = Parsed::from_json(body.as_bytes())?;
    let key = key.map(IdempotencyKey::new).transpose()?;
    let idempotency = key.as_ref().map(|key| (key, Fingerprint::of(body.as_bytes())));
    let id = Id::new(&update.id)?;
    let deadline = Deadline::after(deadline);
    match store.update(&id, &parsed, idempotency, UnixSeconds(now), deadline).await {
        Ok(_) => Ok(Sent::Acknowledged { retries: 0 }),
        Err(StoreError::Indeterminate(_)) => Ok(Sent::Indeterminate),
        // Members of it may be counted all the same.
        Err(StoreError::Unavailable(_) | StoreError::Throttled(_) | StoreError::Unfinished(_)) => {
            Ok(Sent::Refused)
        }
        Err(error) => Err(anyhow!(error).context(format!("{update:?} failed"))),
    }
}

fn number(stat: &StatName, sum: Sum) -> anyhow::Result<i128> {
    sum.to_string().parse().with_context(|| format!("the sum {sum} of {stat}"))
}

/// A stat that is zero may be shown or not: whoever moved away without a report leaves one that is.
fn non_zero(numbers: &Numbers) -> Numbers {
    let non_zero = numbers.iter().filter(|(_, sum)| **sum != 0);
    non_zero.map(|(place, sum)| (place.clone(), *sum)).collect()
}

fn differences(expected: &Numbers, stored: &Numbers) -> String {
    let (expected, stored) = (non_zero(expected), non_zero(stored));
    let all = expected.keys().chain(stored.keys()).collect::<BTreeSet<_>>();
    let get = |numbers: &Numbers, place| numbers.get(place).copied().unwrap_or_default();
    let pairs = all.into_iter().map(|place| (place, get(&expected, place), get(&stored, place)));
    let lines = pairs.filter(|(_, expected, stored)| expected != stored).map(
        |(place, expected, stored)| format!("\n{place:?}: counted {expected}, stored {stored}"),
    );
    lines.collect()
}
