//! Folding: the cells of keys that have gone quiet become one again.

use std::collections::BTreeMap;

use crate::{
    domain::{
        Cell, DimensionKey, Direction, FoldStep, RollupCell, RollupKey, UnixSeconds, split_first,
    },
    store::{Deadline, Store, StoreError, read::cell_reader::CellReader, update::Consistency},
    table::{DimensionEntry, ItemKey, decode_rollup, fold_writes},
};

/// The most keys whose first cells are read at once: those of a batch.
const KEYS_AT_ONCE: usize = 100;

/// What a run of folding did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Folded {
    /// Cells whose sums were added to the first cell of their key.
    pub absorbed: usize,
    /// Cells that were emptied, having been absorbed earlier.
    pub emptied: usize,
    /// Keys whose folding is complete.
    pub completed: usize,
    /// Keys that are left for the next run, because somebody wrote to them at the same time or a
    /// sum does not fit.
    pub postponed: usize,
}

/// The cells of keys besides the first ones, by key.
type Others = BTreeMap<DimensionKey, Vec<RollupCell>>;

impl Store {
    /// Does the next step of folding the keys of a dimension, where there is one to do by the
    /// `clock`; also returns the last cell that holds something.
    ///
    /// A step notes when it was done, from which the next one counts how long readers may still see
    /// what was before. A run takes minutes, so the `clock` is asked for each step.
    pub(super) async fn fold(
        &self,
        entry: &DimensionEntry,
        clock: &impl Fn() -> UnixSeconds,
        deadline: Deadline,
    ) -> Result<(Folded, Cell), StoreError> {
        let mut reader = CellReader::new(Direction::Forward);
        let others = Cell::first(entry.spread.cells).filter(|cell| *cell != Cell::FIRST);
        reader.add(self, &entry.name, others, deadline);
        let (mut folded, mut last) = (Folded::default(), Cell::FIRST);
        let mut chunk = Others::new();
        loop {
            let cells = reader.next().await?;
            let is_over = cells.is_empty();
            if let Some(cell) = cells.first() {
                chunk.insert(cell.key.clone(), cells);
            }
            if chunk.len() == KEYS_AT_ONCE || is_over {
                let of_chunk = std::mem::take(&mut chunk);
                self.fold_keys(entry, of_chunk, clock, deadline, &mut folded, &mut last).await?;
            }
            if is_over {
                return Ok((folded, last));
            }
        }
    }

    async fn fold_keys(
        &self,
        entry: &DimensionEntry,
        others: Others,
        clock: &impl Fn() -> UnixSeconds,
        deadline: Deadline,
        folded: &mut Folded,
        last: &mut Cell,
    ) -> Result<(), StoreError> {
        let of = |key: &DimensionKey| RollupKey { dimension: entry.name.clone(), key: key.clone() };
        let first_cell = |key: &DimensionKey| ItemKey::rollup(&of(key), Cell::FIRST);
        let first_cells = others.keys().map(first_cell).collect();
        let first_cells = self.get(first_cells, Consistency::Strong, deadline).await?;
        for (key, mut cells) in others {
            let first = first_cells.get(&first_cell(&key)).map(decode_rollup).transpose()?;
            cells.extend(first);
            let (first, others) = split_first(cells);
            *last = others.iter().map(|(other, _)| other.cell).fold(*last, Cell::max);
            let now = clock();
            match FoldStep::next(&first, &others, self.settings.period_length, now) {
                Ok(Some(step)) => self.do_step(&of(&key), &step, now, deadline, folded).await?,
                Ok(None) => {}
                Err(_) => folded.postponed += 1,
            }
        }
        Ok(())
    }

    async fn do_step(
        &self,
        of: &RollupKey,
        step: &FoldStep,
        now: UnixSeconds,
        deadline: Deadline,
        folded: &mut Folded,
    ) -> Result<(), StoreError> {
        let writes = fold_writes(step, &self.settings.table, of, now)?;
        // Somebody wrote to a cell, or an earlier attempt did this step and its answer was lost.
        if self.transact(writes, deadline).await?.is_err() {
            folded.postponed += 1;
            return Ok(());
        }
        match step {
            FoldStep::Absorb { cells, .. } => folded.absorbed += cells.len(),
            FoldStep::Empty { cells, .. } => folded.emptied += cells.len(),
            FoldStep::Forget { .. } => folded.completed += 1,
        }
        Ok(())
    }
}
