//! Metrics of CloudWatch: where their lines go.
#![expect(clippy::doc_markdown, reason = "CloudWatch is a name")]

use std::io::{self, Write};

use super::emf::{EmfLine, Unit};
use crate::{config::variable, domain::UnixSeconds, usage::Usage};

/// Where the metrics of a process go.
#[derive(Debug, Clone)]
pub struct Metrics(Option<MetricsOf>);

/// Whose metrics they are.
#[derive(Debug, Clone)]
struct MetricsOf {
    namespace: String,
    function: &'static str,
}

impl Metrics {
    /// Nowhere.
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }

    /// The metrics of a function, in a namespace.
    #[must_use]
    pub fn of(namespace: impl Into<String>, function: &'static str) -> Self {
        Self(Some(MetricsOf { namespace: namespace.into(), function }))
    }

    /// The metrics of a function, in the namespace that `METRICS_NAMESPACE` names; nowhere without
    /// that.
    #[must_use]
    pub fn from_env(function: &'static str) -> Self {
        variable("METRICS_NAMESPACE").map_or_else(Self::none, |name| Self::of(name, function))
    }

    /// A line that is still empty, if there are metrics at all.
    #[must_use]
    pub fn line(&self, at: UnixSeconds) -> Option<EmfLine> {
        let MetricsOf { namespace, function } = self.0.as_ref()?;
        Some(EmfLine::new(namespace, function, at))
    }

    /// Whether the metrics go anywhere.
    #[must_use]
    pub fn are_on(&self) -> bool {
        self.0.is_some()
    }
}

/// Writes lines to the standard output, which is the log.
pub fn write(lines: impl IntoIterator<Item = EmfLine>) {
    let mut output = io::stdout().lock();
    for line in lines {
        if let Err(error) = writeln!(output, "{line}") {
            tracing::warn!(%error, "metrics are lost");
        }
    }
}

/// Adds the units of DynamoDB that a call used.
pub fn add_units(line: &mut EmfLine, usage: &Usage) {
    line.values("ReadUnits", Unit::Count, &[usage.read_units]);
    line.values("WriteUnits", Unit::Count, &[usage.write_units]);
}
