//! Generated updates: what a seed determines.

use std::{collections::BTreeMap, ops::Range};

use fastrand::Rng;

use crate::UpdateBody;

/// What the ids of a test have in common.
#[derive(Debug, Clone)]
pub struct Population {
    /// The dimensions under which they report.
    pub dimensions: Vec<PopulationDimension>,
    /// How many visitors there are. An update names a few of them.
    pub visitors: u32,
    /// How many new members a large update has of its own.
    pub large: Range<usize>,
    /// How many members a large update has in common with others, and out of how many.
    pub crowd: (usize, u32),
}

/// A dimension under which ids report.
#[derive(Debug, Clone)]
pub struct PopulationDimension {
    /// Its name.
    pub name: String,
    /// How many keys it has.
    pub keys: usize,
    /// The probability that an update names it.
    pub named: f64,
    /// The probability that an id moves to another key before an update.
    pub moves: f64,
}

impl PopulationDimension {
    /// A dimension that every update names, and in which ids seldom move.
    #[must_use]
    pub fn settled(name: impl Into<String>, keys: usize) -> Self {
        Self { name: name.into(), keys, named: 1.0, moves: 0.05 }
    }

    /// A dimension that not every update names, and in which ids move all the time.
    #[must_use]
    pub fn restless(name: impl Into<String>, keys: usize) -> Self {
        Self { name: name.into(), keys, named: 0.75, moves: 0.75 }
    }
}

/// An id, and what its next updates depend on.
#[derive(Debug, Clone)]
pub struct Reporter {
    id: String,
    /// Its key in each dimension of its population.
    keys: Vec<usize>,
    /// Counters that it knows the last value of.
    counters: BTreeMap<&'static str, i64>,
    updates: usize,
}

/// Counters that an id sets.
const SET: [&str; 2] = ["bytesSent", "bytesReceived"];

impl Reporter {
    /// An id of a population.
    #[must_use]
    pub fn new(id: String, population: &Population, random: &mut Rng) -> Self {
        let dimensions = population.dimensions.iter();
        let keys = dimensions.map(|dimension| random_key(dimension, random)).collect();
        Self { id, keys, counters: BTreeMap::new(), updates: 0 }
    }

    /// The id.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// How many updates it made.
    #[must_use]
    pub fn updates(&self) -> usize {
        self.updates
    }

    /// Its next update: counters that grow, restart or reach the limits; increments; gauges; a few
    /// members.
    pub fn next(&mut self, population: &Population, random: &mut Rng) -> UpdateBody {
        self.updates += 1;
        let mut update =
            UpdateBody { dims: self.dims(population, random), ..UpdateBody::default() };
        if random.u8(0..5) > 0 {
            for stat in SET {
                let counter = self.counters.entry(stat).or_default();
                *counter = next_value(*counter, random);
                update.counters.insert(stat.to_owned(), *counter);
            }
            update.counters.insert("extremes".to_owned(), extreme(random));
        }
        if random.u8(0..5) > 0 {
            update.increments.insert("errors".to_owned(), random.i64(-10..100));
            update.increments.insert("sessions".to_owned(), 1);
        }
        // A counter that is set, added to, or both.
        let how = random.u8(0..5);
        if how < 3 {
            update.counters.insert("requests".to_owned(), random.i64(-50..5_000));
        }
        if how > 1 {
            update.increments.insert("requests".to_owned(), random.i64(-50..5_000));
        }
        for gauge in ["connections", "load"] {
            if random.u8(0..3) > 0 {
                update.gauges.insert(gauge.to_owned(), random.i64(-5..1_000));
            }
        }
        if random.u8(0..3) == 0 {
            update.members.insert("plans".to_owned(), format!("p{}", random.u16(0..300)));
        }
        let visitors = (0..random.usize(0..4)).map(|_| random.u32(0..population.visitors.max(1)));
        let visitors = visitors.map(|visitor| format!("v{visitor}")).collect();
        update.multi_members.insert("visitors".to_owned(), visitors);
        update
    }

    /// An update with more new members than one transaction writes, some of which others are adding
    /// too; and an increment and a gauge, which are in the last of its transactions.
    pub fn next_large(&mut self, population: &Population, random: &mut Rng) -> UpdateBody {
        self.updates += 1;
        let Population { large, crowd: (common, of), .. } = population;
        let own =
            (0..random.usize(large.clone())).map(|i| format!("{}-{}-{i}", self.id, self.updates));
        let mut crowd: Vec<_> = own.collect();
        crowd.extend((0..*common).map(|_| format!("c{}", random.u32(0..(*of).max(1)))));
        UpdateBody {
            dims: self.dims(population, random),
            increments: BTreeMap::from([("crowds".to_owned(), 1)]),
            gauges: BTreeMap::from([("crowdedness".to_owned(), random.i64(0..100))]),
            multi_members: BTreeMap::from([("crowd".to_owned(), crowd)]),
            ..UpdateBody::default()
        }
    }

    /// Where it reports now.
    fn dims(&mut self, population: &Population, random: &mut Rng) -> BTreeMap<String, String> {
        let mut dims = BTreeMap::new();
        for (dimension, key) in population.dimensions.iter().zip(&mut self.keys) {
            if random.f64() < dimension.moves {
                *key = random_key(dimension, random);
            }
            if random.f64() < dimension.named {
                dims.insert(dimension.name.clone(), format!("k{key}"));
            }
        }
        dims
    }
}

fn random_key(dimension: &PopulationDimension, random: &mut Rng) -> usize {
    random.usize(0..dimension.keys.max(1))
}

/// Most counters grow. Now and then a reporter starts again, stands still, or is huge.
fn next_value(value: i64, random: &mut Rng) -> i64 {
    match random.u8(0..40) {
        0 => 0,
        1 => i64::MAX,
        2 => i64::MIN,
        3..6 => value,
        6..10 => value.saturating_sub(random.u32(0..1_000).into()),
        _ => value.saturating_add(random.u32(0..100_000).into()),
    }
}

fn extreme(random: &mut Rng) -> i64 {
    match random.u8(0..10) {
        0 => i64::MAX,
        1 => i64::MIN,
        _ => random.i64(-5..5),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn population() -> Population {
        Population {
            dimensions: vec![
                PopulationDimension::settled("region", 12),
                PopulationDimension::restless("version", 4),
            ],
            visitors: 100,
            large: 150..350,
            crowd: (100, 10_000),
        }
    }

    fn updates(seed: u64, count: usize) -> Vec<UpdateBody> {
        let (population, mut random) = (population(), Rng::with_seed(seed));
        let mut reporter = Reporter::new("id".to_owned(), &population, &mut random);
        (0..count).map(|_| reporter.next(&population, &mut random)).collect()
    }

    #[test]
    fn a_seed_stands_for_the_same_updates() {
        assert_eq!(updates(7, 20), updates(7, 20));
        assert_ne!(updates(7, 20), updates(8, 20));
    }

    #[test]
    fn updates_have_every_part_at_times_and_ids_move() {
        let updates = updates(1, 200);
        let count =
            |has: fn(&UpdateBody) -> bool| updates.iter().filter(|update| has(update)).count();
        for has in [
            (|update| update.dims.len() == 2) as fn(&UpdateBody) -> bool,
            |update| update.dims.len() == 1,
            |update| update.counters.len() > 1,
            |update| {
                update.counters.contains_key("requests")
                    && update.increments.contains_key("requests")
            },
            |update| update.gauges.len() == 2,
            |update| !update.members.is_empty(),
            |update| update.multi_members.values().any(|members| members.len() > 1),
            |update| update.counters.values().any(|value| *value == i64::MAX),
        ] {
            assert!((1..200).contains(&count(has)));
        }
        let regions: std::collections::BTreeSet<_> =
            updates.iter().map(|update| update.dims.get("region")).collect();
        assert!((2..12).contains(&regions.len()), "{regions:?}");
    }

    #[test]
    fn a_large_update_has_more_members_than_a_transaction_has_actions() {
        let (population, mut random) = (population(), Rng::with_seed(1));
        let mut reporter = Reporter::new("id".to_owned(), &population, &mut random);
        let [first, second] = [(); 2].map(|()| reporter.next_large(&population, &mut random));
        let members =
            |update: &UpdateBody| update.multi_members.values().map(Vec::len).sum::<usize>();
        assert!(members(&first) > 200 && members(&second) > 200 && first != second);
    }
}
