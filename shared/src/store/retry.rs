//! The policy on failures: what a failed request means, how long to wait, and when to give up.

use std::{error::Error, time::Duration};

use aws_sdk_dynamodb::{
    config::http::HttpResponse,
    error::{ProvideErrorMetadata, SdkError},
};
use tokio::time::{Instant, sleep, timeout_at};

use super::{Store, StoreError, error::Cause, lock};

/// The longest first wait; each further one may be twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(20);
/// The longest wait.
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// When an answer is due.
#[derive(Debug, Clone, Copy)]
pub struct Deadline(Instant);

impl Deadline {
    /// A deadline that is so far away.
    #[must_use]
    pub fn after(duration: Duration) -> Self {
        Self(Instant::now() + duration)
    }
}

/// What a failed request means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Failure {
    /// DynamoDB did nothing, since too much was asked of it.
    Throttled,
    /// DynamoDB did nothing, since another request was in the way.
    InTheWay,
    /// No answer, or one that says nothing: the request may have been carried out, or may yet be.
    Lost,
    /// To ask again won't help.
    Final,
}

impl Failure {
    pub(super) fn of<E: ProvideErrorMetadata>(error: &SdkError<E, HttpResponse>) -> Self {
        match error {
            SdkError::ConstructionFailure(_) => Self::Final,
            SdkError::ServiceError(service) => match service.err().code() {
                Some(
                    "ProvisionedThroughputExceededException"
                    | "ThrottlingException"
                    | "RequestLimitExceeded"
                    | "LimitExceededException",
                ) => Self::Throttled,
                Some("TransactionConflictException" | "TransactionInProgressException") => {
                    Self::InTheWay
                }
                _ if service.raw().status().is_server_error() => Self::Lost,
                _ => Self::Final,
            },
            // A time-out, a connection that broke or was refused, an answer that can't be read.
            _ => Self::Lost,
        }
    }

    /// The error of a request that could not be carried out before the deadline.
    fn at_deadline(self, cause: Cause) -> StoreError {
        match self {
            Self::Throttled => StoreError::Throttled(cause),
            Self::InTheWay | Self::Lost => StoreError::Unavailable(cause),
            Self::Final => StoreError::Internal(cause),
        }
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
        self.bound = (self.bound * 2).min(LONGEST_WAIT);
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
        Backoff { store: self, deadline, bound: FIRST_WAIT }
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
