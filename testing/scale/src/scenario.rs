//! What is simulated: who reports, what the limits are, and for how long.

use std::time::Duration;

use crate::{
    dynamodb::{Partitioning, Rates, TableLimits},
    lambda::FleetLimits,
    population::DimensionShape,
};

/// How often clients report, unless a scenario says otherwise.
pub const INTERVAL: Duration = Duration::from_secs(300);

/// How reports come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Arrivals {
    /// Each client reports once in each interval. All of them together, at random moments, are a
    /// Poisson process.
    Clients {
        /// How many there are.
        clients: f64,
        /// How often each reports.
        interval: Duration,
        /// Within which time from the start of each interval they all report: the interval, or
        /// less where clocks bring them together.
        within: Duration,
        /// How many clients share a request.
        batch: usize,
    },
    /// So many writers report for one client after the other, each as soon as it has its answer, in
    /// a process of its own.
    Writers {
        /// How many there are.
        writers: usize,
        /// For how many clients each reports in turn.
        clients: u64,
    },
}

/// How long things take that no limit makes longer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Latencies {
    /// A read of items by their keys, or of a dimension's entry.
    pub read: Duration,
    /// A plain write.
    pub write: Duration,
    /// A transaction holds its items for at least so long.
    pub shortest_hold: Duration,
    /// … and at most so long.
    pub longest_hold: Duration,
    /// What a transaction takes besides; and all that a cancelled one takes.
    pub round_trip: Duration,
    /// What the function does itself, for a call and for each of its updates.
    pub call: Duration,
    /// … for each update.
    pub update: Duration,
}

impl Latencies {
    /// Single-digit milliseconds for DynamoDB, as it is documented, and together the 15 ms that
    /// docs/deploying.md counts with.
    pub const TYPICAL: Self = Self {
        read: Duration::from_millis(3),
        write: Duration::from_millis(5),
        shortest_hold: Duration::from_millis(5),
        longest_hold: Duration::from_millis(10),
        round_trip: Duration::from_millis(3),
        call: Duration::from_millis(1),
        update: Duration::from_micros(300),
    };
}

/// What is simulated.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    /// How reports come.
    pub arrivals: Arrivals,
    /// The dimensions that they name, in the order of their names.
    pub dimensions: Vec<DimensionShape>,
    /// How many counters they have.
    pub counters: usize,
    /// Whether the table is empty at first, and every report is the first of its client.
    pub is_start: bool,
    /// Whether the partition keys of cells have been hot for long, and are each alone on a partition.
    pub is_warm: bool,
    /// The limits of the way to the function.
    pub fleet: FleetLimits,
    /// The limits of the table.
    pub table: TableLimits,
    /// The most cells of a sum, and partitions of a dimension.
    pub max_cells: u8,
    /// How long things take.
    pub latencies: Latencies,
    /// How long it goes on before figures are taken.
    pub warm_up: Duration,
    /// How long figures are taken.
    pub measured: Duration,
    /// From which all chance comes.
    pub seed: u64,
}

/// Who sets the limits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Limits {
    /// The template's defaults.
    Template,
    /// The template's parameters are raised up to the quotas of a new account.
    NewAccount,
    /// Quotas are raised as far as needed, and the table is warm.
    Raised,
}

/// The template's `ThrottleRate`, `ThrottleBurst`, `MaxWriteRequestUnits`, `MaxReadRequestUnits`; a
/// test compares them.
pub const TEMPLATE_REQUESTS: f64 = 1_000.0;
/// See [`TEMPLATE_REQUESTS`].
pub const TEMPLATE_BURST: f64 = 2_000.0;
/// See [`TEMPLATE_REQUESTS`].
pub const TEMPLATE_UNITS: Rates = Rates { write: 1_000.0, read: 2_000.0 };
/// What an account's APIs take in a region. Source: *Amazon API Gateway quotas*, API Gateway
/// Developer Guide.
const ACCOUNT_REQUESTS: f64 = 10_000.0;
/// At once. Source: ibid.
const ACCOUNT_BURST: f64 = 5_000.0;
/// What a table takes. Source: *Quotas in Amazon DynamoDB*, Developer Guide.
const ACCOUNT_UNITS: Rates = Rates { write: 40_000.0, read: 40_000.0 };
/// Processes of an account. Source: *Lambda quotas*, Lambda Developer Guide.
const ACCOUNT_PROCESSES: usize = 1_000;
/// Processes that start within 10 seconds. Source: *Lambda scaling behavior*, ibid.
const STARTS: f64 = 1_000.0;
/// Partitions of a new on-demand table, which takes 4,000 write units a second. Source: *DynamoDB
/// on-demand capacity mode*, Developer Guide.
pub const NEW_PARTITIONS: usize = 4;
/// How long a partition is hot until it is split. AWS says "minutes".
pub const SPLIT_AFTER: Duration = Duration::from_secs(5 * 60);
/// What a process takes to start, until it gets its first request.
const START: Duration = Duration::from_millis(100);
/// For how long a cancelled transaction holds what it got: until its coordinator has said so.
const HELD_AFTER_CANCEL: Duration = Duration::from_millis(2);

impl Limits {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Template, Self::NewAccount, Self::Raised];

    /// The limits of the way to the function. With raised ones there are `processes`, which have
    /// been there for a while.
    #[must_use]
    pub fn fleet(self, processes: usize) -> FleetLimits {
        let (rate, burst, processes, starts) = match self {
            Self::Template => (TEMPLATE_REQUESTS, TEMPLATE_BURST, ACCOUNT_PROCESSES, STARTS),
            Self::NewAccount => (ACCOUNT_REQUESTS, ACCOUNT_BURST, ACCOUNT_PROCESSES, STARTS),
            Self::Raised => (f64::INFINITY, f64::INFINITY, processes, f64::INFINITY),
        };
        FleetLimits { rate, burst, processes, starts, start: START }
    }

    /// The limits of a table with so many partitions.
    #[must_use]
    pub fn table(self, partitions: usize) -> TableLimits {
        let whole = match self {
            Self::Template => TEMPLATE_UNITS,
            Self::NewAccount => ACCOUNT_UNITS,
            Self::Raised => Rates::UNLIMITED,
        };
        TableLimits {
            partition: Rates::OF_PARTITION,
            whole,
            partitioning: Partitioning::Ranges { partitions, split_after: SPLIT_AFTER },
            held_after_cancel: HELD_AFTER_CANCEL,
        }
    }
}

#[cfg(test)]
mod tests {
    use contract::{fleet_costs::default, yaml::template};

    use super::*;

    #[test]
    fn the_templates_limits_are_its_defaults() {
        let template = template();
        for (parameter, limit) in [
            ("ThrottleRate", TEMPLATE_REQUESTS),
            ("ThrottleBurst", TEMPLATE_BURST),
            ("MaxWriteRequestUnits", TEMPLATE_UNITS.write),
            ("MaxReadRequestUnits", TEMPLATE_UNITS.read),
        ] {
            assert!((default(&template, parameter) - limit).abs() < 1e-9, "{parameter}");
        }
    }
}
