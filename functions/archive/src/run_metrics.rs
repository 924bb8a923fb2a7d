//! What a run did, as metrics: a line for each slot, whose properties name the dimension and the
//! slot, and a line for the housekeeping.

use std::time::Duration;

use shared::{
    domain::{DimensionName, UnixSeconds},
    lambda::{
        emf::{EmfLine, Unit},
        metrics::{Metrics, add_units},
    },
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

/// The line of a slot that was dealt with at some moment: what became of it, what that used and how
/// long it took. None if there are no metrics.
pub(crate) fn slot_line(
    metrics: &Metrics,
    now: UnixSeconds,
    of: (&DimensionName, Slot),
    entry: &Entry,
    measured: (&Usage, Duration),
) -> Option<EmfLine> {
    let mut line = metrics.line(now)?;
    for (name, outcome) in OUTCOMES {
        line.count(name, u64::from(entry.outcome == outcome));
    }
    line.count("RowsWritten", entry.rows.unwrap_or_default());
    // Sums beyond 64 bits.
    line.count("FieldsLeftOut", entry.left_out);
    line.count("ValuesWithoutColumn", entry.without_column);
    add(&mut line, "ArchiveMilliseconds", measured);
    let (dimension, slot) = of;
    line.property("Dimension", dimension.as_str());
    line.property("Slot", rfc3339(slot.start()));
    Some(line)
}

/// The line of the housekeeping of all dimensions: what it used and how long it took.
pub(crate) fn housekeeping_line(
    metrics: &Metrics,
    now: UnixSeconds,
    measured: (&Usage, Duration),
) -> Option<EmfLine> {
    let mut line = metrics.line(now)?;
    add(&mut line, "HousekeepingMilliseconds", measured);
    Some(line)
}

fn add(line: &mut EmfLine, time: &'static str, (usage, took): (&Usage, Duration)) {
    line.values(time, Unit::Milliseconds, &[took.as_secs_f64() * 1_000.0]);
    add_units(line, usage);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::Schedule;

    fn usage() -> Usage {
        Usage { read_units: 1.5, write_units: 2.0, ..Usage::default() }
    }

    #[test]
    fn each_dimension_has_a_line_with_its_outcome() {
        let metrics = Metrics::of("test", "archive");
        let line = |dimension: &str, entry: Entry| -> Value {
            let dimension = DimensionName::new(dimension).unwrap();
            let schedule = Schedule::from_variables(|_| None).unwrap();
            let slot = schedule.slot(&dimension, UnixSeconds(600)).unwrap();
            let measured = (&usage(), Duration::from_millis(250));
            let line = slot_line(&metrics, UnixSeconds(601), (&dimension, slot), &entry, measured);
            serde_json::from_str(&line.unwrap().to_string()).unwrap()
        };
        let entry = |outcome| Entry { outcome, rows: None, left_out: 0, without_column: 0 };
        let written = entry(SlotOutcome::Written);
        let written =
            line("country", Entry { rows: Some(3), left_out: 2, without_column: 7, ..written });
        assert_eq!(written["_aws"]["CloudWatchMetrics"][0]["Namespace"], "test");
        assert_eq!(written["_aws"]["Timestamp"], 601_000);
        assert_eq!(written["Function"], "archive");
        assert_eq!(written["Dimension"], "country");
        assert_eq!(written["Slot"], "1970-01-01T00:10:00Z");
        assert_eq!((&written["SlotsWritten"], &written["RowsWritten"]), (&json!(1), &json!(3)));
        assert_eq!((&written["SlotsMissed"], &written["FieldsLeftOut"]), (&json!(0), &json!(2)));
        assert_eq!(written["ValuesWithoutColumn"], json!(7));
        assert_eq!((&written["ReadUnits"], &written["WriteUnits"]), (&json!([1.5]), &json!([2.0])));
        assert_eq!(written["ArchiveMilliseconds"], json!([250.0]));
        let missed = line("user", entry(SlotOutcome::Missed));
        assert_eq!((&missed["SlotsWritten"], &missed["SlotsMissed"]), (&json!(0), &json!(1)));
        assert_eq!(missed["Dimension"], "user");
    }

    #[test]
    fn the_housekeeping_has_a_line_of_no_dimension() {
        let metrics = Metrics::of("test", "archive");
        let measured = (&usage(), Duration::from_millis(250));
        let line = housekeeping_line(&metrics, UnixSeconds(600), measured).unwrap();
        let line: Value = serde_json::from_str(&line.to_string()).unwrap();
        assert_eq!(line["HousekeepingMilliseconds"], json!([250.0]));
        assert_eq!((&line["ReadUnits"], &line["WriteUnits"]), (&json!([1.5]), &json!([2.0])));
        assert!(line["Dimension"].is_null() && line["SlotsMissed"].is_null(), "{line}");
        assert_eq!(housekeeping_line(&Metrics::none(), UnixSeconds(600), measured), None);
    }
}
