//! All that docs/scale.md reports, simulated.

use std::{
    sync::{Mutex, PoisonError},
    thread,
    time::Duration,
};

use anyhow::{Context, anyhow};

use crate::{
    figures::Figures,
    page::{MEASURED, MeasuredContention},
    population::DimensionShape,
    record::{Borne, ContentionRow, Record, Row},
    runs::{FLEETS, Fleet, contention, one_key, two_dimensions},
    scenario::{Latencies, Limits, Scenario},
    simulation::run,
};

/// Fleets between those of [`FLEETS`], for the plots.
const BETWEEN: [f64; 4] = [3e4, 3e5, 3e6, 3e7];
/// Fleets that report for the first time, each for so long.
const STARTS: [(f64, u64); 3] = [(1e4, 600), (1e5, 600), (1e6, 1_500)];
/// The fleet of which it is shown what moves its figures.
const MOVED: f64 = 1e7;
/// … and the one under one key.
const MOVED_UNDER_ONE_KEY: f64 = 3e6;
/// The most updates that may be refused for a limit to bear a fleet.
const BORNE: f64 = 0.01;
/// Into how small steps the number of clients is found that a limit bears.
const HALVINGS: u32 = 3;
/// How long a writer of `cargo xtask contention` takes for an update of its own, besides DynamoDB: 64
/// of them make 494 updates a second on the machine that it was measured on, if nothing limits them.
const OF_WRITER: Duration = Duration::from_millis(113);

/// Simulates everything, as many runs at once as there are processors. `say` reports what is done.
///
/// # Errors
/// A run fails.
pub fn simulate(say: impl Fn(&str) + Sync) -> anyhow::Result<Record> {
    let mut fleets = [FLEETS.to_vec(), BETWEEN.to_vec()].concat();
    fleets.sort_by(f64::total_cmp);
    let of = |dimensions: fn() -> Vec<DimensionShape>, limits: Limits, batch: usize| {
        let fleets = fleets.iter().map(move |clients| {
            let fleet = Fleet { batch, ..Fleet::new(*clients, dimensions(), limits) };
            let scenario = fleet.usual();
            Job { what: String::new(), fleet, scenario }
        });
        fleets.collect::<Vec<_>>()
    };
    let rows = |jobs: Vec<Job>| simulate_all(jobs, &say);
    let start = STARTS.map(|(clients, seconds)| {
        let fleet = Fleet::new(clients, two_dimensions(), Limits::NewAccount);
        let scenario = fleet.start(Duration::from_secs(seconds));
        Job { what: String::new(), fleet, scenario }
    });
    let mut record = Record {
        template: without_courses(rows(of(two_dimensions, Limits::Template, 1))?),
        new_account: without_courses(rows(of(two_dimensions, Limits::NewAccount, 1))?),
        raised: without_courses(rows(of(two_dimensions, Limits::Raised, 1))?),
        one_key: without_courses(rows(of(one_key, Limits::Raised, 1))?),
        batches: without_courses(rows(of(two_dimensions, Limits::Raised, 100))?),
        start: rows(start.into())?,
        moves: without_courses(rows(moves(MOVED, two_dimensions))?),
        one_key_moves: without_courses(rows(moves(MOVED_UNDER_ONE_KEY, one_key))?),
        borne: Vec::new(),
        contention: contention_rows()?,
    };
    let bounds = [
        ("the template's defaults", &record.template, of(two_dimensions, Limits::Template, 1)),
        ("quotas of a new account", &record.new_account, of(two_dimensions, Limits::NewAccount, 1)),
        ("raised quotas", &record.raised, of(two_dimensions, Limits::Raised, 1)),
        ("raised quotas, all under one key", &record.one_key, of(one_key, Limits::Raised, 1)),
        ("raised quotas, batches of 100", &record.batches, of(two_dimensions, Limits::Raised, 100)),
    ];
    let found = thread::scope(|scope| {
        let say = &say;
        let workers = bounds.into_iter().map(|(what, rows, jobs)| {
            scope.spawn(move || {
                let template = jobs.first().context("there are fleets")?;
                borne(what, rows, &template.fleet, say)
            })
        });
        let workers: Vec<_> = workers.collect();
        workers.into_iter().map(joined).collect::<anyhow::Result<Vec<_>>>()
    })?;
    record.borne = found;
    Ok(record)
}

/// A run of a fleet.
struct Job {
    what: String,
    fleet: Fleet,
    scenario: Scenario,
}

/// What may move the figures of a fleet, each by itself.
fn moves(clients: f64, dimensions: fn() -> Vec<DimensionShape>) -> Vec<Job> {
    let base = || Fleet::new(clients, dimensions(), Limits::Raised);
    let ms = Duration::from_millis;
    let mut with_another = dimensions();
    with_another.push(DimensionShape::new("zone", 30, 0.0));
    let fleets = [
        ("as above", base()),
        ("transactions hold their items for 3 to 6 ms", Fleet { hold: [ms(3), ms(6)], ..base() }),
        ("… for 10 to 20 ms", Fleet { hold: [ms(10), ms(20)], ..base() }),
        ("batches of 10", Fleet { batch: 10, ..base() }),
        ("batches of 100", Fleet { batch: 100, ..base() }),
        (
            "reports every 15 minutes",
            Fleet { interval: ms(900_000), within: ms(900_000), ..base() },
        ),
        ("one more dimension, of 30 keys", Fleet { dimensions: with_another, ..base() }),
        ("all reports in the first half of the interval", Fleet { within: ms(150_000), ..base() }),
        ("at most 32 cells", Fleet { max_cells: 32, ..base() }),
    ];
    let jobs = fleets.into_iter().map(|(what, fleet)| {
        let scenario = fleet.usual();
        Job { what: what.to_owned(), fleet, scenario }
    });
    jobs.collect()
}

fn without_courses(rows: Vec<Row>) -> Vec<Row> {
    rows.into_iter().map(Row::without_course).collect()
}

fn simulate_all(jobs: Vec<Job>, say: &(impl Fn(&str) + Sync)) -> anyhow::Result<Vec<Row>> {
    let threads = thread::available_parallelism().map_or(1, usize::from);
    let waiting = Mutex::new(jobs.into_iter().enumerate().collect::<Vec<_>>());
    let done = Mutex::new(Vec::new());
    let lock =
        |of: &Mutex<Vec<(usize, Job)>>| of.lock().unwrap_or_else(PoisonError::into_inner).pop();
    let work = || -> anyhow::Result<()> {
        while let Some((number, job)) = lock(&waiting) {
            let row = Row::new(&job.what, &job.fleet, run(&job.scenario)?);
            say(&summary(&row));
            done.lock().unwrap_or_else(PoisonError::into_inner).push((number, row));
        }
        Ok(())
    };
    thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(joined).collect::<anyhow::Result<Vec<()>>>()
    })?;
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(number, _)| *number);
    Ok(done.into_iter().map(|(_, row)| row).collect())
}

fn joined<T>(worker: thread::ScopedJoinHandle<'_, anyhow::Result<T>>) -> anyhow::Result<T> {
    worker.join().map_err(|_| anyhow!("a run has panicked"))?
}

fn summary(row: &Row) -> String {
    let Figures { counted, conflicts, throttles, write_units, .. } = row.figures;
    format!(
        "{:.0} clients {}: {counted:.0} updates a second, {conflicts:.3} conflicts, {throttles:.3} \
         throttles, {:.3} refused, {write_units:.0} write units",
        row.clients,
        row.what,
        row.figures.refused(),
    )
}

/// The number of clients that are borne, between the largest fleet in `rows` that is and the next.
fn borne(
    what: &str,
    rows: &[Row],
    like: &Fleet,
    say: &(impl Fn(&str) + Sync),
) -> anyhow::Result<Borne> {
    let is_borne = |row: &&Row| row.figures.refused() <= BORNE;
    let below = rows.iter().take_while(is_borne).last().map_or(0.0, |row| row.clients);
    let Some(mut beyond) = rows.iter().find(|row| !is_borne(row)).cloned() else {
        return Ok(Borne { what: what.to_owned(), clients: below, refused_by: String::new() });
    };
    let mut least = if below == 0.0 { 1e3 } else { below };
    for _ in 0..HALVINGS {
        let clients = (least * beyond.clients).sqrt();
        let fleet = Fleet { clients, ..like.clone() };
        let row = Row::new(what, &fleet, run(&fleet.usual())?);
        say(&summary(&row));
        match is_borne(&&row) {
            true => least = clients,
            false => beyond = row,
        }
    }
    let refused_by = refused_by(&beyond.figures).to_owned();
    Ok(Borne { what: what.to_owned(), clients: least, refused_by })
}

/// Who refuses most.
fn refused_by(figures: &Figures) -> &'static str {
    let parts = [
        (figures.refused_by_api, "the API's throttle"),
        (figures.refused_by_lambda, "no process is left: calls wait for DynamoDB"),
        (figures.refused_throttled, "DynamoDB throttles"),
        (figures.refused_contended, "conflicts until the deadline"),
    ];
    let most = parts.into_iter().max_by(|(a, _), (b, _)| a.total_cmp(b));
    most.map_or("", |(_, what)| what)
}

/// The same as `cargo xtask contention`.
///
/// # Errors
/// A run fails.
pub fn contention_rows() -> anyhow::Result<Vec<ContentionRow>> {
    let hold = Duration::from_millis(10);
    let latencies = Latencies {
        shortest_hold: hold,
        longest_hold: hold,
        call: OF_WRITER,
        ..Latencies::TYPICAL
    };
    let rows = MEASURED.iter().map(|measured| {
        let MeasuredContention { keys, max_cells, part, .. } = *measured;
        let figures = run(&contention(keys, max_cells, part, latencies))?;
        let figures = Figures { course: Vec::new(), ..figures };
        Ok(ContentionRow { keys, max_cells, part, figures })
    });
    rows.collect()
}
