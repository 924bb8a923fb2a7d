//! What a run did, as metrics: a line for each slot, whose properties name the dimension and the
//! slot, and a line for the housekeeping.

use std::time::Duration;

use metrics::{Unit, counter, describe_counter, describe_histogram, histogram};
use shared::{
    domain::DimensionName,
    lambda::metrics::{Metrics, count_units},
    usage::Usage,
};

use crate::{Entry, Slot, SlotOutcome, rows::rfc3339};

/// Slots, by what became of them.
const OUTCOMES: [(&str, SlotOutcome); 4] = [
    ("SlotsWritten", SlotOutcome::Written),
    ("SlotsWrittenBefore", SlotOutcome::WrittenBefore),
    ("SlotsMissed", SlotOutcome::Missed),
    ("SlotsFailed", SlotOutcome::Failed),
];
const ROWS: &str = "RowsWritten";
/// Sums beyond 64 bits.
const LEFT_OUT: &str = "FieldsLeftOut";
/// How long a dimension took.
const TIME: &str = "ArchiveMilliseconds";
/// How long the housekeeping of all dimensions took.
const HOUSEKEEPING_TIME: &str = "HousekeepingMilliseconds";

/// The metrics of this function.
///
/// # Errors
/// It is the second time in this process.
pub(crate) fn start() -> Result<Metrics, lambda_runtime::Error> {
    let metrics = Metrics::start("archive")?;
    describe();
    Ok(metrics)
}

fn describe() {
    for name in OUTCOMES.map(|(name, _)| name).into_iter().chain([ROWS, LEFT_OUT]) {
        describe_counter!(name, Unit::Count, "");
    }
    for name in [TIME, HOUSEKEEPING_TIME] {
        describe_histogram!(name, Unit::Milliseconds, "");
    }
}

/// Counts what became of a slot, what that used and how long it took, and writes the line.
pub(crate) fn write_slot(
    metrics: Metrics,
    dimension: &DimensionName,
    slot: Slot,
    entry: &Entry,
    usage: &Usage,
    took: Duration,
) {
    count(entry, took);
    count_units(usage);
    metrics.flush(&properties(dimension, slot));
}

/// Counts what the housekeeping used and how long it took, and writes the line.
pub(crate) fn write_housekeeping(metrics: Metrics, usage: &Usage, took: Duration) {
    histogram!(HOUSEKEEPING_TIME).record(took.as_secs_f64() * 1_000.0);
    count_units(usage);
    metrics.flush(&[]);
}

fn count(entry: &Entry, took: Duration) {
    for (name, outcome) in OUTCOMES {
        counter!(name).increment(u64::from(entry.outcome == outcome));
    }
    counter!(ROWS).increment(entry.rows.unwrap_or_default());
    counter!(LEFT_OUT).increment(entry.left_out);
    histogram!(TIME).record(took.as_secs_f64() * 1_000.0);
}

fn properties(dimension: &DimensionName, slot: Slot) -> [(&'static str, String); 2] {
    [("Dimension", dimension.to_string()), ("Slot", rfc3339(slot.start()))]
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use shared::domain::UnixSeconds;

    use super::*;
    use crate::Schedule;

    #[test]
    fn each_dimension_has_a_line_with_its_outcome() {
        let metrics = Metrics::of("test".to_owned(), "archive").unwrap();
        describe();
        let line = |dimension: &str, entry: Entry| -> Value {
            let dimension = DimensionName::new(dimension).unwrap();
            let schedule = Schedule::from_variables(|_| None).unwrap();
            let slot = schedule.slot(&dimension, UnixSeconds(600)).unwrap();
            let mut written = Vec::new();
            count(&entry, Duration::from_millis(250));
            count_units(&Usage { read_units: 1.5, write_units: 2.0, ..Usage::default() });
            metrics.write(&properties(&dimension, slot), &mut written).unwrap();
            serde_json::from_slice(&written).unwrap()
        };
        let written =
            line("country", Entry { outcome: SlotOutcome::Written, rows: Some(3), left_out: 2 });
        let directive = &written["_aws"]["CloudWatchMetrics"][0];
        assert_eq!(directive["Namespace"], "test");
        for metric in directive["Metrics"].as_array().unwrap() {
            assert!(metric["Unit"].is_string(), "{metric}");
        }
        assert_eq!(directive["Dimensions"], json!([["Function"]]));
        assert_eq!(written["Function"], "archive");
        assert_eq!(written["Dimension"], "country");
        assert_eq!(written["Slot"], "1970-01-01T00:10:00Z");
        assert_eq!((&written["SlotsWritten"], &written["RowsWritten"]), (&json!(1), &json!(3)));
        assert_eq!((&written["SlotsMissed"], &written["FieldsLeftOut"]), (&json!(0), &json!(2)));
        assert_eq!((&written["ReadUnits"], &written["WriteUnits"]), (&json!([1.5]), &json!([2.0])));
        // A new line begins at zero.
        let missed = line("user", Entry { outcome: SlotOutcome::Missed, rows: None, left_out: 0 });
        assert_eq!((&missed["SlotsWritten"], &missed["SlotsMissed"]), (&json!(0), &json!(1)));
        assert_eq!(missed["Dimension"], "user");
    }
}
