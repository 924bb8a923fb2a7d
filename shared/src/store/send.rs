//! The one loop that sends requests to DynamoDB.

use std::{convert::Infallible, error::Error, fmt};

use aws_sdk_dynamodb::{
    config::http::HttpResponse,
    error::{BuildError, ProvideErrorMetadata, SdkError},
    operation::{
        batch_get_item::{
            BatchGetItemError, BatchGetItemOutput, builders::BatchGetItemFluentBuilder,
        },
        put_item::{PutItemError, PutItemOutput, builders::PutItemFluentBuilder},
        query::{QueryError, QueryOutput, builders::QueryFluentBuilder},
        scan::{ScanError, ScanOutput, builders::ScanFluentBuilder},
        transact_get_items::{
            TransactGetItemsError, TransactGetItemsOutput, builders::TransactGetItemsFluentBuilder,
        },
        transact_write_items::{
            TransactWriteItemsError, TransactWriteItemsOutput,
            builders::TransactWriteItemsFluentBuilder,
        },
        update_item::{UpdateItemError, UpdateItemOutput, builders::UpdateItemFluentBuilder},
    },
    types::{Get, ReturnConsumedCapacity, TransactGetItem, TransactWriteItem, Update},
};
use futures_util::future::{BoxFuture, FutureExt};
use tokio::{
    task::{JoinSet, yield_now},
    time::{Instant, timeout_at},
};

use super::{
    Store, StoreError,
    backoff::Backoff,
    failure::{Failure, was_cancelled},
    store_error::Cause,
};
use crate::{
    deadline::Deadline,
    table::{Item, ItemKey},
    usage,
};

/// What comes of an attempt.
pub(super) type Attempted<T, E> = Result<T, SdkError<E, HttpResponse>>;

/// A request that the store sends, as a builder of the SDK.
pub(super) trait TableRequest {
    /// The answer of DynamoDB.
    type Output: Send + 'static;
    /// What DynamoDB answers instead if it refuses the request.
    type Error: ProvideErrorMetadata + Error + Send + Sync + 'static;

    /// Makes one attempt, in which DynamoDB reports what it consumes. The future is boxed, since
    /// those of the SDK are large, and nested too deep for the compiler.
    fn attempt(self) -> BoxFuture<'static, Attempted<Self::Output, Self::Error>>;

    /// Notes what DynamoDB has consumed for an answer.
    fn note_usage(answer: &Self::Output);
}

macro_rules! table_request {
    ($builder:ty, $output:ty, $error:ty, $note:path) => {
        impl TableRequest for $builder {
            type Output = $output;
            type Error = $error;

            fn attempt(self) -> BoxFuture<'static, Attempted<$output, $error>> {
                self.return_consumed_capacity(ReturnConsumedCapacity::Total).send().boxed()
            }

            fn note_usage(answer: &$output) {
                $note(answer.consumed_capacity());
            }
        }
    };
}

table_request!(QueryFluentBuilder, QueryOutput, QueryError, usage::note_read);
table_request!(ScanFluentBuilder, ScanOutput, ScanError, usage::note_read);
table_request!(BatchGetItemFluentBuilder, BatchGetItemOutput, BatchGetItemError, usage::note_read);
table_request!(UpdateItemFluentBuilder, UpdateItemOutput, UpdateItemError, usage::note_written);
table_request!(PutItemFluentBuilder, PutItemOutput, PutItemError, usage::note_written);
table_request!(
    TransactGetItemsFluentBuilder,
    TransactGetItemsOutput,
    TransactGetItemsError,
    usage::note_read
);
table_request!(
    TransactWriteItemsFluentBuilder,
    TransactWriteItemsOutput,
    TransactWriteItemsError,
    usage::note_written
);

/// What follows a failed attempt.
pub(super) enum Next<R, T> {
    /// Send this request after a wait. If the deadline leaves no time to wait, report the failure.
    Later(R, Failure, Cause),
    /// Send nothing more, and return this instead of an answer.
    Stop(T),
}

impl<R: TableRequest, T> Next<R, T> {
    /// Sends a request again if what the `error` means leaves any hope.
    pub(super) fn retry(request: R, error: SdkError<R::Error, HttpResponse>) -> Self {
        Self::Later(request, Failure::of(&error), error.into())
    }
}

impl Backoff<'_> {
    /// Sends a request until it is answered. After each failed attempt `next` says how to go on.
    ///
    /// Returns the answer, or what `next` has stopped with. An attempt that the deadline cuts off
    /// fails like one whose answer was lost.
    ///
    /// # Errors
    /// The deadline passes, a failure is final, or `next` returns an error.
    pub(super) async fn send<R: TableRequest, T>(
        &mut self,
        mut request: R,
        mut next: impl FnMut(SdkError<R::Error, HttpResponse>) -> Result<Next<R, T>, StoreError>,
    ) -> Result<Result<R::Output, T>, StoreError> {
        loop {
            let error = match before(self.deadline(), request.attempt()).await {
                Ok(answer) => {
                    R::note_usage(&answer);
                    return Ok(Ok(answer));
                }
                Err(error) => error,
            };
            request = match next(error)? {
                Next::Later(request, failure, cause) => {
                    self.wait(failure, cause).await?;
                    request
                }
                Next::Stop(result) => return Ok(Err(result)),
            };
        }
    }
}

/// A request that only reads, sent before its answer is needed. If this is dropped, nobody waits for
/// the answer.
pub(super) struct SentAhead<R: TableRequest>(JoinSet<Attempted<R::Output, R::Error>>);

impl<R: TableRequest> fmt::Debug for SentAhead<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SentAhead")
    }
}

impl<R: TableRequest> SentAhead<R> {
    /// Sends it, once.
    pub(super) async fn begin(request: R) -> Self {
        let mut task = JoinSet::new();
        task.spawn(request.attempt());
        // The caller is about to be busy, and most functions have a single thread.
        yield_now().await;
        Self(task)
    }

    /// The answer, unless the attempt has failed.
    async fn answer(mut self, deadline: Deadline) -> Option<R::Output> {
        let answer = timeout_at(deadline.instant(), self.0.join_next()).await;
        let answer = answer.ok()??.ok()?.ok()?;
        R::note_usage(&answer);
        Some(answer)
    }
}

impl Store {
    /// What a request is answered by that may have been sent ahead. If that has failed, it is sent
    /// as by [`Self::read`].
    ///
    /// # Errors
    /// The deadline passes, or DynamoDB refuses the request.
    pub(super) async fn read_ahead<R: TableRequest>(
        &self,
        deadline: Deadline,
        ahead: Option<SentAhead<R>>,
        request: impl Fn() -> R,
    ) -> Result<R::Output, StoreError> {
        if let Some(ahead) = ahead
            && let Some(answer) = ahead.answer(deadline).await
        {
            return Ok(answer);
        }
        self.read(deadline, request).await
    }

    /// Sends a request that only reads, until it is answered.
    ///
    /// # Errors
    /// The deadline passes, or DynamoDB refuses the request.
    pub(super) async fn read<R: TableRequest>(
        &self,
        deadline: Deadline,
        request: impl Fn() -> R,
    ) -> Result<R::Output, StoreError> {
        let again = |error| Ok(Next::<R, Infallible>::retry(request(), error));
        let Ok(answer) = self.backoff(deadline).send(request(), again).await?;
        Ok(answer)
    }
}

impl Store {
    /// Reads items as they are at one moment; up to 100 of them, as far as they
    /// exist.
    ///
    /// # Errors
    /// The deadline passes while others write to them, or DynamoDB refuses the request.
    pub(super) async fn get_at_once(
        &self,
        keys: &[ItemKey],
        deadline: Deadline,
    ) -> Result<Vec<Item>, StoreError> {
        let get = |key: &ItemKey| {
            let get = Get::builder().table_name(&self.settings.table);
            let get = get.set_key(Some(key.attributes())).build()?;
            Ok(TransactGetItem::builder().get(get).build())
        };
        let gets = keys.iter().map(get).collect::<Result<Vec<_>, BuildError>>()?;
        let request = || self.client.transact_get_items().set_transact_items(Some(gets.clone()));
        let again = |error: SdkError<TransactGetItemsError, HttpResponse>| {
            let service_error = error.as_service_error();
            // Somebody writes to one of them, or it is throttled.
            let is_cancelled =
                service_error.is_some_and(TransactGetItemsError::is_transaction_canceled_exception);
            Ok(match is_cancelled {
                true => Next::<_, Infallible>::Later(request(), Failure::InTheWay, error.into()),
                false => Next::retry(request(), error),
            })
        };
        let Ok(answer) = self.backoff(deadline).send(request(), again).await?;
        let answers = answer.responses.unwrap_or_default().into_iter();
        Ok(answers.filter_map(|answer| answer.item).collect())
    }
}

/// Whether DynamoDB refused a plain update because of its condition.
pub(super) fn is_condition_failed(error: &SdkError<UpdateItemError, HttpResponse>) -> bool {
    let service_error = error.as_service_error();
    service_error.is_some_and(UpdateItemError::is_conditional_check_failed_exception)
}

impl Store {
    /// Carries out a transaction; returns the cause if DynamoDB has cancelled it.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub(super) async fn transact(
        &self,
        writes: Vec<TransactWriteItem>,
        deadline: Deadline,
    ) -> Result<Result<(), Cause>, StoreError> {
        let request =
            || self.client.transact_write_items().set_transact_items(Some(writes.clone()));
        let next = |error| {
            Ok(match was_cancelled(&error) {
                true => Next::Stop(Cause::from(error)),
                false => Next::retry(request(), error),
            })
        };
        Ok(self.backoff(deadline).send(request(), next).await?.map(drop))
    }

    /// The request of an update outside of a transaction.
    pub(super) fn update_item(&self, update: &Update) -> UpdateItemFluentBuilder {
        self.client
            .update_item()
            .table_name(update.table_name())
            .set_key(Some(update.key().clone()))
            .update_expression(update.update_expression())
            .set_condition_expression(update.condition_expression().map(str::to_owned))
            .set_expression_attribute_names(update.expression_attribute_names().cloned())
            .set_expression_attribute_values(update.expression_attribute_values().cloned())
    }
}

/// A request was not answered before the deadline.
#[derive(Debug, thiserror::Error)]
#[error("no answer before the deadline")]
struct DeadlinePassed;

/// Waits for an attempt until the deadline.
async fn before<T, E>(
    deadline: Deadline,
    attempt: impl Future<Output = Attempted<T, E>>,
) -> Attempted<T, E> {
    // Once time is up, don't begin: a quick answer could arrive before the timer is polled.
    let answer = match Instant::now() < deadline.instant() {
        true => timeout_at(deadline.instant(), attempt).await.ok(),
        false => None,
    };
    match answer {
        Some(answer) => answer,
        None => Err(SdkError::timeout_error(DeadlinePassed)),
    }
}
