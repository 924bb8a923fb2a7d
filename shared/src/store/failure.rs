//! The policy on failures: what an answer other than a success means, and what to do about it.
//!
//! ARCHITECTURE.md has it as a table. `backoff` says how long to wait and when to give up.

use std::collections::BTreeSet;

use aws_sdk_dynamodb::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
    operation::transact_write_items::TransactWriteItemsError,
    types::{CancellationReason, ThrottlingReason},
};

use super::{StoreError, store_error::Cause};
use crate::{
    domain::{Cell, DimensionName, Overflow, RollupKey, SpreadSum},
    table::Target,
};

/// What a failed request means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// DynamoDB did nothing, because it was asked for too much.
    Throttled,
    /// DynamoDB did nothing, because another request was in the way.
    InTheWay,
    /// No answer, or one that says nothing: DynamoDB may have carried the request out, or may yet
    /// do so.
    Lost,
    /// Sending the request again won't help.
    Final,
}

impl Failure {
    pub(super) fn of<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Self {
        match error {
            SdkError::ConstructionFailure(_) => Self::Final,
            SdkError::ServiceError(service) => match service.err().code() {
                Some(
                    "ProvisionedThroughputExceededException"
                    | "ThrottlingException"
                    | "RequestLimitExceeded"
                    | "LimitExceededException",
                ) => Self::Throttled,
                // Of a transaction, or of a plain write to an item that a transaction holds.
                Some("TransactionConflictException" | "TransactionInProgressException") => {
                    Self::InTheWay
                }
                _ if service.raw().status().is_server_error() => Self::Lost,
                _ => Self::Final,
            },
            // A time-out, a connection that broke or was refused, an answer that can't be read.
            _ => Self::Lost,
        }
    }

    /// The error to report if the deadline comes before another attempt.
    pub(super) fn at_deadline(self, cause: Cause) -> StoreError {
        match self {
            Self::Throttled => StoreError::Throttled(cause),
            Self::InTheWay | Self::Lost => StoreError::Unavailable(cause),
            Self::Final => StoreError::Internal(cause),
        }
    }
}

/// What a failed transaction calls for.
#[derive(Debug)]
pub enum Verdict {
    /// It can never be carried out.
    Refused(StoreError),
    /// What its plan was made from has changed, or is being changed.
    Replan(Gone),
    /// It can be tried again: as it is, or on other cells if it was cancelled.
    Again(Failure, Crowded),
}

/// Names that a plan took for known, and that are not in the table any more.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Gone {
    /// Keys that have no first cell.
    pub keys: BTreeSet<RollupKey>,
    /// Dimensions that count no keys.
    pub dimensions: BTreeSet<DimensionName>,
}

/// The sums whose cells a transaction can't write to.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Crowded {
    /// Other writers are on the cell.
    pub contended: BTreeSet<SpreadSum>,
    /// The cell's partition takes no more writes at the moment.
    pub throttled: BTreeSet<SpreadSum>,
    /// The cell is being folded.
    pub folded: BTreeSet<SpreadSum>,
}

impl Crowded {
    /// Whether there are any.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.contended.is_empty() && self.throttled.is_empty() && self.folded.is_empty()
    }
}

/// What DynamoDB's reasons for throttling end with when a partition is full, and the table is not.
/// Source: *`ThrottlingReason`*, DynamoDB API Reference.
const FULL_PARTITION: &str = "KeyRangeThroughputExceeded";

/// What a failed transaction on these `targets` calls for.
pub(super) fn judge(
    targets: &[Target],
    error: &SdkError<TransactWriteItemsError, HttpResponse>,
) -> Verdict {
    let service_error = error.as_service_error();
    if let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = service_error {
        return judge_reasons(targets, cancelled.cancellation_reasons());
    }
    match service_error.map(|error| (error.meta().code(), error.meta().message())) {
        Some((Some("ValidationException"), message)) => {
            Verdict::Refused(refusal(message.unwrap_or_default()))
        }
        _ => Verdict::Again(Failure::of(error), throttled_as_a_whole(targets, service_error)),
    }
}

/// The sums of a transaction that was throttled as a whole because a partition is full: it may be
/// the partition of any of them.
fn throttled_as_a_whole(targets: &[Target], error: Option<&TransactWriteItemsError>) -> Crowded {
    let reasons = match error {
        Some(TransactWriteItemsError::ProvisionedThroughputExceededException(error)) => {
            error.throttling_reasons()
        }
        _ => &[],
    };
    let is_full = |reason: &&ThrottlingReason| {
        reason.reason().is_some_and(|reason| reason.ends_with(FULL_PARTITION))
    };
    let mut crowded = Crowded::default();
    if reasons.iter().find(is_full).is_some() {
        crowded.throttled = targets.iter().filter_map(Target::sum).cloned().collect();
    }
    crowded
}

/// Whether DynamoDB has cancelled a transaction. If so, it wrote nothing of it.
pub(super) fn was_cancelled(error: &SdkError<TransactWriteItemsError, HttpResponse>) -> bool {
    let service_error = error.as_service_error();
    service_error.is_some_and(TransactWriteItemsError::is_transaction_canceled_exception)
}

/// What a transaction on these `targets` calls for that was cancelled for these reasons, one for each
/// target. The gravest one decides.
#[must_use]
pub fn judge_reasons(targets: &[Target], reasons: &[CancellationReason]) -> Verdict {
    let mut replan = false;
    let mut failure = None;
    let mut crowded = Crowded::default();
    let mut gone = Gone::default();
    let mut is_table_throttled = false;
    for (target, reason) in targets.iter().zip(reasons) {
        match (reason.code().unwrap_or("None"), target) {
            ("None", _) => {}
            ("ConditionalCheckFailed", Target::Cell(SpreadSum::Rollup(of), Cell::FIRST)) => {
                gone.keys.insert(of.clone());
                replan = true;
            }
            ("ConditionalCheckFailed", Target::Cell(SpreadSum::Keys(of), Cell::FIRST)) => {
                gone.dimensions.insert(of.clone());
                replan = true;
            }
            ("ConditionalCheckFailed", Target::Cell(sum, _)) => {
                crowded.folded.insert(sum.clone());
            }
            ("TransactionConflict", Target::Cell(sum, _)) => {
                crowded.contended.insert(sum.clone());
            }
            // The other writer writes the same there, or is this very update.
            ("TransactionConflict", Target::Departure | Target::Dimension) => {
                failure = failure.or(Some(Failure::InTheWay));
            }
            // What the plan was made from has changed, or another writer is about to change it.
            ("ConditionalCheckFailed" | "TransactionConflict", _) => replan = true,
            ("ThrottlingError" | "ProvisionedThroughputExceeded", target) => {
                is_table_throttled |= target.sum().is_none();
                crowded.throttled.extend(target.sum().cloned());
                failure = Some(Failure::Throttled);
            }
            ("ValidationError", _) => {
                return Verdict::Refused(refusal(reason.message().unwrap_or_default()));
            }
            (other, _) => {
                let cause = format!("transaction cancelled: {other}: {:?}", reason.message());
                return Verdict::Refused(StoreError::Internal(cause.into()));
            }
        }
    }
    // Reasons of a transaction don't say whether a partition is full, or the table has reached the
    // bound that its owner set. If an item that nobody else writes to is throttled too, it is the
    // table, and more partitions would not help.
    if is_table_throttled {
        crowded.throttled.clear();
    }
    match replan {
        true => Verdict::Replan(gone),
        false => Verdict::Again(failure.unwrap_or(Failure::InTheWay), crowded),
    }
}

/// DynamoDB has one code for everything that is wrong with a value. Only the message says what it
/// is.
fn refusal(message: &str) -> StoreError {
    let lower = message.to_lowercase();
    if lower.contains("overflow") || lower.contains("significant digits") {
        StoreError::Overflow(Overflow)
    } else if lower.contains("size") {
        StoreError::TooLarge(message.into())
    } else {
        StoreError::Internal(message.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::DimensionKey;

    fn judged(reasons: &[(Target, &str, &str)]) -> Verdict {
        let targets: Vec<_> = reasons.iter().map(|(target, ..)| target.clone()).collect();
        let reasons = reasons.iter().map(|(_, code, message)| {
            CancellationReason::builder().code(*code).message(*message).build()
        });
        judge_reasons(&targets, &reasons.collect::<Vec<_>>())
    }

    fn sum(name: &str) -> SpreadSum {
        SpreadSum::Keys(DimensionName::new(name).unwrap())
    }

    fn cell(name: &str) -> Target {
        Target::Cell(sum(name), Cell::FIRST)
    }

    fn second() -> Cell {
        Cell::new(1).unwrap()
    }

    #[test]
    fn a_failed_condition_calls_for_a_new_plan_whatever_else_is_in_the_way() {
        let verdict = judged(&[
            (Target::Detail, "ConditionalCheckFailed", ""),
            (Target::Dimension, "TransactionConflict", ""),
            (Target::Departure, "ThrottlingError", ""),
            (cell("a"), "TransactionConflict", ""),
        ]);
        assert!(matches!(verdict, Verdict::Replan(_)), "{verdict:?}");
    }

    #[test]
    fn a_conflict_calls_for_a_new_plan_if_the_plan_depends_on_the_item() {
        for target in [Target::Detail, Target::Marker, Target::Members, Target::NewKey] {
            let verdict = judged(&[(target, "TransactionConflict", "")]);
            assert!(matches!(verdict, Verdict::Replan(_)), "{verdict:?}");
        }
        for target in [Target::Departure, Target::Dimension] {
            let verdict =
                judged(&[(Target::Detail, "None", ""), (target, "TransactionConflict", "")]);
            assert!(matches!(verdict, Verdict::Again(Failure::InTheWay, _)), "{verdict:?}");
        }
    }

    #[test]
    fn a_conflict_or_throttle_on_a_cell_calls_for_another_cell() {
        let verdict = judged(&[
            (cell("a"), "TransactionConflict", ""),
            (cell("b"), "None", ""),
            (cell("c"), "ThrottlingError", ""),
            (Target::Cell(sum("d"), second()), "ConditionalCheckFailed", ""),
        ]);
        let Verdict::Again(Failure::Throttled, crowded) = verdict else {
            panic!("{verdict:?}");
        };
        assert_eq!(crowded.contended, [sum("a")].into());
        assert_eq!(crowded.throttled, [sum("c")].into());
        assert_eq!(crowded.folded, [sum("d")].into());
    }

    #[test]
    fn a_first_cell_that_is_absent_calls_for_a_new_plan_that_has_its_name_as_a_new_one() {
        let dimension = DimensionName::new("d").unwrap();
        let of = RollupKey { dimension, key: DimensionKey::new("k").unwrap() };
        let rollup = SpreadSum::Rollup(of.clone());
        let first = Target::Cell(rollup.clone(), Cell::FIRST);
        let verdict = judged(&[(first, "ConditionalCheckFailed", ""), (cell("a"), "None", "")]);
        assert!(matches!(&verdict, Verdict::Replan(gone) if gone.keys == [of].into()));
        let verdict = judged(&[(cell("d"), "ConditionalCheckFailed", "")]);
        assert!(matches!(&verdict, Verdict::Replan(gone) if gone.dimensions.len() == 1));
        let other = Target::Cell(rollup.clone(), second());
        let verdict = judged(&[(other, "ConditionalCheckFailed", "")]);
        assert!(matches!(&verdict, Verdict::Again(_, crowded) if crowded.folded.contains(&rollup)));
    }

    #[test]
    fn a_refusal_says_what_is_wrong_with_the_value() {
        let refused = |message| match judged(&[(Target::Detail, "ValidationError", message)]) {
            Verdict::Refused(error) => error,
            other => panic!("{other:?}"),
        };
        let size = refused("Item size to update has exceeded the maximum allowed size");
        assert!(matches!(size, StoreError::TooLarge(_)), "{size:?}");
        let digits = refused("Attempting to store more than 38 significant digits in a Number");
        assert!(matches!(digits, StoreError::Overflow(_)), "{digits:?}");
        let other = refused("The provided expression refers to an attribute that is strange");
        assert!(matches!(other, StoreError::Internal(_)), "{other:?}");
    }

    #[test]
    fn a_throttle_of_the_whole_table_calls_for_a_wait_and_not_for_other_cells() {
        let verdict =
            judged(&[(Target::Detail, "ThrottlingError", ""), (cell("a"), "ThrottlingError", "")]);
        let Verdict::Again(Failure::Throttled, crowded) = verdict else {
            panic!("{verdict:?}");
        };
        assert!(crowded.is_empty(), "{crowded:?}");
    }

    #[test]
    fn throttled_actions_are_tried_again() {
        let verdict = judged(&[(Target::Detail, "ThrottlingError", "")]);
        assert!(matches!(verdict, Verdict::Again(Failure::Throttled, _)), "{verdict:?}");
    }
}
