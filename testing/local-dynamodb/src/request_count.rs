//! The requests that a client sends, counted.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use aws_sdk_dynamodb::{
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        interceptors::{BeforeTransmitInterceptorContextRef, FinalizerInterceptorContextRef},
    },
    error::BoxError,
};

/// The requests that went to DynamoDB.
#[derive(Debug, Default)]
pub struct Requests(Mutex<Log>);

#[derive(Debug, Default)]
struct Log {
    operations: Vec<String>,
    in_flight: usize,
    round_trips: usize,
}

impl Requests {
    /// What was sent since the last call: the operations, sorted, and the number of round trips. A
    /// round trip begins with a request when no other is on its way.
    pub fn take(&self) -> (Vec<String>, usize) {
        let mut log = self.log();
        let mut operations = std::mem::take(&mut log.operations);
        operations.sort();
        (operations, std::mem::take(&mut log.round_trips))
    }

    /// It is whole after each statement.
    fn log(&self) -> MutexGuard<'_, Log> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Counts the requests of the client that it is an interceptor of.
#[derive(Debug)]
pub struct Counting(pub Arc<Requests>);

impl Intercept for Counting {
    fn name(&self) -> &'static str {
        "Counting"
    }

    fn read_before_transmit(
        &self,
        context: &BeforeTransmitInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let target = context.request().headers().get("x-amz-target").unwrap_or_default();
        let operation = target.rsplit('.').next().unwrap_or_default().to_owned();
        let mut log = self.0.log();
        log.operations.push(operation);
        log.round_trips += usize::from(log.in_flight == 0);
        log.in_flight += 1;
        Ok(())
    }

    fn read_after_attempt(
        &self,
        _: &FinalizerInterceptorContextRef<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        self.0.log().in_flight -= 1;
        Ok(())
    }
}
