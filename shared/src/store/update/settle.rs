//! Settling: finding out what became of updates whose answer was lost.

use aws_sdk_dynamodb::{
    config::http::HttpResponse, error::SdkError, operation::put_item::PutItemError,
};

use futures_util::future::try_join_all;

use super::{
    attempts::Attempts,
    draft::Draft,
    load::{Consistency, Loaded},
    submission::Submission,
};
use crate::{
    domain::{Id, UnixSeconds},
    store::{Deadline, Outcome, Store, StoreError, send::Next},
    table::put_detail,
};

/// What became of a write that fences updates off.
enum Fenced {
    /// It was written.
    Done,
    /// Another write was faster.
    Overtaken,
}

impl Store {
    /// Finds out whether updates were counted while a request of theirs may still be on its way. If
    /// they were not, makes sure that they never will be.
    ///
    /// The details have the updates' token if they were counted. If they don't, and still are in the
    /// revision that the request was made for, one of them is written again as it is. It gets
    /// another revision that way, and the request fails if it arrives later.
    ///
    /// # Errors
    /// The updates were not counted (`error` itself), or their fate could not be found out before
    /// the deadline ([`StoreError::Indeterminate`]).
    pub(super) async fn settle(
        &self,
        submissions: &[Submission<'_>],
        attempts: &mut Attempts,
        error: StoreError,
        now: UnixSeconds,
        deadline: Deadline,
    ) -> Result<Vec<Result<Outcome, StoreError>>, StoreError> {
        loop {
            let loaded = self.load(submissions, Consistency::Strong, deadline).await;
            let Ok(mut loaded) = loaded else {
                return Err(StoreError::Indeterminate(error.into()));
            };
            if let Some(results) = attempts.counted(&loaded.revisions)? {
                return Ok(results);
            }
            if !attempts.may_yet_be_counted() {
                return Err(error);
            }
            let draft = Draft::new(&mut loaded, submissions, &self.settings, now)?;
            if draft.is_empty() {
                return Ok(draft.results);
            }
            let Some(ids) = attempts.to_fence_off() else {
                // If it still arrives, it is not counted twice.
                return Err(StoreError::Indeterminate(error.into()));
            };
            let requests = ids.into_iter().map(|id| self.fence(id, &loaded, now, deadline));
            let Ok(fenced) = try_join_all(requests).await else {
                return Err(StoreError::Indeterminate(error.into()));
            };
            if fenced.iter().all(|fenced| matches!(fenced, Fenced::Done)) {
                return Err(error);
            }
        }
    }

    /// Gives a detail another revision, if it still is in the one that was loaded.
    async fn fence(
        &self,
        id: &Id,
        loaded: &Loaded,
        now: UnixSeconds,
        deadline: Deadline,
    ) -> Result<Fenced, StoreError> {
        let detail = loaded.details.get(id).cloned().unwrap_or_default();
        let revision = loaded.revisions.get(id).cloned().unwrap_or_default();
        let token = self.new_update_token();
        let put = put_detail(&self.settings.table, id, &detail, &revision, token, now)?;
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
