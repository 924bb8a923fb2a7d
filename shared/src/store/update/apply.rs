//! The second round trip of an update: one transaction.

use aws_sdk_dynamodb::operation::transact_write_items::builders::TransactWriteItemsFluentBuilder;

use super::{attempts::Outstanding, hot_sums::Lease};
use crate::{
    store::{
        Store, StoreError,
        backoff::Backoff,
        failure::{Crowded, Failure, Verdict, judge, was_cancelled},
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

/// Why a transaction is not sent again as it is.
enum Obstacle {
    /// What the plan was made from has changed, or is being changed.
    Stale(Cause),
    /// It was cancelled, or some of its cells take no writes at the moment.
    Crowded(Failure, Crowded, Cause),
}

/// Moves to other cells. Whether all that was in the way is avoided: if so, the next attempt need not
/// wait.
pub fn avoid(lease: &mut Lease<'_>, failure: Failure, crowded: &Crowded) -> bool {
    let no_conflicts = lease.avoid_conflicts(&crowded.contended);
    let no_throttles = lease.avoid_throttles(&crowded.throttled);
    lease.avoid_folded(&crowded.folded);
    let is_crowded = !crowded.contended.is_empty() || !crowded.throttled.is_empty();
    usage::note(|usage| {
        usage.conflicts += u64::from(failure == Failure::InTheWay);
        usage.cells_opened += u64::from(is_crowded);
    });
    !crowded.is_empty() && no_conflicts && no_throttles
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
        loop {
            self.make_room(&mut lease, writing.now, backoff.deadline()).await?;
            let (targets, request) = self.transaction(writing, part, &lease)?;
            let again = request.clone();
            let next = |error| {
                let (failure, crowded) = match judge(&targets, &error) {
                    Verdict::Refused(refusal) => return Err(refusal),
                    Verdict::Replan(gone) => {
                        self.known_names.note_gone(gone);
                        return Ok(Next::Stop(Obstacle::Stale(error.into())));
                    }
                    Verdict::Again(failure, crowded) => (failure, crowded),
                };
                if failure == Failure::Lost {
                    outstanding.note();
                }
                Ok(match was_cancelled(&error) || !crowded.is_empty() {
                    true => Next::Stop(Obstacle::Crowded(failure, crowded, error.into())),
                    false => Next::Later(again.clone(), failure, error.into()),
                })
            };
            match backoff.send(request, next).await? {
                Ok(_) => {
                    lease.succeeded();
                    return Ok(Applied::Written);
                }
                Err(Obstacle::Stale(cause)) => {
                    usage::note(|usage| usage.conflicts += 1);
                    return Ok(Applied::Stale(cause));
                }
                Err(Obstacle::Crowded(failure, crowded, cause)) => {
                    // Where there is more room now, the next attempt meets nobody that this one has
                    // met.
                    match avoid(&mut lease, failure, &crowded) {
                        true => usage::note(|usage| usage.retries += 1),
                        false => backoff.wait(failure, cause).await?,
                    }
                }
            }
        }
    }

    /// The request that writes a part to the cells of a lease, and what each of its actions writes
    /// to.
    fn transaction(
        &self,
        writing: &Writing<'_>,
        part: &Part,
        lease: &Lease<'_>,
    ) -> Result<(Vec<Target>, TransactWriteItemsFluentBuilder), StoreError> {
        let transaction = writing.transaction(part, |sum| lease.cell(sum))?;
        let actions = transaction.into_iter().map(|action| (action.target, action.write));
        let (targets, writes): (Vec<_>, Vec<_>) = actions.unzip();
        let token = self.new_request_token();
        let request = self.client.transact_write_items().client_request_token(token);
        Ok((targets, request.set_transact_items(Some(writes))))
    }

    pub(in crate::store) fn new_update_token(&self) -> UpdateToken {
        UpdateToken(lock(&self.random).u64(..))
    }

    fn new_request_token(&self) -> String {
        let mut random = lock(&self.random);
        format!("{:016x}{:016x}", random.u64(..), random.u64(..))
    }
}
