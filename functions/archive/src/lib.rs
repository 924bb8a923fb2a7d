//! The scheduled job. For each dimension that is due, it writes the stats of the dimension's keys
//! to BigQuery, and folds the cells of keys that have gone quiet.

mod clock;
mod due;
mod report;
mod rows;
mod schedule;
mod slot;
mod slot_error;
mod slot_metrics;
mod transfer;
mod widen;

use std::time::Instant;

use bigquery::{BigQuery, Pace};
use futures_util::{StreamExt, stream};
use lambda_runtime::Diagnostic;
use serde::Deserialize;
use shared::{
    domain::DimensionName,
    lambda::{Call, metrics::Metrics},
    store::{FoldPlan, Folded, Store, StoreError},
    usage,
};

pub use report::{Entry, Report, SlotOutcome};
pub use schedule::{Schedule, Slot, TimeError};
pub use slot::SlotEnd;
pub use slot_error::SlotError;

use clock::Clock;
use due::Due;
use rows::rfc3339;

/// The most dimensions that a run archives at once: for each it holds some pages of the table, and
/// rows.
const CONCURRENT_DIMENSIONS: usize = 3;

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
    /// Some dimensions failed; the others are done. The log has the causes.
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
    /// The function on this store, with this schedule. Without BigQuery it only folds.
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
        let bigquery =
            config.map(|config| BigQuery::new(&config, Pace::default(), fastrand::Rng::new()));
        let function = Self::new(store, schedule, bigquery.transpose()?);
        Ok(Self { metrics: slot_metrics::start()?, ..function })
    }

    /// Archives and folds the dimensions that are due at the event's time.
    ///
    /// # Errors
    /// The event has no time, the list of dimensions can't be read, or some dimensions failed; the
    /// others are done all the same.
    pub async fn run(&self, event: &ScheduleEvent, call: Call) -> Result<Report, ArchiveError> {
        let step = self.schedule.step_at(&event.time)?;
        if self.bigquery.is_none() {
            tracing::info!("archiving is not configured: set GOOGLE_PROJECT and GOOGLE_TOKEN");
        }
        let dimensions = self.store.dimensions(call.deadline).await?;
        let slot = |dimension: &DimensionName| self.schedule.slot(dimension, step);
        let due = dimensions.iter().filter_map(|dimension| Some((dimension, slot(dimension)?)));
        let clock = Clock::starting_at(call.now);
        // Boxed: the types of the SDK's futures nest too deeply for the compiler.
        let jobs: Vec<_> = due
            .map(|(dimension, slot)| Box::pin(self.dimension(dimension, slot, clock, call)))
            .collect();
        let done: Vec<_> = stream::iter(jobs).buffered(CONCURRENT_DIMENSIONS).collect().await;
        let failed: Vec<_> = done.iter().filter(|done| done.has_failed).collect();
        if !failed.is_empty() {
            let names: Vec<_> = failed.iter().map(|done| done.dimension.as_str()).collect();
            return Err(ArchiveError::Dimensions(names.join(", ")));
        }
        let entries =
            done.iter().filter_map(|done| Some((done.dimension.to_string(), done.entry.clone()?)));
        Ok(Report {
            slot: rfc3339(step),
            archiving: self.bigquery.is_some(),
            dimensions: entries.collect(),
        })
    }

    /// Archives and folds a dimension, and meters that.
    async fn dimension<'a>(
        &self,
        dimension: &'a DimensionName,
        slot: Slot,
        clock: Clock,
        call: Call,
    ) -> Done<'a> {
        let began = Instant::now();
        let (done, usage) =
            usage::measured(self.archive_and_fold(dimension, slot, clock, call)).await;
        let entry = done.entry.as_ref();
        slot_metrics::write(self.metrics, dimension, slot, entry, &usage, began.elapsed());
        done
    }

    async fn archive_and_fold<'a>(
        &self,
        dimension: &'a DimensionName,
        slot: Slot,
        clock: Clock,
        call: Call,
    ) -> Done<'a> {
        let mut done = Done { dimension, entry: None, has_failed: false };
        let mut plan = None;
        if let Some(bigquery) = &self.bigquery {
            let (store, deadline) = (&self.store, call.deadline);
            let due = Due { store, bigquery, dimension, slot, clock, deadline };
            let archived = slot::archive(&due).await;
            plan = archived.plan;
            log(dimension, slot, &archived.end);
            done.has_failed = archived.end.is_err();
            done.entry = Some(Entry::from(&archived.end));
        }
        // The run that wrote the slot folded it.
        let is_folded =
            matches!(&done.entry, Some(entry) if entry.outcome == SlotOutcome::WrittenBefore);
        if !is_folded && let Err(error) = self.fold(dimension, plan, clock, call).await {
            tracing::error!(%dimension, cause = ?error, "cells could not be folded");
            done.has_failed = true;
        }
        done
    }

    /// Folds as planned while archiving read the dimension; without a plan, reads the dimension.
    async fn fold(
        &self,
        dimension: &DimensionName,
        plan: Option<FoldPlan>,
        clock: Clock,
        call: Call,
    ) -> Result<(), StoreError> {
        let folded = match plan {
            Some(plan) => {
                self.store.do_steps(dimension, plan, || clock.now(), call.deadline).await?
            }
            None => self.store.fold(dimension, || clock.now(), call.deadline).await?,
        };
        if folded != Folded::default() {
            tracing::info!(%dimension, ?folded, "folded cells of quiet keys");
        }
        Ok(())
    }
}

/// What a run did for a dimension.
#[derive(Debug)]
struct Done<'a> {
    dimension: &'a DimensionName,
    /// What came of archiving, if that is configured.
    entry: Option<Entry>,
    has_failed: bool,
}

/// Logs what became of a slot, and the cause of a failure.
fn log(dimension: &DimensionName, slot: Slot, end: &Result<SlotEnd, SlotError>) {
    let slot = rfc3339(slot.start());
    match end {
        Ok(SlotEnd::Written { rows, left_out }) => {
            tracing::info!(%dimension, slot, outcome = "written", rows, left_out, "archived");
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
