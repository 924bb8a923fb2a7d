//! Reading the cells of a dimension's keys, in memory that does not grow with the number of keys.

use futures_util::future::try_join_all;

use super::partition::{Items, Stretch};
use crate::{
    domain::{Cell, DimensionName, Direction, RollupCell},
    store::{Deadline, Store, StoreError},
    table::{KeyRange, Partition, RollupOrder},
};

/// About how many items are held of all partitions but the first, whose pages DynamoDB limits to 1
/// MB.
const ITEMS_HELD: i32 = 25_600;

/// The cells of keys, those of a key together, in the order of the keys.
///
/// Each partition is in that order, so they are merged as they are read.
#[derive(Debug)]
pub(in crate::store) struct CellReader<'a> {
    partitions: Vec<Ahead<'a>>,
    direction: Direction,
}

/// The cells of these numbers, of the keys in a range.
#[derive(Debug)]
pub(super) struct CellRange<I> {
    pub(super) cells: I,
    pub(super) range: KeyRange,
    /// The place after which they begin; none: with the first key.
    pub(super) after: Option<RollupOrder>,
}

/// A partition, and the cell of it that comes next.
#[derive(Debug)]
struct Ahead<'a> {
    cells: Items<'a, RollupCell>,
    next: Option<(RollupOrder, RollupCell)>,
    is_over: bool,
}

impl<'a> CellReader<'a> {
    /// Reads no partition yet.
    pub(in crate::store) fn new(direction: Direction) -> Self {
        Self { partitions: Vec::new(), direction }
    }

    /// Reads these partitions too, none of which has been read.
    pub(in crate::store) fn add(
        &mut self,
        store: &'a Store,
        dimension: &DimensionName,
        cells: impl IntoIterator<Item = Cell>,
        deadline: Deadline,
    ) {
        let all = CellRange { cells, range: KeyRange::All, after: None };
        self.add_range(store, dimension, all, deadline);
    }

    /// Reads a part of these partitions too, none of which has been read.
    pub(super) fn add_range(
        &mut self,
        store: &'a Store,
        dimension: &DimensionName,
        of: CellRange<impl IntoIterator<Item = Cell>>,
        deadline: Deadline,
    ) {
        let cells: Vec<_> = of.cells.into_iter().collect();
        let many = i32::try_from(cells.len()).unwrap_or(ITEMS_HELD).max(1);
        for cell in cells {
            let page_limit = (cell != Cell::FIRST).then_some(ITEMS_HELD / many);
            let stretch = self.stretch(dimension, cell, of.range.clone());
            let cells = store.items_after(stretch, of.after.clone(), page_limit, deadline);
            self.partitions.push(Ahead { cells, next: None, is_over: false });
        }
    }

    /// Takes the first cells of some keys, which have been read.
    pub(super) fn add_first(
        &mut self,
        store: &'a Store,
        dimension: &DimensionName,
        cells: Vec<RollupCell>,
        deadline: Deadline,
    ) {
        let stretch = self.stretch(dimension, Cell::FIRST, KeyRange::All);
        let cells = store.items_read(stretch, cells, deadline);
        self.partitions.push(Ahead { cells, next: None, is_over: false });
    }

    fn stretch(&self, dimension: &DimensionName, cell: Cell, range: KeyRange) -> Stretch {
        let partition = Partition::rollups(dimension, cell);
        Stretch { partition, range, direction: self.direction }
    }

    /// Reads what comes next of each partition, so that [`Self::next`] need not wait for it.
    pub(in crate::store) async fn fill(&mut self) -> Result<(), StoreError> {
        let fills = self.partitions.iter_mut().filter(|ahead| ahead.next.is_none());
        try_join_all(fills.map(Ahead::fill)).await.map(drop)
    }

    /// The cells of the next key, in their order; none at the end.
    pub(in crate::store) async fn next(&mut self) -> Result<Vec<RollupCell>, StoreError> {
        self.fill().await?;
        let next = self.partitions.iter().filter_map(|ahead| ahead.next.as_ref());
        let orders = next.map(|(order, _)| order);
        let first = match self.direction {
            Direction::Forward => orders.min(),
            Direction::Backward => orders.max(),
        };
        let Some(first) = first.cloned() else {
            return Ok(Vec::new());
        };
        let of_key = self.partitions.iter_mut().filter_map(|ahead| {
            ahead.next.take_if(|(order, _)| *order == first).map(|(_, cell)| cell)
        });
        Ok(of_key.collect())
    }
}

impl Ahead<'_> {
    async fn fill(&mut self) -> Result<(), StoreError> {
        if self.is_over {
            return Ok(());
        }
        match self.cells.next().await? {
            Some(cell) => self.next = Some((RollupOrder::from(&cell.key), cell)),
            None => self.is_over = true,
        }
        Ok(())
    }
}
