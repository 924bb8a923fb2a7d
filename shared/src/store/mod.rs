//! The only user of the DynamoDB client.
//!
//! `load` and `apply` are the two round trips of an update, `query` the reads of a query; `failure` holds
//! the policy on failures.

mod admin;
mod backoff;
mod error;
mod failure;
mod read;
mod settings;
mod update;

use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_sdk_dynamodb::Client;

pub use crate::deadline::Deadline;
pub use admin::{AuditFailure, FoldPlan, Folded, audit};
pub use error::{Cause, StoreError};
pub use read::KeyReader;
pub use settings::{DEFAULT_MAX_KEYS, Pace, Settings};
pub use update::Outcome;

use update::{Cells, Names};

/// The table, and what this process remembers of it.
#[derive(Debug)]
pub struct Store {
    client: Client,
    settings: Settings,
    /// Names that are in the table.
    names: Names,
    /// Sums that several writers contend for.
    cells: Cells,
    /// Spreads retries.
    random: Mutex<fastrand::Rng>,
}

impl Store {
    /// A store on a table.
    #[must_use]
    pub fn new(client: Client, settings: Settings, mut random: fastrand::Rng) -> Self {
        Self {
            client,
            names: Names::new(),
            cells: Cells::new(settings.max_cells, random.fork()),
            settings,
            random: Mutex::new(random),
        }
    }
}

/// What is guarded here is whole after each statement, so a panic elsewhere does no harm to it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
