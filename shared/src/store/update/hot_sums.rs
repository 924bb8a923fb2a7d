//! Which cell a write goes to: the memory of hot sums.
//!
//! Two transactions that write to one item at the same time conflict, and an item takes at most
//! 1,000 write units a second. Therefore a writer that meets a conflict or a throttle on a cell
//! moves to another cell, out of a range that doubles each time. It stays where it meets none.
//! Writers spread out without coordination, each to a cell of its own. A sum that nobody contends
//! for keeps one cell for ever.
//!
//! All requests that a process serves at the same time share what it knows, and take different
//! cells while there are free ones.

use std::{
    collections::{BTreeMap, BTreeSet},
    num::NonZeroUsize,
    sync::Mutex,
    time::Duration,
};

use lru::LruCache;

use crate::{
    domain::{Cell, SpreadSum, UnixSeconds},
    store::lock,
};

/// The most sums that are remembered: those in use, and hot ones, at some 200 bytes each.
const MAX_REMEMBERED: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();
/// The range of a sum is halved after this long without a conflict.
const COOLS_AFTER: Duration = Duration::from_secs(10 * 60);

/// The memory of hot sums: those that several writers contend for.
#[derive(Debug)]
pub(in crate::store) struct HotSums {
    sums: Mutex<LruCache<SpreadSum, Spread>>,
    random: Mutex<fastrand::Rng>,
    most: u8,
}

/// How one sum is spread over its cells. A set of cells has a bit for each cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Spread {
    /// The range: this many cells, from cell 0 on; 1 to 128.
    width: u8,
    /// Cells that requests of this process are writing to.
    in_use: u128,
    /// Cells that were written to without a conflict.
    quiet: u128,
    /// When the last conflict was, or the range was last halved.
    conflict_at: UnixSeconds,
}

impl Spread {
    const COLD: Self = Self { width: 1, in_use: 0, quiet: 0, conflict_at: UnixSeconds(0) };

    fn range(&self) -> u128 {
        match 1_u128.checked_shl(self.width.into()) {
            Some(end) => end - 1,
            None => u128::MAX,
        }
    }

    fn widen(&mut self, most: u8) {
        self.width = self.width.saturating_mul(2).min(most);
    }

    fn cool(&mut self, now: UnixSeconds) {
        if self.width > 1 && self.conflict_at.after(COOLS_AFTER) <= now {
            self.width /= 2;
            self.quiet &= self.range();
            self.conflict_at = now;
        }
    }

    /// Takes a cell: one that proved to be quiet, otherwise any free one. If none is free, it
    /// shares one.
    fn take(&mut self, random: &mut fastrand::Rng, most: u8) -> Cell {
        while self.range() & !self.in_use == 0 && self.width < most {
            self.widen(most);
        }
        let free = self.range() & !self.in_use;
        let quiet = free & self.quiet;
        let cell = match (quiet, free) {
            (0, 0) => any(self.range(), random),
            (0, free) => any(free, random),
            (quiet, _) => lowest(quiet),
        };
        self.in_use |= bit(cell);
        cell
    }

    fn give_back(&mut self, cell: Cell) {
        self.in_use &= !bit(cell);
    }

    /// Whether there is nothing to remember.
    fn is_cold(&self) -> bool {
        self.width == 1 && self.in_use == 0
    }
}

fn bit(cell: Cell) -> u128 {
    1 << cell.number()
}

fn lowest(cells: u128) -> Cell {
    u8::try_from(cells.trailing_zeros()).ok().and_then(Cell::new).unwrap_or_default()
}

fn any(cells: u128, random: &mut fastrand::Rng) -> Cell {
    let mut left = cells;
    for _ in 0..random.u32(..cells.count_ones().max(1)) {
        left &= left - 1;
    }
    lowest(left)
}

impl HotSums {
    /// A memory of sums that have at most `most` cells each.
    pub(in crate::store) fn new(most: u8, random: fastrand::Rng) -> Self {
        let sums = Mutex::new(LruCache::sparse(MAX_REMEMBERED));
        Self { sums, random: Mutex::new(random), most: most.clamp(1, Cell::MOST) }
    }

    /// Takes a cell of each of these sums, until the lease is dropped.
    pub(super) fn lease(&self, of: BTreeSet<SpreadSum>, now: UnixSeconds) -> Lease<'_> {
        let mut sums = lock(&self.sums);
        let mut random = lock(&self.random);
        let taken = of.into_iter().map(|sum| {
            let spread = sums.get_or_insert_mut_ref(&sum, || Spread::COLD);
            spread.cool(now);
            let cell = spread.take(&mut random, self.most);
            (sum, cell)
        });
        Lease { hot_sums: self, taken: taken.collect(), now }
    }
}

/// The cells that a transaction writes to.
#[derive(Debug)]
pub(in crate::store) struct Lease<'a> {
    hot_sums: &'a HotSums,
    taken: BTreeMap<SpreadSum, Cell>,
    now: UnixSeconds,
}

impl Lease<'_> {
    /// The cell of a sum.
    pub(super) fn cell(&self, sum: &SpreadSum) -> Cell {
        self.taken.get(sum).copied().unwrap_or_default()
    }

    /// Moves to other cells of the `contended` sums. Returns whether the range of any of them has
    /// grown.
    pub(super) fn move_away(&mut self, contended: &BTreeSet<SpreadSum>) -> bool {
        let mut sums = lock(&self.hot_sums.sums);
        let mut random = lock(&self.hot_sums.random);
        let mut widened = false;
        for (sum, cell) in &mut self.taken {
            if !contended.contains(sum) {
                continue;
            }
            let spread = sums.get_or_insert_mut_ref(sum, || Spread::COLD);
            let before = spread.width;
            spread.widen(self.hot_sums.most);
            spread.conflict_at = self.now;
            spread.quiet &= !bit(*cell);
            // The old cell is still in use, so this takes another one if there is any.
            let next = spread.take(&mut random, self.hot_sums.most);
            spread.give_back(*cell);
            spread.in_use |= bit(next);
            *cell = next;
            widened |= spread.width > before;
        }
        widened
    }

    /// Goes back to the first cell of `folded` sums. They have gone quiet.
    pub(super) fn cool(&mut self, folded: &BTreeSet<SpreadSum>) {
        let mut sums = lock(&self.hot_sums.sums);
        for (sum, cell) in &mut self.taken {
            if folded.contains(sum) {
                sums.pop(sum);
                *cell = Cell::FIRST;
            }
        }
    }

    /// Remembers the cells of this lease as quiet, after a write to all of them.
    pub(super) fn succeeded(&self) {
        let mut sums = lock(&self.hot_sums.sums);
        for (sum, cell) in &self.taken {
            if let Some(spread) = sums.peek_mut(sum) {
                spread.quiet |= bit(*cell);
            }
        }
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let mut sums = lock(&self.hot_sums.sums);
        for (sum, cell) in &self.taken {
            let Some(spread) = sums.peek_mut(sum) else {
                continue;
            };
            spread.give_back(*cell);
            if spread.is_cold() {
                sums.pop(sum);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Cell, DimensionName};

    const NOW: UnixSeconds = UnixSeconds(1_000_000);

    fn hot_sums(most: u8) -> HotSums {
        HotSums::new(most, fastrand::Rng::with_seed(7))
    }

    fn sum(name: &str) -> SpreadSum {
        SpreadSum::Keys(DimensionName::new(name).unwrap())
    }

    fn one(hot_sums: &HotSums, now: UnixSeconds) -> Lease<'_> {
        hot_sums.lease([sum("a")].into(), now)
    }

    fn conflict(lease: &mut Lease<'_>) -> bool {
        lease.move_away(&[sum("a")].into())
    }

    #[test]
    fn a_sum_without_conflicts_has_one_cell_and_is_not_remembered() {
        let hot_sums = hot_sums(128);
        for _ in 0..100 {
            let lease = one(&hot_sums, NOW);
            assert_eq!(lease.cell(&sum("a")), Cell::FIRST);
            lease.succeeded();
        }
        assert!(lock(&hot_sums.sums).is_empty());
    }

    #[test]
    fn requests_of_one_process_take_different_cells() {
        let hot_sums = hot_sums(128);
        let leases: Vec<_> = (0..128).map(|_| one(&hot_sums, NOW)).collect();
        let taken: BTreeSet<_> = leases.iter().map(|lease| lease.cell(&sum("a"))).collect();
        assert_eq!(taken.len(), 128);
        // Beyond that there is no free one.
        assert!(taken.contains(&one(&hot_sums, NOW).cell(&sum("a"))));
    }

    #[test]
    fn each_conflict_moves_to_another_cell_of_a_range_that_doubles() {
        let hot_sums = hot_sums(128);
        let mut lease = one(&hot_sums, NOW);
        for width in [2_u8, 4, 8, 16, 32, 64, 128] {
            let before = lease.cell(&sum("a"));
            assert!(conflict(&mut lease));
            let after = lease.cell(&sum("a"));
            assert_ne!(before, after);
            assert!(after.number() < width, "{after:?} of {width}");
        }
        assert!(!conflict(&mut lease), "it ends at 128");
    }

    #[test]
    fn a_writer_stays_where_it_met_no_conflict() {
        let hot_sums = hot_sums(128);
        let mut lease = one(&hot_sums, NOW);
        conflict(&mut lease);
        conflict(&mut lease);
        let quiet = lease.cell(&sum("a"));
        lease.succeeded();
        drop(lease);
        for _ in 0..20 {
            assert_eq!(one(&hot_sums, NOW).cell(&sum("a")), quiet);
        }
    }

    #[test]
    fn a_limit_of_one_cell_leaves_no_other() {
        let hot_sums = hot_sums(1);
        let mut lease = one(&hot_sums, NOW);
        assert!(!conflict(&mut lease));
        assert_eq!(lease.cell(&sum("a")), Cell::FIRST);
        assert_eq!(one(&hot_sums, NOW).cell(&sum("a")), Cell::FIRST);
    }

    #[test]
    fn a_sum_cools_down_to_one_cell_when_conflicts_cease() {
        let hot_sums = hot_sums(128);
        let mut lease = one(&hot_sums, NOW);
        for _ in 0..7 {
            conflict(&mut lease);
        }
        drop(lease);
        let mut now = NOW;
        for _ in 0..7 {
            now = now.after(COOLS_AFTER);
            drop(one(&hot_sums, now));
        }
        assert_eq!(one(&hot_sums, now).cell(&sum("a")), Cell::FIRST);
        assert!(lock(&hot_sums.sums).is_empty());
    }

    #[test]
    fn a_folded_sum_begins_again_at_its_first_cell() {
        let hot_sums = hot_sums(128);
        let mut lease = one(&hot_sums, NOW);
        conflict(&mut lease);
        lease.succeeded();
        lease.cool(&[sum("a")].into());
        assert_eq!(lease.cell(&sum("a")), Cell::FIRST);
        drop(lease);
        assert_eq!(one(&hot_sums, NOW).cell(&sum("a")), Cell::FIRST);
    }

    #[test]
    fn memory_is_bounded() {
        let hot_sums = hot_sums(128);
        for i in 0..MAX_REMEMBERED.get() + 10 {
            let name = sum(&format!("d{i}"));
            let mut lease = hot_sums.lease([name.clone()].into(), NOW);
            lease.move_away(&[name].into());
        }
        assert_eq!(lock(&hot_sums.sums).len(), MAX_REMEMBERED.get());
    }
}
