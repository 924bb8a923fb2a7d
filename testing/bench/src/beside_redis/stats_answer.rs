//! What a query is answered by, in the JSON of statshub.

use std::collections::{BTreeMap, HashMap};

use serde::{Serialize, Serializer, ser::SerializeMap};

/// A group of the stats of a key.
#[derive(Debug, Clone, Copy)]
pub(super) enum Group {
    Counters,
    /// Gauges of the period before, and numbers of members.
    Gauges,
    GaugesCurrent,
}

/// Names of stats and their values.
#[derive(Debug)]
struct Stats<S>(Vec<(S, i64)>);

/// The stats of a key. `S` are their names, which a layout may share between keys.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase", bound = "S: AsRef<str>")]
pub(super) struct KeyStats<S> {
    #[serde(skip_serializing_if = "Stats::is_empty")]
    counters: Stats<S>,
    #[serde(skip_serializing_if = "Stats::is_empty")]
    gauges: Stats<S>,
    #[serde(skip_serializing_if = "Stats::is_empty")]
    gauges_current: Stats<S>,
}

/// The stats of a dimension, key by key.
#[derive(Debug)]
pub(super) struct DimensionStats<S> {
    pub name: String,
    pub keys: Vec<(String, KeyStats<S>)>,
}

impl<S> Stats<S> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl<S: AsRef<str>> Serialize for Stats<S> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        serializer.collect_map(self.0.iter().map(|(stat, value)| (stat.as_ref(), value)))
    }
}

impl<S> Default for KeyStats<S> {
    fn default() -> Self {
        let none = || Stats(Vec::new());
        Self { counters: none(), gauges: none(), gauges_current: none() }
    }
}

impl<S> KeyStats<S> {
    pub(super) fn add(&mut self, group: Group, stat: S, value: i64) {
        let stats = match group {
            Group::Counters => &mut self.counters,
            Group::Gauges => &mut self.gauges,
            Group::GaugesCurrent => &mut self.gauges_current,
        };
        stats.0.push((stat, value));
    }
}

impl<S: AsRef<str>> DimensionStats<S> {
    fn total(&self) -> KeyStats<&str> {
        let sums = |group: fn(&KeyStats<S>) -> &Stats<S>| {
            let mut sums: HashMap<&str, i64> = HashMap::new();
            for (stat, value) in self.keys.iter().flat_map(|(_, stats)| &group(stats).0) {
                // As the arithmetic of the first statshub was.
                let sum = sums.entry(stat.as_ref()).or_default();
                *sum = sum.wrapping_add(*value);
            }
            Stats(sums.into_iter().collect())
        };
        KeyStats {
            counters: sums(|stats| &stats.counters),
            gauges: sums(|stats| &stats.gauges),
            gauges_current: sums(|stats| &stats.gauges_current),
        }
    }
}

impl<S: AsRef<str>> Serialize for DimensionStats<S> {
    fn serialize<Z: Serializer>(&self, serializer: Z) -> Result<Z::Ok, Z::Error> {
        let mut keys = serializer.serialize_map(Some(self.keys.len() + 1))?;
        for (key, stats) in &self.keys {
            keys.serialize_entry(key, stats)?;
        }
        keys.serialize_entry("total", &self.total())?;
        keys.end()
    }
}

/// The answer to a query of these dimensions.
pub(super) fn json<S: AsRef<str>>(dimensions: &[DimensionStats<S>]) -> anyhow::Result<String> {
    #[derive(Serialize)]
    #[serde(bound = "S: AsRef<str>")]
    struct Answer<'a, S> {
        #[serde(rename = "Succeeded")]
        succeeded: bool,
        #[serde(rename = "Error")]
        error: &'static str,
        dims: BTreeMap<&'a str, &'a DimensionStats<S>>,
    }
    let dims = dimensions.iter().map(|dimension| (&*dimension.name, dimension)).collect();
    Ok(serde_json::to_string(&Answer { succeeded: true, error: "", dims })?)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn an_answer_has_totals_and_leaves_out_what_is_empty() {
        let mut first = KeyStats::default();
        first.add(Group::Counters, "a", 5);
        first.add(Group::Gauges, "m", 2);
        let mut second = KeyStats::default();
        second.add(Group::Counters, "a", -7);
        second.add(Group::GaugesCurrent, "g", 1);
        let keys = vec![("es".to_owned(), first), ("fr".to_owned(), second)];
        let dimension = DimensionStats { name: "country".to_owned(), keys };
        let answer: Value = serde_json::from_str(&json(&[dimension]).unwrap()).unwrap();
        let expected = json!({"Succeeded": true, "Error": "", "dims": {"country": {
            "es": {"counters": {"a": 5}, "gauges": {"m": 2}},
            "fr": {"counters": {"a": -7}, "gaugesCurrent": {"g": 1}},
            "total": {"counters": {"a": -2}, "gauges": {"m": 2}, "gaugesCurrent": {"g": 1}},
        }}});
        assert_eq!(answer, expected);
    }
}
