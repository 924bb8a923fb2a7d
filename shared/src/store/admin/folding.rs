//! Folding: the cells of keys that have gone quiet become one again.

use crate::{
    domain::{CounterCell, DimensionKey, DimensionName, FoldStep, RollupKey, UnixSeconds},
    store::{Deadline, Store, StoreError, failure::was_cancelled, send::Next},
    table::{KeyRange, decode_counters, fold_writes},
};

/// What a run of folding did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Folded {
    /// Cells whose sums were added to the first cell of their key.
    pub absorbed: usize,
    /// Cells that were deleted, having been absorbed earlier.
    pub removed: usize,
    /// Keys whose folding is complete.
    pub completed: usize,
    /// Keys that are left for the next run, because somebody wrote to them at the same time or a
    /// sum does not fit.
    pub postponed: usize,
}

/// The next steps of folding for a dimension, chosen while its cells were read.
#[derive(Debug, Default)]
pub struct FoldPlan {
    steps: Vec<(DimensionKey, FoldStep)>,
    /// Keys whose sum would not fit.
    postponed: usize,
}

impl FoldPlan {
    /// Chooses the next step for a key, given all of its cells.
    pub(in crate::store) fn note(&mut self, cells: &[CounterCell], now: UnixSeconds) {
        let Some(first) = cells.first() else {
            return;
        };
        match FoldStep::next(cells, now) {
            Ok(Some(step)) => self.steps.push((first.key.clone(), step)),
            Ok(None) => {}
            Err(_) => self.postponed += 1,
        }
    }
}

impl Store {
    /// Does the next step of folding for each of a dimension's keys, if one is due by the `clock`.
    /// It folds counters only: gauges expire first.
    ///
    /// This is exact whatever else is going on. Queries show the same sums before, during and after
    /// it.
    ///
    /// # Errors
    /// See [`StoreError`]. Repeating it is harmless.
    pub async fn fold(
        &self,
        dimension: &DimensionName,
        clock: impl Fn() -> UnixSeconds,
        deadline: Deadline,
    ) -> Result<Folded, StoreError> {
        let now = clock();
        let mut plan = FoldPlan::default();
        let mut cells: Vec<CounterCell> = Vec::new();
        self.read_range(&KeyRange::counters(dimension), deadline, |item| {
            let cell = decode_counters(item)?;
            if cells.first().is_some_and(|first| first.key != cell.key) {
                plan.note(&cells, now);
                cells.clear();
            }
            cells.push(cell);
            Ok(())
        })
        .await?;
        plan.note(&cells, now);
        self.do_steps(dimension, plan, clock, deadline).await
    }

    /// Does the steps of folding that were chosen while a dimension's keys were read.
    ///
    /// Each step notes when it was done. From then on, the next one waits until no reader is left
    /// that has seen the state before. A run takes minutes, so each step asks the `clock`.
    ///
    /// # Errors
    /// See [`StoreError`]. Repeating it is harmless.
    pub async fn do_steps(
        &self,
        dimension: &DimensionName,
        plan: FoldPlan,
        clock: impl Fn() -> UnixSeconds,
        deadline: Deadline,
    ) -> Result<Folded, StoreError> {
        let mut folded = Folded { postponed: plan.postponed, ..Folded::default() };
        for (key, step) in plan.steps {
            self.do_step(dimension, key, &step, clock(), deadline, &mut folded).await?;
        }
        Ok(folded)
    }

    async fn do_step(
        &self,
        dimension: &DimensionName,
        key: DimensionKey,
        step: &FoldStep,
        now: UnixSeconds,
        deadline: Deadline,
        folded: &mut Folded,
    ) -> Result<(), StoreError> {
        let of = RollupKey { dimension: dimension.clone(), key };
        let writes = fold_writes(step, &self.settings.table, &of, now)?;
        let request =
            || self.client.transact_write_items().set_transact_items(Some(writes.clone()));
        let next = |error| {
            Ok(match was_cancelled(&error) {
                // Somebody wrote to a cell, or an earlier attempt did this step and its answer was
                // lost.
                true => Next::Stop(()),
                false => Next::retry(request(), error),
            })
        };
        if self.backoff(deadline).send(request(), next).await?.is_err() {
            folded.postponed += 1;
            return Ok(());
        }
        match step {
            FoldStep::Absorb { cells, .. } => folded.absorbed += cells.len(),
            FoldStep::Remove { cells, .. } => folded.removed += cells.len(),
            FoldStep::Forget { .. } => folded.completed += 1,
        }
        Ok(())
    }
}
