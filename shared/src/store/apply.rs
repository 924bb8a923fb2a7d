//! The second round trip of an update: one transaction.

use aws_sdk_dynamodb::{
    config::http::HttpResponse, error::SdkError,
    operation::transact_write_items::TransactWriteItemsError, types::CancellationReason,
};

use super::{
    Store, StoreError,
    error::Cause,
    lock,
    retry::{Backoff, Failure, before},
};
use crate::{
    domain::Overflow,
    table::{Target, Transaction, UpdateToken},
};

/// What became of a transaction.
#[derive(Debug)]
pub(super) enum Applied {
    /// All of it was written.
    Written,
    /// Nothing was written: what the plan was made from has changed, or is being changed.
    Stale(Cause),
}

/// What a cancelled transaction or refused request calls for.
#[derive(Debug)]
enum Verdict {
    Refused(StoreError),
    Replan,
    Retry(Failure),
}

impl Store {
    /// Carries out a transaction, or finds out that its plan is stale.
    ///
    /// Each attempt of one transaction has the same token, by which DynamoDB knows it for 10 minutes:
    /// an attempt whose answer was lost is so never counted twice, and the next one tells how it went.
    pub(super) async fn apply(
        &self,
        transaction: &Transaction,
        backoff: &mut Backoff<'_>,
    ) -> Result<Applied, StoreError> {
        let mut token = self.new_request_token();
        let mut lost = None;
        loop {
            let writes = transaction.iter().map(|action| action.write.clone());
            let request = self
                .client
                .transact_write_items()
                .client_request_token(&token)
                .set_transact_items(Some(writes.collect()));
            let error = match before(backoff.deadline(), request.send()).await {
                Ok(Ok(_)) => return Ok(Applied::Written),
                Ok(Err(error)) => error,
                Err(passed) => return Err(StoreError::Indeterminate(passed.into())),
            };
            let failure = match judge(transaction, &error) {
                Verdict::Refused(refusal) => return Err(refusal),
                Verdict::Replan => return Ok(Applied::Stale(error.into())),
                Verdict::Retry(failure) => failure,
            };
            if failure == Failure::Lost {
                lost = Some(error.to_string());
            } else if matches!(error.as_service_error(), Some(e) if e.is_transaction_canceled_exception())
            {
                // Not carried out for certain. A token stands for its outcome, so a new one.
                token = self.new_request_token();
                lost = None;
            }
            let waited = backoff.wait(failure, error.into()).await;
            waited.map_err(|error| match &lost {
                Some(cause) => StoreError::Indeterminate(cause.clone().into()),
                None => error,
            })?;
        }
    }

    pub(super) fn new_update_token(&self) -> UpdateToken {
        UpdateToken(lock(&self.random).u64(..))
    }

    fn new_request_token(&self) -> String {
        let mut random = lock(&self.random);
        format!("{:016x}{:016x}", random.u64(..), random.u64(..))
    }
}

fn judge(
    transaction: &Transaction,
    error: &SdkError<TransactWriteItemsError, HttpResponse>,
) -> Verdict {
    let service_error = error.as_service_error();
    if let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = service_error {
        return judge_reasons(transaction, cancelled.cancellation_reasons());
    }
    match service_error.map(|error| (error.meta().code(), error.meta().message())) {
        Some((Some("ValidationException"), message)) => {
            Verdict::Refused(refusal(message.unwrap_or_default()))
        }
        _ => Verdict::Retry(Failure::of(error)),
    }
}

/// The gravest of the reasons decides.
fn judge_reasons(transaction: &Transaction, reasons: &[CancellationReason]) -> Verdict {
    let mut verdict = Verdict::Retry(Failure::Throttled);
    for (action, reason) in transaction.iter().zip(reasons) {
        match reason.code().unwrap_or("None") {
            // A throttled action alone leaves the verdict that it began with.
            "None" | "ThrottlingError" | "ProvisionedThroughputExceeded" => {}
            "ValidationError" => {
                return Verdict::Refused(refusal(reason.message().unwrap_or_default()));
            }
            "ConditionalCheckFailed" => verdict = Verdict::Replan,
            "TransactionConflict" => {
                // Whoever is in the way on a detail, a marker or a set is about to make this plan
                // stale; on sums the order does not matter.
                let conditional =
                    matches!(action.target, Target::Detail | Target::Marker | Target::Members);
                if conditional {
                    verdict = Verdict::Replan;
                } else if !matches!(verdict, Verdict::Replan) {
                    verdict = Verdict::Retry(Failure::InTheWay);
                }
            }
            other => {
                let cause = format!("transaction cancelled: {other}: {:?}", reason.message());
                return Verdict::Refused(StoreError::Internal(cause.into()));
            }
        }
    }
    verdict
}

/// DynamoDB has one code for all that it finds wrong with a value; only the message tells what.
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
    use aws_sdk_dynamodb::types::TransactWriteItem;

    use super::*;
    use crate::table::Action;

    fn judged(reasons: &[(Target, &str, &str)]) -> Verdict {
        let transaction = reasons.iter().map(|(target, ..)| Action {
            target: target.clone(),
            write: TransactWriteItem::builder().build(),
        });
        let reasons = reasons.iter().map(|(_, code, message)| {
            CancellationReason::builder().code(*code).message(*message).build()
        });
        judge_reasons(&transaction.collect(), &reasons.collect::<Vec<_>>())
    }

    #[test]
    fn a_failed_condition_calls_for_a_new_plan_whatever_else_is_in_the_way() {
        let verdict = judged(&[
            (Target::Detail, "ConditionalCheckFailed", ""),
            (Target::Dimension, "TransactionConflict", ""),
            (Target::Departure, "ThrottlingError", ""),
        ]);
        assert!(matches!(verdict, Verdict::Replan), "{verdict:?}");
    }

    #[test]
    fn a_conflict_calls_for_a_new_plan_only_where_the_plan_depends_on_the_item() {
        for target in [Target::Detail, Target::Marker, Target::Members] {
            let verdict = judged(&[(target, "TransactionConflict", "")]);
            assert!(matches!(verdict, Verdict::Replan), "{verdict:?}");
        }
        let verdict =
            judged(&[(Target::Detail, "None", ""), (Target::Departure, "TransactionConflict", "")]);
        assert!(matches!(verdict, Verdict::Retry(Failure::InTheWay)), "{verdict:?}");
    }

    #[test]
    fn what_does_not_fit_is_refused_by_what_is_wrong_with_it() {
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
    fn throttled_actions_are_tried_again() {
        let verdict = judged(&[(Target::Detail, "ThrottlingError", "")]);
        assert!(matches!(verdict, Verdict::Retry(Failure::Throttled)), "{verdict:?}");
    }
}
