//! Narrowing: a dimension that has cooled down becomes as cheap to read as one that never was hot.

use crate::{
    domain::{Cell, DimensionName, UnixSeconds},
    store::{Deadline, Store, StoreError, update::Consistency},
    table::{DimensionEntry, ItemKey, decode_key_count, move_key_count},
};

impl Store {
    /// Does the next step of narrowing a dimension whose `last` cell is the last that holds
    /// something; the number of its partitions, if there are fewer than before.
    pub(super) async fn narrow(
        &self,
        entry: &DimensionEntry,
        last: Cell,
        now: UnixSeconds,
        deadline: Deadline,
    ) -> Result<Option<u8>, StoreError> {
        let (dimension, read) = (&entry.name, entry.spread);
        let Some(spread) = read.narrowed_to(last, now) else {
            return Ok(None);
        };
        let is_lowered = spread.cells < read.cells;
        if is_lowered {
            let beyond = Cell::first(read.cells).filter(|cell| cell.number() >= spread.cells);
            self.gather_key_counts(dimension, beyond.collect(), deadline).await?;
        }
        // If somebody has changed it, the next run looks again.
        let is_changed = self.change_spread(dimension, read, spread, deadline).await?;
        Ok((is_lowered && is_changed).then_some(spread.cells))
    }

    /// Adds the numbers of keys in these cells, to which nobody writes any more, to the first one.
    ///
    /// Whoever counts the keys at that moment may miss some of them, and admit a few keys too many.
    async fn gather_key_counts(
        &self,
        dimension: &DimensionName,
        cells: Vec<Cell>,
        deadline: Deadline,
    ) -> Result<(), StoreError> {
        let key = |cell: &Cell| ItemKey::key_count(dimension, *cell);
        let items =
            self.get(cells.iter().map(key).collect(), Consistency::Strong, deadline).await?;
        for cell in &cells {
            let Some(item) = items.get(&key(cell)) else {
                continue;
            };
            let count = decode_key_count(item)?;
            let writes = move_key_count(&self.settings.table, dimension, *cell, count)?;
            // If it is cancelled, a new key was counted in the first cell, or an earlier attempt
            // succeeded.
            self.transact(writes, deadline).await?.map_err(StoreError::Unavailable)?;
        }
        Ok(())
    }
}
