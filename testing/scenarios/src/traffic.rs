//! Load for a service that is disturbed meanwhile: clients that send every update until it is
//! acknowledged, always under the same key, and know what all of it has to add up to.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{bail, ensure};
use fastrand::Rng;

use crate::{
    expected::{Answer, Expected, Update, Values, quiet_period},
    http::{Client, PostAnswer},
};

/// How long an update may take, over all of its attempts, before the service counts as broken.
const PATIENCE: Duration = Duration::from_secs(90);
/// The pause before an update is sent again that got no answer.
const PAUSE: Duration = Duration::from_millis(50);

const REGIONS: usize = 12;
const PLATFORMS: usize = 5;

/// What is going on: clients report it here, and whoever disturbs them says how to go on.
#[derive(Debug, Default)]
pub struct Traffic {
    stop: AtomicBool,
    /// Whether to send updates with so many new members that they take long.
    pub large: AtomicBool,
    /// Which of the dimensions that come into being one by one is the latest.
    pub wave: AtomicUsize,
    pub in_flight: InFlight,
    pub acknowledged: AtomicUsize,
    pub requests: AtomicUsize,
    pub queries: AtomicUsize,
    /// Requests that got no answer.
    pub lost: AtomicUsize,
    /// Answers that asked to try again.
    pub refusals: Mutex<Vec<Refusal>>,
}

/// An answer that asks to try again.
#[derive(Debug, Clone)]
pub struct Refusal {
    pub status: u16,
    pub retry_after: Option<Duration>,
    /// How long it took to come.
    pub took: Duration,
}

impl Traffic {
    /// Asks all clients to end, after the updates that are not acknowledged yet.
    pub fn stop(&self) {
        self.stop.store(true, Relaxed);
    }

    pub fn stopped(&self) -> bool {
        self.stop.load(Relaxed)
    }

    pub fn refusals(&self) -> MutexGuard<'_, Vec<Refusal>> {
        lock(&self.refusals)
    }

    /// How many requests repeated an update.
    pub fn retries(&self) -> usize {
        self.requests.load(Relaxed).saturating_sub(self.acknowledged.load(Relaxed))
    }
}

/// The updates that a process is at work on. Those that it took with it when it was killed are not
/// among them, even while their clients still wait for an answer.
#[derive(Debug, Default)]
pub struct InFlight(Mutex<Flights>);

#[derive(Debug, Default)]
struct Flights {
    kills: usize,
    now: Counts,
    /// Updates that were begun and answered since the last kill.
    answered: usize,
}

/// How many updates.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    pub all: usize,
    /// Those with many new members.
    pub large: usize,
}

impl Counts {
    pub fn add(&mut self, other: Self) {
        self.all += other.all;
        self.large += other.large;
    }
}

impl InFlight {
    pub fn now(&self) -> Counts {
        lock(&self.0).now
    }

    /// Whether the process that was started after the last kill is at work.
    pub fn any_answered(&self) -> bool {
        lock(&self.0).answered > 0
    }

    /// Kills a process, and counts what was in flight at that moment. No client takes an answer or
    /// begins a request meanwhile, so those counted were unanswered for certain.
    pub fn at_kill(&self, kill: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<Counts> {
        let mut flights = lock(&self.0);
        kill()?;
        flights.kills += 1;
        flights.answered = 0;
        Ok(std::mem::take(&mut flights.now))
    }

    /// Notes an update's request while it lasts.
    fn during<T>(
        &self,
        large: bool,
        request: impl FnOnce() -> anyhow::Result<T>,
    ) -> anyhow::Result<T> {
        let update = Counts { all: 1, large: usize::from(large) };
        let kills = {
            let mut flights = lock(&self.0);
            flights.now.add(update);
            flights.kills
        };
        let answer = request();
        let mut flights = lock(&self.0);
        if flights.kills == kills {
            flights.now.all -= update.all;
            flights.now.large -= update.large;
            flights.answered += usize::from(answer.is_ok());
        }
        answer
    }
}

/// Counters and flags are whole whatever happened to another thread.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A client with ids of its own, whose updates it sends one after the other.
#[derive(Debug)]
pub struct Reporter {
    client: Client,
    rng: Rng,
    ids: Vec<Id>,
    expected: Expected,
    period_length: u64,
}

/// An id, and what it reported last.
#[derive(Debug)]
struct Id {
    name: String,
    region: usize,
    platform: usize,
    level: i64,
    values: Values,
    updates: usize,
}

impl Reporter {
    /// The reporter of this number; different numbers have different ids.
    pub fn new(client: Client, seed: u64, number: u64, ids: usize, period_length: u64) -> Self {
        let mut rng = Rng::with_seed(seed.wrapping_mul(1_000_003).wrapping_add(number));
        let ids = (0..ids).map(|id| Id {
            name: format!("crash-{seed}-{number}-{id}"),
            region: rng.usize(0..REGIONS),
            platform: rng.usize(0..PLATFORMS),
            level: 0,
            values: Values::default(),
            updates: 0,
        });
        let ids = ids.collect();
        Self { client, rng, ids, expected: Expected::default(), period_length }
    }

    /// Asks another way from now on, such as with another time-out.
    pub fn use_client(&mut self, client: Client) {
        self.client = client;
    }

    /// What the updates so far have to add up to.
    pub fn expected(&self) -> &Expected {
        &self.expected
    }

    fn report(&mut self, traffic: &Traffic) -> anyhow::Result<()> {
        while !traffic.stopped() {
            let Some(id) = self.rng.choice(&mut self.ids) else {
                bail!("a reporter without ids");
            };
            let large = traffic.large.load(Relaxed) && self.rng.u8(0..2) == 0;
            let update = if large {
                next_large_update(&mut self.rng, id)
            } else {
                next_update(&mut self.rng, id, traffic.wave.load(Relaxed))
            };
            id.updates += 1;
            // It will be acknowledged, or the whole test fails.
            self.expected.count(&update, &mut id.values, quiet_period(self.period_length));
            let sent = Sent {
                path: format!("/stats/{}", id.name),
                body: serde_json::to_string(&update)?,
                key: format!("{}-{}", id.name, id.updates),
                large,
            };
            sent.until_acknowledged(&self.client, traffic)?;
        }
        Ok(())
    }
}

/// An update as it is sent, each time the same.
#[derive(Debug)]
struct Sent {
    path: String,
    body: String,
    key: String,
    large: bool,
}

impl Sent {
    fn until_acknowledged(&self, client: &Client, traffic: &Traffic) -> anyhow::Result<()> {
        let first = Instant::now();
        loop {
            let began = Instant::now();
            let answer = traffic
                .in_flight
                .during(self.large, || client.post_with_key(&self.path, &self.body, &self.key));
            traffic.requests.fetch_add(1, Relaxed);
            match Verdict::of(answer.as_ref().ok()) {
                Verdict::Acknowledged => {
                    traffic.acknowledged.fetch_add(1, Relaxed);
                    return Ok(());
                }
                Verdict::Lost => {
                    traffic.lost.fetch_add(1, Relaxed);
                    thread::sleep(PAUSE);
                }
                Verdict::Again { status, retry_after } => {
                    let refusal = Refusal { status, retry_after, took: began.elapsed() };
                    traffic.refusals().push(refusal);
                    thread::sleep(retry_after.unwrap_or(PAUSE));
                }
                Verdict::Wrong => bail!("POST {} {}: {}", self.path, self.body, shown(&answer)),
            }
            ensure!(
                first.elapsed() < PATIENCE,
                "POST {} is not acknowledged after {PATIENCE:?}; lastly {}",
                self.path,
                shown(&answer)
            );
        }
    }
}

fn shown(answer: &anyhow::Result<PostAnswer>) -> String {
    match answer {
        Ok(answer) => format!("{} {}", answer.status, answer.body),
        Err(error) => format!("{error:#}"),
    }
}

/// What an answer to an update calls for.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Acknowledged,
    /// There was none: a time-out, or a connection that broke.
    Lost,
    Again {
        status: u16,
        retry_after: Option<Duration>,
    },
    /// To send it again won't help.
    Wrong,
}

impl Verdict {
    fn of(answer: Option<&PostAnswer>) -> Self {
        let Some(answer) = answer else {
            return Self::Lost;
        };
        match answer.status {
            200 => Self::Acknowledged,
            status if may_try_again(status) => {
                Self::Again { status, retry_after: answer.retry_after }
            }
            _ => Self::Wrong,
        }
    }
}

fn may_try_again(status: u16) -> bool {
    matches!(status, 408 | 429 | 500..=599)
}

/// Queries that go on beside the updates, so that a kill of `query` hits some.
fn query(client: &Client, traffic: &Traffic) -> anyhow::Result<()> {
    let paths = ["/stats/region", "/stats/platform", "/stats/version", "/stats/"];
    for path in paths.iter().cycle() {
        if traffic.stopped() {
            break;
        }
        match client.get(path) {
            Ok((200, body)) => {
                serde_json::from_str::<Answer>(&body)?;
                traffic.queries.fetch_add(1, Relaxed);
            }
            Ok((status, body)) => {
                ensure!(may_try_again(status), "GET {path}: {status} {body}");
            }
            Err(_) => {}
        }
        thread::sleep(PAUSE);
    }
    Ok(())
}

/// Lets the reporters report, with queries beside them, while something is done to the service; ends
/// when that is done and every update is acknowledged.
pub fn under_load<T>(
    reporters: &mut [Reporter],
    traffic: &Traffic,
    queries: &Client,
    disturb: impl FnOnce() -> anyhow::Result<T>,
) -> anyhow::Result<T> {
    thread::scope(|scope| {
        let mut threads =
            vec![scope.spawn(|| query(queries, traffic).inspect_err(|_| traffic.stop()))];
        for reporter in reporters {
            threads.push(scope.spawn(|| reporter.report(traffic).inspect_err(|_| traffic.stop())));
        }
        let disturbed = disturb();
        traffic.stop();
        for thread in threads {
            match thread.join() {
                Ok(result) => result?,
                Err(_) => bail!("a client's thread panicked"),
            }
        }
        disturbed
    })
}

fn next_update(rng: &mut Rng, id: &mut Id, wave: usize) -> Update {
    if rng.u8(0..15) == 0 {
        id.region = rng.usize(0..REGIONS);
    }
    let mut dims = dims_of(id);
    if rng.u8(0..4) > 0 {
        dims.insert("version".to_owned(), format!("1.{}", rng.u8(0..4)));
    }
    if rng.u8(0..4) == 0 {
        dims.insert(format!("wave_{wave}"), format!("w{}", rng.u8(0..3)));
    }
    let mut update = Update { dims, ..Update::default() };
    if rng.u8(0..5) > 0 {
        id.level += rng.i64(-1_000..1_200);
        update.counters.insert("level".to_owned(), id.level);
        update.counters.insert("extremes".to_owned(), extreme(rng));
    }
    if rng.u8(0..5) > 0 {
        update.increments.insert("errors".to_owned(), rng.i64(-10..100));
        update.increments.insert("sessions".to_owned(), 1);
    }
    // A counter that is now set and now added to.
    let both = if rng.bool() { &mut update.counters } else { &mut update.increments };
    both.insert("requests".to_owned(), rng.i64(-50..5_000));
    if rng.u8(0..3) > 0 {
        update.gauges.insert("connections".to_owned(), rng.i64(-5..1_000));
    }
    if rng.u8(0..3) == 0 {
        update.members.insert("plans".to_owned(), format!("p{}", rng.u16(0..300)));
    }
    let visitors = (0..rng.usize(0..4)).map(|_| format!("v{}", rng.u16(0..3_000))).collect();
    update.multi_members.insert("visitors".to_owned(), visitors);
    update
}

/// Hundreds of new members, some of which other reporters are adding too, and an increment, which
/// comes in the last of the transactions.
fn next_large_update(rng: &mut Rng, id: &Id) -> Update {
    let own = (0..rng.usize(150..350)).map(|i| format!("{}-{}-{i}", id.name, id.updates));
    let mut crowd: Vec<_> = own.collect();
    crowd.extend((0..100).map(|_| format!("c{}", rng.u16(0..10_000))));
    Update {
        dims: dims_of(id),
        increments: BTreeMap::from([("crowds".to_owned(), 1)]),
        gauges: BTreeMap::from([("crowdedness".to_owned(), rng.i64(0..100))]),
        multi_members: BTreeMap::from([("crowd".to_owned(), crowd)]),
        ..Update::default()
    }
}

fn dims_of(id: &Id) -> BTreeMap<String, String> {
    BTreeMap::from([
        ("region".to_owned(), format!("r{}", id.region)),
        ("platform".to_owned(), format!("p{}", id.platform)),
    ])
}

fn extreme(rng: &mut Rng) -> i64 {
    match rng.u8(0..10) {
        0 => i64::MAX,
        1 => i64::MIN,
        _ => rng.i64(-5..5),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_kill_took_is_not_in_flight_any_more() {
        let in_flight = InFlight::default();
        let counted = |all, large| {
            let during = in_flight.during(false, || {
                assert_eq!(in_flight.now(), Counts { all, large });
                Ok(())
            });
            during.unwrap();
        };
        let outer = in_flight.during(true, || {
            counted(2, 1);
            assert_eq!(in_flight.at_kill(|| Ok(()))?, Counts { all: 1, large: 1 });
            assert!(!in_flight.any_answered());
            Ok(())
        });
        outer.unwrap();
        assert!(!in_flight.any_answered());
        counted(1, 0);
        assert!(in_flight.any_answered());
        assert_eq!(in_flight.now(), Counts::default());
    }

    #[test]
    fn an_answer_is_final_or_calls_for_another_attempt() {
        let verdict = |status, retry_after: Option<u64>| {
            let retry_after = retry_after.map(Duration::from_secs);
            Verdict::of(Some(&PostAnswer { status, retry_after, body: String::new() }))
        };
        assert_eq!(Verdict::of(None), Verdict::Lost);
        assert_eq!(verdict(200, None), Verdict::Acknowledged);
        let retry_after = Some(Duration::from_secs(2));
        assert_eq!(verdict(503, Some(2)), Verdict::Again { status: 503, retry_after });
        for status in [408, 429, 500, 502] {
            assert_eq!(verdict(status, None), Verdict::Again { status, retry_after: None });
        }
        for status in [301, 400, 404, 413, 422] {
            assert_eq!(verdict(status, None), Verdict::Wrong);
        }
    }

    #[test]
    fn a_seed_stands_for_the_same_updates() {
        let updates = |seed| {
            let mut reporter = Reporter::new(Client::new("http://localhost"), seed, 1, 3, 360);
            let id = reporter.ids.first_mut().unwrap();
            let updates = (0..20).map(|_| next_update(&mut reporter.rng, id, 0));
            serde_json::to_string(&updates.collect::<Vec<_>>()).unwrap()
        };
        assert_eq!(updates(7), updates(7));
        assert_ne!(updates(7), updates(8));
    }
}
