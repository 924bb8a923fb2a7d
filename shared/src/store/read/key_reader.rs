//! Reads a dimension key by key, in memory that does not grow with the number of its keys.

use futures_util::future::try_join;

use super::cell_reader::CellReader;
use crate::{
    domain::{
        Cell, DimensionKey, DimensionName, KeyStats, Period, Spread, UnixSeconds, sum_of_cells,
    },
    store::{Deadline, Store, StoreError, update::Consistency},
    table::{DimensionEntry, ItemKey, decode_dimension},
};

/// The stats of a dimension's keys, one after another.
#[derive(Debug)]
pub struct KeyReader<'a> {
    store: &'a Store,
    dimension: DimensionName,
    prior: Period,
    current: Period,
    deadline: Deadline,
    cells: CellReader<'a>,
    is_started: bool,
}

impl Store {
    /// Reads the stats of all keys of a dimension, with the gauges of the period that contains
    /// `now` and of the one before: the same as [`Self::summary`], but one key at a time.
    #[must_use]
    pub fn keys(
        &self,
        dimension: &DimensionName,
        now: UnixSeconds,
        deadline: Deadline,
    ) -> KeyReader<'_> {
        let current = self.settings.period_length.containing(now);
        KeyReader {
            store: self,
            dimension: dimension.clone(),
            prior: self.settings.period_length.prior(current),
            current,
            deadline,
            cells: CellReader::new(),
            is_started: false,
        }
    }

    /// The entry of a dimension in the list of dimensions; `None` if it is not there.
    pub(in crate::store) async fn dimension_entry(
        &self,
        dimension: &DimensionName,
        deadline: Deadline,
    ) -> Result<Option<DimensionEntry>, StoreError> {
        let entry = [ItemKey::dimension(dimension)].into();
        let found = self.get(entry, Consistency::Strong, deadline).await?;
        Ok(found.values().next().map(decode_dimension).transpose()?)
    }
}

impl KeyReader<'_> {
    /// The next key and its stats; none at the end. Keys that have none at the moment are left out,
    /// such as those whose gauges have expired.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn next(&mut self) -> Result<Option<(DimensionKey, KeyStats)>, StoreError> {
        if !self.is_started {
            self.start().await?;
        }
        loop {
            let cells = self.cells.next().await?;
            let Some(key) = cells.first().map(|cell| cell.key.clone()) else {
                return Ok(None);
            };
            let stats = sum_of_cells(cells)?.stats(self.prior, self.current);
            if stats != KeyStats::default() {
                return Ok(Some((key, stats)));
            }
        }
    }

    /// A cold dimension, which has one partition, takes one round trip. A writer raises the number
    /// before it writes, so one that is read now covers all that was acknowledged before.
    async fn start(&mut self) -> Result<(), StoreError> {
        let (store, dimension, deadline) = (self.store, self.dimension.clone(), self.deadline);
        self.cells.add(store, &dimension, [Cell::FIRST], deadline);
        let entry = store.dimension_entry(&dimension, deadline);
        let (entry, ()) = try_join(entry, self.cells.fill()).await?;
        let spread = entry.map_or(Spread::ONE, |entry| entry.spread);
        let others = Cell::first(spread.cells).filter(|cell| *cell != Cell::FIRST);
        self.cells.add(store, &dimension, others, deadline);
        self.is_started = true;
        Ok(())
    }
}
