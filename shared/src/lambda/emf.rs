//! A line of metrics in CloudWatch's *embedded metric format*, from which CloudWatch reads them
//! once the line is in the log.
//!
//! Source of the format and its limits: *Embedded metric format specification*, CloudWatch User
//! Guide.
#![expect(clippy::doc_markdown, reason = "CloudWatch is a name")]

use std::{collections::BTreeMap, fmt};

use serde::Serialize;
use serde_json::Value;

use crate::domain::UnixSeconds;

/// The most values of one metric in a line.
pub const MAX_VALUES: usize = 100;
/// The only dimension of all metrics: CloudWatch bills each value of a dimension as a metric of its
/// own.
const DIMENSION: &str = "Function";

/// A line: metrics of a function at some moment, and properties, which *Logs Insights* finds.
#[derive(Debug, Clone, PartialEq)]
pub struct EmfLine {
    namespace: String,
    function: &'static str,
    at: UnixSeconds,
    metrics: BTreeMap<&'static str, Metric>,
    properties: BTreeMap<&'static str, Value>,
}

/// A unit of CloudWatch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Unit {
    /// A number of things.
    Count,
    /// Thousandths of a second.
    Milliseconds,
}

#[derive(Debug, Clone, PartialEq)]
struct Metric {
    unit: Unit,
    value: Value,
}

impl EmfLine {
    /// A line without metrics yet. CloudWatch takes moments of the last two weeks.
    #[must_use]
    pub fn new(namespace: impl Into<String>, function: &'static str, at: UnixSeconds) -> Self {
        let namespace = namespace.into();
        Self { namespace, function, at, metrics: BTreeMap::new(), properties: BTreeMap::new() }
    }

    /// Adds how often something has happened.
    pub fn count(&mut self, name: &'static str, count: u64) {
        self.metrics.insert(name, Metric { unit: Unit::Count, value: count.into() });
    }

    /// Adds the values that something had; without values the line does not have the metric. A line
    /// takes the first [`MAX_VALUES`].
    pub fn values(&mut self, name: &'static str, unit: Unit, values: &[f64]) {
        let values: Vec<_> = values.iter().copied().take(MAX_VALUES).map(Value::from).collect();
        if !values.is_empty() {
            self.metrics.insert(name, Metric { unit, value: values.into() });
        }
    }

    /// Adds a property.
    pub fn property(&mut self, name: &'static str, value: impl Into<Value>) {
        self.properties.insert(name, value.into());
    }
}

#[derive(Serialize)]
struct Document<'a> {
    #[serde(rename = "_aws")]
    metadata: Metadata<'a>,
    #[serde(flatten)]
    members: BTreeMap<&'a str, &'a Value>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Metadata<'a> {
    /// In milliseconds since the Unix epoch.
    timestamp: u64,
    cloud_watch_metrics: [Directive<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Directive<'a> {
    namespace: &'a str,
    dimensions: [[&'static str; 1]; 1],
    metrics: Vec<Definition<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Definition<'a> {
    name: &'a str,
    unit: Unit,
}

/// The line itself, without its end.
impl fmt::Display for EmfLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let function = Value::from(self.function);
        let definition =
            |(name, metric): (&&'static str, &Metric)| Definition { name, unit: metric.unit };
        let metrics = self.metrics.iter().map(|(name, metric)| (*name, &metric.value));
        let properties = self.properties.iter().map(|(name, value)| (*name, value));
        let document = Document {
            metadata: Metadata {
                timestamp: self.at.0.saturating_mul(1_000),
                cloud_watch_metrics: [Directive {
                    namespace: &self.namespace,
                    dimensions: [[DIMENSION]],
                    metrics: self.metrics.iter().map(definition).collect(),
                }],
            },
            members: properties.chain(metrics).chain([(DIMENSION, &function)]).collect(),
        };
        f.write_str(&serde_json::to_string(&document).map_err(|_| fmt::Error)?)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_says_what_its_metrics_are_and_when_they_were() {
        let mut line = EmfLine::new("space", "update", UnixSeconds(1_700_000_000));
        line.count("Requests", 2);
        line.values("LatencyMilliseconds", Unit::Milliseconds, &[1.5, 2.0]);
        line.values("ReadUnits", Unit::Count, &[]);
        line.property("Token", "clients");
        let text = line.to_string();
        assert!(text.starts_with("{\"_aws\":") && !text.contains('\n'), "{text}");
        let found: Value = serde_json::from_str(&text).unwrap();
        let expected = json!({
            "_aws": {
                "Timestamp": 1_700_000_000_000_u64,
                "CloudWatchMetrics": [{
                    "Namespace": "space",
                    "Dimensions": [["Function"]],
                    "Metrics": [
                        {"Name": "LatencyMilliseconds", "Unit": "Milliseconds"},
                        {"Name": "Requests", "Unit": "Count"},
                    ],
                }],
            },
            "Function": "update",
            "Requests": 2,
            "LatencyMilliseconds": [1.5, 2.0],
            "Token": "clients",
        });
        assert_eq!(found, expected);
    }

    #[test]
    fn a_metric_has_no_more_values_than_cloudwatch_takes() {
        let mut line = EmfLine::new("space", "update", UnixSeconds(0));
        line.values("ReadUnits", Unit::Count, &[1.0; 2 * MAX_VALUES]);
        let line: Value = serde_json::from_str(&line.to_string()).unwrap();
        assert_eq!(line["ReadUnits"].as_array().unwrap().len(), MAX_VALUES);
    }
}
