//! Looking again at keys that a scan of a moving table could not tell to be right.
//!
//! Every update is one transaction, so a difference between a rollup and what ids hold of it stays
//! the same whatever they report. It is known exactly if nothing moves while both are read. That is
//! so if two scans find the same items of ids, each in the same revision, and the rollup is read
//! between the two. Ids that report all the time are read together with the rollup, in one
//! transaction, and left out of the comparison of the two scans.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use futures_util::{StreamExt, TryStreamExt, stream};

use super::auditing::{
    AuditFailure, AuditRun, Discrepancy, Place, Subject, Suspects, discrepancies,
};
use crate::{
    domain::{Cell, Direction, Sum},
    store::{Deadline, Store, StoreError, read::partition::Stretch, update::Consistency},
    table::{
        ActiveIds, Difference, Differences, DimensionTally, EscapedKey, Item, ItemKey, KeyRange,
        KeyTally, Number, Partition, Stocktaking, decode_dimension, decode_key_count, last_repair,
        member_count,
    },
};

/// The most items that one transaction reads. Source: *`TransactGetItems`*, DynamoDB API Reference.
const MOST_OF_TRANSACTION: usize = 100;
/// How many rollups are read at once.
const KEYS_AT_ONCE: usize = 50;
/// How many partitions of a set are read at once.
const PARTITIONS_AT_ONCE: usize = 16;
/// How long it may take to count the keys of a dimension.
const LONGEST_COUNT: Duration = Duration::from_secs(60 * 60);
/// How often a number is compared with what it counts until it holds still.
const LOOKS: usize = 6;

/// A rollup as it was at one moment, with what some ids held of it.
#[derive(Debug, Default)]
struct Snapshot {
    tally: KeyTally,
    /// The ids that are in it.
    ids: ActiveIds,
    /// The repair before.
    last_repair: Option<u64>,
}

impl Store {
    /// Looks again at suspects, and reports or repairs those that are wrong; returns those that have
    /// not held still.
    pub(super) async fn look_again(
        &self,
        suspects: Suspects,
        stock: &mut Stocktaking,
        run: &mut AuditRun<'_>,
    ) -> Result<Suspects, AuditFailure> {
        let mut snapshots = self.snapshots(&suspects, stock, run).await?;
        let watched = snapshots.iter().map(|(of, snapshot)| (of.clone(), snapshot.ids.clone()));
        let mut again = stock.another(Some(watched.collect()));
        let mut later = Suspects::new();
        let add = |of: EscapedKey, tally| Ok(later.entry(of).or_default().merge(tally)?);
        self.take_stock(&mut again, Consistency::Strong, run, add).await?;
        stock.names = again.names;
        let mut left = Suspects::new();
        for (of, earlier) in suspects {
            let later = later.remove(&of).unwrap_or_default();
            let snapshot = snapshots.remove(&of).unwrap_or_default();
            let Some(unchanged) = earlier.unchanged_in(&later, &snapshot.ids)? else {
                left.insert(of, later);
                continue;
            };
            let changed = later.sets_changed_since(&earlier);
            let is_key = snapshot.tally.is_key();
            let mut differences = unchanged.with_snapshot(snapshot.tally)?.differences()?;
            self.look_at_changed_sets(&of, &changed, &mut differences, stock, run).await?;
            let found = discrepancies(&of, &differences, &stock.names);
            self.settle_key(&of, is_key, snapshot.last_repair, found, stock, run).await?;
        }
        Ok(left)
    }

    /// Replaces the differences of sets that have changed by what is certain of them.
    async fn look_at_changed_sets(
        &self,
        of: &EscapedKey,
        changed: &BTreeSet<String>,
        differences: &mut Differences,
        stock: &Stocktaking,
        run: &mut AuditRun<'_>,
    ) -> Result<(), AuditFailure> {
        for stat in changed {
            let number = Number::Members(stat.clone());
            if differences.remove(&number).is_none() {
                continue;
            }
            match self.look_at_set(of, stat, stock, run).await? {
                Looked::Right => {}
                Looked::Wrong(difference) => drop(differences.insert(number, difference)),
                Looked::Moving => run.leave_undecided(Place::of(of, &stock.names)),
            }
        }
        Ok(())
    }

    /// The rollups of suspects, each as it was at one moment.
    async fn snapshots(
        &self,
        suspects: &Suspects,
        stock: &Stocktaking,
        run: &mut AuditRun<'_>,
    ) -> Result<BTreeMap<EscapedKey, Snapshot>, AuditFailure> {
        let mut snapshots = BTreeMap::new();
        let mut plain = Vec::new();
        for (of, tally) in suspects {
            let ids = tally.active_ids();
            let at_once = match ids.is_empty() {
                true => None,
                false => self.snapshot_with_ids(of, ids, stock, run).await?,
            };
            match at_once {
                Some(snapshot) => drop(snapshots.insert(of.clone(), snapshot)),
                None => plain.push(of),
            }
        }
        for chunk in plain.chunks(KEYS_AT_ONCE) {
            let all = chunk.iter().flat_map(|of| cells(of, stock));
            let read = self.get(all.collect(), Consistency::Strong, run.deadline());
            let mut items = run.pacer.run(read).await?;
            for of in chunk {
                let of_key = cells(of, stock).into_iter().filter_map(|cell| items.remove(&cell));
                let snapshot = Snapshot::new(of, of_key.collect(), ActiveIds::new(), stock)?;
                snapshots.insert((*of).clone(), snapshot);
            }
        }
        Ok(snapshots)
    }

    /// A rollup and what these ids hold of it, all of one moment; none if that is too much for a
    /// transaction, or others were in the way for too long.
    async fn snapshot_with_ids(
        &self,
        of: &EscapedKey,
        ids: ActiveIds,
        stock: &Stocktaking,
        run: &mut AuditRun<'_>,
    ) -> Result<Option<Snapshot>, AuditFailure> {
        let cells = cells(of, stock);
        let entry = ItemKey::entry_of(of.dimension());
        let of_ids = ids.iter().flat_map(|id| [ItemKey::detail_in(id), of.departure_of(id)]);
        let keys: Vec<_> = [entry.clone()].into_iter().chain(cells.clone()).chain(of_ids).collect();
        if keys.len() > MOST_OF_TRANSACTION {
            return Ok(None);
        }
        let read = self.get_at_once(&keys, run.deadline());
        let items = match run.pacer.run(read).await {
            Err(StoreError::Unavailable(_) | StoreError::Throttled(_)) => return Ok(None),
            items => items?,
        };
        let is_entry = |item: &&Item| ItemKey::of_item(item).as_ref() == Some(&entry);
        let spread = items.iter().find(is_entry).map(decode_dimension);
        let spread = spread.transpose().map_err(StoreError::from)?.map(|entry| entry.spread.cells);
        // A writer may have spread the dimension further since, and have gone there.
        match usize::from(spread.unwrap_or_default()) <= cells.len() {
            true => Ok(Some(Snapshot::new(of, items, ids, stock)?)),
            false => Ok(None),
        }
    }

    /// Compares a number of members with the set, which grows meanwhile: until it is the same before
    /// and after the set was read.
    async fn look_at_set(
        &self,
        of: &EscapedKey,
        stat: &str,
        stock: &Stocktaking,
        run: &mut AuditRun<'_>,
    ) -> Result<Looked, AuditFailure> {
        let number = Number::Members(stat.to_owned());
        let mut looks = Looks::default();
        for _ in 0..LOOKS {
            let before = self.stored_of(of, &number, stock, run).await?;
            let partitions =
                of.sets(stat).map(|part| self.count_in(part, run.deadline(), member_count));
            let partitions = stream::iter(partitions.collect::<Vec<_>>());
            let counts = partitions.buffer_unordered(PARTITIONS_AT_ONCE).try_collect::<Vec<_>>();
            let members = run.pacer.run(counts).await?.into_iter().sum();
            let after = self.stored_of(of, &number, stock, run).await?;
            if let Some(looked) = looks.note(before, members, after) {
                return Ok(looked);
            }
        }
        Ok(Looked::Moving)
    }

    /// What the rollup of a key says of a number that nothing holds.
    async fn stored_of(
        &self,
        of: &EscapedKey,
        number: &Number,
        stock: &Stocktaking,
        run: &mut AuditRun<'_>,
    ) -> Result<Sum, AuditFailure> {
        let read =
            self.get(cells(of, stock).into_iter().collect(), Consistency::Strong, run.deadline());
        let items = run.pacer.run(read).await?;
        let items = items.into_values().collect();
        let snapshot = Snapshot::new(of, items, ActiveIds::new(), stock)?;
        let differences = snapshot.tally.differences()?;
        Ok(differences.get(number).map_or(Sum::ZERO, |difference| difference.stored))
    }

    /// Counts something in the items of a partition.
    async fn count_in(
        &self,
        partition: Partition,
        deadline: Deadline,
        in_item: impl Fn(&Item) -> u64,
    ) -> Result<u64, StoreError> {
        let (range, direction) = (KeyRange::All, Direction::Forward);
        let stretch = Stretch { partition, range, direction };
        let (mut count, mut after) = (0, None);
        loop {
            let page = self.page::<Item>(&stretch, after.as_ref(), None, deadline).await?;
            count += page.items.iter().map(&in_item).sum::<u64>();
            after = page.last;
            if after.is_none() {
                return Ok(count);
            }
        }
    }

    /// Audits the numbers of dimensions, by what a scan has seen of them.
    pub(super) async fn audit_dimensions(
        &self,
        stock: &Stocktaking,
        run: &mut AuditRun<'_>,
    ) -> Result<(), AuditFailure> {
        for (dimension, seen) in &stock.dimensions {
            if seen.read() < seen.partitions {
                self.audit_partitions(dimension, seen.partitions, stock, run).await?;
            }
            if seen.keys != seen.counted {
                self.audit_key_count(dimension, seen, stock, run).await?;
            }
        }
        Ok(())
    }

    /// Looks whether readers read all partitions that hold something. Writers have them read before
    /// they write there, so what is found there, before and after, has to be read in between.
    async fn audit_partitions(
        &self,
        dimension: &str,
        seen: u8,
        stock: &Stocktaking,
        run: &mut AuditRun<'_>,
    ) -> Result<(), AuditFailure> {
        let before = self.held_partitions(dimension, seen, run).await?;
        let entry = ItemKey::entry_of(dimension);
        let read = self.get([entry.clone()].into(), Consistency::Strong, run.deadline());
        let item = run.pacer.run(read).await?.remove(&entry);
        let entry = item.as_ref().map(decode_dimension).transpose().map_err(StoreError::from)?;
        let held = self.held_partitions(dimension, seen, run).await?.min(before);
        let read = entry.as_ref().map_or(0, |entry| entry.spread.cells);
        if read >= held {
            return Ok(());
        }
        let discrepancy = Discrepancy {
            place: Place::Dimension(stock.names.name(dimension)),
            subject: Subject::Partitions,
            stored: i64::from(read).into(),
            computed: i64::from(held).into(),
        };
        self.settle_partitions(dimension, held, discrepancy, stock, run).await
    }

    /// How many partitions hold something, of the first so many.
    async fn held_partitions(
        &self,
        dimension: &str,
        of: u8,
        run: &mut AuditRun<'_>,
    ) -> Result<u8, AuditFailure> {
        let counts = key_counts(dimension, of);
        let read = self.get(counts.into_values().collect(), Consistency::Strong, run.deadline());
        let counts = run.pacer.run(read).await?;
        let mut held = 0;
        for cell in Cell::first(of) {
            let (range, direction) = (KeyRange::All, Direction::Forward);
            let partition = Partition::rollups_of(dimension, cell);
            let stretch = Stretch { partition, range, direction };
            let read = self.page::<Item>(&stretch, None, Some(1), run.deadline());
            let is_held = !run.pacer.run(read).await?.items.is_empty();
            if is_held || counts.contains_key(&ItemKey::key_count_of(dimension, cell)) {
                held = cell.number().saturating_add(1);
            }
        }
        Ok(held)
    }

    /// Compares how many keys a dimension counts with how many it has, until that holds still.
    async fn audit_key_count(
        &self,
        dimension: &str,
        seen: &DimensionTally,
        stock: &Stocktaking,
        run: &mut AuditRun<'_>,
    ) -> Result<(), AuditFailure> {
        let cells = seen.read().max(seen.partitions).max(1);
        let place = Place::Dimension(stock.names.name(dimension));
        let mut looks = Looks::default();
        for _ in 0..LOOKS {
            let before = self.counted_keys(dimension, cells, run).await?;
            let first_cells = Partition::rollups_of(dimension, Cell::FIRST);
            // However many they are: progress is what is awaited.
            let deadline = Deadline::after(LONGEST_COUNT).of_job();
            let keys = run.pacer.run(self.count_in(first_cells, deadline, |_| 1)).await?;
            let after = self.counted_keys(dimension, cells, run).await?;
            match looks.note(before.sum(), keys, after.sum()) {
                None => {}
                Some(Looked::Wrong(Difference { stored, computed })) => {
                    let subject = Subject::Keys;
                    let discrepancy = Discrepancy { place, subject, stored, computed };
                    return self.settle_key_count(dimension, &after, discrepancy, run).await;
                }
                Some(_) => return Ok(()),
            }
        }
        run.leave_undecided(place);
        Ok(())
    }

    async fn counted_keys(
        &self,
        dimension: &str,
        cells: u8,
        run: &mut AuditRun<'_>,
    ) -> Result<CountedKeys, AuditFailure> {
        let keys = key_counts(dimension, cells);
        let read = self.get(keys.values().cloned().collect(), Consistency::Strong, run.deadline());
        let items = run.pacer.run(read).await?;
        let mut counted = CountedKeys::default();
        for (cell, key) in keys {
            let Some(item) = items.get(&key) else { continue };
            if cell == Cell::FIRST {
                counted.last_repair = last_repair(Some(item));
            }
            counted.cells.push((cell, decode_key_count(item).map_err(StoreError::from)?));
        }
        Ok(counted)
    }
}

/// How many keys the cells of a dimension's number count.
#[derive(Debug, Default)]
pub(super) struct CountedKeys {
    pub(super) cells: Vec<(Cell, u64)>,
    pub(super) last_repair: Option<u64>,
}

impl CountedKeys {
    fn sum(&self) -> Sum {
        let count = self.cells.iter().map(|(_, count)| *count).fold(0, u64::saturating_add);
        i64::try_from(count).unwrap_or(i64::MAX).into()
    }
}

fn key_counts(dimension: &str, cells: u8) -> BTreeMap<Cell, ItemKey> {
    Cell::first(cells).map(|cell| (cell, ItemKey::key_count_of(dimension, cell))).collect()
}

/// What was found out of a number that is compared with what it counts.
enum Looked {
    Right,
    Wrong(Difference),
    Moving,
}

/// Comparisons of a number with what it counts. What it counts only grows, except by deletions.
#[derive(Default)]
struct Looks {
    last: Option<Difference>,
}

impl Looks {
    /// Notes a comparison. It means something if the number was the same before and after what it
    /// counts was read. A difference is certain once it was found twice: a deletion may have gone
    /// on during one of the comparisons.
    fn note(&mut self, before: Sum, counted: u64, after: Sum) -> Option<Looked> {
        if before != after {
            return None;
        }
        let computed = Sum::from(i64::try_from(counted).unwrap_or(i64::MAX));
        let found = Difference { stored: after, computed };
        if found.stored == found.computed {
            return Some(Looked::Right);
        }
        let is_found_again = self.last.is_some_and(|last| last.missing() == found.missing());
        self.last = Some(found);
        is_found_again.then_some(Looked::Wrong(found))
    }
}

impl Snapshot {
    fn new(
        of: &EscapedKey,
        items: Vec<Item>,
        ids: ActiveIds,
        stock: &Stocktaking,
    ) -> Result<Self, AuditFailure> {
        let mut stock = stock.another(Some([(of.clone(), ActiveIds::new())].into()));
        let first_cell = of.first_cell();
        let mut snapshot = Self { ids, ..Self::default() };
        for item in &items {
            if ItemKey::of_item(item).as_ref() == Some(&first_cell) {
                snapshot.last_repair = last_repair(Some(item));
            }
            for (_, tally) in stock.note(item)? {
                snapshot.tally.merge(tally)?;
            }
        }
        Ok(snapshot)
    }
}

/// All cells of a rollup that there may be.
fn cells(of: &EscapedKey, stock: &Stocktaking) -> Vec<ItemKey> {
    let seen = stock.dimensions.get(of.dimension());
    let cells = seen.map_or(1, |seen| seen.read().max(seen.partitions).max(1));
    of.first_cell().cells(cells)
}
