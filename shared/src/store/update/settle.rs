//! The end of an update whose answer was lost: finding out what became of it.

use aws_sdk_dynamodb::{operation::put_item::PutItemError, types::ReturnConsumedCapacity};

use super::{attempts::Attempts, load::Consistency, submission::Submission};
use crate::{
    domain::Detail,
    store::{
        Deadline, Outcome, Store, StoreError, backoff::before, error::Cause, failure::Failure,
    },
    table::{Revision, put_detail},
    usage,
};

/// What is known of a plain write.
enum Fenced {
    /// It was written.
    Done,
    /// Another write was faster.
    Overtaken,
}

impl Store {
    /// Finds out whether an update was counted of which a request may still be on its way, and says so;
    /// if not, makes sure that it never will be.
    ///
    /// The detail tells, by the update's token. If it does not have it, and is in the revision that the
    /// request was made for, it is written as it is, in a revision of its own: whatever is still on its
    /// way then fails.
    ///
    /// # Errors
    /// The update was not counted (`error` as it is), or that can't be known before the deadline.
    pub(super) async fn settle(
        &self,
        submission: &Submission<'_>,
        attempts: &mut Attempts,
        error: StoreError,
        deadline: Deadline,
    ) -> Result<Outcome, StoreError> {
        loop {
            let loaded = self.load(submission, Consistency::Strong, deadline).await;
            let Ok(mut loaded) = loaded else {
                return Err(StoreError::Indeterminate(error.into()));
            };
            if attempts.were_counted(&loaded.stored.revision)? || loaded.repeats(submission)? {
                return Ok(Outcome::Counted);
            }
            if !attempts.may_yet_be_counted() {
                return Err(error);
            }
            let plan = loaded.plan(submission, self.settings.period_length)?;
            if plan.is_empty() && submission.idempotency.is_none() {
                return Ok(Outcome::Counted);
            }
            if !attempts.can_be_fenced_off() {
                // Nothing counts it twice, though.
                return Err(StoreError::Indeterminate(error.into()));
            }
            let stored = &loaded.stored;
            match self.fence(submission, &stored.detail, &stored.revision, deadline).await {
                Ok(Fenced::Done) => return Err(error),
                Ok(Fenced::Overtaken) => {}
                Err(_) => return Err(StoreError::Indeterminate(error.into())),
            }
        }
    }

    async fn fence(
        &self,
        submission: &Submission<'_>,
        detail: &Detail,
        revision: &Revision,
        deadline: Deadline,
    ) -> Result<Fenced, StoreError> {
        let token = self.new_update_token();
        let put = put_detail(&self.settings.table, submission.id, detail, revision, token)?;
        let mut backoff = self.backoff(deadline);
        loop {
            let sent = self
                .client
                .put_item()
                .return_consumed_capacity(ReturnConsumedCapacity::Total)
                .table_name(put.table_name())
                .set_item(Some(put.item().clone()))
                .set_condition_expression(put.condition_expression().map(str::to_owned))
                .set_expression_attribute_names(put.expression_attribute_names().cloned())
                .set_expression_attribute_values(put.expression_attribute_values().cloned())
                .send();
            let error = match before(deadline, sent).await {
                Ok(Ok(answer)) => {
                    usage::note_written(&answer.consumed_capacity);
                    return Ok(Fenced::Done);
                }
                Ok(Err(error)) => error,
                Err(passed) => return Err(StoreError::Unavailable(passed.into())),
            };
            let service_error = error.as_service_error();
            // Also when an answer was lost before, and this write so meets itself.
            if service_error.is_some_and(PutItemError::is_conditional_check_failed_exception) {
                return Ok(Fenced::Overtaken);
            }
            let failure = Failure::of(&error);
            backoff.wait(failure, Cause::from(error)).await?;
        }
    }
}
