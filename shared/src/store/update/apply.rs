//! The second round trip of an update: one transaction.

use aws_sdk_dynamodb::{
    operation::transact_write_items::TransactWriteItemsError, types::ReturnConsumedCapacity,
};

use super::attempts::Outstanding;
use crate::{
    store::{
        Store, StoreError,
        backoff::{Backoff, before},
        error::Cause,
        failure::{Failure, Verdict, judge},
        lock,
    },
    table::{Part, UpdateToken, Writing},
    usage,
};

/// What became of a transaction.
#[derive(Debug)]
pub(super) enum Applied {
    /// All of it was written.
    Written,
    /// Nothing was written: what the plan was made from has changed, or is being changed.
    Stale(Cause),
}

impl Store {
    /// Carries out one part of an update, or finds out that its plan is stale.
    ///
    /// Each attempt has the same token as long as none was cancelled, by which DynamoDB knows it for 10
    /// minutes: an attempt whose answer was lost is so never counted twice, and the next one tells how it
    /// went. A token stands for its outcome and its content, so after a cancellation there is a new one.
    pub(super) async fn apply(
        &self,
        writing: &Writing<'_>,
        part: &Part,
        backoff: &mut Backoff<'_>,
        outstanding: &Outstanding,
    ) -> Result<Applied, StoreError> {
        let mut lease = self.cells.lease(writing.spread(part), writing.now);
        let mut token = self.new_request_token();
        loop {
            let transaction = writing.transaction(part, |sum| lease.cell(sum))?;
            let actions = transaction.into_iter().map(|action| (action.target, action.write));
            let (targets, writes): (Vec<_>, Vec<_>) = actions.unzip();
            let request = self
                .client
                .transact_write_items()
                .client_request_token(&token)
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .set_transact_items(Some(writes));
            let error = match before(backoff.deadline(), request.send()).await {
                Ok(Ok(answer)) => {
                    usage::note_written(answer.consumed_capacity());
                    lease.succeeded();
                    return Ok(Applied::Written);
                }
                Ok(Err(error)) => error,
                Err(passed) => {
                    outstanding.note();
                    return Err(StoreError::Unavailable(passed.into()));
                }
            };
            let (failure, crowded) = match judge(&targets, &error) {
                Verdict::Refused(refusal) => return Err(refusal),
                Verdict::Replan => {
                    usage::note(|usage| usage.conflicts += 1);
                    return Ok(Applied::Stale(error.into()));
                }
                Verdict::Again(failure, crowded) => (failure, crowded),
            };
            if failure == Failure::Lost {
                outstanding.note();
            }
            let service_error = error.as_service_error();
            if service_error.is_some_and(TransactWriteItemsError::is_transaction_canceled_exception)
            {
                token = self.new_request_token();
            }
            let widened = lease.move_away(&crowded.contended);
            lease.cool(&crowded.folded);
            usage::note(|usage| {
                usage.conflicts += u64::from(failure == Failure::InTheWay);
                usage.cells_opened += u64::from(!crowded.contended.is_empty());
            });
            // Where there is more room now, whoever was in the way is elsewhere already.
            if widened && failure == Failure::InTheWay {
                usage::note(|usage| usage.retries += 1);
            } else {
                backoff.wait(failure, error.into()).await?;
            }
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
