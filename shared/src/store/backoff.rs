//! How long to wait between attempts at DynamoDB, and when to give up.

use tokio::time::{Instant, sleep_until};

use super::{Pace, Store, StoreError, failure::Failure, lock, store_error::Cause};
use crate::{
    deadline::{Deadline, Jitter},
    usage,
};

/// The waits between the attempts at one update or query.
#[derive(Debug)]
pub(super) struct Backoff<'a> {
    store: &'a Store,
    waits: Waits,
}

/// How long to wait before each further attempt, and when to make no more of them. Neither waits nor
/// asks for the time.
#[derive(Debug)]
pub struct Waits {
    pace: Pace,
    deadline: Deadline,
    jitter: Jitter,
    /// When to give up if DynamoDB still throttles; `None` if it never has.
    patience_ends: Option<Instant>,
}

impl Waits {
    /// The waits of attempts that have to end at a deadline.
    #[must_use]
    pub fn new(pace: Pace, deadline: Deadline) -> Self {
        let jitter = Jitter::new(pace.first_wait, pace.longest_wait);
        Self { pace, deadline, jitter, patience_ends: None }
    }

    /// When to make another attempt after one that has failed `now`. `None` if the failure is final,
    /// if the deadline would pass during the wait, or if DynamoDB has throttled for too long.
    pub fn next(
        &mut self,
        failure: Failure,
        now: Instant,
        random: &mut fastrand::Rng,
    ) -> Option<Instant> {
        if failure == Failure::Final {
            return None;
        }
        let at = now + self.jitter.next(random);
        let is_too_late = at >= self.deadline.instant()
            || (failure == Failure::Throttled && self.is_out_of_patience(now, at));
        (!is_too_late).then_some(at)
    }

    fn is_out_of_patience(&mut self, now: Instant, at: Instant) -> bool {
        if self.deadline.is_of_job() {
            return false;
        }
        let patience = self.pace.throttled;
        at >= *self.patience_ends.get_or_insert_with(|| now + patience)
    }
}

impl Backoff<'_> {
    /// Waits before another attempt.
    ///
    /// # Errors
    /// The failure, if there is to be no other attempt: see [`Waits::next`].
    pub(super) async fn wait(&mut self, failure: Failure, cause: Cause) -> Result<(), StoreError> {
        let next = self.waits.next(failure, Instant::now(), &mut lock(&self.store.random));
        let Some(at) = next else {
            return Err(failure.at_deadline(cause));
        };
        usage::note(|usage| usage.retries += 1);
        sleep_until(at).await;
        Ok(())
    }

    /// The deadline.
    pub(super) fn deadline(&self) -> Deadline {
        self.waits.deadline
    }
}

impl Store {
    pub(super) fn backoff(&self, deadline: Deadline) -> Backoff<'_> {
        Backoff { store: self, waits: Waits::new(self.settings.pace, deadline) }
    }
}
