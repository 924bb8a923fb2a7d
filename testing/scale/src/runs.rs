//! The runs that docs/scale.md reports.

use std::time::Duration;

use crate::{
    dynamodb::{Partitioning, Rates, TableLimits},
    lambda::FleetLimits,
    population::DimensionShape,
    scenario::{Arrivals, INTERVAL, Latencies, Limits, NEW_PARTITIONS, Scenario},
};

/// How many clients there are.
pub const FLEETS: [f64; 5] = [1e4, 1e5, 1e6, 1e7, 1e8];
/// From which all chance of the runs comes.
pub const SEED: u64 = 6;
/// About how many updates go by before figures are taken, and while they are.
const LEARNT_FROM: f64 = 6e5;
const COUNTED: f64 = 2e5;
/// Write units of a report under one dimension, and of each more.
const UNITS: f64 = 2.0;
/// Processes that an account has at most, with raised quotas.
const MOST_PROCESSES: usize = 10_000;
/// How long an update takes at least, for the number of processes that may be needed.
const UPDATE_SECONDS: f64 = 0.016;

/// How long a partition of a table that is warm has to be hot to be split: less than it really takes,
/// since the table has been hot for long before a run begins.
const SPLIT_IN_WARM_UP: Duration = Duration::from_secs(10);

/// A fleet that reports, and where.
#[derive(Debug, Clone)]
pub struct Fleet {
    /// How many clients there are.
    pub clients: f64,
    /// The dimensions that they name.
    pub dimensions: Vec<DimensionShape>,
    /// How often each reports.
    pub interval: Duration,
    /// Within which part of the interval.
    pub within: Duration,
    /// How many share a request.
    pub batch: usize,
    /// How long transactions hold their items.
    pub hold: [Duration; 2],
    /// Who sets the limits.
    pub limits: Limits,
    /// The most cells of a sum.
    pub max_cells: u8,
}

/// A small dimension, of which some keys are popular, and one of many keys.
#[must_use]
pub fn two_dimensions() -> Vec<DimensionShape> {
    vec![DimensionShape::new("country", 200, 1.0), DimensionShape::new("version", 10_000, 1.0)]
}

/// All clients under one key.
#[must_use]
pub fn one_key() -> Vec<DimensionShape> {
    vec![DimensionShape::new("all", 1, 0.0)]
}

impl Fleet {
    /// A fleet that reports every five minutes, at random moments, one client a request.
    #[must_use]
    pub fn new(clients: f64, dimensions: Vec<DimensionShape>, limits: Limits) -> Self {
        let Latencies { shortest_hold, longest_hold, .. } = Latencies::TYPICAL;
        Self {
            clients,
            dimensions,
            interval: INTERVAL,
            within: INTERVAL,
            batch: 1,
            hold: [shortest_hold, longest_hold],
            limits,
            max_cells: 128,
        }
    }

    /// Updates a second, on average.
    #[must_use]
    pub fn rate(&self) -> f64 {
        self.clients / self.interval.as_secs_f64()
    }

    /// Updates a second while they come.
    fn peak(&self) -> f64 {
        self.clients / self.within.as_secs_f64()
    }

    /// Write units a second of all updates, if each is counted at the first attempt and alone.
    fn units(&self) -> f64 {
        let dimensions = u32::try_from(self.dimensions.len()).unwrap_or(u32::MAX);
        self.peak() * (UNITS + UNITS * f64::from(dimensions))
    }

    /// The scenario of a fleet whose clients and keys are all known, on a table that is as large as
    /// its limits let it become: twice the units that it had at most.
    #[must_use]
    pub fn steady(&self, warm_up: Duration, measured: Duration) -> Scenario {
        let most = self.limits.table(1).whole.write;
        let partitions = count((2.0 * self.units().min(most) / Rates::OF_PARTITION.write).ceil());
        let mut scenario = self.scenario(partitions.max(NEW_PARTITIONS), false, warm_up, measured);
        scenario.table.partitioning = Partitioning::Ranges {
            partitions: partitions.max(NEW_PARTITIONS),
            split_after: SPLIT_IN_WARM_UP,
        };
        scenario
    }

    /// The same for as long as it takes to learn, and to count enough updates.
    #[must_use]
    pub fn usual(&self) -> Scenario {
        let [warm_up, measured] = [LEARNT_FROM, COUNTED].map(|updates| updates / self.peak());
        self.steady(
            Duration::from_secs_f64(warm_up.clamp(2.0, 1_200.0)),
            Duration::from_secs_f64(measured.clamp(2.0, 600.0)),
        )
    }

    /// The scenario of a fleet that reports for the first time, on a new table.
    #[must_use]
    pub fn start(&self, measured: Duration) -> Scenario {
        self.scenario(NEW_PARTITIONS, true, Duration::ZERO, measured)
    }

    fn scenario(
        &self,
        partitions: usize,
        is_start: bool,
        warm_up: Duration,
        measured: Duration,
    ) -> Scenario {
        let processes =
            count((self.peak() * UPDATE_SECONDS * 20.0).ceil()).clamp(100, MOST_PROCESSES);
        let [shortest_hold, longest_hold] = self.hold;
        Scenario {
            arrivals: Arrivals::Clients {
                clients: self.clients,
                interval: self.interval,
                within: self.within,
                batch: self.batch,
            },
            dimensions: self.dimensions.clone(),
            counters: 2,
            is_start,
            is_warm: !is_start,
            fleet: self.limits.fleet(processes),
            table: self.limits.table(partitions),
            max_cells: self.max_cells,
            latencies: Latencies { shortest_hold, longest_hold, ..Latencies::TYPICAL },
            warm_up,
            measured,
            seed: SEED,
        }
    }
}

/// What `cargo xtask contention` measures: 64 writers in as many processes, whose partitions take a part
/// of what DynamoDB's take.
#[must_use]
pub fn contention(keys: usize, max_cells: u8, part: f64, latencies: Latencies) -> Scenario {
    let writers = 64;
    let clients = u64::try_from(keys.div_ceil(writers).max(50)).unwrap_or(u64::MAX);
    Scenario {
        arrivals: Arrivals::Writers { writers, clients },
        dimensions: vec![DimensionShape::new("d", keys, 0.0)],
        counters: 2,
        is_start: false,
        is_warm: false,
        fleet: FleetLimits { processes: writers, ..Limits::Raised.fleet(writers) },
        table: TableLimits {
            partition: Rates::OF_PARTITION.times(part),
            whole: Rates::UNLIMITED,
            partitioning: Partitioning::OfKeys,
            held_after_cancel: Duration::ZERO,
        },
        max_cells,
        latencies,
        warm_up: Duration::from_secs(20),
        measured: Duration::from_secs(10),
        seed: SEED,
    }
}

/// A number without a fraction as a count.
#[must_use]
pub fn count(number: f64) -> usize {
    // Rust has no checked conversion of floating-point numbers; this one is exact below 2^32.
    let mut count = 0_usize;
    for bit in (0..32).rev() {
        let with = count | 1 << bit;
        if f64::from(u32::try_from(with).unwrap_or(u32::MAX)) <= number {
            count = with;
        }
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_exact() {
        for number in [0_u32, 1, 2, 3, 1_000, 65_535, 4_000_000_000] {
            assert_eq!(count(f64::from(number)), usize::try_from(number).unwrap());
            assert_eq!(count(f64::from(number) + 0.5), usize::try_from(number).unwrap());
        }
    }

    #[test]
    fn a_table_has_room_for_twice_its_units() {
        let fleet = Fleet::new(1e6, two_dimensions(), Limits::Raised);
        let second = Duration::from_secs(1);
        let partitioning = fleet.steady(second, second).table.partitioning;
        assert!(matches!(partitioning, Partitioning::Ranges { partitions: 40, .. }));
    }
}
