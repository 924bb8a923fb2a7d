//! Reads a dimension key by key, in memory that does not grow with the number of its keys.

use super::range::Items;
use crate::{
    domain::{
        CounterCell, CountingCells, DimensionKey, DimensionName, KeyStats, Period, UnixSeconds,
    },
    store::{Deadline, FoldPlan, Store, StoreError},
    table::{CorruptItem, Item, KeyRange, RollupOrder, decode_counters, decode_gauges},
};

/// The stats of a dimension's keys, one after another.
///
/// The counters and the gauges of each period are ranges of their own. All are in the order of the
/// keys, so they are merged while they are read. Each range holds a page, and the cells of one key.
#[derive(Debug)]
pub struct KeyReader<'a> {
    now: UnixSeconds,
    counters: ByKey<'a, CounterCell>,
    gauges: [ByKey<'a, KeyStats>; 2],
    counting: CountingCells,
    plan: FoldPlan,
}

/// Decodes an item, given the current period.
type Decode<T> = fn(&Item, Period) -> Result<(DimensionKey, T), CorruptItem>;

/// The items of a range, grouped by key.
#[derive(Debug)]
struct ByKey<'a, T> {
    items: Items<'a>,
    current: Period,
    decode: Decode<T>,
    /// The items of the next key.
    head: Option<ItemsOfKey<T>>,
    /// The first item of the key after that.
    ahead: Option<(DimensionKey, T)>,
    is_started: bool,
}

#[derive(Debug)]
struct ItemsOfKey<T> {
    order: RollupOrder,
    key: DimensionKey,
    items: Vec<T>,
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
        let current = self.settings.period_length.containing(now);
        let prior = self.settings.period_length.prior(current);
        let counters = self.items(&KeyRange::counters(dimension), deadline);
        let gauges = [prior, current].map(|period| {
            let items = self.items(&KeyRange::gauges(dimension, period, period), deadline);
            ByKey::new(items, current, decode_gauges)
        });
        KeyReader {
            now,
            counters: ByKey::new(counters, current, |item, _| {
                decode_counters(item).map(|cell| (cell.key.clone(), cell))
            }),
            gauges,
            counting: CountingCells::default(),
            plan: FoldPlan::default(),
        }
    }
}

impl KeyReader<'_> {
    /// The next key and its stats; `None` at the end.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn next(&mut self) -> Result<Option<(DimensionKey, KeyStats)>, StoreError> {
        self.counters.fill().await?;
        for gauges in &mut self.gauges {
            gauges.fill().await?;
        }
        let [prior, current] = &self.gauges;
        let orders = [self.counters.order(), prior.order(), current.order()];
        let Some(first) = orders.into_iter().flatten().min().cloned() else {
            return Ok(None);
        };
        let mut found = None;
        let mut stats = KeyStats::default();
        if let Some(group) = self.counters.take(&first) {
            for cell in &group.items {
                if self.counting.counts(cell) {
                    stats.add(&cell.stats)?;
                }
            }
            self.plan.note(&group.items, self.now);
            found = Some(group.key);
        }
        for gauges in &mut self.gauges {
            if let Some(group) = gauges.take(&first) {
                for cell in &group.items {
                    stats.add(cell)?;
                }
                found = Some(group.key);
            }
        }
        Ok(found.map(|key| (key, stats)))
    }

    /// The steps of folding that are due for the keys that were read.
    #[must_use]
    pub fn into_fold_plan(self) -> FoldPlan {
        self.plan
    }
}

impl<'a, T> ByKey<'a, T> {
    fn new(items: Items<'a>, current: Period, decode: Decode<T>) -> Self {
        Self { items, current, decode, head: None, ahead: None, is_started: false }
    }

    /// Reads the items of the next key, unless they are there already.
    async fn fill(&mut self) -> Result<(), StoreError> {
        if self.head.is_some() {
            return Ok(());
        }
        if !self.is_started {
            self.is_started = true;
            self.ahead = self.read().await?;
        }
        let Some((key, item)) = self.ahead.take() else {
            return Ok(());
        };
        let mut items = vec![item];
        while let Some((next, item)) = self.read().await? {
            if next != key {
                self.ahead = Some((next, item));
                break;
            }
            items.push(item);
        }
        self.head = Some(ItemsOfKey { order: RollupOrder::from(&key), key, items });
        Ok(())
    }

    async fn read(&mut self) -> Result<Option<(DimensionKey, T)>, StoreError> {
        match self.items.next().await? {
            Some(item) => Ok(Some((self.decode)(&item, self.current)?)),
            None => Ok(None),
        }
    }

    fn order(&self) -> Option<&RollupOrder> {
        self.head.as_ref().map(|group| &group.order)
    }

    /// Takes the items of the next key, if it is the one at this place.
    fn take(&mut self, order: &RollupOrder) -> Option<ItemsOfKey<T>> {
        self.head.take_if(|group| group.order == *order)
    }
}
