//! How an update is counted: load, plan, apply, and again from the start if another writer was
//! faster.

mod admission;
mod apply;
mod attempts;
mod hot_sums;
mod load;
mod room;
mod settle;
mod submission;

pub(super) use self::{admission::KnownNames, hot_sums::HotSums, load::Consistency};

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use futures_util::{StreamExt, TryStreamExt, stream};

use self::{
    apply::Applied,
    attempts::{Attempts, Outstanding},
    submission::Submission,
};
use crate::{
    domain::{Fingerprint, Id, IdempotencyKey, UnixSeconds, Update},
    store::{Deadline, Store, StoreError, backoff::Backoff, failure::Failure, store_error::Cause},
    table::{Part, Writing},
    usage,
};

/// The most keys whose members are written at the same time.
const CONCURRENT_KEYS: usize = 8;

/// What became of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was counted.
    Counted,
    /// It changed nothing, so nothing was written.
    Unchanged,
    /// It was counted before, by its idempotency key.
    Repeated,
}

impl Store {
    /// Counts an update of `id`: all of it, or nothing if there is an error.
    ///
    /// Members that don't fit into one transaction are the exception: they are counted first, in
    /// transactions of their own, and stay if a later one fails. Repeating them is harmless.
    ///
    /// # Errors
    /// See [`StoreError`]. After [`StoreError::Indeterminate`] the update may have been counted.
    /// After any other error it was not, and never will be.
    pub async fn update(
        &self,
        id: &Id,
        update: &Update,
        idempotency: Option<(&IdempotencyKey, Fingerprint)>,
        now: UnixSeconds,
        deadline: Deadline,
    ) -> Result<Outcome, StoreError> {
        let submission = Submission { id, update, idempotency, now };
        let dimensions = u64::try_from(update.dims.len()).unwrap_or(u64::MAX);
        usage::note(|usage| usage.dimensions_updated += dimensions);
        let mut attempts = Attempts::new(self.new_update_token());
        let writes_end = deadline.earlier_by(self.settings.pace.settling);
        match self.attempt(&submission, &mut attempts, writes_end).await {
            Err(error) if attempts.may_yet_be_counted() => {
                self.settle(&submission, &mut attempts, error, deadline).await
            }
            result => result,
        }
    }

    async fn attempt(
        &self,
        submission: &Submission<'_>,
        attempts: &mut Attempts,
        deadline: Deadline,
    ) -> Result<Outcome, StoreError> {
        let mut backoff = self.backoff(deadline);
        let mut consistency = Consistency::Eventual;
        loop {
            let mut loaded = self.load(submission, consistency, deadline).await?;
            if consistency == Consistency::Eventual {
                loaded.note_members();
            }
            // A request whose answer was lost may be carried out after the next one was cancelled.
            if attempts.were_counted(&loaded.stored.revision)? {
                return Ok(Outcome::Counted);
            }
            if loaded.repeats(submission)? {
                return Ok(Outcome::Repeated);
            }
            let plan = loaded.plan(submission, self.settings.period_length)?;
            let revision = &loaded.stored.revision;
            let marker = submission.marker();
            if plan.is_empty() && marker.is_none() {
                usage::note(|usage| usage.updates_unchanged += 1);
                return Ok(Outcome::Unchanged);
            }
            let new_names = self.new_names(&plan, consistency, submission.now, deadline).await?;
            let writing = Writing {
                table: &self.settings.table,
                id: submission.id,
                revision,
                token: attempts.token(),
                plan: &plan,
                new_names: &new_names,
                marker,
                period_length: self.settings.period_length,
                now: submission.now,
            };
            let progress = self.apply_all(&writing, attempts.outstanding(), &mut backoff).await;
            attempts.were_sent_for(revision, plan.detail.is_some());
            match progress? {
                PlanProgress::Done => {
                    self.known_names.remember(&plan);
                    return Ok(Outcome::Counted);
                }
                PlanProgress::MoreLeft => {}
                PlanProgress::Stale(cause) => backoff.wait(Failure::InTheWay, cause).await?,
            }
            consistency = Consistency::Strong;
        }
    }

    async fn apply_all(
        &self,
        writing: &Writing<'_>,
        outstanding: &Outstanding,
        backoff: &mut Backoff<'_>,
    ) -> Result<PlanProgress, StoreError> {
        let parts = writing.parts();
        let deadline = backoff.deadline();
        if let Some(names) = &parts.names
            && let Applied::Stale(cause) =
                self.apply(writing, names, backoff, &Outstanding::default()).await?
        {
            return Ok(PlanProgress::Stale(cause));
        }
        let written = AtomicUsize::new(0);
        let lanes =
            parts.first.iter().map(|lane| self.apply_in_turn(writing, lane, &written, deadline));
        let lanes: Vec<_> = lanes.collect();
        let stale: Vec<Option<Cause>> =
            stream::iter(lanes).buffer_unordered(CONCURRENT_KEYS).try_collect().await.map_err(
                |error| match error {
                    // DynamoDB has answered, so only time was lacking.
                    StoreError::Unavailable(cause) | StoreError::Throttled(cause)
                        if written.load(Relaxed) > 0 =>
                    {
                        StoreError::Unfinished(cause)
                    }
                    error => error,
                },
            )?;
        if let Some(cause) = stale.into_iter().flatten().next() {
            return Ok(PlanProgress::Stale(cause));
        }
        let Some(last) = parts.last else {
            return Ok(PlanProgress::MoreLeft);
        };
        if writing.is_empty(&last) {
            return Ok(PlanProgress::Done);
        }
        Ok(match self.apply(writing, &last, backoff, outstanding).await? {
            Applied::Written => PlanProgress::Done,
            Applied::Stale(cause) => PlanProgress::Stale(cause),
        })
    }

    /// Writes parts one after the other, and counts those that are written. Returns the cause if
    /// one of them is stale. Repeating them is harmless, so it does not matter whether one of them
    /// is outstanding.
    async fn apply_in_turn(
        &self,
        writing: &Writing<'_>,
        parts: &[Part],
        written: &AtomicUsize,
        deadline: Deadline,
    ) -> Result<Option<Cause>, StoreError> {
        let mut backoff = self.backoff(deadline);
        for part in parts {
            let applied = self.apply(writing, part, &mut backoff, &Outstanding::default()).await?;
            match applied {
                Applied::Written => drop(written.fetch_add(1, Relaxed)),
                Applied::Stale(cause) => return Ok(Some(cause)),
            }
        }
        Ok(None)
    }
}

/// How far a plan has come.
enum PlanProgress {
    /// All of it was written.
    Done,
    /// All of it was written, but more members are left than one plan can hold.
    MoreLeft,
    /// Another writer was faster.
    Stale(Cause),
}
