//! Deleting what an id has reported, and exactly its part of every rollup.
//!
//! Each transaction takes something out of rollups together with what says that they hold it, and
//! only if the id's detail is still as it was read. So at any moment the rollups are the sums of
//! what is stored of ids, and whoever repeats a deletion that was interrupted finds what is left.
//! What an id left behind goes first, its detail last.

use std::time::Duration;

use aws_sdk_dynamodb::types::TransactWriteItem;

use super::Pacer;
use crate::{
    domain::{CellSums, Deletion, DeletionStep, Direction, Id, StepSize, UnixSeconds},
    store::{
        Deadline, Store, StoreError, failure::Failure, read::partition::Stretch,
        store_error::Cause, update::Consistency,
    },
    table::{
        DeletionError, IdDeletion, Item, ItemKey, KeyRange, Partition, StoredDeparture,
        StoredDetail, decode_detail, decode_id, item_bytes,
    },
};

/// The most of what an id left behind that one transaction deletes: two actions for each, and one
/// for the detail, of the 100 that it may have.
const DEPARTURES_AT_ONCE: i32 = 45;

/// Whether something is deleted, or only looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DeletionMode {
    /// Finds what there is to delete, and writes nothing.
    Preview,
    /// Deletes it.
    Delete,
}

/// What a deletion has taken out, or would take out.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Deleted {
    /// Ids whose detail was deleted or changed.
    pub ids: u64,
    /// Keys under which ids had left something behind, counted for each id.
    pub departures: u64,
    /// Rollups that something was taken out of, counted for each id.
    pub rollups: u64,
    /// Sums that were taken out of rollups.
    pub sums: u64,
    /// Members that were taken out of sets, counted for each set.
    pub members: u64,
    /// Items of sets that were deleted or changed.
    pub shards: u64,
    /// Keys of dimensions that were deleted.
    pub keys: u64,
    /// Keys of which something could not be removed yet: somebody reports there, gauges have not
    /// expired, or their dimension is spread over several partitions.
    pub keys_left: u64,
    /// Bytes of the items that were deleted or changed, as DynamoDB counts them. Rollups are not
    /// among them.
    pub bytes: u64,
}

/// A deletion on its way.
pub struct DeletionRun<'a> {
    /// Whether it writes.
    pub mode: DeletionMode,
    /// Knows whether gauges still count.
    pub clock: fn() -> UnixSeconds,
    /// How fast it goes.
    pub pacer: &'a mut Pacer,
    /// After how long without any progress it gives up.
    pub patience: Duration,
    /// What it has found.
    pub deleted: Deleted,
    /// Sees how far it is after each request: what it has found, and the units that it took.
    pub watch: &'a mut dyn FnMut(&Deleted, f64),
}

impl Store {
    /// Deletes all that is kept of an id, and takes exactly its part out of every rollup. What the
    /// id reports meanwhile is deleted too; what it reports later counts from zero.
    ///
    /// Gauges that it reported under a key that it has moved away from stay until their period is
    /// over, and idempotency markers stay for 24 hours.
    ///
    /// # Errors
    /// See [`StoreError`]. Each transaction is complete or was not carried out, and a repetition
    /// does what is left.
    pub async fn delete_id(&self, id: &Id, run: &mut DeletionRun<'_>) -> Result<(), StoreError> {
        self.delete_of_id(&ItemKey::detail(id), &Deletion::Everything, run).await
    }

    /// Deletes something of the id whose detail has this key.
    ///
    /// What it leaves behind while its detail is being deleted goes afterwards.
    pub(super) async fn delete_of_id(
        &self,
        detail: &ItemKey,
        deletion: &Deletion,
        run: &mut DeletionRun<'_>,
    ) -> Result<(), StoreError> {
        self.delete_departures(detail, deletion, run).await?;
        let is_changed = self.delete_detail(detail, deletion, run).await?;
        match is_changed && run.mode == DeletionMode::Delete {
            true => self.delete_departures(detail, deletion, run).await,
            false => Ok(()),
        }
    }

    /// Deletes what an id left behind, a page in a transaction. If the id reports meanwhile, pages
    /// become smaller: a faster transaction is overtaken less often.
    async fn delete_departures(
        &self,
        detail: &ItemKey,
        deletion: &Deletion,
        run: &mut DeletionRun<'_>,
    ) -> Result<(), StoreError> {
        let (partition, range) = (Partition::of_item(detail), KeyRange::departures());
        let stretch = Stretch { partition, range, direction: Direction::Forward };
        let (mut after, mut limit) = (None, DEPARTURES_AT_ONCE);
        let mut backoff = self.backoff(run.deadline());
        loop {
            // In this order: whoever writes to what is read next changes the revision.
            let revision = self.stored(detail, run).await?.map(|(_, stored)| stored.revision);
            let read = self.page::<Item>(&stretch, after.as_ref(), Some(limit), run.deadline());
            let page = run.pacer.run(read).await?;
            let revision = revision.unwrap_or_default();
            let table = &self.settings.table;
            let of_id = IdDeletion { table, detail, revision: &revision };
            if let Some(cause) = self.delete_page(&of_id, deletion, &page.items, run).await? {
                limit = (limit / 2).max(1);
                backoff.wait(Failure::InTheWay, cause).await?;
                continue;
            }
            let Some(last) = page.last else {
                return Ok(());
            };
            after = Some(last);
            backoff = self.backoff(run.deadline());
        }
    }

    /// Deletes a detail, or something of it. Whether there was anything to delete.
    async fn delete_detail(
        &self,
        detail: &ItemKey,
        deletion: &Deletion,
        run: &mut DeletionRun<'_>,
    ) -> Result<bool, StoreError> {
        let mut backoff = self.backoff(run.deadline());
        let mut is_changed = false;
        while let Some((item, stored)) = self.stored(detail, run).await? {
            let (size, now) = (run.step_size(), (run.clock)());
            let counts = |period| !self.settings.period_length.has_expired(period, now);
            let Some(step) = deletion.step(&stored.detail, counts, size)? else {
                break;
            };
            let table = &self.settings.table;
            let of_id = IdDeletion { table, detail, revision: &stored.revision };
            let writes = of_id.step(&step, &decode_id(&item)?, self.new_update_token(), now)?;
            if let Some(cause) = self.write(writes, run).await? {
                backoff.wait(Failure::InTheWay, cause).await?;
                continue;
            }
            if !is_changed {
                run.deleted.ids += 1;
                run.deleted.bytes += count(item_bytes(&item));
            }
            is_changed = true;
            run.deleted.add_step(&step);
            backoff = self.backoff(run.deadline());
            if step.is_last {
                break;
            }
        }
        Ok(is_changed)
    }

    /// A detail, and its item; none if there is none.
    async fn stored(
        &self,
        detail: &ItemKey,
        run: &mut DeletionRun<'_>,
    ) -> Result<Option<(Item, StoredDetail)>, StoreError> {
        let read = self.get([detail.clone()].into(), Consistency::Strong, run.deadline());
        let Some(item) = run.pacer.run(read).await?.remove(detail) else {
            return Ok(None);
        };
        let stored = decode_detail(&item)?;
        Ok(Some((item, stored)))
    }

    async fn delete_page(
        &self,
        of_id: &IdDeletion<'_>,
        deletion: &Deletion,
        items: &[Item],
        run: &mut DeletionRun<'_>,
    ) -> Result<Option<Cause>, StoreError> {
        let mut whole = Vec::new();
        let mut deleted = run.deleted;
        for item in items {
            let Some(departure) = StoredDeparture::covered_by(deletion, item)? else {
                continue;
            };
            deleted.add_departure(&departure, item);
            let parts = departure.into_parts();
            whole.extend(parts.last);
            for part in parts.first {
                let writes = of_id.part_of_departure(&part)?;
                if let Some(cause) = self.write(writes, run).await? {
                    return Ok(Some(cause));
                }
            }
        }
        if !whole.is_empty()
            && let Some(cause) = self.write(of_id.departures(&whole)?, run).await?
        {
            return Ok(Some(cause));
        }
        run.deleted = deleted;
        Ok(None)
    }

    /// Carries out a transaction, unless this is a preview; the cause, if another writer was
    /// faster, or an earlier attempt whose answer was lost.
    pub(super) async fn write(
        &self,
        writes: Vec<TransactWriteItem>,
        run: &mut DeletionRun<'_>,
    ) -> Result<Option<Cause>, StoreError> {
        match run.mode {
            DeletionMode::Preview => Ok(None),
            DeletionMode::Delete => {
                let transaction = self.transact(writes, run.deadline());
                let overtaken = run.pacer.run(transaction).await?.err();
                run.report();
                Ok(overtaken)
            }
        }
    }
}

impl DeletionRun<'_> {
    /// That of a request, or of attempts none of which makes progress.
    pub(super) fn deadline(&self) -> Deadline {
        Deadline::after(self.patience).of_job()
    }

    /// Shows whoever watches how far it is.
    pub(super) fn report(&mut self) {
        let units = self.pacer.read_units() + self.pacer.write_units();
        (self.watch)(&self.deleted, units);
    }

    /// A preview has one step, however large it is.
    fn step_size(&self) -> StepSize {
        match self.mode {
            DeletionMode::Preview => StepSize::UNLIMITED,
            DeletionMode::Delete => StepSize::OF_TRANSACTION,
        }
    }
}

impl Deleted {
    /// The write units that the deletion takes if no item has more than 1 KB: two for each item of a
    /// transaction.
    #[must_use]
    pub fn least_write_units(&self) -> u64 {
        // A key is marked; then it is deleted in a transaction of three items.
        2 * (self.ids + self.departures + self.rollups + self.shards) + 8 * self.keys
    }

    pub(super) fn add_departure(&mut self, departure: &StoredDeparture, item: &Item) {
        self.departures += 1;
        self.rollups += 1;
        self.sums += count(departure.sums());
        self.bytes += count(item_bytes(item));
    }

    pub(super) fn add_step(&mut self, step: &DeletionStep) {
        self.rollups += count(step.rollups.len());
        self.sums += step.rollups.values().map(CellSums::count).map(count).sum::<u64>();
    }
}

impl From<DeletionError> for StoreError {
    fn from(error: DeletionError) -> Self {
        match error {
            DeletionError::Overflow(overflow) => overflow.into(),
            DeletionError::Build(error) => error.into(),
        }
    }
}

pub(super) fn count(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}
