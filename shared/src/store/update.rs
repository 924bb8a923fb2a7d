//! The way of an update: load, plan, apply; again from the start when another writer was faster.

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{
    Deadline, Store, StoreError,
    apply::{Applied, Outstanding},
    error::Cause,
    failure::Failure,
    load::{Consistency, Loaded},
    retry::Backoff,
};
use crate::{
    domain::{Fingerprint, Id, IdempotencyKey, Overflow, PeriodLength, UnixSeconds, Update},
    rollup::{Plan, plan},
    table::{Marker, Part, Revision, UpdateToken, Writing},
};

/// How long an idempotency key is remembered.
const KEY_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// Most keys whose members are written at once.
const CONCURRENT_KEYS: usize = 8;

/// What became of an update.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// It was counted.
    Counted,
    /// It changed nothing, so nothing was written.
    Unchanged,
    /// It had been counted before, by its idempotency key.
    Repeated,
}

/// An update of an id.
#[derive(Debug, Clone, Copy)]
pub(super) struct Request<'a> {
    pub(super) id: &'a Id,
    pub(super) update: &'a Update,
    pub(super) idempotency: Option<(&'a IdempotencyKey, Fingerprint)>,
    pub(super) now: UnixSeconds,
}

impl Request<'_> {
    /// Whether its idempotency key says that it was counted before.
    ///
    /// # Errors
    /// The key came with another body.
    pub(super) fn is_repeated(&self, loaded: &Loaded) -> Result<bool, StoreError> {
        match (self.idempotency, &loaded.marker) {
            (Some((_, fingerprint)), Some(marker)) if marker.expires_at > self.now => {
                match marker.fingerprint == fingerprint {
                    true => Ok(true),
                    false => Err(StoreError::KeyReused),
                }
            }
            _ => Ok(false),
        }
    }

    /// What there is to write.
    pub(super) fn plan(
        &self,
        loaded: &Loaded,
        period_length: PeriodLength,
    ) -> Result<Plan, Overflow> {
        let before = &loaded.stored.detail;
        let period = period_length.of_update(self.now, before.gauge_period);
        plan(before, self.update, period, loaded.new_members.clone())
    }

    fn marker(&self) -> Option<(&IdempotencyKey, Marker)> {
        let (key, fingerprint) = self.idempotency?;
        Some((key, Marker { fingerprint, expires_at: self.now.after(KEY_LIFETIME) }))
    }
}

/// The attempts at one update.
#[derive(Debug)]
struct Attempts {
    /// What the detail remembers the update by.
    token: UpdateToken,
    outstanding: Outstanding,
    /// The revision that the outstanding request was made for.
    sent_for: Option<Revision>,
}

impl Attempts {
    /// Whether one of them was counted, by the detail's revision after a new read.
    ///
    /// # Errors
    /// So many other updates were counted meanwhile that the detail does not tell any more.
    fn were_counted(&mut self, revision: &Revision) -> Result<bool, StoreError> {
        if revision.was_made_by(self.token) {
            return Ok(true);
        }
        if let Some(sent_for) = self.sent_for.take_if(|sent_for| sent_for != revision) {
            if revision.has_forgotten(&sent_for) {
                let cause = "the detail does not remember the update any more";
                return Err(StoreError::Indeterminate(cause.into()));
            }
            // That revision is gone, so the request can't be carried out any more.
            self.outstanding = Outstanding::default();
        }
        Ok(false)
    }

    fn were_sent_for(&mut self, revision: &Revision) {
        if self.outstanding.is_possible() && self.sent_for.is_none() {
            self.sent_for = Some(revision.clone());
        }
    }
}

impl Store {
    /// Counts an update of `id`: all of it, or on an error nothing.
    ///
    /// Members beyond what fits into one transaction are the exception: they are counted first, in
    /// transactions of their own, and stay when a later one fails. To repeat them is harmless.
    ///
    /// # Errors
    /// See [`StoreError`]; after [`StoreError::Indeterminate`] the update may have been counted, after
    /// any other it was not and never will be.
    pub async fn update(
        &self,
        id: &Id,
        update: &Update,
        idempotency: Option<(&IdempotencyKey, Fingerprint)>,
        now: UnixSeconds,
        deadline: Deadline,
    ) -> Result<Outcome, StoreError> {
        let request = Request { id, update, idempotency, now };
        let mut attempts = Attempts {
            token: self.new_update_token(),
            outstanding: Outstanding::default(),
            sent_for: None,
        };
        let writes_end = deadline.earlier_by(self.settings.pace.settling);
        match self.attempt(&request, &mut attempts, writes_end).await {
            Err(error) if attempts.outstanding.is_possible() => {
                self.settle(&request, attempts.token, error, deadline).await
            }
            result => result,
        }
    }

    async fn attempt(
        &self,
        request: &Request<'_>,
        attempts: &mut Attempts,
        deadline: Deadline,
    ) -> Result<Outcome, StoreError> {
        let mut backoff = self.backoff(deadline);
        let mut consistency = Consistency::Eventual;
        loop {
            let loaded = self.load(request, consistency, deadline).await?;
            let revision = &loaded.stored.revision;
            // A request whose answer was lost may be carried out after the next one was cancelled.
            if attempts.were_counted(revision)? {
                return Ok(Outcome::Counted);
            }
            if request.is_repeated(&loaded)? {
                return Ok(Outcome::Repeated);
            }
            let plan = request.plan(&loaded, self.settings.period_length)?;
            let marker = request.marker();
            if plan.is_empty() && marker.is_none() {
                return Ok(Outcome::Unchanged);
            }
            let new_names = self.new_names(&plan, consistency, request.now, deadline).await?;
            let writing = Writing {
                table: &self.settings.table,
                id: request.id,
                revision,
                token: attempts.token,
                plan: &plan,
                new_names: &new_names,
                marker,
                period_length: self.settings.period_length,
                now: request.now,
            };
            let progress = self.apply_all(&writing, &attempts.outstanding, &mut backoff).await;
            attempts.were_sent_for(revision);
            match progress? {
                Progress::Done => {
                    self.names.remember(&plan);
                    return Ok(Outcome::Counted);
                }
                Progress::More => {}
                Progress::Stale(cause) => backoff.wait(Failure::InTheWay, cause).await?,
            }
            consistency = Consistency::Strong;
        }
    }

    async fn apply_all(
        &self,
        writing: &Writing<'_>,
        outstanding: &Outstanding,
        backoff: &mut Backoff<'_>,
    ) -> Result<Progress, StoreError> {
        let parts = writing.parts();
        let deadline = backoff.deadline();
        let lanes = parts.first.iter().map(|lane| self.apply_in_turn(writing, lane, deadline));
        let lanes: Vec<_> = lanes.collect();
        let stale: Vec<Option<Cause>> =
            stream::iter(lanes).buffer_unordered(CONCURRENT_KEYS).try_collect().await?;
        if let Some(cause) = stale.into_iter().flatten().next() {
            return Ok(Progress::Stale(cause));
        }
        let Some(last) = parts.last else {
            return Ok(Progress::More);
        };
        if writing.is_empty(&last) {
            return Ok(Progress::Done);
        }
        Ok(match self.apply(writing, &last, backoff, outstanding).await? {
            Applied::Written => Progress::Done,
            Applied::Stale(cause) => Progress::Stale(cause),
        })
    }

    /// Carries out parts one after the other; the cause, if one of them is stale. To repeat them is
    /// harmless, so it does not matter whether one of them is outstanding.
    async fn apply_in_turn(
        &self,
        writing: &Writing<'_>,
        parts: &[Part],
        deadline: Deadline,
    ) -> Result<Option<Cause>, StoreError> {
        let mut backoff = self.backoff(deadline);
        for part in parts {
            let applied = self.apply(writing, part, &mut backoff, &Outstanding::default()).await?;
            if let Applied::Stale(cause) = applied {
                return Ok(Some(cause));
            }
        }
        Ok(None)
    }
}

enum Progress {
    Done,
    /// All went well, but more members are left than one plan can hold.
    More,
    /// Another writer was faster.
    Stale(Cause),
}
