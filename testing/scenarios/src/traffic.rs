//! Load for a service that is disturbed meanwhile. Clients send every update until it is
//! acknowledged, always under the same idempotency key, and know what all of it adds up to.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::{bail, ensure};
use fastrand::Rng;
use model::{Population, PopulationDimension, ReferenceModel, Reporter, UpdateBody};
use statshub::HttpClient;
use ureq::http::Request;

use crate::comparison::{QueryAnswer, quiet_period};

/// How long an update may take, over all of its attempts, before the service counts as broken.
const PATIENCE: Duration = Duration::from_secs(90);
/// The pause before an update is sent again that got no answer.
const PAUSE: Duration = Duration::from_millis(50);

/// The ids of all clients.
fn population() -> Population {
    Population {
        dimensions: vec![
            PopulationDimension::settled("region", 12),
            PopulationDimension { moves: 0.0, ..PopulationDimension::settled("platform", 5) },
            PopulationDimension::restless("version", 4),
        ],
        visitors: 3_000,
        large: 150..350,
        crowd: (100, 10_000),
    }
}

/// What is going on. Clients note it here, and whoever disturbs the service says how to go on.
#[derive(Debug, Default)]
pub struct Traffic {
    stop: AtomicBool,
    /// Whether to send updates that take long, since they have so many new members.
    pub large: AtomicBool,
    /// The latest of the dimensions that come into being one by one.
    pub wave: AtomicUsize,
    pub in_flight: InFlight,
    pub acknowledged: AtomicUsize,
    pub requests: AtomicUsize,
    pub queries: AtomicUsize,
    /// Requests that got no answer.
    pub lost: AtomicUsize,
    /// Answers that asked the client to try again.
    pub refusals: Mutex<Vec<AskedToRetry>>,
}

/// An answer that asks the client to try again.
#[derive(Debug, Clone)]
pub struct AskedToRetry {
    pub status: u16,
    pub retry_after: Option<Duration>,
    /// How long the client waited for it.
    pub took: Duration,
}

impl Traffic {
    /// Asks all clients to end once their updates are acknowledged.
    pub fn stop(&self) {
        self.stop.store(true, Relaxed);
    }

    pub fn stopped(&self) -> bool {
        self.stop.load(Relaxed)
    }

    pub fn refusals(&self) -> MutexGuard<'_, Vec<AskedToRetry>> {
        lock(&self.refusals)
    }

    /// How many requests repeated an update.
    pub fn retries(&self) -> usize {
        self.requests.load(Relaxed).saturating_sub(self.acknowledged.load(Relaxed))
    }
}

/// The updates that a process works on. Those that it took with it when it was killed are not among
/// them, even while their clients still wait for an answer.
#[derive(Debug, Default)]
pub struct InFlight(Mutex<Flights>);

#[derive(Debug, Default)]
struct Flights {
    kills: usize,
    now: UpdateCounts,
    /// Updates that were begun and answered since the last kill.
    answered: usize,
}

/// How many updates.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct UpdateCounts {
    pub all: usize,
    /// Those with many new members.
    pub large: usize,
}

impl UpdateCounts {
    pub fn add(&mut self, other: Self) {
        self.all += other.all;
        self.large += other.large;
    }
}

impl InFlight {
    pub fn now(&self) -> UpdateCounts {
        lock(&self.0).now
    }

    /// Whether the process that was started after the last kill is at work.
    pub fn any_answered(&self) -> bool {
        lock(&self.0).answered > 0
    }

    /// Kills a process, and counts what was in flight at that moment. Meanwhile no client takes an
    /// answer or begins a request, so none of those counted was answered.
    pub fn at_kill(
        &self,
        kill: impl FnOnce() -> anyhow::Result<()>,
    ) -> anyhow::Result<UpdateCounts> {
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
        let update = UpdateCounts { all: 1, large: usize::from(large) };
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

/// Counters and flags are whole, whatever happened to another thread.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A client with ids of its own. It sends their updates one after the other.
#[derive(Debug)]
pub struct ReportingClient {
    client: HttpClient,
    rng: Rng,
    population: Population,
    ids: Vec<Reporter>,
    expected: ReferenceModel,
    period_length: u64,
}

impl ReportingClient {
    /// The client of this number. Clients of different numbers have different ids.
    pub fn new(client: HttpClient, seed: u64, number: u64, ids: usize, period_length: u64) -> Self {
        let mut rng = Rng::with_seed(seed.wrapping_mul(1_000_003).wrapping_add(number));
        let population = population();
        let ids = (0..ids)
            .map(|id| Reporter::new(format!("crash-{seed}-{number}-{id}"), &population, &mut rng));
        let ids = ids.collect();
        let expected = ReferenceModel::new(period_length);
        Self { client, rng, population, ids, expected, period_length }
    }

    /// Sends by this client from now on, such as one with another time-out.
    pub fn use_client(&mut self, client: HttpClient) {
        self.client = client;
    }

    /// What the updates so far add up to.
    pub fn expected(&self) -> &ReferenceModel {
        &self.expected
    }

    fn report(&mut self, traffic: &Traffic) -> anyhow::Result<()> {
        while !traffic.stopped() {
            let Some(id) = self.rng.choice(&mut self.ids) else {
                bail!("a client without ids");
            };
            let large = traffic.large.load(Relaxed) && self.rng.u8(0..2) == 0;
            let update = if large {
                id.next_large(&self.population, &mut self.rng)
            } else {
                let update = id.next(&self.population, &mut self.rng);
                on_the_wave(update, traffic.wave.load(Relaxed), &mut self.rng)
            };
            // It will be acknowledged, or the whole test fails.
            self.expected.count(id.id(), &update, quiet_period(self.period_length));
            let sent = SentUpdate {
                path: format!("/stats/{}", id.id()),
                body: update.json(),
                key: format!("{}-{}", id.id(), id.updates()),
                large,
            };
            sent.until_acknowledged(&self.client, traffic)?;
        }
        Ok(())
    }
}

/// A quarter of the updates report under the latest dimension, too.
fn on_the_wave(mut update: UpdateBody, wave: usize, rng: &mut Rng) -> UpdateBody {
    if rng.u8(0..4) == 0 {
        update.dims.insert(format!("wave_{wave}"), format!("w{}", rng.u8(0..3)));
    }
    update
}

/// An update in the form in which it is sent, each time the same.
#[derive(Debug)]
struct SentUpdate {
    path: String,
    body: String,
    key: String,
    large: bool,
}

impl SentUpdate {
    /// One attempt.
    fn send(&self, client: &HttpClient) -> anyhow::Result<PostAnswer> {
        let request = Request::post(&self.path).header("Idempotency-Key", &self.key);
        let answer = client.send(request.body(self.body.clone())?)?;
        let retry_after = answer.headers().get("Retry-After");
        let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
        Ok(PostAnswer {
            status: answer.status().as_u16(),
            retry_after: retry_after.map(Duration::from_secs),
            body: answer.into_body(),
        })
    }

    fn until_acknowledged(&self, client: &HttpClient, traffic: &Traffic) -> anyhow::Result<()> {
        let first = Instant::now();
        loop {
            let began = Instant::now();
            let answer = traffic.in_flight.during(self.large, || self.send(client));
            traffic.requests.fetch_add(1, Relaxed);
            match AnswerVerdict::of(answer.as_ref().ok()) {
                AnswerVerdict::Acknowledged => {
                    traffic.acknowledged.fetch_add(1, Relaxed);
                    return Ok(());
                }
                AnswerVerdict::Lost => {
                    traffic.lost.fetch_add(1, Relaxed);
                    thread::sleep(PAUSE);
                }
                AnswerVerdict::Again { status, retry_after } => {
                    let refusal = AskedToRetry { status, retry_after, took: began.elapsed() };
                    traffic.refusals().push(refusal);
                    thread::sleep(retry_after.unwrap_or(PAUSE));
                }
                AnswerVerdict::Wrong => {
                    bail!("POST {} {}: {}", self.path, self.body, shown(&answer))
                }
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

/// What a client needs to decide whether to send an update again, and when.
#[derive(Debug)]
struct PostAnswer {
    status: u16,
    retry_after: Option<Duration>,
    body: String,
}

fn shown(answer: &anyhow::Result<PostAnswer>) -> String {
    match answer {
        Ok(answer) => format!("{} {}", answer.status, answer.body),
        Err(error) => format!("{error:#}"),
    }
}

/// What an answer to an update calls for.
#[derive(Debug, PartialEq, Eq)]
enum AnswerVerdict {
    Acknowledged,
    /// No answer came: a time-out, or a connection that broke.
    Lost,
    Again {
        status: u16,
        retry_after: Option<Duration>,
    },
    /// Sending it again won't help.
    Wrong,
}

impl AnswerVerdict {
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

/// Sends queries beside the updates, so that a kill of `query` hits some.
fn query(client: &HttpClient, traffic: &Traffic) -> anyhow::Result<()> {
    let paths = ["/stats/region", "/stats/platform", "/stats/version", "/stats/"];
    for path in paths.iter().cycle() {
        if traffic.stopped() {
            break;
        }
        match client.get(path) {
            Ok((200, body)) => {
                serde_json::from_str::<QueryAnswer>(&body)?;
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

/// Lets clients report, with queries beside them, while something happens to the service. Ends when
/// that is over and every update is acknowledged.
pub fn under_load<T>(
    reporters: &mut [ReportingClient],
    traffic: &Traffic,
    queries: &HttpClient,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kill_ends_what_was_in_flight() {
        let in_flight = InFlight::default();
        let counted = |all, large| {
            let during = in_flight.during(false, || {
                assert_eq!(in_flight.now(), UpdateCounts { all, large });
                Ok(())
            });
            during.unwrap();
        };
        let outer = in_flight.during(true, || {
            counted(2, 1);
            assert_eq!(in_flight.at_kill(|| Ok(()))?, UpdateCounts { all: 1, large: 1 });
            assert!(!in_flight.any_answered());
            Ok(())
        });
        outer.unwrap();
        assert!(!in_flight.any_answered());
        counted(1, 0);
        assert!(in_flight.any_answered());
        assert_eq!(in_flight.now(), UpdateCounts::default());
    }

    #[test]
    fn an_answer_is_final_or_calls_for_another_attempt() {
        let verdict = |status, retry_after: Option<u64>| {
            let retry_after = retry_after.map(Duration::from_secs);
            AnswerVerdict::of(Some(&PostAnswer { status, retry_after, body: String::new() }))
        };
        assert_eq!(AnswerVerdict::of(None), AnswerVerdict::Lost);
        assert_eq!(verdict(200, None), AnswerVerdict::Acknowledged);
        let retry_after = Some(Duration::from_secs(2));
        assert_eq!(verdict(503, Some(2)), AnswerVerdict::Again { status: 503, retry_after });
        for status in [408, 429, 500, 502] {
            assert_eq!(verdict(status, None), AnswerVerdict::Again { status, retry_after: None });
        }
        for status in [301, 400, 404, 413, 422] {
            assert_eq!(verdict(status, None), AnswerVerdict::Wrong);
        }
    }
}
