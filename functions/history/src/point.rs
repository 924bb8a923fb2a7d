//! The points of a history, from the rows of a query.

use bigquery::ResultRow;
use serde_json::Number;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

use crate::{
    question::{Aggregate, Question},
    tiers::StepLength,
};

/// The value of a key in a step.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Point {
    pub(crate) key: String,
    /// The start of the step, by RFC 3339.
    pub(crate) ts: String,
    pub(crate) step: StepLength,
    pub(crate) value: Number,
}

/// A row that is not a point.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("BigQuery answers with a row that can't be read: {0:?}")]
pub(crate) struct UnreadableRow(ResultRow);

impl Point {
    /// # Errors
    /// The row is not a key, a time and a value.
    pub(crate) fn of(question: &Question, row: ResultRow) -> Result<Self, UnreadableRow> {
        let [Some(key), Some(ts), Some(value)] = &row[..] else {
            return Err(UnreadableRow(row));
        };
        let point = || {
            let ts = ts.parse().ok()?;
            let value = match question.aggregate {
                Aggregate::Avg => Number::from_f64(value.parse().ok()?)?,
                Aggregate::Last | Aggregate::Min | Aggregate::Max => {
                    value.parse::<i64>().ok()?.into()
                }
            };
            let time = OffsetDateTime::from_unix_timestamp(ts).ok()?;
            let step = question.tiers.step_at(ts);
            Some(Self { key: key.clone(), ts: time.format(&Rfc3339).ok()?, step, value })
        };
        point().ok_or(UnreadableRow(row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{points, request};

    #[test]
    fn a_row_is_a_point_of_its_tier() {
        let points = points(&[
            ["es", "1763337600", "-9223372036854775808"],
            ["es", "1792368000", "5"],
            ["es", "1794873600", "9223372036854775807"],
        ]);
        let points: Vec<_> =
            points.iter().map(|p| format!("{} {} {}", p.ts, p.step.seconds(), p.value)).collect();
        assert_eq!(
            points,
            [
                "2025-11-17T00:00:00Z 604800 -9223372036854775808",
                "2026-10-19T00:00:00Z 86400 5",
                "2026-11-17T00:00:00Z 3600 9223372036854775807",
            ]
        );
    }

    #[test]
    fn an_average_is_a_decimal_number() {
        let question = request("*", "aggregate=avg").unwrap().question;
        for (text, number) in [("50.0", "50.0"), ("0.1", "0.1"), ("1.5E10", "15000000000.0")] {
            let row = ["es", "1792368000", text].map(|cell| Some(cell.to_owned()));
            assert_eq!(Point::of(&question, row.to_vec()).unwrap().value.to_string(), number);
        }
    }

    #[test]
    fn a_row_that_is_not_a_point_is_an_error() {
        let question = request("*", "").unwrap().question;
        for row in [
            vec![],
            vec![Some("es"), Some("1792368000")],
            vec![None, Some("1792368000"), Some("1")],
            vec![Some("es"), Some("1792368000"), None],
            vec![Some("es"), Some("2026-10-19"), Some("1")],
            vec![Some("es"), Some("1792368000"), Some("1.5")],
            vec![Some("es"), Some("9223372036854775807"), Some("1")],
            vec![Some("es"), Some("1"), Some("1"), Some("1")],
        ] {
            let row: Vec<_> = row.into_iter().map(|cell| cell.map(str::to_owned)).collect();
            assert_eq!(Point::of(&question, row.clone()), Err(UnreadableRow(row)));
        }
    }
}
