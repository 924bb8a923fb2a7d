//! The only user of the DynamoDB client.
//!
//! `load` and `apply` are the two round trips of an update, `query` the reads of a query; `retry` holds
//! the policy on failures.

mod apply;
mod error;
mod load;
mod query;
mod retry;
mod update;

use std::{
    collections::BTreeSet,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aws_sdk_dynamodb::{
    Client,
    config::{self, retry::RetryConfig, timeout::TimeoutConfig},
};

pub use error::StoreError;
pub use retry::Deadline;
pub use update::Outcome;

use crate::domain::{DimensionName, PeriodLength};

/// Most dimensions that a store remembers to be in the list of dimensions.
const MAX_KNOWN_DIMENSIONS: usize = 10_000;

/// How long DynamoDB may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
/// How long DynamoDB may take to answer one attempt.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// What a client of a [`Store`] needs besides region and credentials: time-outs, and no retries by the
/// SDK, since the store knows what a failure means for an update.
#[must_use]
pub fn client_config(builder: config::Builder) -> config::Builder {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(CONNECT_TIMEOUT)
        .operation_attempt_timeout(ATTEMPT_TIMEOUT)
        .build();
    builder.retry_config(RetryConfig::disabled()).timeout_config(timeouts)
}

/// The table, and what this process remembers of it.
#[derive(Debug)]
pub struct Store {
    client: Client,
    table: String,
    period_length: PeriodLength,
    /// Dimensions that are in the list of dimensions, where they stay for ever.
    known_dimensions: Mutex<BTreeSet<DimensionName>>,
    /// Spreads retries.
    random: Mutex<fastrand::Rng>,
}

impl Store {
    /// A store on the table named `table`, with periods of `period_length`.
    #[must_use]
    pub fn new(
        client: Client,
        table: impl Into<String>,
        period_length: PeriodLength,
        random: fastrand::Rng,
    ) -> Self {
        Self {
            client,
            table: table.into(),
            period_length,
            known_dimensions: Mutex::default(),
            random: Mutex::new(random),
        }
    }

    fn remember_dimensions(&self, dimensions: impl IntoIterator<Item = DimensionName>) {
        let mut known = lock(&self.known_dimensions);
        known.extend(dimensions);
        if known.len() > MAX_KNOWN_DIMENSIONS {
            known.clear();
        }
    }

    fn unknown_dimensions<'a>(
        &self,
        dimensions: impl IntoIterator<Item = &'a DimensionName>,
    ) -> BTreeSet<DimensionName> {
        let known = lock(&self.known_dimensions);
        let unknown = dimensions.into_iter().filter(|dimension| !known.contains(*dimension));
        unknown.cloned().collect()
    }
}

/// What is guarded here is whole after each statement, so a panic elsewhere does no harm to it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
