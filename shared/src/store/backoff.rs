//! The waits between attempts at DynamoDB, and the end of them.

use std::error::Error;

use aws_sdk_dynamodb::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};
use tokio::time::{Instant, sleep, timeout_at};

use super::{Store, StoreError, error::Cause, failure::Failure, lock};
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
    /// The deadline would pass meanwhile, so that the failure is what has to be told.
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

/// A request was not answered before the deadline.
#[derive(Debug, thiserror::Error)]
#[error("no answer before the deadline")]
pub(super) struct DeadlinePassed;

/// Waits for an answer until the deadline.
pub(super) async fn before<T>(
    deadline: Deadline,
    answer: impl Future<Output = T>,
) -> Result<T, DeadlinePassed> {
    // What is due already is not begun: a quick answer could come before the timer is looked at.
    if Instant::now() >= deadline.instant() {
        return Err(DeadlinePassed);
    }
    timeout_at(deadline.instant(), answer).await.map_err(|_| DeadlinePassed)
}

impl Store {
    pub(super) fn backoff(&self, deadline: Deadline) -> Backoff<'_> {
        let pace = &self.settings.pace;
        Backoff { store: self, deadline, waits: Jitter::new(pace.first_wait, pace.longest_wait) }
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
