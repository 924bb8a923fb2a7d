//! Sweeping: gauges that have expired are removed from rollups that nobody reports to any more.
//!
//! Writers remove those of the stats that they report. What is left costs no reader a wrong number,
//! but bytes.

use futures_util::{StreamExt, TryStreamExt, stream};

use super::housekeeping::SWEEPS_EVERY;
use crate::{
    domain::{Cell, UnixSeconds},
    store::{
        Deadline, Store, StoreError,
        failure::Failure,
        send::{Next, is_condition_failed},
    },
    table::{
        DimensionEntry, Item, ItemKey, Partition, Sweep, SweepPosition, expired_gauges,
        remove_gauges, sweep_write,
    },
};

/// The most rollups that are written to at once.
const CONCURRENT_WRITES: usize = 8;

impl Store {
    /// Sweeps a page of a dimension, if its sweep is under way or the last one was long ago; from
    /// how many keys something was removed.
    pub(super) async fn sweep(
        &self,
        entry: &DimensionEntry,
        now: UnixSeconds,
        deadline: Deadline,
    ) -> Result<usize, StoreError> {
        let sweep = &entry.sweep;
        let since = match (&sweep.to, sweep.since) {
            (Some(_), Some(since)) => since,
            (_, Some(since)) if now < since.after(SWEEPS_EVERY) => return Ok(0),
            _ => now,
        };
        let (items, to) = self.page_to_sweep(entry, deadline).await?;
        let removals = items.iter().map(|item| self.remove_expired(item, now, deadline));
        let removals: Vec<_> = removals.collect();
        let removed: Vec<_> =
            stream::iter(removals).buffer_unordered(CONCURRENT_WRITES).try_collect().await?;
        let write =
            sweep_write(&self.settings.table, &entry.name, &Sweep { since: Some(since), to })?;
        let request = || self.update_item(&write);
        let next = |error| Ok(Next::<_, ()>::retry(request(), error));
        // Nothing stops it but an error.
        let _ = self.backoff(deadline).send(request(), next).await?;
        Ok(removed.into_iter().filter(|is_removed| *is_removed).count())
    }

    /// Reads at half the price, since what has expired does not change.
    async fn page_to_sweep(
        &self,
        entry: &DimensionEntry,
        deadline: Deadline,
    ) -> Result<(Vec<Item>, Option<SweepPosition>), StoreError> {
        let partition = Partition::rollups(&entry.name, Cell::FIRST);
        let (condition, values) = partition.condition();
        let start = entry.sweep.to.as_ref().map(|to| partition.key_at(to));
        let answer = self
            .read(deadline, || {
                self.client
                    .query()
                    .table_name(&self.settings.table)
                    .key_condition_expression(&condition)
                    .set_expression_attribute_values(Some(values.clone()))
                    .set_exclusive_start_key(start.clone())
            })
            .await?;
        let to = answer.last_evaluated_key.as_ref().and_then(SweepPosition::of_key);
        Ok((answer.items.unwrap_or_default(), to))
    }

    async fn remove_expired(
        &self,
        item: &Item,
        now: UnixSeconds,
        deadline: Deadline,
    ) -> Result<bool, StoreError> {
        let gauges = expired_gauges(item, self.settings.period_length, now);
        let Some(key) = ItemKey::of_item(item).filter(|_| !gauges.is_empty()) else {
            return Ok(false);
        };
        let write = remove_gauges(&self.settings.table, &key, gauges)?;
        let request = || self.update_item(&write);
        let next = |error| {
            // A writer is on it: the next sweep will do.
            let is_left = is_condition_failed(&error) || Failure::of(&error) == Failure::InTheWay;
            Ok(match is_left {
                true => Next::Stop(()),
                false => Next::retry(request(), error),
            })
        };
        Ok(self.backoff(deadline).send(request(), next).await?.is_ok())
    }
}
