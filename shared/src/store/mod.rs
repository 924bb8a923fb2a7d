//! The only user of the DynamoDB client.
//!
//! `load` and `apply` are the two round trips of an update, `query` the reads of a query; `failure` holds
//! the policy on failures.

mod admission;
mod apply;
mod attempts;
mod cells;
mod error;
mod failure;
mod fold;
mod key_reader;
mod load;
mod query;
mod range;
mod request;
mod retry;
mod settings;
mod settle;
mod update;

use std::sync::{Mutex, MutexGuard, PoisonError};

use aws_sdk_dynamodb::Client;

pub use crate::retry::Deadline;
pub use error::{Cause, StoreError};
pub use fold::{FoldPlan, Folded};
pub use key_reader::KeyReader;
pub use settings::{DEFAULT_MAX_KEYS, Pace, Settings};
pub use update::Outcome;

use admission::Names;
use cells::Cells;

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
