//! Whether a service answers what the model says.

use std::{
    collections::{BTreeMap, BTreeSet},
    thread,
    time::{Duration, SystemTime},
};

use anyhow::{Context, ensure};
use model::{Difference, Numbers, ReferenceModel, ShownGroup, StatPlace, differences};
use serde::Deserialize;
use serde_json::value::RawValue;
use statshub::HttpClient;

/// The start of the current period. If that is about to end, waits, and returns the start of the
/// next one: then no update is under way when a period ends.
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
pub struct QueryAnswer {
    /// Sums by dimension, key, group and stat, with all of their digits.
    pub dims: BTreeMap<String, BTreeMap<String, AnsweredGroups>>,
}

type AnsweredGroups = BTreeMap<String, BTreeMap<String, Box<RawValue>>>;

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

/// Queries every dimension and compares all of its numbers.
///
/// # Errors
/// A query fails, or a period ended meanwhile.
pub fn compare(
    client: &HttpClient,
    expected: &ReferenceModel,
    period_length: u64,
) -> anyhow::Result<Vec<Comparison>> {
    let current = quiet_period(period_length);
    let mut answers = Vec::new();
    for dimension in expected.dimensions() {
        let answer: QueryAnswer = client.get_json(&format!("/stats/{dimension}"))?;
        answers.push((dimension, numbers(&answer)?));
    }
    ensure!(quiet_period(period_length) == current, "the period ended meanwhile; run it again");

    let expected = expected.answers(current);
    let groups = [ShownGroup::Counters, ShownGroup::Gauges, ShownGroup::GaugesCurrent];
    let pairs = answers.iter().flat_map(|answer| groups.iter().map(move |group| (answer, *group)));
    let comparisons = pairs.map(|((dimension, answer), group)| {
        let expected = of(&expected, dimension, group);
        let keys: BTreeSet<_> = expected.keys().map(|place| &place.key).collect();
        Comparison {
            dimension: (*dimension).to_owned(),
            group: group.name(),
            keys: keys.len(),
            numbers: expected.len(),
            differences: differences(&expected, &of(answer, dimension, group)),
        }
    });
    Ok(comparisons.collect())
}

fn of(numbers: &Numbers, dimension: &str, group: ShownGroup) -> Numbers {
    let of =
        numbers.iter().filter(|(place, _)| place.dimension == dimension && place.group == group);
    of.map(|(place, number)| (place.clone(), *number)).collect()
}

fn numbers(answer: &QueryAnswer) -> anyhow::Result<Numbers> {
    let mut numbers = Numbers::new();
    for (dimension, keys) in &answer.dims {
        for (key, groups) in keys {
            for (name, stats) in groups {
                let group = group(name).with_context(|| format!("{dimension} {key} has {name}"))?;
                for (stat, sum) in stats {
                    let place = StatPlace {
                        dimension: dimension.clone(),
                        key: key.clone(),
                        group,
                        stat: stat.clone(),
                    };
                    let number = integer(sum.get());
                    let context = || format!("{dimension} {key} {name} {stat} is {}", sum.get());
                    numbers.insert(place, number.with_context(context)?);
                }
            }
        }
    }
    Ok(numbers)
}

fn group(name: &str) -> Option<ShownGroup> {
    let all = [ShownGroup::Counters, ShownGroup::Gauges, ShownGroup::GaugesCurrent];
    all.into_iter().find(|group| group.name() == name)
}

/// The integer, if the text is the one way to write it.
fn integer(text: &str) -> Option<i128> {
    text.parse::<i128>().ok().filter(|number| number.to_string() == text)
}

#[cfg(test)]
mod tests {
    use serde_json::{from_value, json};

    use super::*;

    #[test]
    fn an_answer_is_read_with_all_digits() {
        let text = r#"{"dims":{"country":{"es":{"counters":{"a":-12345678901234567890123456789012345678}}}}}"#;
        let answer: QueryAnswer = serde_json::from_str(text).unwrap();
        let read = numbers(&answer).unwrap();
        assert_eq!(
            read.values().copied().collect::<Vec<_>>(),
            [-12_345_678_901_234_567_890_123_456_789_012_345_678]
        );
        let place = read.keys().next().unwrap();
        assert_eq!((place.key.as_str(), place.group), ("es", ShownGroup::Counters));
        for wrong in [json!(1.0), json!("1"), json!(null), json!(1e3)] {
            let answer = json!({"dims": {"country": {"es": {"counters": {"a": wrong}}}}});
            assert!(numbers(&from_value(answer).unwrap()).is_err());
        }
        let surplus = json!({"dims": {"country": {"es": {"members": {"a": 1}}}}});
        assert!(numbers(&from_value(surplus).unwrap()).is_err());
    }
}
