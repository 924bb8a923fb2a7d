//! The scheduled job. It writes the stats of the keys of each dimension that is due to BigQuery,
//! and keeps house in all dimensions, whether they are archived or not.

mod clock;
mod due;
mod order;
mod report;
mod rows;
mod run_metrics;
mod schedule;
mod slot;
mod slot_error;
mod transfer;
mod widen;

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant},
};

use bigquery::{BigQuery, Pace};
use futures_util::{StreamExt, stream};
use lambda_runtime::Diagnostic;
use serde::Deserialize;
use shared::{
    domain::{DimensionName, UnixSeconds},
    lambda::{
        Call,
        metrics::{self, Metrics},
    },
    store::{Deadline, Housekeeping, Store, StoreError},
    usage,
};

pub use report::{Entry, Report, SlotOutcome};
pub use schedule::{Schedule, Slot, TimeError};
pub use slot::SlotEnd;
pub use slot_error::SlotError;
pub use transfer::LeftOutCounts;

use clock::Clock;
use due::Due;
use rows::rfc3339;

/// The most dimensions that a run archives at once: for each it holds some pages of the table, and
/// rows.
const CONCURRENT_DIMENSIONS: usize = 3;

/// How much of a run's time is kept for the housekeeping, however many dimensions there are.
const HOUSEKEEPING_TIME: Duration = Duration::from_secs(120);

/// How many of the dimensions that failed an error names.
const MAX_NAMED_DIMENSIONS: usize = 20;

/// The part of an EventBridge schedule's event that counts: this time decides the slot, never the
/// clock.
#[derive(Debug, Clone, Deserialize)]
pub struct ScheduleEvent {
    /// The time for which the event was scheduled, by RFC 3339.
    pub time: String,
}

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The event has no time.
    #[error(transparent)]
    Time(#[from] TimeError),
    /// The list of dimensions can't be read.
    #[error("the list of dimensions can't be read")]
    Store(#[from] StoreError),
    /// Some dimensions failed, of which these are the first; the others are done. The log has the
    /// causes.
    #[error("failed for the dimensions {0}; all others are done")]
    Dimensions(String),
}

/// What the caller of the function sees, and the dead-letter queue keeps.
impl From<ArchiveError> for Diagnostic {
    fn from(error: ArchiveError) -> Self {
        let error_type = match error {
            ArchiveError::Time(_) => "Time",
            ArchiveError::Store(_) => "Store",
            ArchiveError::Dimensions(_) => "Dimensions",
        };
        Self { error_type: error_type.to_owned(), error_message: error.to_string() }
    }
}

/// The function that archives.
#[derive(Debug)]
pub struct Function {
    store: Store,
    schedule: Schedule,
    bigquery: Option<BigQuery>,
    metrics: Metrics,
}

impl Function {
    /// The function on this store, with this schedule. Without BigQuery it only keeps house.
    #[must_use]
    pub fn new(store: Store, schedule: Schedule, bigquery: Option<BigQuery>) -> Self {
        Self { store, schedule, bigquery, metrics: Metrics::none() }
    }

    /// The function on this store, as the environment configures it.
    ///
    /// # Errors
    /// A variable is missing or wrong.
    pub fn from_env(store: Store) -> Result<Self, lambda_runtime::Error> {
        let schedule = Schedule::from_env()?;
        let config = bigquery::Config::from_env()?;
        config.iter().for_each(bigquery::Config::warn_of_long_lived_credentials);
        let bigquery =
            config.map(|config| BigQuery::new(&config, Pace::default(), fastrand::Rng::new()));
        let function = Self::new(store, schedule, bigquery.transpose()?);
        Ok(Self { metrics: Metrics::from_env("archive"), ..function })
    }

    /// Archives the dimensions that are due at the event's time, and keeps house in all dimensions.
    ///
    /// # Errors
    /// The event has no time, the list of dimensions can't be read, or some dimensions failed; the
    /// others are done all the same.
    pub async fn run(&self, event: &ScheduleEvent, call: Call) -> Result<Report, ArchiveError> {
        let step = self.schedule.step_at(&event.time)?;
        let clock = Clock::starting_at(call.now);
        let mut failed = BTreeSet::new();
        let mut dimensions = BTreeMap::new();
        match &self.bigquery {
            Some(bigquery) => {
                for (dimension, entry) in self.archive(bigquery, step, clock, call).await? {
                    if entry.outcome == SlotOutcome::Failed {
                        failed.insert(dimension.to_string());
                    }
                    dimensions.insert(dimension.to_string(), entry);
                }
            }
            None => {
                tracing::info!("archiving is not configured: set GOOGLE_PROJECT and GOOGLE_TOKEN");
            }
        }
        match self.keep_house(clock, call).await {
            Ok(names) => failed.extend(names),
            Err(error) if failed.is_empty() => return Err(error.into()),
            // What failed before is the news; the next run keeps house.
            Err(error) => tracing::error!(cause = ?error, "housekeeping failed"),
        }
        if !failed.is_empty() {
            return Err(ArchiveError::Dimensions(named(&failed)));
        }
        let archiving = self.bigquery.is_some();
        Ok(Report { slot: rfc3339(step), archiving, dimensions })
    }

    /// Archives the dimensions that are due at this step of the schedule, in [their
    /// order](order).
    async fn archive(
        &self,
        bigquery: &BigQuery,
        step: UnixSeconds,
        clock: Clock,
        call: Call,
    ) -> Result<Vec<(DimensionName, Entry)>, StoreError> {
        let dimensions = self.store.dimensions(call.deadline).await?;
        let slots = dimensions.into_iter().filter_map(|dimension| {
            let slot = self.schedule.slot(&dimension, step)?;
            Some((dimension, slot))
        });
        let mut slots: Vec<_> = slots.collect();
        if slots.len() > CONCURRENT_DIMENSIONS {
            let made = tables(bigquery, call.deadline).await;
            slots = order::in_order(slots, &made, step, self.schedule.number_of(step));
        }
        let call = Call { deadline: call.deadline.earlier_by(HOUSEKEEPING_TIME), ..call };
        // Boxed: the types of the SDK's futures nest too deeply for the compiler.
        let jobs = slots.into_iter().map(|(dimension, slot)| {
            Box::pin(self.archive_slot(bigquery, dimension, slot, clock, call))
        });
        let jobs: Vec<_> = jobs.collect();
        // Unordered: a large dimension must not hold up those after it.
        Ok(stream::iter(jobs).buffer_unordered(CONCURRENT_DIMENSIONS).collect().await)
    }

    /// Archives a slot of a dimension, and meters that.
    async fn archive_slot(
        &self,
        bigquery: &BigQuery,
        dimension: DimensionName,
        slot: Slot,
        clock: Clock,
        call: Call,
    ) -> (DimensionName, Entry) {
        let began = Instant::now();
        let (store, deadline) = (&self.store, call.deadline);
        let due = Due { store, bigquery, dimension: &dimension, slot, clock, deadline };
        let (end, usage) = usage::measured(slot::archive(&due)).await;
        log(&dimension, slot, &end);
        let entry = Entry::from(&end);
        metrics::write(run_metrics::slot_line(
            &self.metrics,
            clock.now(),
            (&dimension, slot),
            &entry,
            (&usage, began.elapsed()),
        ));
        (dimension, entry)
    }

    /// Keeps house in all dimensions, and meters that; the names of those that failed.
    async fn keep_house(&self, clock: Clock, call: Call) -> Result<Vec<String>, StoreError> {
        let began = Instant::now();
        let keep_house = Box::pin(self.store.keep_house(|| clock.now(), call.deadline));
        let (done, usage) = usage::measured(keep_house).await;
        let measured = (&usage, began.elapsed());
        metrics::write(run_metrics::housekeeping_line(&self.metrics, clock.now(), measured));
        let mut failed = Vec::new();
        for (dimension, result) in done? {
            match result {
                Ok(kept) if kept == Housekeeping::default() => {}
                Ok(kept) => tracing::info!(%dimension, ?kept, "kept house"),
                Err(cause) => {
                    tracing::error!(%dimension, ?cause, "housekeeping failed");
                    failed.push(dimension.to_string());
                }
            }
        }
        Ok(failed)
    }
}

/// When each table was made. None is known if the list can't be read, which is no reason to archive
/// nothing.
async fn tables(bigquery: &BigQuery, deadline: Deadline) -> BTreeMap<String, UnixSeconds> {
    let tables = bigquery.tables(deadline).await;
    tables.unwrap_or_else(|error| {
        tracing::warn!(cause = ?error, "the list of tables can't be read, for which the credentials \
            need bigquery.tables.list: new dimensions may come before others");
        BTreeMap::new()
    })
}

/// The first names, and how many there are beyond them.
fn named(names: &BTreeSet<String>) -> String {
    let first: Vec<_> = names.iter().take(MAX_NAMED_DIMENSIONS).map(String::as_str).collect();
    match names.len().saturating_sub(first.len()) {
        0 => first.join(", "),
        more => format!("{} and {more} more", first.join(", ")),
    }
}

/// Logs what became of a slot, and the cause of a failure.
fn log(dimension: &DimensionName, slot: Slot, end: &Result<SlotEnd, SlotError>) {
    let slot = rfc3339(slot.start());
    match end {
        Ok(SlotEnd::Written { rows, left_out }) => {
            let LeftOutCounts { beyond_64_bits: left_out, without_column } = left_out;
            tracing::info!(%dimension, slot, outcome = "written", rows, left_out, without_column, 
                "archived");
        }
        Ok(SlotEnd::WrittenBefore) => {
            tracing::info!(%dimension, slot, outcome = "writtenBefore", "archived before");
        }
        Ok(SlotEnd::Missed) => {
            tracing::error!(%dimension, slot, outcome = "missed", "the run came after the slot was over, \
                which is left empty");
        }
        Err(error) => {
            tracing::error!(%dimension, slot, outcome = "failed", cause = ?error, "{error}");
        }
    }
}
