//! The throughput of partition keys, as the real service limits it.
//!
//! A partition of DynamoDB takes 1,000 write units and 3,000 read units a second, whatever the
//! table pays for. A hot partition key ends up alone on a partition (adaptive capacity), and where
//! its sort keys only grow, DynamoDB never splits it further. No emulator has this limit.
//!
//! Source: *Best practices for designing and using partition keys effectively* and *Burst and
//! adaptive capacity*, Amazon DynamoDB Developer Guide. The burst there is what a partition left
//! unused, which no service may count on; here it is one second's worth.

use std::{
    collections::HashMap,
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    num::NonZeroU32,
    time::Duration,
};

/// The throughput of a table's partitions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Throughput {
    /// Write units that a partition takes in a second.
    pub write_units: f64,
    /// Read units that a partition takes in a second.
    pub read_units: f64,
    /// How many partitions the partition keys share. None: each key has a partition of its own,
    /// which is where hot keys end up.
    pub partitions: Option<NonZeroU32>,
}

impl Throughput {
    /// What the real service gives a hot partition key.
    pub const REAL: Self = Self { write_units: 1_000.0, read_units: 3_000.0, partitions: None };

    /// This throughput times `factor`: with a small one, few requests are enough to exceed it.
    #[must_use]
    pub fn times(self, factor: f64) -> Self {
        Self {
            write_units: self.write_units * factor,
            read_units: self.read_units * factor,
            ..self
        }
    }

    /// This throughput with so many partitions, which all keys share. A new on-demand table has 4
    /// (*On-demand capacity mode*, ibid.: 4,000 write units a second).
    #[must_use]
    pub fn shared_by(self, partitions: NonZeroU32) -> Self {
        Self { partitions: Some(partitions), ..self }
    }
}

/// What a request takes from a partition's throughput.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// Read units.
    Read,
    /// Write units.
    Write,
}

/// How much of its throughput a partition key has used.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct PartitionUse {
    /// Units that were consumed.
    pub units: f64,
    /// Units that were consumed in the fullest second. A second begins with the first request in
    /// it.
    pub most_in_a_second: f64,
    /// Requests, or actions of transactions, that were refused.
    pub throttled: u64,
}

/// The units that partitions have left, by what their keys consumed.
#[derive(Debug)]
pub(crate) struct Meter {
    throughput: Throughput,
    left: HashMap<(Partition, Direction), Bucket>,
    used: HashMap<(String, Direction), Usage>,
}

/// A partition: that of one key, or one of a number that keys share.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Partition {
    OfKey(String),
    Shared(u64),
}

/// Units that are left, and when that was. Below zero after a request that needed more than there
/// was: what it really consumes is known only afterwards.
#[derive(Debug, Clone, Copy)]
struct Bucket {
    left: f64,
    at: Duration,
}

#[derive(Debug, Clone, Copy, Default)]
struct Usage {
    total: PartitionUse,
    second: Option<Duration>,
    in_second: f64,
}

/// What one action needs: units of a partition key.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Need {
    pub(crate) pk: String,
    pub(crate) units: f64,
}

impl Meter {
    pub(crate) fn new(throughput: Throughput) -> Self {
        Self { throughput, left: HashMap::new(), used: HashMap::new() }
    }

    /// Takes what the actions of a request need. If a partition has not enough left, takes nothing
    /// and returns which actions are refused. `now` is the time since any fixed moment.
    ///
    /// An action that needs more than a second gives passes a partition that is not used, as on the
    /// real service.
    pub(crate) fn take(
        &mut self,
        direction: Direction,
        needs: &[Need],
        now: Duration,
    ) -> Result<(), Vec<bool>> {
        let a_second = self.units_of(direction);
        let mut left: HashMap<Partition, f64> = HashMap::new();
        let refused = needs.iter().map(|need| {
            let partition = self.partition(&need.pk);
            let in_partition = self.left(&partition, direction, now);
            let left = left.entry(partition).or_insert(in_partition);
            let is_refused = *left < need.units.min(a_second);
            *left -= need.units;
            is_refused
        });
        let refused: Vec<_> = refused.collect();
        if refused.contains(&true) {
            for (need, _) in needs.iter().zip(&refused).filter(|(_, refused)| **refused) {
                let usage = self.used.entry((need.pk.clone(), direction)).or_default();
                usage.total.throttled += 1;
            }
            return Err(refused);
        }
        for need in needs {
            self.charge(direction, &need.pk, need.units, now);
        }
        Ok(())
    }

    /// Charges units that were consumed beyond those that were taken.
    pub(crate) fn charge(&mut self, direction: Direction, pk: &str, units: f64, now: Duration) {
        let partition = self.partition(pk);
        let left = self.left(&partition, direction, now);
        self.left.insert((partition, direction), Bucket { left: left - units, at: now });
        let usage = self.used.entry((pk.to_owned(), direction)).or_default();
        usage.note(units, now);
    }

    /// What the partition keys have used in a direction, the fullest first.
    pub(crate) fn used(&self, direction: Direction) -> Vec<(String, PartitionUse)> {
        let used = self.used.iter().filter(|((_, of), _)| *of == direction);
        let mut used: Vec<_> = used.map(|((pk, _), usage)| (pk.clone(), usage.total)).collect();
        used.sort_by(|(a, x), (b, y)| y.units.total_cmp(&x.units).then_with(|| a.cmp(b)));
        used
    }

    fn units_of(&self, direction: Direction) -> f64 {
        match direction {
            Direction::Read => self.throughput.read_units,
            Direction::Write => self.throughput.write_units,
        }
    }

    fn partition(&self, pk: &str) -> Partition {
        match self.throughput.partitions {
            None => Partition::OfKey(pk.to_owned()),
            Some(partitions) => {
                let hash = BuildHasherDefault::<DefaultHasher>::default().hash_one(pk);
                Partition::Shared(hash % u64::from(partitions.get()))
            }
        }
    }

    fn left(&self, partition: &Partition, direction: Direction, now: Duration) -> f64 {
        let a_second = self.units_of(direction);
        let Some(bucket) = self.left.get(&(partition.clone(), direction)) else {
            return a_second;
        };
        let since = now.saturating_sub(bucket.at).as_secs_f64();
        (bucket.left + since * a_second).min(a_second)
    }
}

impl Usage {
    fn note(&mut self, units: f64, now: Duration) {
        self.total.units += units;
        match self.second {
            Some(start) if now.saturating_sub(start) < Duration::from_secs(1) => {
                self.in_second += units;
            }
            _ => {
                self.second = Some(now);
                self.in_second = units;
            }
        }
        self.total.most_in_a_second = self.total.most_in_a_second.max(self.in_second);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(of: &[(&str, f64)]) -> Vec<Need> {
        of.iter().map(|(pk, units)| Need { pk: (*pk).to_owned(), units: *units }).collect()
    }

    fn ms(milliseconds: u64) -> Duration {
        Duration::from_millis(milliseconds)
    }

    fn meter(write_units: f64) -> Meter {
        Meter::new(Throughput { write_units, ..Throughput::REAL })
    }

    #[test]
    fn a_key_takes_a_seconds_units_at_once_and_then_as_many_each_second() {
        let mut meter = meter(10.0);
        for _ in 0..5 {
            assert_eq!(meter.take(Direction::Write, &needs(&[("a", 2.0)]), ms(0)), Ok(()));
        }
        let one = needs(&[("a", 2.0)]);
        assert_eq!(meter.take(Direction::Write, &one, ms(0)), Err(vec![true]));
        assert_eq!(meter.take(Direction::Write, &one, ms(100)), Err(vec![true]));
        assert_eq!(meter.take(Direction::Write, &one, ms(200)), Ok(()));
        assert_eq!(meter.take(Direction::Write, &one, ms(399)), Err(vec![true]));
        // What is left unused does not add up beyond a second.
        for _ in 0..5 {
            assert_eq!(meter.take(Direction::Write, &one, ms(60_000)), Ok(()));
        }
        assert_eq!(meter.take(Direction::Write, &one, ms(60_000)), Err(vec![true]));
    }

    #[test]
    fn a_request_names_the_actions_that_are_refused_and_takes_nothing() {
        let mut meter = meter(10.0);
        let all = needs(&[("a", 2.0), ("b", 8.0), ("b", 4.0), ("a", 2.0)]);
        let refused = meter.take(Direction::Write, &all, ms(0)).unwrap_err();
        assert_eq!(refused, [false, false, true, false]);
        assert_eq!(
            meter.take(Direction::Write, &needs(&[("a", 10.0), ("b", 10.0)]), ms(0)),
            Ok(())
        );
        let used = meter.used(Direction::Write);
        let used: Vec<_> =
            used.iter().map(|(pk, used)| (&pk[..], used.units, used.throttled)).collect();
        assert_eq!(used, [("a", 10.0, 0), ("b", 10.0, 1)]);
    }

    #[test]
    fn reads_and_writes_do_not_compete() {
        let mut meter = meter(1.0);
        assert_eq!(meter.take(Direction::Write, &needs(&[("a", 1.0)]), ms(0)), Ok(()));
        assert_eq!(meter.take(Direction::Read, &needs(&[("a", 1.0)]), ms(0)), Ok(()));
        assert!(meter.take(Direction::Write, &needs(&[("a", 1.0)]), ms(0)).is_err());
    }

    #[test]
    fn a_large_item_passes_a_full_partition_and_is_paid_for_afterwards() {
        let mut meter = meter(10.0);
        assert_eq!(meter.take(Direction::Write, &needs(&[("a", 40.0)]), ms(0)), Ok(()));
        let small = needs(&[("a", 1.0)]);
        assert!(meter.take(Direction::Write, &small, ms(3_000)).is_err());
        assert_eq!(meter.take(Direction::Write, &small, ms(3_200)), Ok(()));
    }

    #[test]
    fn what_a_read_consumed_is_known_afterwards() {
        let mut meter = Meter::new(Throughput::REAL.times(0.01));
        let read = needs(&[("a", 0.5)]);
        assert_eq!(meter.take(Direction::Read, &read, ms(0)), Ok(()));
        meter.charge(Direction::Read, "a", 59.5, ms(0));
        assert!(meter.take(Direction::Read, &read, ms(999)).is_err());
        assert_eq!(meter.take(Direction::Read, &read, ms(1_100)), Ok(()));
    }

    #[test]
    fn keys_may_share_partitions() {
        let one = NonZeroU32::MIN;
        let mut meter = Meter::new(Throughput::REAL.times(0.01).shared_by(one));
        assert_eq!(meter.take(Direction::Write, &needs(&[("a", 6.0)]), ms(0)), Ok(()));
        assert!(meter.take(Direction::Write, &needs(&[("b", 6.0)]), ms(0)).is_err());
        let alone = Throughput::REAL.times(0.01);
        let mut meter = Meter::new(alone);
        assert_eq!(meter.take(Direction::Write, &needs(&[("a", 6.0)]), ms(0)), Ok(()));
        assert_eq!(meter.take(Direction::Write, &needs(&[("b", 6.0)]), ms(0)), Ok(()));
    }

    #[test]
    fn the_fullest_keys_come_first() {
        let mut meter = meter(10.0);
        for second in 0..3 {
            let all = needs(&[("cold", 1.0), ("hot", 9.0)]);
            assert_eq!(meter.take(Direction::Write, &all, ms(second * 1_000)), Ok(()));
        }
        assert!(meter.take(Direction::Write, &needs(&[("hot", 9.0)]), ms(2_000)).is_err());
        let hot = PartitionUse { units: 27.0, most_in_a_second: 9.0, throttled: 1 };
        let cold = PartitionUse { units: 3.0, most_in_a_second: 1.0, throttled: 0 };
        let expected = [("hot".to_owned(), hot), ("cold".to_owned(), cold)];
        assert_eq!(meter.used(Direction::Write), expected);
        assert_eq!(meter.used(Direction::Read), []);
    }
}
