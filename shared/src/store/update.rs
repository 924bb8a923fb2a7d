//! The way of an update: load, plan, apply; again from the start when another writer was faster.

use std::{collections::BTreeSet, time::Duration};

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{
    Deadline, Store, StoreError,
    apply::Applied,
    error::Cause,
    load::Consistency,
    retry::{Backoff, Failure},
};
use crate::{
    domain::{Fingerprint, Id, IdempotencyKey, UnixSeconds, Update},
    rollup::plan,
    table::{Cell, Marker, Transaction, Transactions, Writing},
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

impl Store {
    /// Counts an update of `id`: all of it, or on an error nothing.
    ///
    /// Members beyond what fits into one transaction are the exception: they are counted first, in
    /// transactions of their own, and stay when a later one fails. To repeat them is harmless.
    ///
    /// # Errors
    /// See [`StoreError`]; after [`StoreError::Indeterminate`] the update may have been counted.
    pub async fn update(
        &self,
        id: &Id,
        update: &Update,
        idempotency: Option<(&IdempotencyKey, Fingerprint)>,
        now: UnixSeconds,
        deadline: Deadline,
    ) -> Result<Outcome, StoreError> {
        let mut backoff = self.backoff(deadline);
        let mut growing = Consistency::Eventual;
        let token = self.new_update_token();
        loop {
            let key = idempotency.map(|(key, _)| key);
            let loaded = self.load(id, update, key, growing, deadline).await?;
            // A request whose answer was lost may be carried out after the next one was cancelled.
            if loaded.stored.revision.was_made_by(token) {
                return Ok(Outcome::Counted);
            }
            if let (Some((_, fingerprint)), Some(marker)) = (idempotency, &loaded.marker)
                && marker.expires_at > now
            {
                return match marker.fingerprint == fingerprint {
                    true => Ok(Outcome::Repeated),
                    false => Err(StoreError::KeyReused),
                };
            }

            let before = &loaded.stored.detail;
            let period = self.period_length.of_update(now, before.gauge_period);
            let plan = plan(before, update, period, loaded.new_members)?;
            let marker = idempotency.map(|(key, fingerprint)| {
                let expires_at = now.after(KEY_LIFETIME);
                (key, Marker { fingerprint, expires_at })
            });
            if plan.is_empty() && marker.is_none() {
                return Ok(Outcome::Unchanged);
            }

            let new_dimensions: BTreeSet<_> =
                plan.dimensions.intersection(&loaded.new_dimensions).cloned().collect();
            let writing = Writing {
                table: &self.table,
                id,
                revision: &loaded.stored.revision,
                token,
                plan: &plan,
                dimensions: &new_dimensions,
                marker,
                period_length: self.period_length,
                now,
            };
            let transactions = writing.transactions(|_| Cell::default())?;
            match self.apply_all(transactions, &mut backoff).await? {
                Progress::Done => {
                    self.remember_dimensions(plan.dimensions);
                    return Ok(Outcome::Counted);
                }
                Progress::More => {}
                Progress::Stale(cause) => backoff.wait(Failure::InTheWay, cause).await?,
            }
            growing = Consistency::Strong;
        }
    }

    async fn apply_all(
        &self,
        transactions: Transactions,
        backoff: &mut Backoff<'_>,
    ) -> Result<Progress, StoreError> {
        let deadline = backoff.deadline();
        let keys = transactions.members.iter().map(|of_key| self.apply_in_turn(of_key, deadline));
        let keys: Vec<_> = keys.collect();
        let stale: Vec<Option<Cause>> =
            stream::iter(keys).buffer_unordered(CONCURRENT_KEYS).try_collect().await?;
        if let Some(cause) = stale.into_iter().flatten().next() {
            return Ok(Progress::Stale(cause));
        }
        let Some(last) = transactions.last else {
            return Ok(Progress::More);
        };
        if last.is_empty() {
            return Ok(Progress::Done);
        }
        Ok(match self.apply(&last, backoff).await? {
            Applied::Written => Progress::Done,
            Applied::Stale(cause) => Progress::Stale(cause),
        })
    }

    /// Carries out transactions one after the other; the cause, if one of them is stale.
    async fn apply_in_turn(
        &self,
        transactions: &[Transaction],
        deadline: Deadline,
    ) -> Result<Option<Cause>, StoreError> {
        let mut backoff = self.backoff(deadline);
        for transaction in transactions {
            if let Applied::Stale(cause) = self.apply(transaction, &mut backoff).await? {
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
