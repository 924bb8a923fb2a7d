//! Reads of the list of dimensions, and of a whole dimension at once.

use crate::{
    domain::{DimensionName, DimensionSummary, UnixSeconds},
    store::{Deadline, Store, StoreError},
    table::{DimensionEntry, Partition, decode_dimension},
};

impl Store {
    /// The dimensions that have ever been reported, in the order of their names.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn dimensions(&self, deadline: Deadline) -> Result<Vec<DimensionName>, StoreError> {
        let entries = self.dimension_entries(deadline).await?;
        Ok(entries.into_iter().map(|entry| entry.name).collect())
    }

    /// The entries of all dimensions, in the order of their names.
    pub(in crate::store) async fn dimension_entries(
        &self,
        deadline: Deadline,
    ) -> Result<Vec<DimensionEntry>, StoreError> {
        let mut items = self.items(Partition::dimensions(), None, deadline);
        let mut entries = Vec::new();
        while let Some(item) = items.next().await? {
            entries.push(decode_dimension(&item)?);
        }
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(entries)
    }

    /// The stats of all keys of a dimension, with the gauges of the period that contains `now` and
    /// of the one before; empty for an unknown dimension. It holds them all: queries read key by
    /// key.
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
        let mut keys = self.keys(dimension, now, deadline);
        let mut summary = DimensionSummary::default();
        while let Some((key, stats)) = keys.next().await? {
            summary.add(key, &stats)?;
        }
        Ok(summary)
    }
}
