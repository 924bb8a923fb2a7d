//! The JSON of the contract: an object of dimensions, of keys, of groups of stats.

use serde::{Serialize, Serializer};
use shared::domain::{KeyStats, StatName, Sum, TOTAL};

use crate::{answer_format::DimensionText, kind::Kind, query_problem::QueryProblem};

/// A key's entry in the object of its dimension; none if it has no stats.
///
/// # Errors
/// Never: names and sums always serialize.
pub(crate) fn key(key: &str, stats: &KeyStats) -> Result<Option<String>, serde_json::Error> {
    let stats = StatsJson::of(stats);
    if stats.is_empty() {
        return Ok(None);
    }
    entry(key, &stats).map(Some)
}

/// The entry of a dimension's total, which may be empty.
///
/// # Errors
/// Never: names and sums always serialize.
pub(crate) fn total(stats: &KeyStats) -> Result<String, serde_json::Error> {
    entry(TOTAL, &StatsJson::of(stats))
}

/// The body of the answer with these dimensions.
///
/// # Errors
/// Never: names always serialize.
pub(crate) fn body<T: AsRef<str>>(
    dimensions: &[DimensionText<T>],
    next: Option<&str>,
) -> Result<String, QueryProblem> {
    let mut body = String::from(r#"{"Succeeded":true,"Error":"","dims":{"#);
    for (index, dimension) in dimensions.iter().enumerate() {
        if index > 0 {
            body.push(',');
        }
        body += &serde_json::to_string(dimension.dimension.as_str())?;
        body += ":{";
        body += dimension.keys.as_ref();
        body.push('}');
    }
    body.push('}');
    if let Some(next) = next {
        body += r#","next":"#;
        body += &serde_json::to_string(next)?;
    }
    body.push('}');
    Ok(body)
}

fn entry(key: &str, stats: &StatsJson<'_>) -> Result<String, serde_json::Error> {
    let mut entry = Vec::new();
    serde_json::to_writer(&mut entry, key)?;
    entry.push(b':');
    serde_json::to_writer(&mut entry, stats)?;
    String::from_utf8(entry).map_err(serde::ser::Error::custom)
}

/// The stats of a key. Groups without any are left out.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct StatsJson<'a> {
    #[serde(skip_serializing_if = "Group::is_empty")]
    counters: Group<'a>,
    #[serde(skip_serializing_if = "Group::is_empty")]
    gauges: Group<'a>,
    #[serde(skip_serializing_if = "Group::is_empty")]
    gauges_current: Group<'a>,
}

/// The numbers of a kind, an object of stats.
struct Group<'a>(Vec<(&'a StatName, Sum)>);

impl Group<'_> {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Serialize for Group<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(stat, sum)| (stat.as_str(), sum)))
    }
}

impl<'a> StatsJson<'a> {
    fn of(stats: &'a KeyStats) -> Self {
        let group = |kind: Kind| Group(kind.of(stats));
        Self {
            counters: group(Kind::Counter),
            gauges: group(Kind::Gauge),
            gauges_current: group(Kind::Current),
        }
    }

    fn is_empty(&self) -> bool {
        self.counters.is_empty() && self.gauges.is_empty() && self.gauges_current.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{dimension, sums};

    fn counter(value: Sum) -> KeyStats {
        let mut stats = KeyStats { counters: sums(&[("x", 0)]), ..KeyStats::default() };
        stats.counters.values_mut().for_each(|sum| *sum = value);
        stats
    }

    #[test]
    fn sums_are_integers_of_all_their_digits() {
        let nines = "9".repeat(38);
        let stats = counter(Sum::MAX);
        let keys = [key("k", &stats).unwrap().unwrap(), total(&stats).unwrap()].join(",");
        let expected = format!(r#"{{"counters":{{"x":{nines}}}}}"#);
        let dims = format!(r#"{{"d":{{"k":{expected},"total":{expected}}}}}"#);
        let body = body(&[dimension("d", &keys)], None).unwrap();
        assert_eq!(body, format!(r#"{{"Succeeded":true,"Error":"","dims":{dims}}}"#));
    }

    #[test]
    fn an_unknown_dimension_has_an_empty_total_and_without_dimensions_dims_is_empty() {
        let keys = total(&KeyStats::default()).unwrap();
        let unknown = body(&[dimension("d", &keys)], None).unwrap();
        assert_eq!(unknown, r#"{"Succeeded":true,"Error":"","dims":{"d":{"total":{}}}}"#);
        let none = body::<&str>(&[], None).unwrap();
        assert_eq!(none, r#"{"Succeeded":true,"Error":"","dims":{}}"#);
    }

    #[test]
    fn a_page_says_what_comes_next_and_the_last_one_that_nothing_does() {
        for next in ["abc", ""] {
            let page = body(&[dimension("d", "")], Some(next)).unwrap();
            let expected = r#"{"Succeeded":true,"Error":"","dims":{"d":{}},"next":"NEXT"}"#;
            assert_eq!(page, expected.replace("NEXT", next));
        }
    }

    #[test]
    fn a_key_without_stats_has_no_entry() {
        assert_eq!(key("k", &KeyStats::default()).unwrap(), None);
    }
}
