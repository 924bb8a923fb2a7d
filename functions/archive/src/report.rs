//! What a run did, as its caller reads it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{LeftOutCounts, SlotEnd, SlotError};

/// What a run did: its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// The step of the schedule, by RFC 3339.
    pub slot: String,
    /// Whether archiving is configured.
    pub archiving: bool,
    /// What became of each dimension that is due.
    pub dimensions: BTreeMap<String, Entry>,
}

/// What became of a dimension.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Entry {
    /// What became of it, in a word.
    pub outcome: SlotOutcome,
    /// How many rows were written.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rows: Option<u64>,
    /// How many fields were left out, since their sums are beyond 64 bits.
    #[serde(skip_serializing_if = "is_zero")]
    pub left_out: u64,
    /// How many values of keys were left out, since the table has no room for columns of their
    /// stats.
    #[serde(skip_serializing_if = "is_zero")]
    pub without_column: u64,
}

/// What became of a dimension, in a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum SlotOutcome {
    /// This run wrote its rows.
    Written,
    /// An earlier run wrote its rows, or another one at the same time.
    WrittenBefore,
    /// The run came too late.
    Missed,
    /// Its rows are not known to be written. The next run, or a repetition of this one, goes on.
    Failed,
}

impl From<&Result<SlotEnd, SlotError>> for Entry {
    fn from(end: &Result<SlotEnd, SlotError>) -> Self {
        let entry = |outcome| Self { outcome, rows: None, left_out: 0, without_column: 0 };
        match *end {
            Ok(SlotEnd::Written { rows, left_out }) => {
                let LeftOutCounts { beyond_64_bits, without_column } = left_out;
                let outcome = SlotOutcome::Written;
                Self { outcome, rows, left_out: beyond_64_bits, without_column }
            }
            Ok(SlotEnd::WrittenBefore) => entry(SlotOutcome::WrittenBefore),
            Ok(SlotEnd::Missed) => entry(SlotOutcome::Missed),
            Err(_) => entry(SlotOutcome::Failed),
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde wants it so")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}
