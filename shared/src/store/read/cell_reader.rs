//! Reading the cells of a dimension's keys, in memory that does not grow with the number of keys.

use futures_util::future::try_join_all;

use super::partition::Items;
use crate::{
    domain::{Cell, DimensionName, RollupCell},
    store::{Deadline, Store, StoreError},
    table::{Partition, RollupOrder, decode_rollup},
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
}

/// A partition, and the cell of it that comes next.
#[derive(Debug)]
struct Ahead<'a> {
    items: Items<'a>,
    next: Option<(RollupOrder, RollupCell)>,
    is_over: bool,
}

impl<'a> CellReader<'a> {
    /// Reads no partition yet.
    pub(in crate::store) fn new() -> Self {
        Self { partitions: Vec::new() }
    }

    /// Reads these partitions too, none of which has been read.
    pub(in crate::store) fn add(
        &mut self,
        store: &'a Store,
        dimension: &DimensionName,
        cells: impl IntoIterator<Item = Cell>,
        deadline: Deadline,
    ) {
        let cells: Vec<_> = cells.into_iter().collect();
        let many = i32::try_from(cells.len()).unwrap_or(ITEMS_HELD).max(1);
        for cell in cells {
            let page_limit = (cell != Cell::FIRST).then_some(ITEMS_HELD / many);
            let items = store.items(Partition::rollups(dimension, cell), page_limit, deadline);
            self.partitions.push(Ahead { items, next: None, is_over: false });
        }
    }

    /// Reads what comes next of each partition, so that [`Self::next`] need not wait for it.
    pub(in crate::store) async fn fill(&mut self) -> Result<(), StoreError> {
        let fills = self.partitions.iter_mut().filter(|ahead| ahead.next.is_none());
        try_join_all(fills.map(Ahead::fill)).await.map(drop)
    }

    /// The cells of the next key, in their order; none at the end.
    pub(in crate::store) async fn next(&mut self) -> Result<Vec<RollupCell>, StoreError> {
        self.fill().await?;
        let orders = self.partitions.iter().filter_map(|ahead| ahead.next.as_ref());
        let Some(first) = orders.map(|(order, _)| order).min().cloned() else {
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
        match self.items.next().await? {
            Some(item) => {
                let cell = decode_rollup(&item)?;
                self.next = Some((RollupOrder::from(&cell.key), cell));
            }
            None => self.is_over = true,
        }
        Ok(())
    }
}
