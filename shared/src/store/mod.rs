//! The only user of the DynamoDB client.
//!
//! `update` is the way of an update, `read` the reads of queries and of the archive, `admin` what
//! is done to the table besides. `send` is the one loop that sends, by the policy in `failure`.

mod admin;
mod backoff;
mod connection;
mod failure;
mod read;
mod send;
mod settings;
mod store_error;
mod update;

use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use aws_sdk_dynamodb::{Client, error::DisplayErrorContext, types::KeysAndAttributes};
use tokio::time::timeout;

pub use crate::deadline::Deadline;
pub use admin::{
    AuditFailure, AuditMode, AuditRun, Audited, Deleted, DeletionMode, DeletionRun, Discrepancy,
    ExportFailure, ExportRun, ExportedCounts, Finding, Folded, Housekeeping, Pacer, Place,
    RunError, Subject, Workspace, audit,
};
pub use connection::{Connection, https_client};
pub use read::{KeyOrder, KeyReader};
pub use settings::{DEFAULT_MAX_BYTES, DEFAULT_MAX_DIMENSIONS, DEFAULT_MAX_KEYS, Pace, Settings};
pub use store_error::{Cause, StatsOf, StoreError};
pub use update::{AdoptedIds, Imported, Outcome, Submission};

use crate::table::ItemKey;
use send::TableRequest;
use update::{HotSums, KnownNames};

/// What the store decides without asking DynamoDB, for whoever plays DynamoDB to it: which cells to
/// write to, what a cancelled transaction calls for, how long to wait, what is counted together.
pub mod decisions {
    pub use super::{
        backoff::Waits,
        failure::{Crowded, Failure, Gone, Verdict, judge_reasons},
        update::{Group, HotSums, KnownNames, Lease, avoid, groups},
    };
}

/// How long a function waits for its first connection. On Lambda that takes some milliseconds.
const LONGEST_WARM_UP: Duration = Duration::from_secs(1);

/// The table, and what this process remembers of it.
#[derive(Debug)]
pub struct Store {
    client: Client,
    settings: Settings,
    /// Names that are in the table.
    known_names: KnownNames,
    /// Sums that several writers contend for.
    hot_sums: HotSums,
    /// Spreads retries, and makes tokens.
    random: Mutex<fastrand::Rng>,
}

impl Store {
    /// A store on a table.
    #[must_use]
    pub fn new(client: Client, settings: Settings, mut random: fastrand::Rng) -> Self {
        Self {
            client,
            known_names: KnownNames::new(),
            hot_sums: HotSums::new(settings.max_cells, random.fork()),
            settings,
            random: Mutex::new(random),
        }
    }
}

impl Store {
    /// Reads an item that is never there, so that whoever sends the first request need not wait for
    /// the connection, for TLS and for all that the SDK does only once. It costs half a read unit.
    ///
    /// It waits for a second at most. A failure means nothing: the first request will show it.
    pub async fn warm_up(&self) {
        let nothing = KeysAndAttributes::builder().keys(ItemKey::of_nothing().attributes()).build();
        let Ok(nothing) = nothing else { return };
        let request = self.client.batch_get_item().request_items(&self.settings.table, nothing);
        match timeout(LONGEST_WARM_UP, request.attempt()).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                let cause = DisplayErrorContext(&error);
                tracing::debug!(%cause, "DynamoDB does not answer yet");
            }
            Err(_) => tracing::debug!("DynamoDB does not answer yet"),
        }
    }
}

/// Locks what is consistent after each statement, so that a panic elsewhere does it no harm.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
