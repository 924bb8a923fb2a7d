//! The scheduled job. It finds out which dimensions are due, and folds the cells of their keys; to write
//! them to BigQuery is still to come, so it says what it would write.

mod schedule;

use serde::Deserialize;
use shared::{
    domain::DimensionName,
    lambda::Call,
    store::{Folded, Store, StoreError},
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

pub use schedule::{Schedule, ScheduleError, Slot};

/// The part of an EventBridge schedule's event that counts: its time decides the slot, never the clock.
#[derive(Debug, Clone, Deserialize)]
pub struct ScheduleEvent {
    /// The time that the event was scheduled for, by RFC 3339.
    pub time: String,
}

/// Why a run failed.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The event's time is not one.
    #[error("the event's time {0:?} is not a time since 1970 by RFC 3339")]
    Time(String),
    /// The store failed.
    #[error("the dimensions can't be read")]
    Store(#[from] StoreError),
    /// The cells of some dimensions could not be folded. The others were.
    #[error("the cells of {0} could not be folded")]
    Fold(String),
}

/// The function that archives.
#[derive(Debug)]
pub struct Function {
    store: Store,
    schedule: Schedule,
}

impl Function {
    /// The function on this store, with this schedule.
    #[must_use]
    pub fn new(store: Store, schedule: Schedule) -> Self {
        Self { store, schedule }
    }

    /// Does the job for the dimensions that are due at the event's time, and returns them.
    ///
    /// # Errors
    /// The event has no time, the dimensions can't be read, or some of them failed; the others are done
    /// all the same.
    pub async fn run(
        &self,
        event: &ScheduleEvent,
        call: Call,
    ) -> Result<Vec<DimensionName>, ArchiveError> {
        let slot = slot(&event.time)?;
        let mut due = self.store.dimensions(call.deadline).await?;
        due.retain(|dimension| self.schedule.is_due(dimension, slot));
        let names: Vec<_> = due.iter().map(DimensionName::as_str).collect();
        tracing::info!(slot = slot.start().0, due = ?names, "archiving to BigQuery is not built yet");
        self.fold(&due, call).await?;
        Ok(due)
    }

    async fn fold(&self, dimensions: &[DimensionName], call: Call) -> Result<(), ArchiveError> {
        let mut failed = Vec::new();
        for dimension in dimensions {
            match self.store.fold(dimension, call.now, call.deadline).await {
                Ok(folded) if folded == Folded::default() => {}
                Ok(folded) => tracing::info!(%dimension, ?folded, "folded cells of quiet keys"),
                Err(error) => {
                    tracing::error!(%dimension, cause = ?error, "{error}");
                    failed.push(dimension.as_str());
                }
            }
        }
        match failed.is_empty() {
            true => Ok(()),
            false => Err(ArchiveError::Fold(failed.join(", "))),
        }
    }
}

fn slot(time: &str) -> Result<Slot, ArchiveError> {
    OffsetDateTime::parse(time, &Rfc3339)
        .ok()
        .and_then(|time| u64::try_from(time.unix_timestamp()).ok())
        .map(Slot::containing)
        .ok_or_else(|| ArchiveError::Time(time.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slot_is_the_event_time_truncated_to_ten_minutes() {
        assert_eq!(slot("1970-01-01T00:29:59Z").unwrap().start().0, 1_200);
        assert_eq!(slot("1970-01-01T02:00:00+01:00").unwrap().start().0, 3_600);
        for wrong in ["", "now", "1969-12-31T23:59:59Z"] {
            assert!(slot(wrong).is_err(), "{wrong:?}");
        }
    }
}
