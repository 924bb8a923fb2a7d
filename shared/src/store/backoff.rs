//! How long to wait between attempts at DynamoDB, and when to give up.

use tokio::time::{Instant, sleep};

use super::{Store, StoreError, failure::Failure, lock, store_error::Cause};
use crate::{
    deadline::{Deadline, Jitter},
    usage,
};

/// The waits between the attempts at one update or query.
#[derive(Debug)]
pub(super) struct Backoff<'a> {
    store: &'a Store,
    deadline: Deadline,
    waits: Jitter,
    /// When to give up if DynamoDB still throttles; `None` if it never has.
    patience_ends: Option<Instant>,
}

impl Backoff<'_> {
    /// Waits before another attempt.
    ///
    /// # Errors
    /// The failure, if it is final, if the deadline would pass during the wait, or if DynamoDB has
    /// throttled for too long.
    pub(super) async fn wait(&mut self, failure: Failure, cause: Cause) -> Result<(), StoreError> {
        if failure == Failure::Final {
            return Err(failure.at_deadline(cause));
        }
        let wait = self.waits.next(&mut lock(&self.store.random));
        let after = Instant::now() + wait;
        if after >= self.deadline.instant()
            || (failure == Failure::Throttled && self.is_out_of_patience(after))
        {
            return Err(failure.at_deadline(cause));
        }
        usage::note(|usage| usage.retries += 1);
        sleep(wait).await;
        Ok(())
    }

    fn is_out_of_patience(&mut self, at: Instant) -> bool {
        if self.deadline.is_of_job() {
            return false;
        }
        let patience = self.store.settings.pace.throttled;
        let ends = self.patience_ends.get_or_insert_with(|| Instant::now() + patience);
        at >= *ends
    }

    /// The deadline.
    pub(super) fn deadline(&self) -> Deadline {
        self.deadline
    }
}

impl Store {
    pub(super) fn backoff(&self, deadline: Deadline) -> Backoff<'_> {
        let pace = &self.settings.pace;
        let waits = Jitter::new(pace.first_wait, pace.longest_wait);
        Backoff { store: self, deadline, waits, patience_ends: None }
    }
}
