//! Metrics of CloudWatch: each call writes a line of JSON in the *embedded metric format* to the
//! log.
//!
//! The function is their only dimension, since CloudWatch bills each value of a dimension as a
//! metric of its own. All else in a line are properties, which *Logs Insights* finds.
#![expect(clippy::doc_markdown, reason = "CloudWatch is a name")]

use std::{fmt, io, time::Duration};

use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};
use metrics_cloudwatch_embedded::{Builder, Collector};

use crate::{config::variable, usage::Usage};

/// What is counted of each request.
const COUNTS: [&str; 9] = [
    "Requests",
    "Conflicts",
    "Retries",
    "CellsOpened",
    "MembersNew",
    "MembersKnown",
    "DimensionsUpdated",
    "UpdatesUnchanged",
    "CacheHits",
];
/// Read and write units of DynamoDB.
const UNITS: [&str; 2] = ["ReadUnits", "WriteUnits"];
/// How long a request took.
const LATENCY: &str = "LatencyMilliseconds";

/// Where the metrics of a process go.
#[derive(Clone, Copy)]
pub struct Metrics(Option<&'static Collector>);

impl Metrics {
    /// Nowhere.
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }

    /// To the standard output, which is the log, in the namespace that `METRICS_NAMESPACE` names;
    /// nowhere without that. A process calls this once.
    ///
    /// # Errors
    /// The process called this or [`Metrics::of`] before.
    pub fn start(function: &'static str) -> Result<Self, metrics_cloudwatch_embedded::Error> {
        match variable("METRICS_NAMESPACE") {
            Some(namespace) => Self::of(namespace, function),
            None => Ok(Self::none()),
        }
    }

    /// The metrics of a function, in a namespace. A process calls this once.
    ///
    /// # Errors
    /// The process called this before.
    pub fn of(
        namespace: String,
        function: &'static str,
    ) -> Result<Self, metrics_cloudwatch_embedded::Error> {
        let builder = Builder::new()
            .cloudwatch_namespace(namespace)
            .with_dimension("Function", function)
            // A line says that nothing happened; without one nobody would know.
            .emit_zeros(true);
        let collector = builder.init()?;
        for name in COUNTS {
            describe_counter!(name, Unit::Count, "");
        }
        for name in UNITS {
            describe_histogram!(name, Unit::Count, "");
        }
        describe_histogram!(LATENCY, Unit::Milliseconds, "");
        Ok(Self(Some(collector)))
    }

    /// Writes a line to the standard output: what was counted since the last one, and these
    /// properties.
    pub fn flush(self, properties: &[(&'static str, String)]) {
        if let Err(error) = self.write(properties, io::stdout()) {
            tracing::warn!(%error, "metrics are lost");
        }
    }

    /// Writes the line of [`Metrics::flush`] somewhere else.
    ///
    /// # Errors
    /// The line can't be written.
    pub fn write(
        self,
        properties: &[(&'static str, String)],
        to: impl io::Write,
    ) -> io::Result<()> {
        let Some(collector) = self.0 else {
            return Ok(());
        };
        for (name, value) in properties {
            collector.set_property(*name, value.as_str());
        }
        collector.flush(to)
    }

    /// Whether the metrics go anywhere.
    #[must_use]
    pub fn are_on(self) -> bool {
        self.0.is_some()
    }
}

/// Counts a request: how long it took, and what it used.
pub(crate) fn count(usage: &Usage, took: Duration) {
    let counts = [
        1,
        usage.conflicts,
        usage.retries,
        usage.cells_opened,
        usage.members_new,
        usage.members_known,
        usage.dimensions_updated,
        usage.updates_unchanged,
        usage.cache_hits,
    ];
    for (name, count) in COUNTS.into_iter().zip(counts) {
        counter!(name).increment(count);
    }
    count_units(usage);
    histogram!(LATENCY).record(took.as_secs_f64() * 1_000.0);
}

/// Counts the units of DynamoDB that a call used.
pub fn count_units(usage: &Usage) {
    for (name, units) in UNITS.into_iter().zip([usage.read_units, usage.write_units]) {
        histogram!(name).record(units);
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Metrics").field(&self.0.is_some()).finish()
    }
}
