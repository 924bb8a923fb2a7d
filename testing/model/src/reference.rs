//! What the contract says that updates add up to: a calculation that shares no code with the service.

use std::collections::{BTreeMap, BTreeSet};

use fastrand::Rng;
use serde_json::{Map, Value, json};

/// The length of a period of gauges, in seconds.
pub const PERIOD: u64 = 360;

const STATS: [&str; 4] = ["a", "b", "c", "d"];
const GAUGES: [&str; 3] = ["g", "h", "i"];
const SETS: [&str; 2] = ["s", "t"];
const DIMENSIONS: [&str; 3] = ["country", "user", "os"];

/// A random update of one id.
#[derive(Debug, Clone, Default)]
pub struct Update {
    /// The id.
    pub id: String,
    dims: BTreeMap<String, String>,
    counters: BTreeMap<String, i64>,
    increments: BTreeMap<String, i64>,
    gauges: BTreeMap<String, i64>,
    members: BTreeMap<String, BTreeSet<String>>,
}

impl Update {
    /// A random update of this id; when `large`, with more members than fit into one transaction.
    pub fn random(id: usize, random: &mut Rng, large: bool) -> Self {
        let mut update = Self { id: format!("id-{id}"), ..Self::default() };
        for dimension in some(&DIMENSIONS, 0.75, random) {
            // Ids stay where they are most of the time.
            let key = if random.u8(..8) > 0 { id % 3 } else { random.usize(..4) };
            update.dims.insert(dimension.into(), format!("k{key}"));
        }
        for stat in some(&STATS, 0.5, random) {
            let part = if random.bool() { &mut update.counters } else { &mut update.increments };
            part.insert(stat.into(), random.i64(-5..100));
        }
        for gauge in some(&GAUGES, 0.33, random) {
            update.gauges.insert(gauge.into(), random.i64(-5..100));
        }
        let count = if large { 120..200 } else { 0..5 };
        for set in some(&SETS, if large { 1.0 } else { 0.33 }, random) {
            let count = random.usize(count.clone());
            let members = (0..count).map(|_| format!("m{}", random.u32(..400)));
            update.members.insert(set.into(), members.collect());
        }
        update
    }

    /// The body of its request.
    #[must_use]
    pub fn body(&self) -> String {
        let object = |entries: Vec<(&String, Value)>| {
            let entries = entries.into_iter().map(|(name, value)| (name.clone(), value));
            Value::Object(entries.collect::<Map<_, _>>())
        };
        let numbers = |part: &BTreeMap<String, i64>| {
            object(part.iter().map(|(stat, value)| (stat, json!(value))).collect())
        };
        json!({
            "dims": object(self.dims.iter().map(|(name, key)| (name, json!(key))).collect()),
            "counters": numbers(&self.counters),
            "increments": numbers(&self.increments),
            "gauges": numbers(&self.gauges),
            "multiMembers": object(self.members.iter().map(|(set, m)| (set, json!(m))).collect()),
        })
        .to_string()
    }
}

/// Each of these names with this probability.
fn some(names: &[&'static str], probability: f64, random: &mut Rng) -> Vec<&'static str> {
    names.iter().filter(|_| random.f64() < probability).copied().collect()
}

/// A number that a query shows, by dimension, key, group and stat.
pub type Numbers = BTreeMap<(String, String, &'static str, String), i128>;

/// What was counted.
#[derive(Debug, Clone, Default)]
pub struct Model {
    values: BTreeMap<(String, String), i128>,
    gauge_values: BTreeMap<(String, u64, String), i128>,
    counters: BTreeMap<(String, String, String), i128>,
    gauges: BTreeMap<(u64, String, String, String), i128>,
    members: BTreeMap<(String, String, String), BTreeSet<String>>,
}

impl Model {
    /// Counts an update that was made at `now`.
    pub fn count(&mut self, update: &Update, now: u64) {
        let sets = update.counters.iter().map(|(stat, value)| (stat, *value, true));
        let adds = update.increments.iter().map(|(stat, value)| (stat, *value, false));
        for (stat, value, is_set) in sets.chain(adds) {
            let counter = self.values.entry((update.id.clone(), stat.clone())).or_default();
            let old = *counter;
            *counter = if is_set { value.into() } else { old + i128::from(value) };
            let delta = *counter - old;
            for (dimension, key) in &update.dims {
                let place = (dimension.clone(), key.clone(), stat.clone());
                *self.counters.entry(place).or_default() += delta;
            }
        }
        let period = now - now % PERIOD;
        for (stat, value) in &update.gauges {
            let place = (update.id.clone(), period, stat.clone());
            let old = self.gauge_values.insert(place, (*value).into()).unwrap_or_default();
            for (dimension, key) in &update.dims {
                let place = (period, dimension.clone(), key.clone(), stat.clone());
                *self.gauges.entry(place).or_default() += i128::from(*value) - old;
            }
        }
        for (set, members) in update.members.iter().filter(|(_, members)| !members.is_empty()) {
            for (dimension, key) in &update.dims {
                let place = (dimension.clone(), key.clone(), set.clone());
                self.members.entry(place).or_default().extend(members.iter().cloned());
            }
        }
    }

    /// The last values of an id: its counters, and as `current …` its gauges of the period at `now`.
    #[must_use]
    pub fn values(&self, id: &str, now: u64) -> BTreeMap<String, i128> {
        let counters = self.values.iter().filter(|((of, _), _)| of == id);
        let counters = counters.map(|((_, stat), value)| (stat.clone(), *value));
        let period = now - now % PERIOD;
        let gauges = self.gauge_values.iter();
        let gauges = gauges.filter(|((of, start, _), _)| of == id && *start == period);
        let gauges = gauges.map(|((_, _, stat), value)| (format!("current {stat}"), *value));
        counters.chain(gauges).collect()
    }

    /// What queries show at `now`, totals included.
    #[must_use]
    pub fn numbers(&self, now: u64) -> Numbers {
        let mut numbers = Numbers::new();
        let mut show = |dimension: &String, key: &String, group, stat: &String, sum: i128| {
            for key in [key.clone(), "total".to_owned()] {
                let place = (dimension.clone(), key, group, stat.clone());
                *numbers.entry(place).or_default() += sum;
            }
        };
        for ((dimension, key, stat), sum) in &self.counters {
            show(dimension, key, "counters", stat, *sum);
        }
        let current = now - now % PERIOD;
        for ((period, dimension, key, stat), sum) in &self.gauges {
            match current.checked_sub(*period) {
                Some(0) => show(dimension, key, "gaugesCurrent", stat, *sum),
                Some(PERIOD) => show(dimension, key, "gauges", stat, *sum),
                _ => {}
            }
        }
        for ((dimension, key, stat), members) in &self.members {
            let count = i128::try_from(members.len()).unwrap_or_default();
            show(dimension, key, "members", stat, count);
        }
        numbers
    }

    /// The dimensions that are used.
    #[must_use]
    pub fn dimensions() -> [&'static str; 3] {
        DIMENSIONS
    }
}
