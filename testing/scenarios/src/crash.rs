//! `cargo xtask crash`: kills the service's processes under load, and compares every rollup with
//! what was acknowledged.

use std::{
    fs,
    sync::atomic::Ordering::Relaxed,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use clap::Args;
use fastrand::Rng;
use model::ReferenceModel;
use service::{
    Build, Database, OPEN, Service, ServiceSettings,
    ports::free_port,
    workspace::{say, target},
};
use statshub::HttpClient;

use crate::{
    comparison::{QueryAnswer, compare},
    traffic::{ReportingClient, Traffic, UpdateCounts, under_load},
};

const DEFAULT_KILLS: usize = 20;
/// More than a function answers at once, so that others take the place of those whose requests were
/// killed.
const DEFAULT_CLIENTS: usize = 48;
/// How many clients send updates while the database is away.
const CLIENTS_IN_OUTAGE: usize = 4;
const IDS_OF_A_CLIENT: usize = 4;

/// The gateway never answers a request whose process died.
const CLIENT_TIMEOUT: Duration = Duration::from_millis(2_500);
/// API Gateway gives up after this.
const GATEWAY_TIMEOUT: Duration = Duration::from_secs(30);
/// The longest time from one kill to the next.
const LONGEST_PAUSE: Duration = Duration::from_millis(800);
/// How long the load may make no progress.
const PATIENCE: Duration = Duration::from_secs(60);
/// In seconds. Until 2033 all of it is one period, so gauges add up from the first update to the
/// last.
const PERIOD: u64 = 1_000_000_000;

/// How often to kill, and under what load.
#[derive(Debug, Args)]
pub struct CrashOptions {
    /// How many times to kill the function `update`
    #[arg(long, default_value_t = DEFAULT_KILLS)]
    kills: usize,
    /// The seed of the updates and of the times of the kills [default: random]
    #[arg(long)]
    seed: Option<u64>,
    /// How many clients send updates at once
    #[arg(long, default_value_t = DEFAULT_CLIENTS)]
    clients: usize,
}

impl Default for CrashOptions {
    fn default() -> Self {
        Self { kills: DEFAULT_KILLS, seed: None, clients: DEFAULT_CLIENTS }
    }
}

/// The service, and the clients that report to it.
struct CrashTest {
    seed: u64,
    service: Service,
    reporters: Vec<ReportingClient>,
}

/// What the kills hit.
#[derive(Debug, Default)]
struct Killed {
    of_update: usize,
    of_query: usize,
    in_flight: UpdateCounts,
}

/// Kills functions, then the database; prints what is not as it was acknowledged.
///
/// # Errors
/// Something is not, or the service can't be started.
pub fn run(options: &CrashOptions) -> anyhow::Result<()> {
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(0..1 << 32));
    say(&format!("crash test, seed {seed}"));
    let mut test = CrashTest::start(options, seed)?;
    let violations = test.functions_die(options.kills)?;
    ensure!(violations == 0, "{violations} violations after functions died, seed {seed}");
    let violations = test.the_database_dies()?;
    ensure!(violations == 0, "{violations} violations after the database died, seed {seed}");
    Ok(())
}

impl CrashTest {
    fn start(options: &CrashOptions, seed: u64) -> anyhow::Result<Self> {
        let folder = target("crash");
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        let service = Service::start(ServiceSettings {
            port: free_port()?,
            bind: "127.0.0.1".to_owned(),
            build: Build::WithTests,
            database: Database::Embedded(folder.join("statshub.sqlite")),
            bigquery: None,
            auth: OPEN.to_owned(),
            variables: vec![
                ("STATS_PERIOD_SECONDS".to_owned(), PERIOD.to_string()),
                ("QUERY_CACHE".to_owned(), "off".to_owned()),
            ],
            exchanges: None,
        })?;
        let client = HttpClient::with_timeout(&service.url(), CLIENT_TIMEOUT);
        let reporters = (0..).take(options.clients.max(1)).map(|number| {
            ReportingClient::new(client.clone(), seed, number, IDS_OF_A_CLIENT, PERIOD)
        });
        let reporters = reporters.collect();
        Ok(Self { seed, service, reporters })
    }

    fn functions_die(&mut self, kills: usize) -> anyhow::Result<usize> {
        let started = Instant::now();
        let traffic = Traffic::default();
        let mut rng = Rng::with_seed(self.seed);
        let queries = HttpClient::with_timeout(&self.service.url(), CLIENT_TIMEOUT);
        let killed = under_load(&mut self.reporters, &traffic, &queries, || {
            kill_functions(&mut self.service, &traffic, &mut rng, kills)
        })?;
        let took = started.elapsed();
        let violations = self.violations()?;
        println!(
            "crash of functions: seed {}, {} kills (and {} of query) in {took:.0?}, {} updates \
             acknowledged, {} requests sent, {} retries, {} updates in flight at kills ({} of them \
             large), {} queries answered, {violations} violations",
            self.seed,
            killed.of_update,
            killed.of_query,
            traffic.acknowledged.load(Relaxed),
            traffic.requests.load(Relaxed),
            traffic.retries(),
            killed.in_flight.all,
            killed.in_flight.large,
            traffic.queries.load(Relaxed),
        );
        Ok(violations)
    }

    fn the_database_dies(&mut self) -> anyhow::Result<usize> {
        let started = Instant::now();
        let traffic = Traffic::default();
        let patient = HttpClient::new(&self.service.url());
        let count = CLIENTS_IN_OUTAGE.min(self.reporters.len());
        let reporters = self.reporters.get_mut(..count).context("too few reporters")?;
        for reporter in &mut *reporters {
            reporter.use_client(patient.clone());
        }
        let in_flight = under_load(reporters, &traffic, &patient, || {
            kill_database(&mut self.service, &traffic, count)
        })?;
        let took = started.elapsed();
        let slowest = check_refusals(&traffic)?;
        let violations = self.violations()?;
        println!(
            "crash of the database: seed {}, 1 kill in {took:.0?}, {} updates acknowledged, {} requests \
             sent, {} retries, {} updates in flight at the kill, all refused within {slowest:.1?}, \
             {violations} violations",
            self.seed,
            traffic.acknowledged.load(Relaxed),
            traffic.requests.load(Relaxed),
            traffic.retries(),
            in_flight.all,
        );
        Ok(violations)
    }

    /// Prints what is not as it was acknowledged, and counts it.
    fn violations(&self) -> anyhow::Result<usize> {
        let mut expected = ReferenceModel::new(PERIOD);
        for reporter in &self.reporters {
            expected.merge(reporter.expected());
        }
        Ok(wrong_numbers(&self.service, &expected)?
            + unlisted(&self.service, &expected)?
            + usize::from(!self.service.audit()?))
    }
}

fn wrong_numbers(service: &Service, expected: &ReferenceModel) -> anyhow::Result<usize> {
    let (mut numbers, mut wrong) = (0, 0);
    for compared in compare(&HttpClient::new(&service.url()), expected, PERIOD)? {
        for difference in &compared.differences {
            println!("violation: {} {} {difference}", compared.dimension, compared.group);
        }
        numbers += compared.numbers;
        wrong += compared.differences.len();
    }
    say(&format!("compared {numbers} numbers; {wrong} are wrong"));
    Ok(wrong)
}

fn unlisted(service: &Service, expected: &ReferenceModel) -> anyhow::Result<usize> {
    let all: QueryAnswer = HttpClient::new(&service.url()).get_json("/stats/")?;
    let dimensions = expected.dimensions().into_iter();
    let unlisted: Vec<_> = dimensions.filter(|name| !all.dims.contains_key(*name)).collect();
    for dimension in &unlisted {
        println!("violation: {dimension} is not among all dimensions");
    }
    Ok(unlisted.len())
}

fn kill_functions(
    service: &mut Service,
    traffic: &Traffic,
    rng: &mut Rng,
    kills: usize,
) -> anyhow::Result<Killed> {
    let mut killed = Killed::default();
    for kill in 0..kills {
        traffic.wave.store(kill / 5, Relaxed);
        let large = is_large(kill, kills);
        traffic.large.store(large, Relaxed);
        wait_until("updates are answered", service, traffic, || traffic.in_flight.any_answered())?;
        thread::sleep(LONGEST_PAUSE.mul_f64(rng.f64()));
        wait_until("updates are in flight", service, traffic, || {
            let now = traffic.in_flight.now();
            now.all > 0 && (now.large > 0 || !large)
        })?;
        let hit = traffic.in_flight.at_kill(|| service.kill("update"))?;
        killed.in_flight.add(hit);
        killed.of_update += 1;
        if rng.u8(0..4) == 0 {
            service.kill("query")?;
            killed.of_query += 1;
        }
        service.look_after()?;
    }
    traffic.large.store(false, Relaxed);
    wait_for_acknowledgements(service, traffic, 100)?;
    Ok(killed)
}

/// The middle third of the kills hits large updates.
fn is_large(kill: usize, kills: usize) -> bool {
    (kills / 3..kills * 2 / 3).contains(&kill)
}

/// Returns how many updates were in flight.
fn kill_database(
    service: &mut Service,
    traffic: &Traffic,
    clients: usize,
) -> anyhow::Result<UpdateCounts> {
    wait_for_acknowledgements(service, traffic, 50)?;
    wait_until("updates are in flight", service, traffic, || traffic.in_flight.now().all > 0)?;
    let in_flight = traffic.in_flight.at_kill(|| service.kill_database())?;
    say("the database is killed; updates are refused when their time is up");
    wait_until("updates are refused", service, traffic, || traffic.refusals().len() >= clients)?;
    service.restart_database()?;
    wait_for_acknowledgements(service, traffic, 50)?;
    Ok(in_flight)
}

/// Returns how long the slowest refusal took.
fn check_refusals(traffic: &Traffic) -> anyhow::Result<Duration> {
    let refusals = traffic.refusals();
    for refusal in refusals.iter() {
        ensure!(
            refusal.status == 503
                && refusal.retry_after.is_some()
                && refusal.took <= GATEWAY_TIMEOUT,
            "while the database was away: {refusal:?}"
        );
    }
    let lost = traffic.lost.load(Relaxed);
    ensure!(lost == 0, "{lost} updates got no answer while the database was away");
    Ok(refusals.iter().map(|refusal| refusal.took).max().unwrap_or_default())
}

fn wait_for_acknowledgements(
    service: &mut Service,
    traffic: &Traffic,
    count: usize,
) -> anyhow::Result<()> {
    let enough = traffic.acknowledged.load(Relaxed) + count;
    wait_until("updates are acknowledged", service, traffic, || {
        traffic.acknowledged.load(Relaxed) >= enough
    })
}

/// Waits, and fails if a process ends by itself or the load stops.
fn wait_until(
    what: &str,
    service: &mut Service,
    traffic: &Traffic,
    done: impl Fn() -> bool,
) -> anyhow::Result<()> {
    let started = Instant::now();
    while !done() {
        ensure!(service.look_after()? == 0, "a function ended by itself");
        ensure!(!traffic.stopped(), "a client gave up");
        ensure!(started.elapsed() < PATIENCE, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_third_of_the_kills_hits_large_updates() {
        let large = |kills| (0..kills).filter(|kill| is_large(*kill, kills)).count();
        assert_eq!([3, 20, 100].map(large), [1, 7, 33]);
    }
}
