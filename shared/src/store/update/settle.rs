//! Settling: finding out what became of an update whose answer was lost.

use aws_sdk_dynamodb::{
    config::http::HttpResponse, error::SdkError, operation::put_item::PutItemError,
};

use super::{attempts::Attempts, load::Consistency, submission::Submission};
use crate::{
    domain::Detail,
    store::{Deadline, Outcome, Store, StoreError, send::Next},
    table::{Revision, put_detail},
};

/// What became of the write that fences an update off.
enum Fenced {
    /// It was written.
    Done,
    /// Another write was faster.
    Overtaken,
}

impl Store {
    /// Finds out whether an update was counted while a request of it may still be on its way. If it
    /// was not, makes sure that it never will be.
    ///
    /// The detail has the update's token if the update was counted. If it does not, and still is in
    /// the revision that the request was made for, it is written again as it is. It gets another
    /// revision that way, and the request fails if it arrives later.
    ///
    /// # Errors
    /// The update was not counted (`error` itself), or its fate could not be found out before the
    /// deadline ([`StoreError::Indeterminate`]).
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
                // If it still arrives, it is not counted twice.
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
        let (id, now) = (submission.id, submission.now);
        let put = put_detail(&self.settings.table, id, detail, revision, token, now)?;
        let request = || {
            self.client
                .put_item()
                .table_name(put.table_name())
                .set_item(Some(put.item().clone()))
                .set_condition_expression(put.condition_expression().map(str::to_owned))
                .set_expression_attribute_names(put.expression_attribute_names().cloned())
                .set_expression_attribute_values(put.expression_attribute_values().cloned())
        };
        let next = |error: SdkError<PutItemError, HttpResponse>| {
            let service_error = error.as_service_error();
            // If the answer to an earlier attempt was lost, the other write may be our own.
            let is_overtaken =
                service_error.is_some_and(PutItemError::is_conditional_check_failed_exception);
            Ok(match is_overtaken {
                true => Next::Stop(Fenced::Overtaken),
                false => Next::retry(request(), error),
            })
        };
        match self.backoff(deadline).send(request(), next).await? {
            Ok(_) => Ok(Fenced::Done),
            Err(overtaken) => Ok(overtaken),
        }
    }
}
