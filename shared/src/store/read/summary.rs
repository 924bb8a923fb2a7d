//! The reads of a query.

use futures_util::future::try_join;

use crate::{
    domain::{CountingCells, DimensionKey, DimensionName, DimensionSummary, KeyStats, UnixSeconds},
    store::{Deadline, Store, StoreError},
    table::{CorruptItem, Item, KeyRange, decode_counters, decode_dimension, decode_gauges},
};

impl Store {
    /// The dimensions that have ever been reported, in the order of their names.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn dimensions(&self, deadline: Deadline) -> Result<Vec<DimensionName>, StoreError> {
        let mut dimensions = Vec::new();
        self.read_range(&KeyRange::dimensions(), deadline, |item| {
            dimensions.push(decode_dimension(item)?);
            Ok(())
        })
        .await?;
        dimensions.sort();
        Ok(dimensions)
    }

    /// The stats of all keys of a dimension, with the gauges of the period that contains `now` and
    /// of the one before; empty for an unknown dimension.
    ///
    /// Reads are consistent: they see everything that was acknowledged before.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn summary(
        &self,
        dimension: &DimensionName,
        now: UnixSeconds,
        deadline: Deadline,
    ) -> Result<DimensionSummary, StoreError> {
        let current = self.settings.period_length.containing(now);
        let prior = self.settings.period_length.prior(current);
        let gauges = KeyRange::gauges(dimension, prior, current);
        let counters = KeyRange::counters(dimension);
        let mut counting = CountingCells::default();
        let (counters, gauges) = try_join(
            self.read_rollups(&counters, deadline, |item| {
                let cell = decode_counters(item)?;
                Ok(counting.counts(&cell).then_some((cell.key, cell.stats)))
            }),
            self.read_rollups(&gauges, deadline, |item| decode_gauges(item, current).map(Some)),
        )
        .await?;

        let mut summary = DimensionSummary::default();
        for (key, stats) in counters.into_iter().chain(gauges) {
            summary.add(key, &stats)?;
        }
        Ok(summary)
    }

    async fn read_rollups(
        &self,
        range: &KeyRange,
        deadline: Deadline,
        mut decode: impl FnMut(&Item) -> Result<Option<(DimensionKey, KeyStats)>, CorruptItem>,
    ) -> Result<Vec<(DimensionKey, KeyStats)>, StoreError> {
        let mut rollups = Vec::new();
        self.read_range(range, deadline, |item| {
            rollups.extend(decode(item)?);
            Ok(())
        })
        .await?;
        Ok(rollups)
    }
}
