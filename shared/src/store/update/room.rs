//! Room for a write beyond the partitions that readers read: a dimension is spread further first.

use super::hot_sums::Lease;
use crate::{
    domain::{Cell, DimensionName, Spread, UnixSeconds},
    store::{
        Deadline, Store, StoreError,
        failure::Failure,
        send::{Next, is_condition_failed},
    },
    table::spread_write,
};

impl Store {
    /// Spreads dimensions over as many partitions as the cells of a lease need, unless they are.
    ///
    /// # Errors
    /// See [`StoreError`]. Nothing was written but the number of partitions, which does no harm.
    pub(super) async fn make_room(
        &self,
        lease: &mut Lease<'_>,
        now: UnixSeconds,
        deadline: Deadline,
    ) -> Result<(), StoreError> {
        for (dimension, last) in lease.beyond_spread() {
            match self.spread_to(&dimension, last, deadline).await? {
                Some(spread) => self.hot_sums.remember_spread(&dimension, spread, now),
                None => lease.keep_to_first(&dimension),
            }
        }
        Ok(())
    }

    /// Spreads a dimension over so many partitions that `last` is one of them, unless it is; what
    /// its entry says then. None if it has no entry.
    async fn spread_to(
        &self,
        dimension: &DimensionName,
        last: Cell,
        deadline: Deadline,
    ) -> Result<Option<Spread>, StoreError> {
        let mut backoff = self.backoff(deadline);
        loop {
            let Some(entry) = self.dimension_entry(dimension, deadline).await? else {
                return Ok(None);
            };
            let Some(wider) = entry.spread.widened_to(last) else {
                return Ok(Some(entry.spread));
            };
            if self.change_spread(dimension, entry.spread, wider, deadline).await? {
                return Ok(Some(wider));
            }
            // Another writer, or the housekeeping, has changed it.
            backoff.wait(Failure::InTheWay, "the spread has changed".into()).await?;
        }
    }

    /// Changes over how many partitions a dimension is spread; false if that is not what was `read`
    /// any more.
    pub(in crate::store) async fn change_spread(
        &self,
        dimension: &DimensionName,
        read: Spread,
        spread: Spread,
        deadline: Deadline,
    ) -> Result<bool, StoreError> {
        let write = spread_write(&self.settings.table, dimension, read, spread)?;
        let request = || self.update_item(&write);
        let next = |error| {
            Ok(match is_condition_failed(&error) {
                true => Next::Stop(()),
                false => Next::retry(request(), error),
            })
        };
        Ok(self.backoff(deadline).send(request(), next).await?.is_ok())
    }
}
