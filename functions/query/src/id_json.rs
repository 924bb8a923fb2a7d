//! The JSON of what an id last reported.

use std::collections::BTreeMap;

use serde::Serialize;
use shared::domain::{Detail, Id, Sum};

/// What an id last reported. Groups without anything are left out.
#[derive(Serialize)]
struct IdJson<'a> {
    #[serde(rename = "Succeeded")]
    succeeded: bool,
    #[serde(rename = "Error")]
    error: &'static str,
    id: &'a str,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    dims: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    counters: BTreeMap<&'a str, Sum>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    gauges: BTreeMap<&'a str, Sum>,
    /// When the period of the gauges began, in seconds since 1970.
    #[serde(rename = "gaugesPeriod", skip_serializing_if = "Option::is_none")]
    gauges_period: Option<u64>,
}

/// The body of the answer.
///
/// # Errors
/// Never: names and sums always serialize.
pub(crate) fn body(id: &Id, detail: &Detail) -> Result<String, serde_json::Error> {
    let placements = detail.placements.iter();
    let period = detail.gauge_period.filter(|_| !detail.gauges.is_empty());
    serde_json::to_string(&IdJson {
        succeeded: true,
        error: "",
        id: id.as_str(),
        dims: placements.map(|(name, it)| (name.as_str(), it.key.as_str())).collect(),
        counters: detail.counters.iter().map(|(stat, sum)| (stat.as_str(), *sum)).collect(),
        gauges: detail.gauges.iter().map(|(stat, sum)| (stat.as_str(), *sum)).collect(),
        gauges_period: period.map(|period| period.start().0),
    })
}
