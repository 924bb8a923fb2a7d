//! What a proxy has seen and done.

use std::{
    collections::BTreeMap,
    fmt,
    iter::Sum,
    ops::{Add, AddAssign},
};

use crate::{dynamodb_operation::Operation, request_fault::FaultClass};

/// What a proxy has seen and done. The counts of several proxies can be added.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that arrived at the proxy, whatever happened to them.
    pub requests: BTreeMap<Operation, u64>,
    /// Faults that were injected.
    pub faults: BTreeMap<FaultClass, u64>,
    /// Transactions and writes that [`Proxy::set_hold`](crate::Proxy::set_hold) refused.
    pub hold_conflicts: u64,
    /// Requests that [`Proxy::set_throughput`](crate::Proxy::set_throughput) refused, in whole or
    /// in part.
    pub throttled: u64,
}

impl Counts {
    /// How many requests of this operation arrived.
    #[must_use]
    pub fn requests_of(&self, operation: Operation) -> u64 {
        self.requests.get(&operation).copied().unwrap_or(0)
    }

    /// How many faults of this class were injected.
    #[must_use]
    pub fn faults_of(&self, class: FaultClass) -> u64 {
        self.faults.get(&class).copied().unwrap_or(0)
    }

    /// How many requests arrived.
    #[must_use]
    pub fn total_requests(&self) -> u64 {
        self.requests.values().sum()
    }

    /// How many faults were injected, without conflicts of held items.
    #[must_use]
    pub fn total_faults(&self) -> u64 {
        self.faults.values().sum()
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        for (operation, count) in other.requests {
            *self.requests.entry(operation).or_default() += count;
        }
        for (class, count) in other.faults {
            *self.faults.entry(class).or_default() += count;
        }
        self.hold_conflicts += other.hold_conflicts;
        self.throttled += other.throttled;
    }
}

impl Add for Counts {
    type Output = Self;

    fn add(mut self, other: Self) -> Self {
        self += other;
        self
    }
}

impl Sum for Counts {
    fn sum<I: Iterator<Item = Self>>(counts: I) -> Self {
        counts.fold(Self::default(), Add::add)
    }
}

/// One line each for requests, faults, conflicts of held items, and throttles of partitions.
impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "requests: {}", self.total_requests())?;
        list(f, &self.requests)?;
        write!(f, "\nfaults: {}", self.total_faults())?;
        list(f, &self.faults)?;
        write!(f, "\nconflicts of held items: {}", self.hold_conflicts)?;
        write!(f, "\nthrottled by partitions: {}", self.throttled)
    }
}

fn list<K: fmt::Display>(f: &mut fmt::Formatter<'_>, counts: &BTreeMap<K, u64>) -> fmt::Result {
    for (i, (key, count)) in counts.iter().enumerate() {
        write!(f, "{}{key} {count}", if i == 0 { " (" } else { ", " })?;
    }
    if counts.is_empty() { Ok(()) } else { f.write_str(")") }
}
