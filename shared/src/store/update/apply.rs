//! The second round trip of an update: one transaction.

use aws_sdk_dynamodb::operation::transact_write_items::builders::TransactWriteItemsFluentBuilder;

use super::{attempts::Outstanding, hot_sums::Lease};
use crate::{
    store::{
        Store, StoreError,
        backoff::Backoff,
        failure::{Failure, Verdict, judge, was_cancelled},
        lock,
        send::Next,
        store_error::Cause,
    },
    table::{Part, Target, UpdateToken, Writing},
    usage,
};

/// What became of a transaction.
#[derive(Debug)]
pub(super) enum Applied {
    /// It wrote all of its part.
    Written,
    /// It wrote nothing: what the plan was made from has changed, or is being changed.
    Stale(Cause),
}

impl Store {
    /// Writes one part of an update, or finds out that its plan is stale.
    ///
    /// Attempts share a token until one of them is cancelled. DynamoDB recognizes it for 10
    /// minutes: if the answer to an attempt was lost, the next one is not counted again, but learns
    /// how that one went. A token stands for its outcome and its content, so a cancellation calls
    /// for a new one.
    pub(super) async fn apply(
        &self,
        writing: &Writing<'_>,
        part: &Part,
        backoff: &mut Backoff<'_>,
        outstanding: &Outstanding,
    ) -> Result<Applied, StoreError> {
        let mut lease = self.hot_sums.lease(writing.spread(part), writing.now);
        let mut token = self.new_request_token();
        let (mut targets, request) = self.transaction(writing, part, &lease, &token)?;
        let next = |error| {
            let (failure, crowded) = match judge(&targets, &error) {
                Verdict::Refused(refusal) => return Err(refusal),
                Verdict::Replan => {
                    usage::note(|usage| usage.conflicts += 1);
                    return Ok(Next::Stop(Applied::Stale(error.into())));
                }
                Verdict::Again(failure, crowded) => (failure, crowded),
            };
            if failure == Failure::Lost {
                outstanding.note();
            }
            if was_cancelled(&error) {
                token = self.new_request_token();
            }
            let widened = lease.move_away(&crowded.contended);
            lease.cool(&crowded.folded);
            usage::note(|usage| {
                usage.conflicts += u64::from(failure == Failure::InTheWay);
                usage.cells_opened += u64::from(!crowded.contended.is_empty());
            });
            let request;
            (targets, request) = self.transaction(writing, part, &lease, &token)?;
            // If a sum has more cells now, the other writer is already elsewhere.
            Ok(match widened && failure == Failure::InTheWay {
                true => Next::AtOnce(request),
                false => Next::Later(request, failure, error.into()),
            })
        };
        match backoff.send(request, next).await? {
            Ok(_) => {
                lease.succeeded();
                Ok(Applied::Written)
            }
            Err(stale) => Ok(stale),
        }
    }

    /// The request that writes a part to the cells of a lease, and what each of its actions writes
    /// to.
    fn transaction(
        &self,
        writing: &Writing<'_>,
        part: &Part,
        lease: &Lease<'_>,
        token: &str,
    ) -> Result<(Vec<Target>, TransactWriteItemsFluentBuilder), StoreError> {
        let transaction = writing.transaction(part, |sum| lease.cell(sum))?;
        let actions = transaction.into_iter().map(|action| (action.target, action.write));
        let (targets, writes): (Vec<_>, Vec<_>) = actions.unzip();
        let request = self.client.transact_write_items().client_request_token(token);
        Ok((targets, request.set_transact_items(Some(writes))))
    }

    pub(super) fn new_update_token(&self) -> UpdateToken {
        UpdateToken(lock(&self.random).u64(..))
    }

    fn new_request_token(&self) -> String {
        let mut random = lock(&self.random);
        format!("{:016x}{:016x}", random.u64(..), random.u64(..))
    }
}
