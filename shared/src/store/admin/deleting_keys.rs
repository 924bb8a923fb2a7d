//! Deleting what counts under some keys, or some stats under all of them.
//!
//! Only details know what rollups hold of them, and only a scan finds the details. So the whole
//! table is read once: what ids hold there is taken out, and sets are deleted, each with its number
//! of members. Then the rollups have nothing but zeros, and what was reported in the meantime. The
//! zeros are removed, and keys of which nothing is left.

use std::collections::BTreeSet;

use super::{
    DeletionRun,
    deleting::{DeletionMode, count},
};
use crate::{
    domain::{
        Cell, Deletion, DeletionOfAllIds, DimensionName, KeySelection, RollupKey, Spread, StepSize,
    },
    store::{Store, StoreError, failure::Failure, store_error::Cause, update::Consistency},
    table::{
        ClearError, Item, ItemKey, StoredDeparture, StoredRollup, StoredShard, decode_detail,
        decode_dimension, decode_key_count, decode_rollup, delete_dimension, delete_key,
        item_bytes, mark_vacated,
    },
};

/// The most items of a page of the scan.
const ITEMS_AT_ONCE: i32 = 500;

impl Store {
    /// Deletes what a deletion covers, of all ids. What ids report there meanwhile may be deleted
    /// too; from then on they count from zero, or from what they reported last if it is their key
    /// that was deleted.
    ///
    /// # Errors
    /// See [`StoreError`]. Each transaction is complete or was not carried out, and a repetition
    /// does what is left.
    pub async fn delete_of_all_ids(
        &self,
        deletion: &DeletionOfAllIds,
        run: &mut DeletionRun<'_>,
    ) -> Result<(), StoreError> {
        let deletion = &self.deletion_of_each(deletion, run).await?;
        let mut last = None;
        let mut start = None;
        loop {
            let consistency = match run.mode {
                DeletionMode::Preview => Consistency::Eventual,
                DeletionMode::Delete => Consistency::Strong,
            };
            let (limit, deadline) = (Some(ITEMS_AT_ONCE), run.deadline());
            let page = self.scan_page(start, limit, consistency, run.pacer, deadline).await?;
            run.report();
            for item in page.items {
                self.delete_found(&item, deletion, &mut last, run).await?;
            }
            start = page.next;
            if start.is_none() {
                break;
            }
        }
        match run.mode {
            DeletionMode::Preview => Ok(()),
            DeletionMode::Delete => self.clear(deletion, run).await,
        }
    }

    /// What is deleted of each id. Keys with a prefix are found first: the table has hashes of those
    /// whose names are long.
    async fn deletion_of_each(
        &self,
        deletion: &DeletionOfAllIds,
        run: &mut DeletionRun<'_>,
    ) -> Result<Deletion, StoreError> {
        let (dimension, selection) = match deletion {
            DeletionOfAllIds::Stats(pattern) => return Ok(Deletion::Stats(pattern.clone())),
            DeletionOfAllIds::Keys(dimension, selection) => (dimension, selection),
        };
        let keys = match selection {
            KeySelection::All => None,
            KeySelection::These(keys) => Some(keys.clone()),
            KeySelection::WithPrefix(_) => {
                let mut keys = BTreeSet::new();
                let mut after = None;
                loop {
                    let page = self.stats_after(dimension, selection, after.as_ref(), run).await?;
                    let Some((last, _)) = page.last() else {
                        break Some(keys);
                    };
                    after = Some(last.clone());
                    // Long names are read whatever they begin with.
                    let page = page.into_iter().map(|(key, _)| key);
                    keys.extend(page.filter(|key| selection.contains(key)));
                }
            }
        };
        Ok(Deletion::Keys(dimension.clone(), keys))
    }

    /// Deletes what an item says that there is to delete. The items of an id come one after the
    /// other, and all of it is deleted with the first of them: `last` is the detail of that id.
    async fn delete_found(
        &self,
        item: &Item,
        deletion: &Deletion,
        last: &mut Option<ItemKey>,
        run: &mut DeletionRun<'_>,
    ) -> Result<(), StoreError> {
        let Some(key) = ItemKey::of_item(item) else {
            return Ok(());
        };
        if let Some(detail) = key.detail_of_id() {
            let is_found = match detail == key {
                true => self.note_detail(item, deletion, run)?,
                false => note_departure(item, deletion, run)?,
            };
            if is_found && run.mode == DeletionMode::Delete && last.as_ref() != Some(&detail) {
                self.delete_of_id(&detail, deletion, run).await?;
                *last = Some(detail);
            }
        } else if let Some(shard) = StoredShard::of_key_covered_by(deletion, item)? {
            self.delete_shard(shard, item, deletion, run).await?;
        } else if run.mode == DeletionMode::Preview && key.is_key_covered_by(deletion) {
            run.deleted.keys += 1;
        }
        Ok(())
    }

    /// Whether there is something of a detail to delete. A preview notes it.
    fn note_detail(
        &self,
        item: &Item,
        deletion: &Deletion,
        run: &mut DeletionRun<'_>,
    ) -> Result<bool, StoreError> {
        let now = (run.clock)();
        let counts = |period| !self.settings.period_length.has_expired(period, now);
        let detail = decode_detail(item)?.detail;
        let Some(step) = deletion.step(&detail, counts, StepSize::UNLIMITED)? else {
            return Ok(false);
        };
        if run.mode == DeletionMode::Preview {
            run.deleted.ids += 1;
            run.deleted.bytes += count(item_bytes(item));
            run.deleted.add_step(&step);
        }
        Ok(true)
    }

    /// Deletes a shard of a set, if it still is as it was read, or as it is found to be.
    async fn delete_shard(
        &self,
        mut shard: StoredShard,
        item: &Item,
        deletion: &Deletion,
        run: &mut DeletionRun<'_>,
    ) -> Result<(), StoreError> {
        let mut backoff = self.backoff(run.deadline());
        let bytes = count(item_bytes(item));
        loop {
            if shard.stat().is_none() {
                let cells = self.cells_of(&shard.rollup, run).await?;
                let cells = cells.iter().map(decode_rollup).collect::<Result<Vec<_>, _>>()?;
                shard.find_stat(cells.iter().flat_map(|cell| cell.sums.members.keys()));
            }
            if !shard.stat().is_some_and(|stat| deletion.covers_stat(stat)) {
                return Ok(());
            }
            let Some(actions) = shard.deleted(&self.settings.table)? else {
                return Ok(());
            };
            let Some(cause) = self.write(actions, run).await? else {
                run.deleted.members += count(shard.members);
                run.deleted.shards += 1;
                run.deleted.rollups += 1;
                run.deleted.bytes += bytes;
                return Ok(());
            };
            backoff.wait(Failure::InTheWay, cause).await?;
            let read = self.get([shard.key.clone()].into(), Consistency::Strong, run.deadline());
            let found = run.pacer.run(read).await?.remove(&shard.key);
            let Some(found) = found else {
                return Ok(());
            };
            let Some(found) = StoredShard::of_key_covered_by(deletion, &found)? else {
                return Ok(());
            };
            shard = found;
        }
    }

    /// The cells of the rollup with this first cell, as far as they exist.
    async fn cells_of(
        &self,
        first_cell: &ItemKey,
        run: &mut DeletionRun<'_>,
    ) -> Result<Vec<Item>, StoreError> {
        let cells = first_cell.cells(Cell::MOST);
        let read = self.get(cells.iter().cloned().collect(), Consistency::Strong, run.deadline());
        let mut found = run.pacer.run(read).await?;
        // In their order: the first cell says which of the others count.
        Ok(cells.iter().filter_map(|cell| found.remove(cell)).collect())
    }

    /// Removes what is zero now, and keys of which nothing is left.
    async fn clear(
        &self,
        deletion: &Deletion,
        run: &mut DeletionRun<'_>,
    ) -> Result<(), StoreError> {
        if let Deletion::Keys(dimension, Some(keys)) = deletion {
            for key in keys {
                let of = RollupKey { dimension: dimension.clone(), key: key.clone() };
                self.clear_key(&of, deletion, run).await?;
            }
            return Ok(());
        }
        for dimension in self.dimensions(run.deadline()).await? {
            if matches!(deletion, Deletion::Keys(of, _) if *of != dimension) {
                continue;
            }
            let mut after = None;
            loop {
                let page =
                    self.stats_after(&dimension, &KeySelection::All, after.as_ref(), run).await?;
                let Some((last, _)) = page.last() else {
                    break;
                };
                after = Some(last.clone());
                for (key, stats) in page {
                    let of = RollupKey { dimension: dimension.clone(), key };
                    let is_affected = match deletion {
                        Deletion::Stats(_) => stats.names().any(|stat| deletion.covers_stat(stat)),
                        _ => true,
                    };
                    if is_affected {
                        self.clear_key(&of, deletion, run).await?;
                    }
                }
            }
            if let Deletion::Keys(..) = deletion {
                self.delete_empty_dimension(&dimension, run).await?;
            }
        }
        Ok(())
    }

    /// Takes a dimension off the list, unless it has keys.
    async fn delete_empty_dimension(
        &self,
        dimension: &DimensionName,
        run: &mut DeletionRun<'_>,
    ) -> Result<(), StoreError> {
        let mut backoff = self.backoff(run.deadline());
        let entry = ItemKey::dimension(dimension);
        let key_count = ItemKey::key_count(dimension, Cell::FIRST);
        loop {
            let keys = [entry.clone(), key_count.clone()].into();
            let read = self.get(keys, Consistency::Strong, run.deadline());
            let found = run.pacer.run(read).await?;
            let Some(listed) = found.get(&entry) else {
                return Ok(());
            };
            let keys = found.get(&key_count).map(decode_key_count).transpose()?;
            let is_empty =
                self.stats_after(dimension, &KeySelection::All, None, run).await?.is_empty();
            let spread = decode_dimension(listed)?.spread;
            if !is_empty || keys.unwrap_or_default() > 0 || spread != Spread::ONE {
                return Ok(());
            }
            let actions = delete_dimension(&self.settings.table, dimension, keys.is_some())?;
            let Some(cause) = self.write(actions, run).await? else {
                return Ok(());
            };
            backoff.wait(Failure::InTheWay, cause).await?;
        }
    }

    async fn clear_key(
        &self,
        of: &RollupKey,
        deletion: &Deletion,
        run: &mut DeletionRun<'_>,
    ) -> Result<(), StoreError> {
        let mut backoff = self.backoff(run.deadline());
        loop {
            match self.try_to_clear(of, deletion, run).await? {
                Cleared::Done => return Ok(()),
                Cleared::Left => {
                    run.deleted.keys_left += 1;
                    return Ok(());
                }
                Cleared::MoreLeft => {}
                Cleared::Overtaken(cause) => backoff.wait(Failure::InTheWay, cause).await?,
            }
        }
    }

    async fn try_to_clear(
        &self,
        of: &RollupKey,
        deletion: &Deletion,
        run: &mut DeletionRun<'_>,
    ) -> Result<Cleared, StoreError> {
        let first_cell = ItemKey::rollup(of, Cell::FIRST);
        let entry = ItemKey::dimension(&of.dimension);
        // Most dimensions have one partition, and most keys one cell.
        let keys = [entry.clone(), first_cell.clone()].into();
        let read = self.get(keys, Consistency::Strong, run.deadline());
        let mut found = run.pacer.run(read).await?;
        let entry = found.get(&entry).map(decode_dimension).transpose()?;
        let spread = entry.map_or(Spread::ONE, |entry| entry.spread);
        let cells = first_cell.cells(spread.cells);
        if spread != Spread::ONE {
            let all = cells.iter().cloned().collect();
            let read = self.get(all, Consistency::Strong, run.deadline());
            found = run.pacer.run(read).await?;
        }
        let rollup = StoredRollup::new(cells.iter().filter_map(|cell| found.remove(cell)))?;

        let now = (run.clock)();
        let has_expired = |period| self.settings.period_length.has_expired(period, now);
        let Some(removable) = rollup.removable(|stat| deletion.covers_stat(stat), has_expired)?
        else {
            return Ok(Cleared::Left);
        };
        if !removable.is_empty() {
            let actions = rollup.clear(&self.settings.table, &removable)?;
            let is_done = matches!(deletion, Deletion::Stats(_)) && removable.is_all();
            return Ok(match (self.write(actions, run).await?, is_done) {
                (Some(cause), _) => Cleared::Overtaken(cause),
                (None, true) => Cleared::Done,
                (None, false) => Cleared::MoreLeft,
            });
        }
        if matches!(deletion, Deletion::Stats(_)) || rollup.is_absent() {
            return Ok(Cleared::Done);
        }
        match rollup.is_empty_key() && spread == Spread::ONE {
            true => self.delete_empty_key(of, run).await,
            false => Ok(Cleared::Left),
        }
    }

    /// Deletes a key of which only the first cell is left, unless somebody writes to it. The mark is
    /// what the deletion goes by: whoever writes to the cell removes it.
    async fn delete_empty_key(
        &self,
        of: &RollupKey,
        run: &mut DeletionRun<'_>,
    ) -> Result<Cleared, StoreError> {
        let (table, mark) = (&self.settings.table, self.new_update_token());
        if let Some(cause) = self.write(mark_vacated(table, of, mark)?, run).await? {
            return Ok(Cleared::Overtaken(cause));
        }
        let first_cell = ItemKey::rollup(of, Cell::FIRST);
        let key_count = ItemKey::key_count(&of.dimension, Cell::FIRST);
        let keys = [first_cell.clone(), key_count.clone()].into();
        let read = self.get(keys, Consistency::Strong, run.deadline());
        let mut found = run.pacer.run(read).await?;
        if !StoredRollup::new(found.remove(&first_cell))?.is_vacated_by(mark) {
            return Ok(Cleared::MoreLeft);
        }
        let keys = found.get(&key_count).map(decode_key_count).transpose()?;
        let is_counted = keys.is_some_and(|keys| keys > 0);
        let actions = delete_key(table, of, mark, is_counted)?;
        if let Some(cause) = self.write(actions, run).await? {
            return Ok(Cleared::Overtaken(cause));
        }
        run.deleted.keys += 1;
        Ok(Cleared::Done)
    }
}

/// How far the clearing of a key has come.
enum Cleared {
    /// There is nothing left to remove.
    Done,
    /// Something is left that this run can't remove.
    Left,
    /// It has to be looked at again.
    MoreLeft,
    /// Another writer was faster.
    Overtaken(Cause),
}

/// Whether this is something to delete that an id left behind. A preview notes it.
fn note_departure(
    item: &Item,
    deletion: &Deletion,
    run: &mut DeletionRun<'_>,
) -> Result<bool, StoreError> {
    let Some(departure) = StoredDeparture::covered_by(deletion, item)? else {
        return Ok(false);
    };
    if run.mode == DeletionMode::Preview {
        run.deleted.add_departure(&departure, item);
    }
    Ok(true)
}

impl From<ClearError> for StoreError {
    fn from(error: ClearError) -> Self {
        match error {
            ClearError::Corrupt(corrupt) => corrupt.into(),
            ClearError::Overflow(overflow) => overflow.into(),
        }
    }
}
