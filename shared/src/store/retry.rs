//! How long to wait between attempts, and when to give up.

use std::{error::Error, time::Duration};

use aws_sdk_dynamodb::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};
use tokio::time::{Instant, sleep, timeout_at};

use super::{Store, StoreError, error::Cause, failure::Failure, lock};

/// When an answer is due.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Instant);

impl Deadline {
    /// A deadline that is so far away.
    #[must_use]
    pub fn after(duration: Duration) -> Self {
        Self(Instant::now() + duration)
    }

    /// A deadline earlier by `reserve`, or by a quarter of what is left, whichever is less.
    pub(super) fn earlier_by(self, reserve: Duration) -> Self {
        let left = self.0.saturating_duration_since(Instant::now());
        Self(self.0 - reserve.min(left / 4))
    }
}

/// The waits between the attempts at one update or query: random, up to a bound that doubles ("full
/// jitter").
#[derive(Debug)]
pub(super) struct Backoff<'a> {
    store: &'a Store,
    deadline: Deadline,
    bound: Duration,
}

impl Backoff<'_> {
    /// Waits before another attempt.
    ///
    /// # Errors
    /// The deadline would pass meanwhile, so that the failure is what has to be told.
    pub(super) async fn wait(&mut self, failure: Failure, cause: Cause) -> Result<(), StoreError> {
        if failure == Failure::Final {
            return Err(failure.at_deadline(cause));
        }
        let wait = self.bound.mul_f64(lock(&self.store.random).f64());
        self.bound = (self.bound * 2).min(self.store.settings.pace.longest_wait);
        if Instant::now() + wait >= self.deadline.0 {
            return Err(failure.at_deadline(cause));
        }
        sleep(wait).await;
        Ok(())
    }

    /// The deadline.
    pub(super) fn deadline(&self) -> Deadline {
        self.deadline
    }
}

/// A request was not answered before the deadline.
#[derive(Debug, thiserror::Error)]
#[error("no answer before the deadline")]
pub(super) struct DeadlinePassed;

/// Waits for an answer until the deadline.
pub(super) async fn before<T>(
    deadline: Deadline,
    answer: impl Future<Output = T>,
) -> Result<T, DeadlinePassed> {
    timeout_at(deadline.0, answer).await.map_err(|_| DeadlinePassed)
}

impl Store {
    pub(super) fn backoff(&self, deadline: Deadline) -> Backoff<'_> {
        Backoff { store: self, deadline, bound: self.settings.pace.first_wait }
    }

    /// Sends a request that only reads, until it is answered.
    ///
    /// # Errors
    /// The deadline passes, or DynamoDB refuses the request.
    pub(super) async fn read<T, E, F>(
        &self,
        deadline: Deadline,
        send: impl Fn() -> F,
    ) -> Result<T, StoreError>
    where
        E: ProvideErrorMetadata + Error + Send + Sync + 'static,
        F: Future<Output = Result<T, SdkError<E, HttpResponse>>>,
    {
        let mut backoff = self.backoff(deadline);
        loop {
            match before(deadline, send()).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => backoff.wait(Failure::of(&error), error.into()).await?,
                Err(passed) => return Err(StoreError::Unavailable(passed.into())),
            }
        }
    }
}
