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
}

impl Backoff<'_> {
    /// Waits before another attempt.
    ///
    /// # Errors
    /// The failure, if it is final or the deadline would pass during the wait.
    pub(super) async fn wait(&mut self, failure: Failure, cause: Cause) -> Result<(), StoreError> {
        if failure == Failure::Final {
            return Err(failure.at_deadline(cause));
        }
        let wait = self.waits.next(&mut lock(&self.store.random));
        if Instant::now() + wait >= self.deadline.instant() {
            return Err(failure.at_deadline(cause));
        }
        usage::note(|usage| usage.retries += 1);
        sleep(wait).await;
        Ok(())
    }

    /// The deadline.
    pub(super) fn deadline(&self) -> Deadline {
        self.deadline
    }
}

impl Store {
    pub(super) fn backoff(&self, deadline: Deadline) -> Backoff<'_> {
        let pace = &self.settings.pace;
        Backoff { store: self, deadline, waits: Jitter::new(pace.first_wait, pace.longest_wait) }
    }
}
