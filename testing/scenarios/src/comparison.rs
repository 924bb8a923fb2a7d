//! What the contract says the rollups are, calculated from the updates alone, and where a service's
//! answers differ from it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, thread,
    time::{Duration, SystemTime},
};

use anyhow::ensure;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::http::Client;

/// The body of an update.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Update {
    pub dims: BTreeMap<String, String>,
    pub counters: BTreeMap<String, i64>,
    pub increments: BTreeMap<String, i64>,
    pub gauges: BTreeMap<String, i64>,
    pub members: BTreeMap<String, String>,
    pub multi_members: BTreeMap<String, Vec<String>>,
}

/// An id's last values.
#[derive(Debug, Default)]
pub struct Values {
    counters: BTreeMap<String, i128>,
    gauges: BTreeMap<String, i128>,
    /// The start of the period of the gauges.
    period: u64,
}

/// A dimension, a key of it, and a stat.
type Place = (String, String, String);
type Sums = BTreeMap<Place, i128>;
/// The sums of one dimension by key and stat, `total` included, with all of their digits.
type Numbers = BTreeMap<(String, String), String>;

/// The rollups that updates make.
#[derive(Debug, Default)]
pub struct Expected {
    counters: Sums,
    /// By the start of the period.
    gauges: BTreeMap<u64, Sums>,
    members: BTreeMap<Place, BTreeSet<String>>,
}

impl Expected {
    /// Counts an update of the id whose values these are, at a time within the period.
    pub fn count(&mut self, update: &Update, values: &mut Values, period: u64) {
        let dims = &update.dims;
        for (stat, value) in &update.counters {
            let value = i128::from(*value);
            let old = values.counters.insert(stat.clone(), value).unwrap_or_default();
            add(&mut self.counters, dims, stat, value - old);
        }
        for (stat, value) in &update.increments {
            let value = i128::from(*value);
            *values.counters.entry(stat.clone()).or_default() += value;
            add(&mut self.counters, dims, stat, value);
        }
        if values.period != period {
            values.period = period;
            values.gauges.clear();
        }
        for (stat, value) in &update.gauges {
            let value = i128::from(*value);
            let old = values.gauges.insert(stat.clone(), value).unwrap_or_default();
            add(self.gauges.entry(period).or_default(), dims, stat, value - old);
        }
        let single = update.members.iter();
        let several = update.multi_members.iter();
        let several = several.flat_map(|(stat, members)| members.iter().map(move |m| (stat, m)));
        for (stat, member) in single.chain(several) {
            for place in places(dims, stat) {
                self.members.entry(place).or_default().insert(member.clone());
            }
        }
    }

    /// Adds what other ids reported.
    pub fn merge(&mut self, other: &Self) {
        merge(&mut self.counters, &other.counters);
        for (period, gauges) in &other.gauges {
            merge(self.gauges.entry(*period).or_default(), gauges);
        }
        for (set, members) in &other.members {
            self.members.entry(set.clone()).or_default().extend(members.iter().cloned());
        }
    }

    /// All dimensions that have stats.
    pub fn dimensions(&self) -> BTreeSet<&str> {
        let gauges = self.gauges.values().flat_map(Sums::keys);
        let places = self.counters.keys().chain(gauges).chain(self.members.keys());
        places.map(|(dimension, ..)| dimension.as_str()).collect()
    }

    /// The group `gauges` of an answer: of the prior period, and the numbers of members.
    fn gauges_and_members(&self, prior: u64) -> Sums {
        let mut sums = self.gauges.get(&prior).cloned().unwrap_or_default();
        for (set, members) in &self.members {
            sums.insert(set.clone(), i128::try_from(members.len()).unwrap_or_default());
        }
        sums
    }
}

fn places(dims: &BTreeMap<String, String>, stat: &str) -> impl Iterator<Item = Place> {
    dims.iter().map(move |(dimension, key)| (dimension.clone(), key.clone(), stat.to_owned()))
}

fn add(sums: &mut Sums, dims: &BTreeMap<String, String>, stat: &str, delta: i128) {
    for place in places(dims, stat) {
        *sums.entry(place).or_default() += delta;
    }
}

fn merge(sums: &mut Sums, more: &Sums) {
    for (place, delta) in more {
        *sums.entry(place.clone()).or_default() += delta;
    }
}

/// The start of the current period; when it is about to end, of the next one, once that has begun. So
/// no update is on its way while one period ends and another begins.
pub fn quiet_period(length: u64) -> u64 {
    let margin = Duration::from_secs(1).min(Duration::from_secs(length) / 4);
    loop {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let start = now.as_secs() - now.as_secs() % length;
        if Duration::from_secs(start + length).saturating_sub(now) > margin {
            return start;
        }
        thread::sleep(Duration::from_millis(20));
    }
}

/// An answer to a query.
#[derive(Debug, Deserialize)]
pub struct Answer {
    /// Sums by dimension, key, group and stat, with all of their digits.
    pub dims: BTreeMap<String, BTreeMap<String, Groups>>,
}

pub type Groups = BTreeMap<String, BTreeMap<String, Box<RawValue>>>;

/// A group of an answer, as it is and as it should be.
#[derive(Debug)]
pub struct Comparison {
    pub dimension: String,
    pub group: &'static str,
    /// How many keys are expected, `total` included.
    pub keys: usize,
    /// How many numbers are expected.
    pub numbers: usize,
    pub differences: Vec<Difference>,
}

/// A number that is not as expected.
#[derive(Debug, PartialEq, Eq)]
pub struct Difference {
    key: String,
    stat: String,
    expected: Option<String>,
    got: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |number: &Option<String>| number.clone().unwrap_or_else(|| "nothing".into());
        let Self { key, stat, expected, got } = self;
        write!(f, "{key} {stat}: expected {}, got {}", shown(expected), shown(got))
    }
}

/// Queries every dimension and compares all of its numbers.
///
/// # Errors
/// A query fails, or a period ended meanwhile.
pub fn compare(
    client: &Client,
    expected: &Expected,
    period_length: u64,
) -> anyhow::Result<Vec<Comparison>> {
    let current = quiet_period(period_length);
    let mut answers = Vec::new();
    for dimension in expected.dimensions() {
        answers.push((dimension, client.get_json(&format!("/stats/{dimension}"))?));
    }
    ensure!(quiet_period(period_length) == current, "the period ended meanwhile; run it again");

    let groups = [
        ("counters", expected.counters.clone()),
        ("gauges", expected.gauges_and_members(current.saturating_sub(period_length))),
        ("gaugesCurrent", expected.gauges.get(&current).cloned().unwrap_or_default()),
    ];
    let pairs = answers.iter().flat_map(|answer| groups.iter().map(move |group| (answer, group)));
    let comparisons = pairs.map(|((dimension, answer), (group, sums))| {
        let expected = with_total(sums, dimension);
        let keys: BTreeSet<_> = expected.keys().map(|(key, _)| key).collect();
        Comparison {
            dimension: (*dimension).to_owned(),
            group,
            keys: keys.len(),
            numbers: expected.len(),
            differences: differences(&expected, &reported(answer, dimension, group)),
        }
    });
    Ok(comparisons.collect())
}

fn with_total(sums: &Sums, of: &str) -> Numbers {
    let mut all: BTreeMap<(String, String), i128> = BTreeMap::new();
    for ((dimension, key, stat), sum) in sums {
        if dimension == of {
            *all.entry((key.clone(), stat.clone())).or_default() += sum;
            *all.entry(("total".to_owned(), stat.clone())).or_default() += sum;
        }
    }
    all.into_iter().map(|(at, sum)| (at, sum.to_string())).collect()
}

fn reported(answer: &Answer, dimension: &str, group: &str) -> Numbers {
    let mut all = Numbers::new();
    for (key, groups) in answer.dims.get(dimension).into_iter().flatten() {
        for (stat, sum) in groups.get(group).into_iter().flatten() {
            all.insert((key.clone(), stat.clone()), sum.get().to_owned());
        }
    }
    all
}

fn differences(expected: &Numbers, reported: &Numbers) -> Vec<Difference> {
    let all: BTreeSet<_> = expected.keys().chain(reported.keys()).collect();
    let different = all.into_iter().filter(|at| expected.get(*at) != reported.get(*at));
    let differences = different.map(|at| Difference {
        key: at.0.clone(),
        stat: at.1.clone(),
        expected: expected.get(at).cloned(),
        got: reported.get(at).cloned(),
    });
    differences.collect()
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    fn one<T>(name: &str, value: T) -> BTreeMap<String, T> {
        BTreeMap::from([(name.to_owned(), value)])
    }

    fn update(country: &str) -> Update {
        Update { dims: one("country", country.to_owned()), ..Update::default() }
    }

    fn numbers(sums: &Sums) -> Vec<(String, String, String)> {
        let numbers = with_total(sums, "country").into_iter();
        numbers.map(|((key, stat), sum)| (key, stat, sum)).collect()
    }

    fn number(key: &str, stat: &str, sum: &str) -> (String, String, String) {
        (key.to_owned(), stat.to_owned(), sum.to_owned())
    }

    #[test]
    fn an_id_that_moves_adds_to_the_new_key_what_it_gains_from_then_on() {
        let (mut expected, mut values) = (Expected::default(), Values::default());
        expected.count(&Update { counters: one("c", 5), ..update("es") }, &mut values, 0);
        expected.count(&Update { increments: one("c", 2), ..update("fr") }, &mut values, 0);
        expected.count(&Update { counters: one("c", 4), ..update("fr") }, &mut values, 0);
        let sums = [number("es", "c", "5"), number("fr", "c", "-1"), number("total", "c", "4")];
        assert_eq!(numbers(&expected.counters), sums);
    }

    #[test]
    fn gauges_begin_anew_in_each_period_and_members_stay() {
        let (mut expected, mut values) = (Expected::default(), Values::default());
        let twice = Update {
            gauges: one("g", 3),
            members: one("m", "a".to_owned()),
            multi_members: one("m", vec!["a".to_owned(), "b".to_owned()]),
            ..update("es")
        };
        for period in [0, 0, 360] {
            expected.count(&twice, &mut values, period);
        }
        let mut merged = Expected::default();
        merged.merge(&expected);
        let gauges = [number("es", "g", "3"), number("total", "g", "3")];
        assert_eq!(numbers(merged.gauges.get(&360).unwrap()), gauges);
        let prior = [number("es", "g", "3"), number("es", "m", "2")];
        assert_eq!(numbers(&merged.gauges_and_members(0))[..2], prior);
    }

    #[test]
    fn numbers_that_are_missing_wrong_or_too_many_are_differences() {
        let mut expected = Expected::default();
        let counted = Update { counters: one("a", 1), increments: one("b", 2), ..update("es") };
        expected.count(&counted, &mut Values::default(), 0);
        let answer: Answer = from_value(json!({"dims": {"country": {
            "es": {"counters": {"a": 1, "b": 3}}, "total": {"counters": {"b": 2, "z": 0}}}}}))
        .unwrap();
        let differences = differences(
            &with_total(&expected.counters, "country"),
            &reported(&answer, "country", "counters"),
        );
        let shown: Vec<_> = differences.iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "es b: expected 2, got 3",
                "total a: expected 1, got nothing",
                "total z: expected nothing, got 0"
            ]
        );
    }
}
