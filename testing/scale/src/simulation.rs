//! The course of events: requests come, processes count them as the service does, and DynamoDB
//! answers within its limits.
//!
//! Which cells are written to, what a cancellation calls for, how long to wait and when to give up,
//! which names have to be looked up and what is counted together is decided by the code of the
//! service. What it would send to DynamoDB goes to [`Table`]. Nothing waits: the clock goes from one
//! event to the next.

use std::{
    cmp::Reverse,
    collections::{BinaryHeap, VecDeque},
    time::Duration,
};

use anyhow::{Context, bail};
use aws_sdk_dynamodb::types::CancellationReason;
use shared::{
    domain::{Cell, DimensionName, JointPlan, RollupKey, Spread, SpreadSum, UnixSeconds},
    store::{
        DEFAULT_MAX_KEYS, Deadline, Pace,
        decisions::{Failure, HotSums, KnownNames, Lease, Verdict, Waits, avoid, judge_reasons},
    },
    table::{NewNames, Target},
};
use tokio::time::Instant;

use crate::{
    dynamodb::{Audit, LOOKS_EVERY, Position, Refusal, Table, Touched},
    figures::{Counts, Figures, LatencySample, Moment, float},
    lambda::{Admission, Fleet},
    planning::{Planner, Report, Work, Written, detail},
    population::Population,
    scenario::{Arrivals, Scenario},
};

/// When a simulation begins, by the clocks of processes.
const BEGINS: UnixSeconds = UnixSeconds(1_800_000_000);
/// How long a call may take: the function's time-out less what Lambda and the API need.
const CALL: Duration = Duration::from_secs(25);
/// After so many attempts at which other writers were faster, fewer updates are tried at once.
const ATTEMPTS_TOGETHER: u32 = 3;
/// How many moments the course of a simulation has.
const MOMENTS: u32 = 120;
/// Read units of an item below 4 KB: consistently, and not.
const CONSISTENT: f64 = 1.0;
const EVENTUAL: f64 = 0.5;
/// Half of the write units of an item in a transaction: those of a plain write.
const PLAIN_WRITE: f64 = 1.0;

/// What a process remembers.
#[derive(Debug)]
struct Process {
    hot_sums: HotSums,
    known_names: KnownNames,
}

/// What happens next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// A request comes.
    Arrival,
    /// A writer sends its next request.
    Writer(usize),
    /// A call goes on.
    Call(usize),
    /// Partitions are looked at.
    Look,
    /// The course is noted.
    Note,
    /// Figures begin.
    Measure,
}

/// What a call does next.
#[derive(Debug)]
enum Step {
    /// Loads the details of the reports.
    Load,
    /// Reads what is left to be read.
    Read(Box<Step>),
    /// Plans what to write.
    Plan,
    /// Goes on with names that are new, once all has been read.
    Admit(Box<(JointPlan, NewNames)>),
    /// Makes sure that the cells may be written to, and sends the transaction.
    Room,
    /// Goes by a dimension's entry that was read.
    Entry(DimensionName, Cell),
    /// Widens the spread of a dimension, if it is still what was read.
    Widen(DimensionName, Cell, Spread, Spread),
    /// The transaction was carried out.
    Done,
    /// It was cancelled.
    Cancelled(Vec<Refusal>, Vec<Target>),
}

/// How a call goes on.
enum Then {
    /// At this moment.
    At(Duration, Step),
    /// All of it is answered.
    Answered,
}

/// Why reports are refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum GaveUp {
    Throttled,
    Contended,
}

/// A call of the function.
#[derive(Debug)]
struct Call<'a> {
    process: usize,
    writer: Option<usize>,
    began: Duration,
    /// The time that went into what no limit has made longer.
    useful: Duration,
    deadline: Deadline,
    waiting: VecDeque<Vec<Report>>,
    reports: Vec<Report>,
    overtaken: u32,
    read_units: f64,
    reads: Vec<(Position, f64)>,
    waits: Waits,
    /// Of the requests that are not part of the attempts at an update.
    own_waits: Option<Waits>,
    work: Work,
    plan: Option<Box<JointPlan>>,
    lease: Option<Lease<'a>>,
    step: Option<Step>,
}

/// Runs a scenario.
///
/// # Errors
/// It names something that is not valid.
pub fn run(scenario: &Scenario) -> anyhow::Result<Figures> {
    Ok(run_audited(scenario, None)?.0)
}

/// Runs a scenario, and keeps what tests want to look at.
///
/// # Errors
/// It names something that is not valid.
pub fn run_audited(
    scenario: &Scenario,
    audit: Option<Audit>,
) -> anyhow::Result<(Figures, Option<Audit>)> {
    let mut random = fastrand::Rng::with_seed(scenario.seed);
    let population = Population::new(&scenario.dimensions, &mut random)?;
    let planner = Planner::new(&population, scenario.counters)?;
    let processes: Vec<_> = (0..scenario.fleet.processes)
        .map(|_| Process {
            hot_sums: HotSums::new(scenario.max_cells, random.fork()),
            known_names: KnownNames::new(),
        })
        .collect();
    let mut table = Table::new(scenario.table, random.fork());
    table.audit = audit;
    if scenario.is_warm {
        for dimension in 0..population.dimensions() {
            for cell in Cell::first(scenario.max_cells) {
                table.isolate(planner.cell(dimension, 0, cell)?);
            }
        }
    }
    let mut simulation =
        Simulation::new(scenario, &population, &planner, &processes, table, random);
    simulation.run()?;
    let figures = simulation.figures();
    Ok((figures, simulation.table.audit))
}

/// What the table holds, as far as it matters.
#[derive(Debug)]
struct Contents {
    spreads: Vec<Spread>,
    is_listed: Vec<bool>,
    is_key: Vec<Vec<bool>>,
    /// In which cells each key was written while figures were taken.
    cells: Vec<Vec<u128>>,
}

struct Simulation<'a> {
    scenario: &'a Scenario,
    population: &'a Population,
    planner: &'a Planner,
    processes: &'a [Process],
    table: Table,
    contents: Contents,
    fleet: Fleet,
    random: fastrand::Rng,
    began: Instant,
    now: Duration,
    events: BinaryHeap<Reverse<(Duration, u64, Event)>>,
    sequence: u64,
    calls: Vec<Option<Call<'a>>>,
    free: Vec<usize>,
    next_of_writer: Vec<u64>,
    counts: Counts,
    at_measure: Counts,
    noted: Counts,
    /// How many clients have been counted that were new.
    introduced: u64,
    is_measuring: bool,
    added: LatencySample,
    course: Vec<Moment>,
}

impl<'a> Simulation<'a> {
    fn new(
        scenario: &'a Scenario,
        population: &'a Population,
        planner: &'a Planner,
        processes: &'a [Process],
        table: Table,
        random: fastrand::Rng,
    ) -> Self {
        let is_known = !scenario.is_start;
        let dimensions = 0..population.dimensions();
        let keys = |dimension: usize| population.rollups(dimension).len();
        let contents = Contents {
            spreads: dimensions.clone().map(|_| Spread::ONE).collect(),
            is_listed: dimensions.clone().map(|_| is_known).collect(),
            is_key: dimensions.clone().map(|of| vec![is_known; keys(of)]).collect(),
            cells: dimensions.map(|of| vec![0; keys(of)]).collect(),
        };
        Self {
            scenario,
            population,
            planner,
            processes,
            table,
            contents,
            fleet: Fleet::new(scenario.fleet),
            random,
            began: Instant::now(),
            now: Duration::ZERO,
            events: BinaryHeap::new(),
            sequence: 0,
            calls: Vec::new(),
            free: Vec::new(),
            next_of_writer: Vec::new(),
            counts: Counts::default(),
            at_measure: Counts::default(),
            noted: Counts::default(),
            introduced: 0,
            is_measuring: false,
            added: LatencySample::default(),
            course: Vec::new(),
        }
    }

    fn run(&mut self) -> anyhow::Result<()> {
        let end = self.scenario.warm_up + self.scenario.measured;
        self.schedule(LOOKS_EVERY, Event::Look);
        self.schedule(end / MOMENTS, Event::Note);
        self.schedule(self.scenario.warm_up, Event::Measure);
        match self.scenario.arrivals {
            Arrivals::Clients { .. } => self.schedule_arrival(),
            Arrivals::Writers { writers, .. } => {
                self.next_of_writer = vec![0; writers];
                for writer in 0..writers {
                    self.schedule(Duration::ZERO, Event::Writer(writer));
                }
            }
        }
        while let Some(Reverse((at, _, event))) = self.events.pop() {
            if at > end {
                break;
            }
            self.now = at;
            self.happen(event)?;
        }
        self.now = end;
        Ok(())
    }

    fn schedule(&mut self, at: Duration, event: Event) {
        self.sequence += 1;
        self.events.push(Reverse((at, self.sequence, event)));
    }

    fn happen(&mut self, event: Event) -> anyhow::Result<()> {
        match event {
            Event::Arrival => {
                self.arrive()?;
                self.schedule_arrival();
            }
            Event::Writer(writer) => self.write(writer),
            Event::Call(number) => self.go_on(number)?,
            Event::Look => {
                self.table.look(self.now);
                self.schedule(self.now + LOOKS_EVERY, Event::Look);
            }
            Event::Note => self.note(),
            Event::Measure => {
                self.is_measuring = true;
                self.at_measure = self.counts();
            }
        }
        Ok(())
    }

    /// When the next request comes.
    fn schedule_arrival(&mut self) {
        let Arrivals::Clients { clients, interval, within, batch } = self.scenario.arrivals else {
            return;
        };
        let batch = f64::from(u32::try_from(batch).unwrap_or(u32::MAX));
        let rate = clients / within.as_secs_f64() / batch;
        // 1 minus it is never 0.
        let wait = -(1.0 - self.random.f64()).ln() / rate;
        let at = self.now + Duration::from_secs_f64(wait);
        let into = at.as_secs_f64() % interval.as_secs_f64();
        let is_outside = into > within.as_secs_f64();
        let at = match is_outside {
            true => at + Duration::from_secs_f64(interval.as_secs_f64() - into + wait),
            false => at,
        };
        self.schedule(at, Event::Arrival);
    }

    fn arrive(&mut self) -> anyhow::Result<()> {
        let Arrivals::Clients { clients, batch, .. } = self.scenario.arrivals else {
            return Ok(());
        };
        let updates = u64::try_from(batch)?;
        self.counts.sent += updates;
        let (process, start) = match self.fleet.admit(self.now) {
            Admission::RefusedByApi => {
                self.counts.refused_by_api += updates;
                return Ok(());
            }
            Admission::RefusedByLambda => {
                self.counts.refused_by_lambda += updates;
                return Ok(());
            }
            Admission::Warm(process) => (process, Duration::ZERO),
            Admission::Cold(process) => (process, self.scenario.fleet.start),
        };
        // Clients come at random, so this is the chance of one that was counted before.
        let known = float(self.introduced) / clients;
        let reports: Vec<_> = (0..batch)
            .map(|_| Report {
                client: self.random.u64(..),
                keys: self.population.pick(&mut self.random),
                is_first: self.scenario.is_start && self.random.f64() >= known,
            })
            .collect();
        let groups = match reports.len() {
            1 => VecDeque::from([reports]),
            _ => {
                let groups = self.planner.groups(&reports)?.into_iter();
                let group = |places: Vec<usize>| {
                    places.iter().filter_map(|place| reports.get(*place)).cloned().collect()
                };
                groups.map(group).collect()
            }
        };
        self.begin(process, None, groups, start);
        Ok(())
    }

    /// A writer reports for the next of its clients.
    fn write(&mut self, writer: usize) {
        let Arrivals::Writers { clients, .. } = self.scenario.arrivals else { return };
        let Some(next) = self.next_of_writer.get_mut(writer) else { return };
        let client = *next % clients + u64::try_from(writer).unwrap_or_default() * clients;
        *next += 1;
        let keys = (0..self.population.dimensions()).map(|dimension| {
            let keys = u64::try_from(self.population.rollups(dimension).len()).unwrap_or(1);
            usize::try_from(client % keys.max(1)).unwrap_or_default()
        });
        let report = Report { client, keys: keys.collect(), is_first: self.scenario.is_start };
        self.counts.sent += 1;
        let process = writer % self.processes.len().max(1);
        self.begin(process, Some(writer), VecDeque::from([vec![report]]), Duration::ZERO);
    }

    fn begin(
        &mut self,
        process: usize,
        writer: Option<usize>,
        waiting: VecDeque<Vec<Report>>,
        start: Duration,
    ) {
        self.counts.calls += 1;
        let updates: usize = waiting.iter().map(Vec::len).sum();
        let updates = u32::try_from(updates).unwrap_or(u32::MAX);
        let began = self.now + start;
        let work = self.scenario.latencies.call + self.scenario.latencies.update * updates;
        let deadline = Deadline::at(self.began + began + CALL);
        let call = Call {
            process,
            writer,
            began,
            useful: work,
            deadline,
            waiting,
            reports: Vec::new(),
            overtaken: 0,
            read_units: EVENTUAL,
            reads: Vec::new(),
            waits: Waits::new(Pace::default(), deadline),
            own_waits: None,
            work: Work::default(),
            plan: None,
            lease: None,
            step: Some(Step::Load),
        };
        let number = match self.free.pop() {
            Some(number) => number,
            None => {
                self.calls.push(None);
                self.calls.len() - 1
            }
        };
        let mut call = call;
        Self::next_group(&mut call);
        if let Some(slot) = self.calls.get_mut(number) {
            *slot = Some(call);
        }
        self.schedule(began + work, Event::Call(number));
    }

    /// Goes on to the next group of reports, if there is one.
    fn next_group(call: &mut Call<'a>) -> bool {
        let Some(reports) = call.waiting.pop_front() else { return false };
        call.reports = reports;
        call.overtaken = 0;
        call.read_units = EVENTUAL;
        // A group has a quarter of the time left, or 4 seconds, to settle in; like the service.
        let settling = Pace::default().settling;
        call.waits = Waits::new(Pace::default(), Deadline::at(call.deadline.instant() - settling));
        call.own_waits = None;
        call.lease = None;
        call.plan = None;
        true
    }

    fn go_on(&mut self, number: usize) -> anyhow::Result<()> {
        let taken = self.calls.get_mut(number).and_then(Option::take);
        let mut call = taken.context("a call goes on that is over")?;
        let step = call.step.take().context("a call has a next step")?;
        match self.step(&mut call, step)? {
            Then::At(at, step) => {
                call.step = Some(step);
                if let Some(slot) = self.calls.get_mut(number) {
                    *slot = Some(call);
                }
                self.schedule(at, Event::Call(number));
            }
            Then::Answered => {
                self.counts.billed += self.now.saturating_sub(call.began);
                self.free.push(number);
                match call.writer {
                    Some(writer) => self.schedule(self.now, Event::Writer(writer)),
                    None => self.fleet.release(call.process),
                }
            }
        }
        Ok(())
    }

    fn step(&mut self, call: &mut Call<'a>, step: Step) -> anyhow::Result<Then> {
        match step {
            Step::Load => {
                call.reads =
                    call.reports.iter().map(|of| (detail(of.client), CONSISTENT)).collect();
                Ok(self.read(call, Box::new(Step::Plan)))
            }
            Step::Read(then) => Ok(self.read(call, then)),
            Step::Plan => self.plan(call),
            Step::Admit(names) => self.admit(call, *names),
            Step::Room => self.make_room(call),
            Step::Entry(dimension, last) => self.go_by_entry(call, dimension, last),
            Step::Widen(dimension, last, read, wider) => {
                self.widen(call, dimension, last, read, wider)
            }
            Step::Done => Ok(self.done(call)),
            Step::Cancelled(refusals, targets) => self.cancelled(call, &refusals, &targets),
        }
    }

    fn instant(&self) -> Instant {
        self.began + self.now
    }

    fn unix(&self) -> UnixSeconds {
        BEGINS.after(self.now)
    }

    fn process(&self, call: &Call<'a>) -> anyhow::Result<&'a Process> {
        self.processes.get(call.process).context("no such process")
    }

    /// Reads what is to be read; what is throttled, again after a wait.
    fn read(&mut self, call: &mut Call<'a>, then: Box<Step>) -> Then {
        let (table, now) = (&mut self.table, self.now);
        call.reads.retain(|(at, units)| !table.read(*at, *units, now));
        if call.reads.is_empty() {
            call.own_waits = None;
            let latency = self.scenario.latencies.read;
            if matches!(*then, Step::Plan) && call.overtaken == 0 {
                call.useful += latency;
            }
            return Then::At(self.now + latency, *then);
        }
        self.counts.throttles += 1;
        self.wait_for_own(call, Failure::Throttled, Step::Read(then))
    }

    /// Waits before another attempt at a request that is not the transaction.
    fn wait_for_own(&mut self, call: &mut Call<'a>, failure: Failure, step: Step) -> Then {
        let now = self.instant();
        let deadline = call.deadline;
        let waits = call.own_waits.get_or_insert_with(|| Waits::new(Pace::default(), deadline));
        match waits.next(failure, now, &mut self.random) {
            Some(at) => Then::At(at - self.began, step),
            None => self.give_up(call, failure),
        }
    }

    fn give_up(&mut self, call: &mut Call<'a>, failure: Failure) -> Then {
        let why = match failure {
            Failure::Throttled => GaveUp::Throttled,
            _ => GaveUp::Contended,
        };
        let mut refused = call.reports.len();
        if why == GaveUp::Throttled {
            // The rest of a batch would wait as long, and is not tried.
            refused += call.waiting.drain(..).map(|reports| reports.len()).sum::<usize>();
        }
        let refused = u64::try_from(refused).unwrap_or(u64::MAX);
        match why {
            GaveUp::Throttled => self.counts.refused_throttled += refused,
            GaveUp::Contended => self.counts.refused_contended += refused,
        }
        call.lease = None;
        match Self::next_group(call) {
            true => Then::At(self.now, Step::Load),
            false => Then::Answered,
        }
    }

    fn plan(&mut self, call: &mut Call<'a>) -> anyhow::Result<Then> {
        if call.reports.iter().all(|report| !report.is_first) {
            call.work = self.planner.next_work(&call.reports)?;
            return self.take_cells(call);
        }
        let plan = self.planner.joint_plan(&call.reports)?;
        let process = self.process(call)?;
        let names = process.known_names.unknown(&plan);
        let stats = process.known_names.unknown_stats(&plan);
        if names.is_empty() && stats.is_empty() {
            return self.draft(call, plan, &names);
        }
        let mut reads = Vec::new();
        for dimension in names.dimensions.iter().chain(stats.keys().map(|of| &of.dimension)) {
            let entry = self.planner.entry(self.planner.dimension(dimension)?)?;
            reads.push((entry, call.read_units));
        }
        for of in names.keys.iter().chain(stats.keys()) {
            let (dimension, key) = self.planner.key(of)?;
            // A key's first report has all of its stats, and goes to the first cell.
            reads.push((self.planner.cell(dimension, key, Cell::FIRST)?, call.read_units));
        }
        for name in names.keys_by_dimension().into_keys() {
            if !process.known_names.knows_room(name, self.unix()) {
                let dimension = self.planner.dimension(name)?;
                reads.push((self.planner.entry(dimension)?, CONSISTENT));
                for cell in Cell::first(self.cells(dimension)) {
                    reads.push((self.planner.key_count(dimension, cell)?, CONSISTENT));
                }
                let keys = self.contents.is_key.get(dimension).into_iter().flatten();
                let count = u64::try_from(keys.filter(|is_key| **is_key).count())?;
                process.known_names.remember_room(name, count, DEFAULT_MAX_KEYS, self.unix());
            }
        }
        reads.sort_by_key(|(at, _)| *at);
        reads.dedup_by_key(|(at, _)| *at);
        call.reads = reads;
        Ok(self.read(call, Box::new(Step::Admit(Box::new((plan, names))))))
    }

    fn cells(&self, dimension: usize) -> u8 {
        self.contents.spreads.get(dimension).map_or(1, |spread| spread.cells)
    }

    fn is_key(&self, dimension: usize, key: usize) -> bool {
        let keys = self.contents.is_key.get(dimension);
        keys.and_then(|keys| keys.get(key)).copied().unwrap_or_default()
    }

    fn is_listed(&self, dimension: usize) -> bool {
        self.contents.is_listed.get(dimension).copied().unwrap_or_default()
    }

    /// Finds out which names are new, after the table was asked.
    fn admit(
        &mut self,
        call: &mut Call<'a>,
        (plan, mut names): (JointPlan, NewNames),
    ) -> anyhow::Result<Then> {
        let process = self.process(call)?;
        let known = |of: &RollupKey| {
            let (dimension, key) = self.planner.key(of).unwrap_or_default();
            self.is_key(dimension, key)
        };
        names
            .dimensions
            .retain(|of| !self.planner.dimension(of).is_ok_and(|of| self.is_listed(of)));
        names.keys.retain(|of| !known(of));
        for (of, stats) in plan.stats.iter().filter(|(of, _)| known(of)) {
            process.known_names.remember_stats(of, stats);
        }
        for (dimension, keys) in names.keys_by_dimension() {
            if !process.known_names.take_room(dimension, keys) {
                bail!("the population has more keys than there may be");
            }
        }
        self.draft(call, plan, &names)
    }

    /// Makes a transaction of a plan, or of the halves of the reports if it is too large.
    fn draft(
        &mut self,
        call: &mut Call<'a>,
        plan: JointPlan,
        names: &NewNames,
    ) -> anyhow::Result<Then> {
        match self.planner.work(&plan, names, &call.reports)? {
            Some(work) => {
                call.work = work;
                call.plan = Some(Box::new(plan));
                self.take_cells(call)
            }
            None => Ok(self.split(call)),
        }
    }

    fn split(&mut self, call: &mut Call<'a>) -> Then {
        let rest = call.reports.split_off(call.reports.len() / 2);
        call.waiting.push_front(rest);
        call.waiting.push_front(std::mem::take(&mut call.reports));
        Self::next_group(call);
        Then::At(self.now, Step::Load)
    }

    fn take_cells(&mut self, call: &mut Call<'a>) -> anyhow::Result<Then> {
        let process = self.process(call)?;
        call.lease = Some(process.hot_sums.lease(call.work.sums.clone(), self.unix()));
        self.make_room(call)
    }

    /// Reads the entry of a dimension that has to be spread further; sends where there is none.
    fn make_room(&mut self, call: &mut Call<'a>) -> anyhow::Result<Then> {
        let lease = call.lease.as_ref().context("cells are taken")?;
        let Some((dimension, last)) = lease.beyond_spread().into_iter().next() else {
            return self.send(call);
        };
        let entry = self.planner.entry(self.planner.dimension(&dimension)?)?;
        call.reads = vec![(entry, CONSISTENT)];
        Ok(self.read(call, Box::new(Step::Entry(dimension, last))))
    }

    fn go_by_entry(
        &mut self,
        call: &mut Call<'a>,
        name: DimensionName,
        last: Cell,
    ) -> anyhow::Result<Then> {
        let dimension = self.planner.dimension(&name)?;
        if !self.is_listed(dimension) {
            call.lease.as_mut().context("cells are taken")?.keep_to_first(&name);
            return self.make_room(call);
        }
        let spread = self.contents.spreads.get(dimension).copied().unwrap_or_default();
        let Some(wider) = spread.widened_to(last) else {
            self.process(call)?.hot_sums.remember_spread(&name, spread, self.unix());
            return self.make_room(call);
        };
        let entry =
            Touched { at: self.planner.entry(dimension)?, units: PLAIN_WRITE, is_shared: true };
        if !self.table.write(entry, self.now) {
            self.counts.throttles += 1;
            return Ok(self.wait_for_own(call, Failure::Throttled, Step::Entry(name, last)));
        }
        let at = self.now + self.scenario.latencies.write;
        Ok(Then::At(at, Step::Widen(name, last, spread, wider)))
    }

    fn widen(
        &mut self,
        call: &mut Call<'a>,
        name: DimensionName,
        last: Cell,
        read: Spread,
        wider: Spread,
    ) -> anyhow::Result<Then> {
        let dimension = self.planner.dimension(&name)?;
        let spread = self.contents.spreads.get_mut(dimension).context("no such dimension")?;
        if *spread == read {
            *spread = wider;
            self.process(call)?.hot_sums.remember_spread(&name, wider, self.unix());
            call.own_waits = None;
            return self.make_room(call);
        }
        let entry = self.planner.entry(dimension)?;
        call.reads = vec![(entry, CONSISTENT)];
        let step = Step::Read(Box::new(Step::Entry(name, last)));
        Ok(self.wait_for_own(call, Failure::InTheWay, step))
    }

    fn send(&mut self, call: &mut Call<'a>) -> anyhow::Result<Then> {
        let lease = call.lease.as_ref().context("cells are taken")?;
        let cell_of = |sum: &SpreadSum| lease.cell(sum);
        let touched = call.work.actions.iter().map(|of| self.planner.touched(*of, cell_of));
        let touched = touched.collect::<anyhow::Result<Vec<_>>>()?;
        let latencies = self.scenario.latencies;
        let spare = latencies.longest_hold.saturating_sub(latencies.shortest_hold);
        let hold = latencies.shortest_hold + spare.mul_f64(self.random.f64());
        let actions = &call.work.actions;
        let contents = &self.contents;
        let is_met = |number: usize| match actions.get(number) {
            Some(Written::NewKey(dimension, key)) => {
                let keys = contents.is_key.get(*dimension);
                !keys.and_then(|keys| keys.get(*key)).copied().unwrap_or_default()
            }
            _ => true,
        };
        match self.table.transact(&touched, is_met, hold, self.now) {
            Ok(()) => {
                call.useful += hold + latencies.round_trip;
                self.write_contents(call)?;
                Ok(Then::At(self.now + hold + latencies.round_trip, Step::Done))
            }
            Err(refusals) => {
                let targets = call.work.actions.iter().map(|of| self.planner.target(*of, cell_of));
                let targets = targets.collect::<anyhow::Result<_>>()?;
                let at = self.now + latencies.round_trip;
                Ok(Then::At(at, Step::Cancelled(refusals, targets)))
            }
        }
    }

    /// What is in the table after a transaction. Others can't see it before, since it is held.
    fn write_contents(&mut self, call: &Call<'a>) -> anyhow::Result<()> {
        let lease = call.lease.as_ref().context("cells are taken")?;
        for written in &call.work.actions {
            match *written {
                Written::NewKey(dimension, key) => {
                    let keys = self.contents.is_key.get_mut(dimension);
                    *keys.and_then(|keys| keys.get_mut(key)).context("no such key")? = true;
                }
                Written::Dimension(dimension) => {
                    let listed = self.contents.is_listed.get_mut(dimension);
                    *listed.context("no such dimension")? = true;
                }
                Written::Rollup(dimension, key) if self.is_measuring => {
                    let taken = lease.cell(self.planner.sum(dimension, key)?);
                    let cells = self.contents.cells.get_mut(dimension);
                    let cells = cells.and_then(|cells| cells.get_mut(key));
                    *cells.context("no such key")? |= 1 << taken.number();
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn done(&mut self, call: &mut Call<'a>) -> Then {
        if let Some(lease) = call.lease.take() {
            lease.succeeded();
        }
        if let (Some(plan), Ok(process)) = (call.plan.take(), self.process(call)) {
            process.known_names.remember(&plan);
        }
        self.counts.counted += u64::try_from(call.reports.len()).unwrap_or(u64::MAX);
        let new = call.reports.iter().filter(|report| report.is_first).count();
        self.introduced += u64::try_from(new).unwrap_or(u64::MAX);
        if self.is_measuring {
            let took = self.now.saturating_sub(call.began);
            self.added.add(took.saturating_sub(call.useful), &mut self.random);
        }
        match Self::next_group(call) {
            true => Then::At(self.now, Step::Load),
            false => Then::Answered,
        }
    }

    /// Goes on after a cancellation as the service does.
    fn cancelled(
        &mut self,
        call: &mut Call<'a>,
        refusals: &[Refusal],
        targets: &[Target],
    ) -> anyhow::Result<Then> {
        self.counts.conflicts += u64::from(refusals.contains(&Refusal::Conflict));
        self.counts.throttles += u64::from(refusals.contains(&Refusal::Throttled));
        let reasons: Vec<_> = refusals.iter().map(|refusal| reason(*refusal)).collect();
        match judge_reasons(targets, &reasons) {
            Verdict::Refused(error) => Err(error.into()),
            Verdict::Replan(gone) => {
                self.process(call)?.known_names.note_gone(gone);
                call.lease = None;
                call.read_units = CONSISTENT;
                call.overtaken += 1;
                if call.reports.len() > 1 && call.overtaken >= ATTEMPTS_TOGETHER {
                    return Ok(self.split(call));
                }
                Ok(self.wait(call, Failure::InTheWay, Step::Load))
            }
            Verdict::Again(failure, crowded) => {
                let lease = call.lease.as_mut().context("cells are taken")?;
                match avoid(lease, failure, &crowded) {
                    true => self.make_room(call),
                    false => Ok(self.wait(call, failure, Step::Room)),
                }
            }
        }
    }

    /// Waits before another attempt at an update.
    fn wait(&mut self, call: &mut Call<'a>, failure: Failure, step: Step) -> Then {
        match call.waits.next(failure, self.instant(), &mut self.random) {
            Some(at) => Then::At(at - self.began, step),
            None => self.give_up(call, failure),
        }
    }

    fn counts(&self) -> Counts {
        Counts { write_units: self.table.written, read_units: self.table.read_units, ..self.counts }
    }

    fn note(&mut self) {
        let every = (self.scenario.warm_up + self.scenario.measured) / MOMENTS;
        let counts = self.counts();
        let since = counts.since(&self.noted);
        let by_second = |count: u64| float(count) / every.as_secs_f64();
        self.course.push(Moment {
            at: self.now.as_secs_f64(),
            counted: by_second(since.counted),
            conflicts: by_second(since.conflicts),
            throttles: by_second(since.throttles),
            refused: by_second(since.refused()),
            partitions: self.table.partitions(),
        });
        self.noted = counts;
        self.schedule(self.now + every, Event::Note);
    }

    fn figures(&mut self) -> Figures {
        let since = self.counts().since(&self.at_measure);
        let [added_p50, added_p99] = self.added.quantiles([50, 99]);
        let cells = self.contents.cells.iter().flatten().filter(|cells| **cells != 0);
        let (keys, cells) = cells.fold((0_u64, 0_u64), |(keys, sum), cells| {
            (keys + 1, sum + u64::from(cells.count_ones()))
        });
        let hottest = self.contents.cells.iter().enumerate().map(|(dimension, cells)| {
            let hottest = cells.get(self.population.hottest(dimension));
            hottest.map_or(0, |cells| cells.count_ones())
        });
        Figures {
            added_p50,
            added_p99,
            processes: self.fleet.started(),
            spread: self.contents.spreads.iter().map(|spread| spread.cells).collect(),
            hottest_cells: hottest.collect(),
            cells_of_key: float(cells) / float(keys.max(1)),
            partitions: self.table.partitions(),
            course: self.course.clone(),
            ..since.figures(self.scenario.measured.as_secs_f64())
        }
    }
}

/// The reason as DynamoDB has it.
fn reason(refusal: Refusal) -> CancellationReason {
    let code = match refusal {
        Refusal::None => "None",
        Refusal::Conflict => "TransactionConflict",
        Refusal::Throttled => "ThrottlingError",
        Refusal::Condition => "ConditionalCheckFailed",
    };
    CancellationReason::builder().code(code).build()
}
