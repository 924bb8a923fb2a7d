//! How updates are counted: load, draft, apply, and again from the start if another writer was
//! faster. `batch` decides which updates are counted together.

mod admission;
mod adopting;
mod apply;
mod attempts;
mod batch;
mod draft;
mod hot_sums;
mod importing;
mod load;
mod room;
mod settle;
mod submission;

pub(super) use self::load::Consistency;
pub use self::{
    admission::KnownNames,
    adopting::AdoptedIds,
    apply::avoid,
    batch::{Group, groups},
    hot_sums::{HotSums, Lease},
    importing::Imported,
    submission::Submission,
};

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use futures_util::{StreamExt, TryStreamExt, stream};

use self::{
    apply::Applied,
    attempts::{Attempts, Outstanding},
    draft::Draft,
};
use crate::{
    domain::{Fingerprint, Id, IdempotencyKey, UnixSeconds, Update},
    store::{Deadline, Store, StoreError, backoff::Backoff, failure::Failure, store_error::Cause},
    table::{Part, Parts, Writing},
};

/// The most keys whose members are written at the same time.
const CONCURRENT_KEYS: usize = 8;
/// After so many attempts at which other writers were faster, fewer updates are tried at once.
const ATTEMPTS_TOGETHER: u32 = 3;

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

/// What became of updates that were tried together.
enum Tried {
    /// Each has a result.
    Settled(Vec<Result<Outcome, StoreError>>),
    /// There are too many of them for one transaction, or for the other writers that they meet.
    /// Nothing was written.
    TooMany,
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
        let submission = Submission { id, update, idempotency };
        let mut results = self.update_all(&[submission], now, deadline).await;
        results.pop().unwrap_or(Ok(Outcome::Unchanged))
    }

    /// Counts updates together: all that have something to write, or none of them if there is an
    /// error. Those of one id are counted in their order.
    async fn count(
        &self,
        submissions: &[Submission<'_>],
        now: UnixSeconds,
        deadline: Deadline,
    ) -> Result<Tried, StoreError> {
        let mut attempts = Attempts::new(self.new_update_token());
        let writes_end = deadline.earlier_by(self.settings.pace.settling);
        let tried = self.attempt(submissions, &mut attempts, now, writes_end).await;
        let error = match tried {
            Err(error) => error,
            Ok(Tried::TooMany) if attempts.may_yet_be_counted() => {
                StoreError::Unavailable("the updates have become too many for one request".into())
            }
            Ok(tried) => return Ok(tried),
        };
        if !attempts.may_yet_be_counted() {
            return Err(error);
        }
        self.settle(submissions, &mut attempts, error, now, deadline).await.map(Tried::Settled)
    }

    async fn attempt(
        &self,
        submissions: &[Submission<'_>],
        attempts: &mut Attempts,
        now: UnixSeconds,
        deadline: Deadline,
    ) -> Result<Tried, StoreError> {
        let mut backoff = self.backoff(deadline);
        let mut consistency = Consistency::Eventual;
        let mut overtaken = 0;
        loop {
            let mut loaded = self.load(submissions, consistency, deadline).await?;
            if consistency == Consistency::Eventual {
                loaded.note_members();
            }
            // A request whose answer was lost may be carried out after the next one was cancelled.
            if let Some(results) = attempts.counted(&loaded.revisions)? {
                return Ok(Tried::Settled(results));
            }
            let draft = Draft::new(&mut loaded, submissions, &self.settings, now)?;
            if draft.is_empty() {
                return Ok(Tried::Settled(draft.results));
            }
            let new_names = self.new_names(&draft.plan, consistency, now, deadline).await?;
            let writing = Writing {
                table: &self.settings.table,
                revisions: &loaded.revisions,
                token: attempts.token(),
                plan: &draft.plan,
                departures_found: None,
                new_names: &new_names,
                markers: &draft.markers,
                period_length: self.settings.period_length,
                now,
            };
            let parts = writing.parts();
            let are_several = submissions.len() > 1;
            if are_several && !parts.is_one {
                return Ok(Tried::TooMany);
            }
            let outstanding = Outstanding::default();
            let progress = self.apply_all(&writing, parts, &outstanding, &mut backoff).await;
            attempts.were_sent(&outstanding, writing.replaced(), &draft.results);
            match progress? {
                PlanProgress::Done => {
                    self.known_names.remember(&draft.plan);
                    return Ok(Tried::Settled(draft.results));
                }
                PlanProgress::MoreLeft => {}
                PlanProgress::Stale(cause) => {
                    overtaken += 1;
                    if are_several && overtaken >= ATTEMPTS_TOGETHER {
                        return Ok(Tried::TooMany);
                    }
                    backoff.wait(Failure::InTheWay, cause).await?;
                }
            }
            consistency = Consistency::Strong;
        }
    }

    /// Writes a plan that is not an update's. False if what it was made from has changed; then it has
    /// waited.
    async fn write_plan(
        &self,
        writing: &Writing<'_>,
        backoff: &mut Backoff<'_>,
    ) -> Result<bool, StoreError> {
        let outstanding = Outstanding::default();
        let applied = self.apply_all(writing, writing.parts(), &outstanding, backoff);
        // Boxed, since the types of the SDK's futures nest too deeply for the compiler.
        match Box::pin(applied).await? {
            PlanProgress::Done | PlanProgress::MoreLeft => {
                self.known_names.remember(writing.plan);
                Ok(true)
            }
            PlanProgress::Stale(cause) => {
                backoff.wait(Failure::InTheWay, cause).await?;
                Ok(false)
            }
        }
    }

    async fn apply_all(
        &self,
        writing: &Writing<'_>,
        parts: Parts,
        outstanding: &Outstanding,
        backoff: &mut Backoff<'_>,
    ) -> Result<PlanProgress, StoreError> {
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
