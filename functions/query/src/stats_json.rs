//! The JSON of the stats that a query asks for.

use std::{collections::BTreeMap, sync::Arc};

use serde::{Serialize, Serializer, ser::SerializeMap};
use shared::{
    domain::{DimensionName, DimensionSummary, KeyStats, StatName, Sum},
    http::Response,
};

use crate::query_problem::QueryProblem;

/// A dimension's entry in the object `dims`, ready to be sent.
#[derive(Debug, Clone)]
pub(crate) struct DimensionJson(Arc<str>);

impl DimensionJson {
    /// # Errors
    /// Never: names and sums always serialize.
    pub(crate) fn new(
        dimension: &DimensionName,
        summary: &DimensionSummary,
    ) -> Result<Self, serde_json::Error> {
        let name = serde_json::to_string(dimension.as_str())?;
        let keys = serde_json::to_string(&KeysJson(summary))?;
        Ok(Self(format!("{name}:{keys}").into()))
    }
}

/// The body of the answer with these dimensions.
///
/// # Errors
/// It would be too large for a function to return.
pub(crate) fn body<'a>(
    dimensions: impl Iterator<Item = &'a DimensionJson>,
) -> Result<String, QueryProblem> {
    let entries: Vec<&str> = dimensions.map(|dimension| &*dimension.0).collect();
    let dims = entries.join(",");
    let body = format!(r#"{{"Succeeded":true,"Error":"","dims":{{{dims}}}}}"#);
    match Response::fits(&body) {
        true => Ok(body),
        false => Err(QueryProblem::AnswerTooLarge),
    }
}

struct KeysJson<'a>(&'a DimensionSummary);

impl Serialize for KeysJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (key, stats) in self.0.keys() {
            let stats = StatsJson::of(stats);
            if !stats.is_empty() {
                map.serialize_entry(key.as_str(), &stats)?;
            }
        }
        map.serialize_entry("total", &StatsJson::of(self.0.total()))?;
        map.end()
    }
}

/// The stats of a key. Groups without any are left out.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StatsJson<'a> {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    counters: BTreeMap<&'a str, Sum>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    gauges: BTreeMap<&'a str, Sum>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    gauges_current: BTreeMap<&'a str, Sum>,
}

impl<'a> StatsJson<'a> {
    fn of(stats: &'a KeyStats) -> Self {
        let gauges = stats.gauges_and_members();
        Self {
            counters: named(stats.counters.iter().map(|(stat, sum)| (stat, *sum))),
            gauges: named(gauges.into_iter()),
            gauges_current: named(stats.gauges_current.iter().map(|(stat, sum)| (stat, *sum))),
        }
    }

    fn is_empty(&self) -> bool {
        self.counters.is_empty() && self.gauges.is_empty() && self.gauges_current.is_empty()
    }
}

fn named<'a>(sums: impl Iterator<Item = (&'a StatName, Sum)>) -> BTreeMap<&'a str, Sum> {
    sums.map(|(stat, sum)| (stat.as_str(), sum)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use shared::domain::DimensionKey;

    fn dimension(keys: usize, value: Sum) -> DimensionJson {
        let mut summary = DimensionSummary::default();
        for i in 0..keys {
            let stats = KeyStats {
                counters: [(StatName::new("x").unwrap(), value)].into(),
                ..KeyStats::default()
            };
            summary.add(DimensionKey::new(&format!("k{i}")).unwrap(), &stats).unwrap();
        }
        DimensionJson::new(&DimensionName::new("d").unwrap(), &summary).unwrap()
    }

    #[test]
    fn sums_are_integers_of_all_their_digits() {
        let nines = "9".repeat(38);
        let body = body([dimension(1, Sum::MAX)].iter()).unwrap();
        let stats = format!(r#"{{"counters":{{"x":{nines}}}}}"#);
        let dims = format!(r#"{{"d":{{"k0":{stats},"total":{stats}}}}}"#);
        assert_eq!(body, format!(r#"{{"Succeeded":true,"Error":"","dims":{dims}}}"#));
    }

    #[test]
    fn an_unknown_dimension_has_an_empty_total_and_without_dimensions_dims_is_empty() {
        let unknown = body([dimension(0, Sum::ZERO)].iter()).unwrap();
        assert_eq!(unknown, r#"{"Succeeded":true,"Error":"","dims":{"d":{"total":{}}}}"#);
        assert_eq!(body([].iter()).unwrap(), r#"{"Succeeded":true,"Error":"","dims":{}}"#);
    }

    #[test]
    fn an_answer_that_lambda_would_refuse_is_an_error() {
        let large = dimension(300_000, Sum::ZERO);
        assert!(matches!(body([large].iter()), Err(QueryProblem::AnswerTooLarge)));
    }
}
