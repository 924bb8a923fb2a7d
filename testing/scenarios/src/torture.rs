//! `cargo xtask torture`: random updates against a store whose DynamoDB fails in every way that the
//! real one does. A seed stands for a round. After each step of a round, what is stored is compared
//! with the model.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::{self, Write as _},
    ops::AddAssign,
    time::Duration,
};

use anyhow::{Context, anyhow, bail, ensure};
use aws_sdk_dynamodb::Client;
use fastrand::Rng;
use fault_proxy::{Counts, FaultPlan, Probabilities, Proxy, Rates, Throughput};
use futures_util::future::join_all;
use model::{
    Numbers, Population, PopulationDimension, ReferenceModel, Reporter, ShownGroup, StatPlace,
    UpdateBody, differences, without_zeros,
};
use shared::{
    domain::{
        DimensionName, Fingerprint, Id, IdempotencyKey, PeriodLength, StatName, Sum, UnixSeconds,
        Update,
    },
    store::{Deadline, Pace, Settings, Store, StoreError, Submission},
    table::{ItemKey, decode_detail},
};

const TABLE: &str = "torture";
const IDS: usize = 8;
const DIMENSIONS: [&str; 3] = ["country", "user", "os"];
/// The length of a period of gauges, in seconds.
const PERIOD: u64 = 360;
/// How many steps a round has. In each, several updates run at once.
const STEPS: usize = 10;
/// How often a client sends an update with an idempotency key before it gives up.
const MOST_ATTEMPTS: u32 = 60;
/// The probability of each class of faults: one of these in each round.
const INTENSITIES: [f64; 4] = [0.01, 0.03, 0.05, 0.08];
/// The deadline of a request that will be sent again. Each time it is a quarter longer, so that a
/// busy machine gets there too.
const DEADLINE: Duration = Duration::from_millis(1_000);
/// The deadline of a request that will not, in milliseconds: often too short, since that is to be
/// tested too.
const DEADLINE_OF_ONE: std::ops::Range<u64> = 20..300;

/// What happened in rounds.
#[derive(Debug, Clone, Default)]
pub struct TortureReport {
    /// How many rounds.
    pub rounds: u64,
    /// Updates that were acknowledged: those with a key after any number of attempts.
    pub acknowledged: u64,
    /// Updates without a key that were refused: not counted, their errors said.
    pub refused: u64,
    /// Updates without a key that may have been counted, their errors said.
    pub indeterminate: u64,
    /// How many of those had been counted.
    pub indeterminate_counted: u64,
    /// How often the client sent an update again.
    pub retries: u64,
    /// Copies of an update that were sent at the same time.
    pub copies: u64,
    /// Updates that were sent together with others.
    pub in_batches: u64,
    /// Cells that were folded.
    pub folded: u64,
    /// Dimensions that were narrowed to fewer partitions.
    pub narrowed: u64,
    /// Keys from which expired gauges were removed.
    pub swept: u64,
    /// Numbers that were compared.
    pub compared: u64,
    /// What the proxies saw and did.
    pub proxies: Counts,
}

impl AddAssign for TortureReport {
    fn add_assign(&mut self, other: Self) {
        self.rounds += other.rounds;
        self.acknowledged += other.acknowledged;
        self.refused += other.refused;
        self.indeterminate += other.indeterminate;
        self.indeterminate_counted += other.indeterminate_counted;
        self.retries += other.retries;
        self.copies += other.copies;
        self.in_batches += other.in_batches;
        self.folded += other.folded;
        self.narrowed += other.narrowed;
        self.swept += other.swept;
        self.compared += other.compared;
        self.proxies += other.proxies;
    }
}

impl fmt::Display for TortureReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{} seeds, {} numbers compared\nupdates: {} acknowledged, {} refused, {} indeterminate \
             (of which {} counted), {} retries, {} copies at once, {} in batches\n{} cells folded, {} dimensions narrowed, {} keys \
             swept",
            self.rounds,
            self.compared,
            self.acknowledged,
            self.refused,
            self.indeterminate,
            self.indeterminate_counted,
            self.retries,
            self.copies,
            self.in_batches,
            self.folded,
            self.narrowed,
            self.swept,
        )?;
        self.proxies.fmt(f)
    }
}

/// Plays the round of a seed.
///
/// # Errors
/// What is stored is not what was counted, or something failed that should not have.
pub async fn play(seed: u64) -> anyhow::Result<TortureReport> {
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
    /// A client of DynamoDB without faults.
    direct: Client,
    /// Two stores, as of two processes, behind the proxy.
    stores: [Store; 2],
    reader: Store,
    population: Population,
    reporters: Vec<Reporter>,
    model: ReferenceModel,
    now: u64,
    keys: u64,
    report: TortureReport,
}

/// Updates of one request, and how and to which store they are sent.
#[derive(Debug)]
struct Attempted {
    /// Each with its id. One is the usual case; several are a batch.
    updates: Vec<(String, UpdateBody)>,
    sending: HowSent,
    store: usize,
}

/// How a client sends updates.
#[derive(Debug, Clone)]
enum HowSent {
    /// Once, with this deadline.
    Once(Duration),
    /// With this key, again and again until all are acknowledged.
    UntilAcknowledged(String),
    /// Several copies at once with this key, each until it is acknowledged.
    Copies(String),
}

/// What the client was told of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ClientOutcome {
    Acknowledged,
    Refused,
    Indeterminate,
}

/// What the client was told of the updates of a request.
#[derive(Debug)]
struct Told {
    outcomes: Vec<ClientOutcome>,
    retries: u64,
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
        // In half of the rounds, partitions get full.
        let throughput = random.bool().then(|| Throughput::REAL.times(0.02 + 0.1 * random.f64()));
        proxy.set_throughput(throughput);

        let settings = settings();
        let config = settings.pace.client_config(local_dynamodb::client_config(proxy.endpoint()));
        let client = Client::from_conf(config.build());
        let mut store = || Store::new(client.clone(), settings.clone(), random.fork());
        let stores = [store(), store()];
        let population = population();
        let reporters = (0..IDS)
            .map(|id| Reporter::new(format!("id-{id}"), &population, &mut random))
            .collect();
        Ok(Self {
            stores,
            population,
            reporters,
            reader: Store::new(direct.clone(), settings.clone(), random.fork()),
            random,
            proxy,
            direct,
            model: ReferenceModel::new(PERIOD),
            now: 1_800_000_000,
            keys: 0,
            report: TortureReport::default(),
        })
    }

    async fn step(&mut self) -> anyhow::Result<()> {
        match self.random.u8(..8) {
            0 => self.now += 60,
            1 => self.now += PERIOD,
            2 => self.keep_house().await?,
            _ => {}
        }
        let requests = self.requests();
        let told = join_all(requests.iter().map(|attempted| async {
            let store = self.stores.get(attempted.store).context("no such store")?;
            send(store, attempted, self.now).await
        }));
        let told = told.await.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
        self.proxy.settle().await;

        let mut history = String::new();
        let mut updates = Vec::new();
        for (attempted, told) in requests.iter().zip(&told) {
            let is_copied = matches!(attempted.sending, HowSent::Copies(_));
            self.report.retries += told.retries;
            for ((id, update), outcome) in attempted.updates.iter().zip(&told.outcomes) {
                let Attempted { sending, store, .. } = attempted;
                write!(history, "\nstore {store}, {id} {}: ", update.json())?;
                write!(history, "{sending:?}: {outcome:?}")?;
                let is_acknowledged = *outcome == ClientOutcome::Acknowledged;
                self.report.acknowledged += u64::from(is_acknowledged);
                self.report.copies += u64::from(is_acknowledged && is_copied);
                self.report.refused += u64::from(*outcome == ClientOutcome::Refused);
                self.report.in_batches += u64::from(attempted.updates.len() > 1);
                updates.push((id.as_str(), update, *outcome));
            }
        }
        self.compare(&updates).await.with_context(|| history)
    }

    /// Requests that run at once, each with updates of other ids.
    fn requests(&mut self) -> Vec<Attempted> {
        let mut reporters: Vec<_> = self.reporters.iter_mut().collect();
        self.random.shuffle(&mut reporters);
        reporters.truncate(self.random.usize(1..5));
        // In a batch, an id may have several updates.
        let is_batch = self.random.u8(..3) == 0;
        let groups: Vec<Vec<&mut Reporter>> = match is_batch {
            true => vec![reporters],
            false => reporters.into_iter().map(|reporter| vec![reporter]).collect(),
        };
        let request = |group: Vec<&mut Reporter>| {
            self.keys += 1;
            let key = self.keys.to_string();
            let sending = match self.random.u8(..6) {
                0 => HowSent::Copies(key),
                1 | 2 => HowSent::UntilAcknowledged(key),
                _ => HowSent::Once(Duration::from_millis(self.random.u64(DEADLINE_OF_ONE))),
            };
            let mut updates = Vec::new();
            for reporter in group {
                for _ in 0..if is_batch { self.random.usize(1..3) } else { 1 } {
                    // Some members of a large update that fails may be counted, so it is sent until
                    // it is acknowledged.
                    let large = !matches!(sending, HowSent::Once(_)) && self.random.u8(..12) == 0;
                    let update = match large {
                        true => reporter.next_large(&self.population, &mut self.random),
                        false => reporter.next(&self.population, &mut self.random),
                    };
                    updates.push((reporter.id().to_owned(), update));
                }
            }
            Attempted { updates, sending, store: self.random.usize(..2) }
        };
        groups.into_iter().map(request).collect()
    }

    /// Keeps house some times, so far apart that no reader is left who began before the last time.
    async fn keep_house(&mut self) -> anyhow::Result<()> {
        for _ in 0..self.random.usize(1..4) {
            self.now += 1_800;
            let store = self.stores.first().context("no store")?;
            let now = UnixSeconds(self.now);
            let done = store.keep_house(|| now, Deadline::after(DEADLINE)).await;
            // It may fail; the next run goes on.
            for (_, kept) in done.unwrap_or_default() {
                if let Ok(kept) = kept {
                    self.report.folded += u64::try_from(kept.folded.emptied)?;
                    self.report.narrowed += u64::from(kept.narrowed_to.is_some());
                    self.report.swept += u64::try_from(kept.swept)?;
                }
            }
            self.proxy.settle().await;
        }
        Ok(())
    }

    /// Compares what is stored with what was counted of these updates, and finds out which of those
    /// with an unknown fate were. The values of the ids are compared too: not every update changes a
    /// rollup.
    async fn compare(
        &mut self,
        updates: &[(&str, &UpdateBody, ClientOutcome)],
    ) -> anyhow::Result<()> {
        let stored = without_zeros(&self.stored().await?);
        let ids: BTreeSet<_> = updates.iter().map(|(id, ..)| *id).collect();
        let values = join_all(ids.iter().map(|id| self.values(id))).await;
        let values = values.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
        self.report.compared += u64::try_from(stored.len())?;
        let is_unknown = |outcome: &ClientOutcome| *outcome == ClientOutcome::Indeterminate;
        let unknown = updates.iter().filter(|(.., outcome)| is_unknown(outcome)).count();
        let mut nearest = None;
        for counted in 0_u32..1 << unknown {
            let mut world = self.model.clone();
            let mut fates = (0..unknown).map(|place| counted & (1 << place) != 0);
            for (id, update, outcome) in updates {
                let is_counted = match outcome {
                    ClientOutcome::Acknowledged => true,
                    ClientOutcome::Refused => false,
                    ClientOutcome::Indeterminate => fates.next().context("no fate")?,
                };
                if is_counted {
                    world.count(id, update, self.now);
                }
            }
            let expected = without_zeros(&world.numbers(self.now));
            let same_values =
                ids.iter().zip(&values).all(|(id, values)| world.values(id, self.now) == *values);
            if same_values && expected == stored {
                self.model = world;
                self.report.indeterminate += u64::try_from(unknown)?;
                self.report.indeterminate_counted += u64::from(counted.count_ones());
                return Ok(());
            }
            nearest.get_or_insert_with(|| shown(&expected, &stored));
        }
        let before: Vec<_> = ids.iter().map(|id| self.model.values(id, self.now)).collect();
        bail!(
            "stored is not what was counted: {}\nvalues of {ids:?}: before {before:?}, stored {values:?}",
            nearest.unwrap_or_default(),
        )
    }

    /// The last values of an id, in the form of [`ReferenceModel::values`].
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
        for name in DIMENSIONS {
            let dimension = DimensionName::new(name)?;
            let deadline = Deadline::after(Duration::from_secs(20));
            let summary = self.reader.summary(&dimension, UnixSeconds(self.now), deadline).await?;
            let keys = summary.keys().map(|(key, stats)| (key.to_string(), stats));
            for (key, stats) in keys.chain([("total".to_owned(), summary.total())]) {
                let groups = [
                    (ShownGroup::Counters, &stats.counters),
                    (ShownGroup::Gauges, &stats.gauges),
                    (ShownGroup::GaugesCurrent, &stats.gauges_current),
                    (ShownGroup::Members, &stats.members),
                ];
                for (group, sums) in groups {
                    for (stat, sum) in sums {
                        let place = StatPlace {
                            dimension: name.to_owned(),
                            key: key.clone(),
                            group,
                            stat: stat.to_string(),
                        };
                        numbers.insert(place, number(stat, *sum)?);
                    }
                }
            }
        }
        Ok(numbers)
    }
}

/// Ids that move often, between few keys.
fn population() -> Population {
    let dimensions = DIMENSIONS
        .map(|name| PopulationDimension { moves: 0.125, ..PopulationDimension::restless(name, 3) });
    Population { dimensions: dimensions.into(), visitors: 400, large: 60..120, crowd: (80, 400) }
}

/// Waits and time-outs are so short that a round takes seconds.
fn settings() -> Settings {
    let pace = Pace {
        connect: Duration::from_secs(1),
        attempt: Duration::from_secs(2),
        first_wait: Duration::from_millis(2),
        longest_wait: Duration::from_millis(20),
        throttled: Duration::from_secs(3),
        settling: Duration::from_millis(100),
    };
    Settings { pace, ..Settings::new(TABLE, PeriodLength::DEFAULT) }
}

async fn send(store: &Store, attempted: &Attempted, now: u64) -> anyhow::Result<Told> {
    match &attempted.sending {
        HowSent::Once(deadline) => {
            let outcomes = once(store, attempted, None, now, *deadline).await?;
            Ok(Told { outcomes, retries: 0 })
        }
        HowSent::UntilAcknowledged(key) => until_acknowledged(store, attempted, key, now).await,
        HowSent::Copies(key) => {
            let copies = (0..3).map(|_| until_acknowledged(store, attempted, key, now));
            let copies = join_all(copies).await.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
            let retries = copies.iter().map(|told| told.retries).sum();
            let outcomes = copies.into_iter().next().context("no copy")?.outcomes;
            Ok(Told { outcomes, retries })
        }
    }
}

async fn until_acknowledged(
    store: &Store,
    attempted: &Attempted,
    key: &str,
    now: u64,
) -> anyhow::Result<Told> {
    for retries in 0_u32.. {
        let deadline = DEADLINE + DEADLINE / 4 * retries;
        let outcomes = once(store, attempted, Some(key), now, deadline).await?;
        if outcomes.iter().all(|outcome| *outcome == ClientOutcome::Acknowledged) {
            return Ok(Told { outcomes, retries: retries.into() });
        }
        ensure!(retries < MOST_ATTEMPTS, "{attempted:?} is never acknowledged");
    }
    unreachable!("the loop has no other end")
}

async fn once(
    store: &Store,
    attempted: &Attempted,
    key: Option<&str>,
    now: u64,
    deadline: Duration,
) -> anyhow::Result<Vec<ClientOutcome>> {
    let mut parsed = Vec::new();
    for (place, (id, update)) in attempted.updates.iter().enumerate() {
        let body = update.json();
        let key = key.map(|key| IdempotencyKey::new(&format!("{key}-{place}"))).transpose()?;
        let fingerprint = Fingerprint::of(body.as_bytes());
        parsed.push((Id::new(id)?, Update::from_json(body.as_bytes())?, key, fingerprint));
    }
    let submissions = parsed.iter().map(|(id, update, key, fingerprint)| Submission {
        id,
        update,
        idempotency: key.as_ref().map(|key| (key, *fingerprint)),
    });
    let submissions: Vec<_> = submissions.collect();
    let deadline = Deadline::after(deadline);
    let results = store.update_all(&submissions, UnixSeconds(now), deadline).await;
    let outcomes = results.into_iter().map(|result| match result {
        Ok(_) => Ok(ClientOutcome::Acknowledged),
        Err(StoreError::Indeterminate(_)) => Ok(ClientOutcome::Indeterminate),
        // Some of its members may be counted nevertheless.
        Err(StoreError::Unavailable(_) | StoreError::Throttled(_) | StoreError::Unfinished(_)) => {
            Ok(ClientOutcome::Refused)
        }
        Err(error) => Err(anyhow!(error).context(format!("{attempted:?} failed"))),
    });
    outcomes.collect()
}

fn number(stat: &StatName, sum: Sum) -> anyhow::Result<i128> {
    sum.to_string().parse().with_context(|| format!("the sum {sum} of {stat}"))
}

/// One line for each number that is not as it was counted.
fn shown(expected: &Numbers, stored: &Numbers) -> String {
    let differences = differences(expected, stored).into_iter().map(|difference| {
        let StatPlace { dimension, group, .. } = &difference.place;
        format!("\n{dimension} {}: {difference}", group.name())
    });
    differences.collect()
}
