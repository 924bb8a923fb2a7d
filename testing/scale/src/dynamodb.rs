//! DynamoDB as far as its limits go: what partitions and the table take in a second, which items
//! transactions hold, and how partitions that stay hot are split.

use std::{
    collections::HashMap,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher, Hash},
    time::Duration,
};

/// How often it is looked which partitions are hot.
pub const LOOKS_EVERY: Duration = Duration::from_secs(10);
/// The part of its units that a hot partition uses at least.
const HOT: f64 = 0.9;
/// How many of its writes a partition remembers, to find where to split it.
const SAMPLES: usize = 64;

/// Units a second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rates {
    /// Write units.
    pub write: f64,
    /// Read units.
    pub read: f64,
}

impl Rates {
    /// What a partition takes. Source: *Best practices for designing and using partition keys
    /// effectively*, Amazon DynamoDB Developer Guide.
    pub const OF_PARTITION: Self = Self { write: 1_000.0, read: 3_000.0 };
    /// No limit.
    pub const UNLIMITED: Self = Self { write: f64::INFINITY, read: f64::INFINITY };

    /// These rates times a factor.
    #[must_use]
    pub fn times(self, factor: f64) -> Self {
        Self { write: self.write * factor, read: self.read * factor }
    }
}

/// How the table is divided into partitions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Partitioning {
    /// Into ranges of the hashes of partition keys.
    Ranges {
        /// How many there are at first.
        partitions: usize,
        /// How long a partition has to be hot to be split.
        split_after: Duration,
    },
    /// Each partition key has a partition of its own, as in the proxy by which the real code is
    /// measured.
    OfKeys,
}

/// How a table is limited.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TableLimits {
    /// What a partition takes.
    pub partition: Rates,
    /// What the table takes: its own bound, or the account's quota.
    pub whole: Rates,
    /// How it is divided.
    pub partitioning: Partitioning,
    /// For how long a cancelled transaction holds the items that it got.
    pub held_after_cancel: Duration,
}

/// Where an item is: by the hash of its partition key, then by its sort key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Position {
    hash: u64,
    sort: u32,
}

impl Position {
    /// The place of an item with this partition key, which is the `sort`th below it.
    #[must_use]
    pub fn new(partition_key: impl Hash, sort: u32) -> Self {
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        // The hasher's state depends on nothing but the key.
        Self { hash: hasher.hash_one(partition_key), sort }
    }

    /// The place of the `sort`th item with the same partition key.
    #[must_use]
    pub fn below(self, sort: u32) -> Self {
        Self { sort, ..self }
    }
}

/// An item that a request touches.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Touched {
    /// Where it is.
    pub at: Position,
    /// What it costs.
    pub units: f64,
    /// Whether other transactions may touch it at the same time. If not, nobody looks whether it is
    /// held.
    pub is_shared: bool,
}

/// Why an action of a transaction was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It was not.
    None,
    /// Another transaction holds the item.
    Conflict,
    /// Its partition or the table takes no more.
    Throttled,
    /// Its condition is not met.
    Condition,
}

/// Units that are left, up to those of a second.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    rate: f64,
    left: f64,
    at: Duration,
}

impl Bucket {
    fn full(rate: f64, at: Duration) -> Self {
        Self { rate, left: rate, at }
    }

    fn refill(&mut self, now: Duration) {
        let since = now.saturating_sub(self.at).as_secs_f64();
        if since > 0.0 {
            self.left = (self.left + since * self.rate).min(self.rate);
            self.at = now;
        }
    }

    /// Takes units if there are enough of them. What needs more than a second's passes a bucket that
    /// is full.
    fn take(&mut self, units: f64, now: Duration) -> bool {
        if self.rate.is_infinite() {
            return true;
        }
        self.refill(now);
        let has_enough = self.left >= units.min(self.rate);
        if has_enough {
            self.left -= units;
        }
        has_enough
    }

    fn give_back(&mut self, units: f64) {
        self.left += units;
    }
}

/// A partition of the table.
#[derive(Debug, Clone)]
struct Partition {
    write: Bucket,
    read: Bucket,
    /// Write units since the last look.
    written: f64,
    /// Since when it is hot.
    hot_since: Option<Duration>,
    /// Places of some of its writes since the last look.
    samples: Vec<Position>,
    writes: usize,
}

impl Partition {
    fn new(rates: Rates, at: Duration) -> Self {
        Self {
            write: Bucket::full(rates.write, at),
            read: Bucket::full(rates.read, at),
            written: 0.0,
            hot_since: None,
            samples: Vec::new(),
            writes: 0,
        }
    }

    /// Remembers each write with the same chance.
    fn sample(&mut self, position: Position, random: &mut fastrand::Rng) {
        self.writes += 1;
        if self.samples.len() < SAMPLES {
            self.samples.push(position);
        } else if let Some(sample) = self.samples.get_mut(random.usize(..self.writes)) {
            *sample = position;
        }
    }

    /// Where to split it: so that each half takes half of the writes. None where one item takes them
    /// all.
    fn middle(&self) -> Option<Position> {
        let mut samples = self.samples.clone();
        samples.sort_unstable();
        let (first, last) = (samples.first()?, samples.last()?);
        let middle = samples.get(samples.len() / 2)?;
        match (first == last, middle == first) {
            (true, _) => None,
            // A range begins behind its start.
            (false, true) => samples.iter().find(|sample| *sample > first).copied(),
            (false, false) => Some(*middle),
        }
    }
}

/// What is known of a table's partitions and items.
#[derive(Debug)]
pub struct Table {
    limits: TableLimits,
    /// Where each partition begins, in their order.
    starts: Vec<Position>,
    partitions: Vec<Partition>,
    of_keys: HashMap<u64, usize>,
    write: Bucket,
    read: Bucket,
    held: HashMap<Position, Duration>,
    random: fastrand::Rng,
    /// Write units that were consumed.
    pub written: f64,
    /// Read units that were consumed.
    pub read_units: f64,
    /// What is kept for tests; none if nothing is.
    pub audit: Option<Audit>,
}

/// All that happened, for tests.
#[derive(Debug, Default)]
pub struct Audit {
    /// The items that transactions held which were carried out, from when until when.
    pub held: Vec<(Position, Duration, Duration)>,
    /// Write units by partition and second.
    pub written: HashMap<(usize, u64), f64>,
}

impl Table {
    /// A table without items.
    #[must_use]
    pub fn new(limits: TableLimits, random: fastrand::Rng) -> Self {
        let count = match limits.partitioning {
            Partitioning::Ranges { partitions, .. } => partitions.max(1),
            Partitioning::OfKeys => 0,
        };
        let of_one = u64::MAX / u64::try_from(count.max(1)).unwrap_or(u64::MAX);
        let starts = (0..count).map(|number| Position {
            hash: of_one.saturating_mul(u64::try_from(number).unwrap_or(u64::MAX)),
            sort: 0,
        });
        Self {
            limits,
            starts: starts.collect(),
            partitions: vec![Partition::new(limits.partition, Duration::ZERO); count],
            of_keys: HashMap::new(),
            write: Bucket::full(limits.whole.write, Duration::ZERO),
            read: Bucket::full(limits.whole.read, Duration::ZERO),
            held: HashMap::new(),
            random,
            written: 0.0,
            read_units: 0.0,
            audit: None,
        }
    }

    /// How many partitions there are.
    #[must_use]
    pub fn partitions(&self) -> usize {
        self.partitions.len()
    }

    /// Gives a partition key a partition of its own, as one has that has long been hot.
    pub fn isolate(&mut self, key: Position) {
        let behind = Position { hash: key.hash.saturating_add(1), sort: 0 };
        for start in [key.below(0), behind] {
            let number = self.starts.partition_point(|other| *other <= start);
            if self.starts.get(number.saturating_sub(1)) != Some(&start) {
                self.starts.insert(number, start);
                self.partitions
                    .insert(number, Partition::new(self.limits.partition, Duration::ZERO));
            }
        }
    }

    fn partition(&mut self, at: Position) -> usize {
        match self.limits.partitioning {
            Partitioning::Ranges { .. } => {
                self.starts.partition_point(|start| *start <= at).saturating_sub(1)
            }
            Partitioning::OfKeys => {
                let next = self.partitions.len();
                let number = *self.of_keys.entry(at.hash).or_insert(next);
                if number == next {
                    self.partitions.push(Partition::new(self.limits.partition, Duration::ZERO));
                }
                number
            }
        }
    }

    fn take_write(&mut self, item: Touched, now: Duration) -> bool {
        let number = self.partition(item.at);
        let Some(partition) = self.partitions.get_mut(number) else { return false };
        partition.write.take(item.units, now)
    }

    /// Notes that units were consumed that had been taken.
    fn consume(&mut self, item: Touched, now: Duration) {
        self.written += item.units;
        let number = self.partition(item.at);
        if let Some(partition) = self.partitions.get_mut(number) {
            partition.written += item.units;
            partition.sample(item.at, &mut self.random);
        }
        if let Some(audit) = &mut self.audit {
            *audit.written.entry((number, now.as_secs())).or_default() += item.units;
        }
    }

    fn give_back(&mut self, item: Touched) {
        let number = self.partition(item.at);
        if let Some(partition) = self.partitions.get_mut(number) {
            partition.write.give_back(item.units);
        }
    }

    /// Carries out a transaction that holds its items for so long, or cancels it: then there is a
    /// refusal for each item, of which one at least is not [`Refusal::None`].
    ///
    /// A transaction that conflicts costs as much as one that is carried out. One that is throttled
    /// costs nothing.
    ///
    /// # Errors
    /// It is cancelled.
    pub fn transact(
        &mut self,
        items: &[Touched],
        is_met: impl Fn(usize) -> bool,
        hold: Duration,
        now: Duration,
    ) -> Result<(), Vec<Refusal>> {
        let units = items.iter().map(|item| item.units).sum();
        if !self.write.take(units, now) {
            return Err(vec![Refusal::Throttled; items.len()]);
        }
        let mut refusals: Vec<_> = items
            .iter()
            .enumerate()
            .map(|(number, item)| match self.is_held(*item, now) {
                true => Refusal::Conflict,
                false if !is_met(number) => Refusal::Condition,
                false => Refusal::None,
            })
            .collect();
        let taken: Vec<_> = items.iter().map(|item| self.take_write(*item, now)).collect();
        if taken.contains(&false) {
            self.write.give_back(units);
            for ((item, taken), refusal) in items.iter().zip(taken).zip(&mut refusals) {
                match taken {
                    true => self.give_back(*item),
                    false => *refusal = Refusal::Throttled,
                }
            }
            return Err(refusals);
        }
        for item in items {
            self.consume(*item, now);
        }
        let is_cancelled = refusals.iter().any(|refusal| *refusal != Refusal::None);
        let until = now + if is_cancelled { self.limits.held_after_cancel } else { hold };
        for (item, refusal) in items.iter().zip(&refusals) {
            if item.is_shared && *refusal == Refusal::None && until > now {
                self.held.insert(item.at, until);
                if let Some(audit) = self.audit.as_mut().filter(|_| !is_cancelled) {
                    audit.held.push((item.at, now, until));
                }
            }
        }
        if is_cancelled { Err(refusals) } else { Ok(()) }
    }

    fn is_held(&self, item: Touched, now: Duration) -> bool {
        item.is_shared && self.held.get(&item.at).is_some_and(|until| *until > now)
    }

    /// Carries out a plain write; false if it is throttled.
    pub fn write(&mut self, item: Touched, now: Duration) -> bool {
        if !self.write.take(item.units, now) {
            return false;
        }
        if !self.take_write(item, now) {
            self.write.give_back(item.units);
            return false;
        }
        self.consume(item, now);
        true
    }

    /// Reads an item; false if it is throttled.
    pub fn read(&mut self, at: Position, units: f64, now: Duration) -> bool {
        if !self.read.take(units, now) {
            return false;
        }
        let number = self.partition(at);
        let Some(partition) = self.partitions.get_mut(number) else { return false };
        let is_read = partition.read.take(units, now);
        match is_read {
            true => self.read_units += units,
            false => self.read.give_back(units),
        }
        is_read
    }

    /// Splits the partitions that have been hot for long enough, and forgets items that nobody holds
    /// any more. Has to be called every [`LOOKS_EVERY`].
    pub fn look(&mut self, now: Duration) {
        self.held.retain(|_, until| *until > now);
        let Partitioning::Ranges { split_after, .. } = self.limits.partitioning else { return };
        let hot = HOT * self.limits.partition.write * LOOKS_EVERY.as_secs_f64();
        let mut splits = Vec::new();
        for partition in &mut self.partitions {
            let is_hot = partition.written >= hot;
            let since = partition.hot_since.filter(|_| is_hot).unwrap_or(now);
            partition.hot_since = is_hot.then_some(since);
            if is_hot && now.saturating_sub(since) >= split_after {
                splits.extend(partition.middle());
            }
            partition.written = 0.0;
            partition.samples.clear();
            partition.writes = 0;
        }
        for start in splits {
            let number = self.starts.partition_point(|other| *other <= start);
            if self.starts.get(number.saturating_sub(1)) == Some(&start) {
                continue;
            }
            self.starts.insert(number, start);
            self.partitions.insert(number, Partition::new(self.limits.partition, now));
            if let Some(partition) = self.partitions.get_mut(number.saturating_sub(1)) {
                partition.hot_since = None;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(1_000);
    const HOLD: Duration = Duration::from_millis(10);

    fn table(partitions: usize, write: f64) -> Table {
        let limits = TableLimits {
            partition: Rates { write, read: 3.0 * write },
            whole: Rates::UNLIMITED,
            partitioning: Partitioning::Ranges { partitions, split_after: LOOKS_EVERY * 2 },
            held_after_cancel: Duration::from_millis(2),
        };
        Table::new(limits, fastrand::Rng::with_seed(1))
    }

    fn item(key: &str, sort: u32) -> Touched {
        Touched { at: Position::new(key, sort), units: 2.0, is_shared: true }
    }

    fn transact(table: &mut Table, items: &[Touched], now: Duration) -> Result<(), Vec<Refusal>> {
        table.transact(items, |_| true, HOLD, now)
    }

    #[test]
    fn a_transaction_holds_its_items_and_a_cancelled_one_costs_as_much() {
        let mut table = table(1, 1_000.0);
        let (a, b) = (item("a", 0), item("b", 0));
        assert_eq!(transact(&mut table, &[a], NOW), Ok(()));
        let refused = transact(&mut table, &[a, b], NOW + HOLD / 2).unwrap_err();
        assert_eq!(refused, [Refusal::Conflict, Refusal::None]);
        assert!(transact(&mut table, &[b], NOW + HOLD / 2).is_err(), "held by the cancelled one");
        assert_eq!(transact(&mut table, &[a, b], NOW + HOLD), Ok(()));
        assert!((table.written - 12.0).abs() < 1e-9, "{}", table.written);
    }

    #[test]
    fn a_full_partition_refuses_its_items_and_nothing_is_taken() {
        let mut table = table(1, 4.0);
        for _ in 0..2 {
            assert!(table.write(item("a", 0), NOW));
        }
        let refused = transact(&mut table, &[item("a", 1)], NOW).unwrap_err();
        assert_eq!(refused, [Refusal::Throttled]);
        assert_eq!(transact(&mut table, &[item("a", 1)], NOW + Duration::from_millis(500)), Ok(()));
        assert!((table.written - 6.0).abs() < 1e-9);
    }

    #[test]
    fn a_condition_that_is_not_met_cancels() {
        let mut table = table(1, 1_000.0);
        let items = [item("a", 0), item("b", 0)];
        let refused = table.transact(&items, |number| number != 1, HOLD, NOW).unwrap_err();
        assert_eq!(refused, [Refusal::None, Refusal::Condition]);
    }

    #[test]
    fn a_hot_partition_is_split_between_its_items_but_not_within_one() {
        let fill = |table: &mut Table, sorts: u32| {
            for look in 1..=4 {
                for number in 0..200 {
                    table.write(item("a", number % sorts), LOOKS_EVERY * look);
                    table.write(item("a", number % sorts), LOOKS_EVERY * look);
                }
                table.partitions.iter_mut().for_each(|partition| partition.written = 1e6);
                table.look(LOOKS_EVERY * look);
            }
            table.partitions()
        };
        assert_eq!(fill(&mut table(1, 1_000.0), 1), 1);
        assert!(fill(&mut table(1, 1_000.0), 10) > 1);
    }

    #[test]
    fn partitions_share_the_hashes_evenly() {
        let mut table = table(4, 1_000.0);
        let mut counts = [0_u32; 4];
        for number in 0..4_000 {
            counts[table.partition(Position::new(number, 0))] += 1;
        }
        assert!(counts.iter().all(|count| (900..1_100).contains(count)), "{counts:?}");
    }
}
