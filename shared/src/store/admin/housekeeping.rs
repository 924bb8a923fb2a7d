//! Housekeeping: what has to be done now and then to keep reads and writes as cheap as they are at
//! first.
//!
//! - The cells of keys that have gone quiet are folded.
//! - A dimension that has cooled down is narrowed to fewer partitions.
//! - Gauges that have expired are removed.
//!
//! The partitions of a dimension beyond the first hold only what is still to be folded, so reading
//! those finds it. Most dimensions have none. Once a day, a sweep goes through the first partition,
//! a page in each run. A run on a table at rest thus reads the list of dimensions, and now and then
//! a page.

use std::time::Duration;

use super::Folded;
use crate::{
    domain::{DimensionName, UnixSeconds},
    store::{Deadline, Store, StoreError},
    table::DimensionEntry,
};

/// How often a sweep goes through a dimension.
pub(super) const SWEEPS_EVERY: Duration = Duration::from_secs(24 * 60 * 60);

/// What a run of housekeeping did in a dimension.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Housekeeping {
    /// What was folded.
    pub folded: Folded,
    /// Keys from which expired gauges were removed.
    pub swept: usize,
    /// The number of partitions that the dimension was narrowed to, if it was.
    pub narrowed_to: Option<u8>,
}

impl Store {
    /// Does what there is to do in every dimension, one after the other, by the `clock`; what was
    /// done, and what failed, by dimension.
    ///
    /// Exact whatever else is going on; queries show the same sums before, while and after. To
    /// repeat it is harmless, at the same time too.
    ///
    /// # Errors
    /// The list of dimensions can't be read.
    pub async fn keep_house(
        &self,
        clock: impl Fn() -> UnixSeconds,
        deadline: Deadline,
    ) -> Result<Vec<(DimensionName, Result<Housekeeping, StoreError>)>, StoreError> {
        let mut done = Vec::new();
        for entry in self.dimension_entries(deadline).await? {
            let result = self.keep_dimension(&entry, &clock, deadline).await;
            done.push((entry.name, result));
        }
        Ok(done)
    }

    async fn keep_dimension(
        &self,
        entry: &DimensionEntry,
        clock: &impl Fn() -> UnixSeconds,
        deadline: Deadline,
    ) -> Result<Housekeeping, StoreError> {
        let (folded, last) = self.fold(entry, clock, deadline).await?;
        let narrowed_to = self.narrow(entry, last, clock(), deadline).await?;
        let swept = self.sweep(entry, clock(), deadline).await?;
        Ok(Housekeeping { folded, swept, narrowed_to })
    }
}
