//! Reads a dimension, or some of its keys, key by key, in memory that does not grow with their
//! number.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use futures_util::future::try_join;

use super::{
    cell_reader::{CellRange, CellReader},
    partition::Stretch,
};
use crate::{
    domain::{
        Cell, DimensionKey, DimensionName, Direction, KeySelection, KeyStats, Period, RollupCell,
        RollupKey, Spread, UnixSeconds, sum_of_cells,
    },
    store::{Deadline, Store, StoreError, update::Consistency},
    table::{
        DimensionEntry, ItemKey, KeyRange, Partition, RollupOrder, decode_dimension, decode_rollup,
    },
};

/// The stats of a dimension's keys, one after another.
#[derive(Debug)]
pub struct KeyReader<'a> {
    store: &'a Store,
    dimension: DimensionName,
    direction: Direction,
    prior: Period,
    current: Period,
    deadline: Deadline,
    /// Over how many partitions the dimension is spread; none as long as nothing is read.
    spread: Option<Spread>,
    /// The keys that are being read.
    cells: CellReader<'a>,
    /// The cells of single keys that have been read.
    ready: VecDeque<Vec<RollupCell>>,
    /// What comes after those.
    rest: Rest,
}

/// What is still to be read.
#[derive(Debug)]
enum Rest {
    /// These ranges, each from a place on or from its start.
    Ranges(VecDeque<(KeyRange, Option<RollupOrder>)>),
    /// These keys.
    Keys(VecDeque<DimensionKey>),
}

/// Which keys are read, and in which order.
#[derive(Debug, Clone, Copy)]
pub struct KeyOrder<'a> {
    /// Which keys.
    pub selection: &'a KeySelection,
    /// Whether they come in the table's order or against it.
    pub direction: Direction,
    /// The key after which they begin, whether it is there or not; none: with the first one.
    pub after: Option<&'a DimensionKey>,
}

impl KeyOrder<'static> {
    /// All keys, in the table's order.
    pub const ALL: Self =
        Self { selection: &KeySelection::All, direction: Direction::Forward, after: None };
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
        self.keys_in_order(dimension, KeyOrder::ALL, now, deadline)
    }

    /// Reads the stats of some keys of a dimension, as [`Self::keys`] does of all.
    ///
    /// The table's order is that of the bytes of names. In it, `#`, `%`, `~` and all that is not
    /// ASCII stand where `%` does, and keys whose names are long come last.
    #[must_use]
    pub fn keys_in_order(
        &self,
        dimension: &DimensionName,
        order: KeyOrder<'_>,
        now: UnixSeconds,
        deadline: Deadline,
    ) -> KeyReader<'_> {
        let current = self.settings.period_length.containing(now);
        KeyReader {
            store: self,
            dimension: dimension.clone(),
            direction: order.direction,
            prior: self.settings.period_length.prior(current),
            current,
            deadline,
            spread: None,
            cells: CellReader::new(order.direction),
            ready: VecDeque::new(),
            rest: Rest::of(order),
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
        while let Some((key, stats)) = self.advance(None).await? {
            if stats != KeyStats::default() {
                return Ok(Some((key, stats)));
            }
        }
        Ok(None)
    }

    /// The next key and its stats, which may be none; `None` at the end. Of the keys to come, this
    /// reads no more than `wanted` at once, the next one included.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn next_of(
        &mut self,
        wanted: usize,
    ) -> Result<Option<(DimensionKey, KeyStats)>, StoreError> {
        self.advance(Some(wanted)).await
    }

    async fn advance(
        &mut self,
        wanted: Option<usize>,
    ) -> Result<Option<(DimensionKey, KeyStats)>, StoreError> {
        loop {
            let cells = match self.ready.pop_front() {
                Some(cells) => cells,
                None => self.cells.next().await?,
            };
            if let Some(key) = cells.first().map(|cell| cell.key.clone()) {
                let stats = sum_of_cells(cells)?.stats(self.prior, self.current);
                return Ok(Some((key, stats)));
            }
            if !self.read_more(wanted).await? {
                return Ok(None);
            }
        }
    }

    /// Begins to read what comes next. Returns whether there was anything left.
    async fn read_more(&mut self, wanted: Option<usize>) -> Result<bool, StoreError> {
        match &mut self.rest {
            Rest::Keys(keys) => {
                let many = wanted.unwrap_or(keys.len()).clamp(1, keys.len().max(1));
                let keys: Vec<_> = keys.drain(..many.min(keys.len())).collect();
                if keys.is_empty() {
                    return Ok(false);
                }
                self.read_keys(&keys).await?;
            }
            Rest::Ranges(ranges) => {
                let Some((range, after)) = ranges.pop_front() else {
                    return Ok(false);
                };
                match wanted {
                    None => self.read_range(range, after).await?,
                    Some(wanted) => self.read_page(range, after, wanted).await?,
                }
            }
        }
        Ok(true)
    }

    /// Begins to read a range to its end.
    async fn read_range(
        &mut self,
        range: KeyRange,
        after: Option<RollupOrder>,
    ) -> Result<(), StoreError> {
        let (store, dimension, deadline) = (self.store, self.dimension.clone(), self.deadline);
        self.cells = CellReader::new(self.direction);
        let first = CellRange { cells: [Cell::FIRST], range: range.clone(), after: after.clone() };
        self.cells.add_range(store, &dimension, first, deadline);
        let spread = known_spread(self.spread, store, &dimension, deadline);
        let (spread, ()) = try_join(spread, self.cells.fill()).await?;
        self.spread = Some(spread);
        let others = CellRange { cells: others(spread), range, after };
        self.cells.add_range(store, &dimension, others, deadline);
        Ok(())
    }

    /// Reads a page of a range: as many keys as are wanted, unless they would exceed 1 MB.
    async fn read_page(
        &mut self,
        range: KeyRange,
        after: Option<RollupOrder>,
        wanted: usize,
    ) -> Result<(), StoreError> {
        let (store, dimension, deadline) = (self.store, self.dimension.clone(), self.deadline);
        let partition = Partition::rollups(&dimension, Cell::FIRST);
        let stretch = Stretch { partition, range, direction: self.direction };
        let limit = i32::try_from(wanted).unwrap_or(i32::MAX).max(1);
        let page = store.page::<RollupCell>(&stretch, after.as_ref(), Some(limit), deadline);
        let spread = known_spread(self.spread, store, &dimension, deadline);
        let (spread, page) = try_join(spread, page).await?;
        self.spread = Some(spread);
        if let (Some(last), Rest::Ranges(ranges)) = (page.last, &mut self.rest) {
            ranges.push_front((stretch.range, Some(last)));
        }
        let orders = || page.items.iter().map(|cell| RollupOrder::from(&cell.key));
        self.cells = CellReader::new(self.direction);
        if let Some((first, last)) = orders().min().zip(orders().max()) {
            let range = KeyRange::Between(first, last);
            self.cells.add_first(store, &dimension, page.items, deadline);
            let others = CellRange { cells: others(spread), range, after: None };
            self.cells.add_range(store, &dimension, others, deadline);
        }
        Ok(())
    }

    /// Reads the cells of these keys.
    async fn read_keys(&mut self, keys: &[DimensionKey]) -> Result<(), StoreError> {
        let first = self.cells_of(keys, [Cell::FIRST]);
        let spread = known_spread(self.spread, self.store, &self.dimension, self.deadline);
        let (spread, mut cells) = try_join(spread, first).await?;
        self.spread = Some(spread);
        // A key has its first cell before any other.
        let known: Vec<_> = keys.iter().filter(|key| cells.contains_key(key)).cloned().collect();
        for (key, more) in self.cells_of(&known, others(spread)).await? {
            cells.entry(key).or_default().extend(more);
        }
        self.ready.extend(keys.iter().filter_map(|key| cells.remove(key)));
        Ok(())
    }

    /// The cells of these numbers that these keys have, by key and in their order.
    async fn cells_of(
        &self,
        keys: &[DimensionKey],
        cells: impl IntoIterator<Item = Cell>,
    ) -> Result<BTreeMap<DimensionKey, Vec<RollupCell>>, StoreError> {
        let cells: Vec<_> = cells.into_iter().collect();
        let rollups = keys.iter().flat_map(|key| {
            let of = RollupKey { dimension: self.dimension.clone(), key: key.clone() };
            cells.iter().map(move |cell| ItemKey::rollup(&of, *cell)).collect::<Vec<_>>()
        });
        let rollups: Vec<_> = rollups.collect();
        let wanted: BTreeSet<_> = rollups.iter().cloned().collect();
        let found = self.store.get(wanted, Consistency::Strong, self.deadline).await?;
        let mut by_key = BTreeMap::<_, Vec<_>>::new();
        for item in rollups.iter().filter_map(|key| found.get(key)) {
            let cell = decode_rollup(item)?;
            by_key.entry(cell.key.clone()).or_default().push(cell);
        }
        Ok(by_key)
    }
}

impl Rest {
    fn of(order: KeyOrder<'_>) -> Self {
        let after = order.after.map(RollupOrder::from);
        let mut ranges = match order.selection {
            KeySelection::All => vec![KeyRange::All],
            KeySelection::WithPrefix(prefix) => KeyRange::of_prefix(prefix),
            KeySelection::These(keys) => {
                return Self::Keys(in_order(keys, order.direction, after.as_ref()));
            }
        };
        if order.direction == Direction::Backward {
            ranges.reverse();
        }
        let begun =
            after.as_ref().and_then(|after| ranges.iter().position(|it| it.contains(after)));
        let mut ranges: VecDeque<_> =
            ranges.into_iter().skip(begun.unwrap_or(0)).map(|range| (range, None)).collect();
        if let (Some(_), Some((_, start))) = (begun, ranges.front_mut()) {
            *start = after;
        }
        Self::Ranges(ranges)
    }
}

/// The keys after a place, in the direction in which they are read.
fn in_order(
    keys: &BTreeSet<DimensionKey>,
    direction: Direction,
    after: Option<&RollupOrder>,
) -> VecDeque<DimensionKey> {
    let mut keys: Vec<_> = keys.iter().map(|key| (RollupOrder::from(key), key)).collect();
    keys.sort();
    keys.retain(|(order, _)| {
        after.is_none_or(|after| match direction {
            Direction::Forward => order > after,
            Direction::Backward => order < after,
        })
    });
    if direction == Direction::Backward {
        keys.reverse();
    }
    keys.into_iter().map(|(_, key)| key.clone()).collect()
}

/// All partitions but the first.
fn others(spread: Spread) -> impl Iterator<Item = Cell> {
    Cell::first(spread.cells).filter(|cell| *cell != Cell::FIRST)
}

/// Over how many partitions a dimension is spread. It is read once, together with the first of
/// them: a cold dimension, which has one, takes one round trip. A writer raises the number before
/// it writes, so one that is read now covers all that was acknowledged before.
async fn known_spread(
    known: Option<Spread>,
    store: &Store,
    dimension: &DimensionName,
    deadline: Deadline,
) -> Result<Spread, StoreError> {
    if let Some(spread) = known {
        return Ok(spread);
    }
    let entry = store.dimension_entry(dimension, deadline).await?;
    Ok(entry.map_or(Spread::ONE, |entry| entry.spread))
}
