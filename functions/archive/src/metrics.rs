//! What became of each dimension, as metrics of `CloudWatch`: a line of JSON in the log for each, by
//! `CloudWatch`'s *embedded metric format*.
//!
//! The dimension is a property of the line, not a dimension of the metric: each value of one would be billed
//! as a metric of its own. *Logs Insights* finds it.

use std::{fmt, io, time::Duration};

use metrics::{counter, histogram};
use metrics_cloudwatch_embedded::{Builder, Collector};
use shared::domain::DimensionName;

use crate::{Entry, Slot, Word, rows::rfc3339};

/// The namespace of all metrics of statshub.
const NAMESPACE: &str = "statshub";

/// Where the metrics of a process go.
#[derive(Clone, Copy)]
pub struct Metrics(Option<&'static Collector>);

impl Metrics {
    /// Nowhere.
    #[must_use]
    pub fn none() -> Self {
        Self(None)
    }

    /// To the standard output, which is the log. Once in a process.
    ///
    /// # Errors
    /// It is the second time.
    pub fn start() -> Result<Self, metrics_cloudwatch_embedded::Error> {
        let builder = Builder::new().cloudwatch_namespace(NAMESPACE).emit_zeros(true);
        builder.init().map(|collector| Self(Some(collector)))
    }

    /// What became of a slot of a dimension, and how long that took.
    pub(crate) fn of_dimension(
        self,
        dimension: &DimensionName,
        slot: Slot,
        entry: &Entry,
        took: Duration,
    ) {
        if let Some(collector) = self.0
            && let Err(error) = write(collector, dimension, slot, entry, took, io::stdout())
        {
            tracing::warn!(%error, "metrics are lost");
        }
    }
}

fn write(
    collector: &Collector,
    dimension: &DimensionName,
    slot: Slot,
    entry: &Entry,
    took: Duration,
    to: impl io::Write,
) -> io::Result<()> {
    let outcomes = [
        ("SlotsWritten", Word::Written),
        ("SlotsWrittenBefore", Word::WrittenBefore),
        ("SlotsMissed", Word::Missed),
        ("SlotsFailed", Word::Failed),
    ];
    for (name, outcome) in outcomes {
        counter!(name).increment(u64::from(entry.outcome == outcome));
    }
    counter!("RowsWritten").increment(entry.rows.unwrap_or_default());
    counter!("FieldsLeftOut").increment(entry.left_out);
    histogram!("ArchiveMilliseconds").record(took.as_secs_f64() * 1_000.0);
    collector.set_property("Dimension", dimension.as_str());
    collector.set_property("Slot", rfc3339(slot.start()));
    collector.flush(to)
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Metrics").field(&self.0.is_some()).finish()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use shared::domain::UnixSeconds;

    use super::*;
    use crate::Schedule;

    #[test]
    fn each_dimension_has_a_line_with_its_outcome() {
        let Metrics(Some(collector)) = Metrics::start().unwrap() else {
            panic!("no collector");
        };
        let line = |dimension: &str, entry: Entry| -> Value {
            let dimension = DimensionName::new(dimension).unwrap();
            let schedule = Schedule::from_variables(|_| None).unwrap();
            let slot = schedule.slot(&dimension, UnixSeconds(600)).unwrap();
            let mut written = Vec::new();
            let took = Duration::from_millis(250);
            write(collector, &dimension, slot, &entry, took, &mut written).unwrap();
            serde_json::from_slice(&written).unwrap()
        };
        let written = line("country", Entry { outcome: Word::Written, rows: Some(3), left_out: 2 });
        assert_eq!(written["_aws"]["CloudWatchMetrics"][0]["Namespace"], "statshub");
        assert_eq!(written["Dimension"], "country");
        assert_eq!(written["Slot"], "1970-01-01T00:10:00Z");
        assert_eq!((&written["SlotsWritten"], &written["RowsWritten"]), (&json!(1), &json!(3)));
        assert_eq!((&written["SlotsMissed"], &written["FieldsLeftOut"]), (&json!(0), &json!(2)));
        // What was counted is counted once.
        let missed = line("user", Entry { outcome: Word::Missed, rows: None, left_out: 0 });
        assert_eq!((&missed["SlotsWritten"], &missed["SlotsMissed"]), (&json!(0), &json!(1)));
        assert_eq!(missed["Dimension"], "user");
    }
}
