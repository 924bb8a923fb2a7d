//! Which request meets which fault.

use std::{
    collections::{BTreeMap, HashMap},
    ops::RangeInclusive,
    time::Duration,
};

use fastrand::Rng;

use crate::{
    dynamodb_operation::Operation,
    request_fault::{Fault, FaultClass, Seen, Throttle, Which},
};

/// Which request meets which fault. It depends on the operation, and on how many requests of that
/// operation came before.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FaultPlan(PlanKind);

#[derive(Debug, Clone, Default, PartialEq)]
enum PlanKind {
    #[default]
    None,
    Script(HashMap<(Operation, u64), Fault>),
    Random(u64, Rates),
}

impl FaultPlan {
    /// No faults.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// These faults, each for the n-th request of an operation, counted from 0. All other requests
    /// go through.
    pub fn script(entries: impl IntoIterator<Item = (Operation, u64, Fault)>) -> Self {
        let entries = entries.into_iter().map(|(of, position, fault)| ((of, position), fault));
        Self(PlanKind::Script(entries.collect()))
    }

    /// Faults at random. The fault of a request depends only on the seed, the operation and the
    /// position, so it is the same however requests interleave.
    #[must_use]
    pub fn random(seed: u64, rates: Rates) -> Self {
        Self(PlanKind::Random(seed, rates))
    }

    /// The fault of the request of `operation` at this position, counted from 0.
    #[must_use]
    pub fn fault(&self, operation: Operation, position: u64) -> Option<Fault> {
        match &self.0 {
            PlanKind::None => None,
            PlanKind::Script(entries) => entries.get(&(operation, position)).cloned(),
            PlanKind::Random(seed, rates) => {
                rates.draw(operation, &mut random_for(*seed, operation, position))
            }
        }
    }
}

fn random_for(seed: u64, operation: Operation, position: u64) -> Rng {
    let named = operation.name().bytes().fold(seed, |mixed, byte| mix(mixed ^ u64::from(byte)));
    Rng::with_seed(mix(named ^ mix(position)))
}

/// One step of `SplitMix64`: neighbouring numbers become seeds that have nothing in common.
fn mix(number: u64) -> u64 {
    let mixed = number.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// How likely the classes of faults are, and how long delays take.
#[derive(Debug, Clone, PartialEq)]
pub struct Rates {
    /// Of `BatchGetItem`, `GetItem` and `Query`. These never conflict, whatever the rates say.
    pub reads: Probabilities,
    /// Of `TransactWriteItems`, `PutItem`, `UpdateItem` and `DeleteItem`.
    pub writes: Probabilities,
    /// How much later a delayed request arrives.
    pub delay: RangeInclusive<Duration>,
    /// How long after the client saw an error a late request arrives.
    pub late: RangeInclusive<Duration>,
}

impl Rates {
    /// The same for reads and writes, with delays of up to 50 ms, and late requests of up to 200
    /// ms.
    #[must_use]
    pub fn same(probabilities: Probabilities) -> Self {
        Self::of(probabilities.clone(), probabilities)
    }

    /// With delays of up to 50 ms, and late requests of up to 200 ms.
    #[must_use]
    pub fn of(reads: Probabilities, writes: Probabilities) -> Self {
        let delay = Duration::ZERO..=Duration::from_millis(50);
        let late = Duration::ZERO..=Duration::from_millis(200);
        Self { reads, writes, delay, late }
    }

    fn draw(&self, operation: Operation, random: &mut Rng) -> Option<Fault> {
        let class = match operation {
            Operation::Other => None,
            _ if operation.is_read() => {
                self.reads.draw(random).filter(|class| *class != FaultClass::Conflict)
            }
            _ => self.writes.draw(random),
        }?;
        Some(self.fault(class, operation, random))
    }

    fn fault(&self, class: FaultClass, operation: Operation, random: &mut Rng) -> Fault {
        match class {
            FaultClass::DropRequest => Fault::DropRequest,
            FaultClass::DropAnswer => Fault::DropAnswer,
            FaultClass::Delay => Fault::Delay(within(&self.delay, random)),
            FaultClass::Throttle => Fault::Throttle(throttle(operation, random)),
            FaultClass::Conflict => Fault::Conflict(Which::Random(random.u64(..))),
            FaultClass::ServerError => Fault::ServerError,
            FaultClass::ErrorAfterCommit => Fault::ErrorAfterCommit,
            FaultClass::Cut => Fault::Cut,
            FaultClass::Late => {
                let seen = if random.bool() { Seen::ServerError } else { Seen::Closed };
                Fault::Late { after: within(&self.late, random), seen }
            }
        }
    }
}

fn within(range: &RangeInclusive<Duration>, random: &mut Rng) -> Duration {
    let width = range.end().saturating_sub(*range.start());
    *range.start() + width.mul_f64(random.f64())
}

fn throttle(operation: Operation, random: &mut Rng) -> Throttle {
    let (form, seed) = (random.u8(..4), random.u64(..));
    match (form, operation) {
        (0, _) => Throttle::ThroughputExceeded,
        (1, _) => Throttle::Throttling,
        (_, Operation::TransactWriteItems) => Throttle::Cancelled(Which::RandomOne(seed)),
        (_, Operation::BatchGetItem) => Throttle::Unprocessed(Which::Random(seed)),
        (2, _) => Throttle::PartitionFull,
        _ => Throttle::Throttling,
    }
}

/// The probability of each class of faults, 0 by default. A request meets at most one fault, so
/// they should add up to at most 1.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Probabilities(BTreeMap<FaultClass, f64>);

impl Probabilities {
    /// No faults.
    #[must_use]
    pub fn none() -> Self {
        Self::default()
    }

    /// This probability for each class.
    #[must_use]
    pub fn each(probability: f64) -> Self {
        Self(FaultClass::ALL.into_iter().map(|class| (class, probability)).collect())
    }

    /// The same probabilities, but this one for this class.
    #[must_use]
    pub fn with(mut self, class: FaultClass, probability: f64) -> Self {
        self.0.insert(class, probability);
        self
    }

    fn draw(&self, random: &mut Rng) -> Option<FaultClass> {
        let mut left = random.f64();
        self.0.iter().find_map(|(class, probability)| {
            left -= probability;
            (left < 0.0).then_some(*class)
        })
    }
}
