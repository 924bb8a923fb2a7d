//! Which cell a write goes to: the memory of hot sums.
//!
//! Two transactions that write to one item at once conflict, and one item takes 1,000 write units a second
//! at most. So a writer that meets a conflict or a throttle on a cell moves to another, out of a range that
//! doubles each time; and stays where it met none. Writers so part by themselves, each to a cell of its
//! own, without knowing of each other. A sum that nobody contends for has one cell for ever.
//!
//! What one process knows is shared by all requests that it serves at once: they don't take one cell at the
//! same time.

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

/// Most sums that are remembered: those in use, and hot ones, at some 200 bytes each.
const MAX_REMEMBERED: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();
/// The range of a sum is halved when it met no conflict for so long.
const COOLS_AFTER: Duration = Duration::from_secs(10 * 60);

/// The memory of hot sums.
#[derive(Debug)]
pub(in crate::store) struct Cells {
    stripes: Mutex<LruCache<SpreadSum, Stripes>>,
    random: Mutex<fastrand::Rng>,
    most: u8,
}

/// What is known of one sum's cells. Each set of cells has a bit for each cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stripes {
    /// The range: cells from 0 on, 1 to 128 of them, a power of two.
    width: u8,
    /// Cells that requests of this process are writing to.
    in_use: u128,
    /// Cells that were written to without a conflict.
    quiet: u128,
    /// When there was a conflict last, or the range was halved.
    conflict_at: UnixSeconds,
}

impl Stripes {
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

    /// Takes a cell: one that proved to be quiet, else any that is free.
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

    /// Whether this is what is known of a sum that is not remembered.
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

impl Cells {
    /// Sums have at most `most` cells.
    pub(in crate::store) fn new(most: u8, random: fastrand::Rng) -> Self {
        let stripes = Mutex::new(LruCache::sparse(MAX_REMEMBERED));
        Self { stripes, random: Mutex::new(random), most: most.clamp(1, Cell::MOST) }
    }

    /// Takes a cell of each of these sums, until the lease is dropped.
    pub(super) fn lease(&self, sums: BTreeSet<SpreadSum>, now: UnixSeconds) -> Lease<'_> {
        let mut stripes = lock(&self.stripes);
        let mut random = lock(&self.random);
        let taken = sums.into_iter().map(|sum| {
            let of = stripes.get_or_insert_mut_ref(&sum, || Stripes::COLD);
            of.cool(now);
            let cell = of.take(&mut random, self.most);
            (sum, cell)
        });
        Lease { cells: self, taken: taken.collect(), now }
    }
}

/// The cells that a transaction writes to.
#[derive(Debug)]
pub(in crate::store) struct Lease<'a> {
    cells: &'a Cells,
    taken: BTreeMap<SpreadSum, Cell>,
    now: UnixSeconds,
}

impl Lease<'_> {
    /// The cell of a sum.
    pub(super) fn cell(&self, sum: &SpreadSum) -> Cell {
        self.taken.get(sum).copied().unwrap_or_default()
    }

    /// Moves to other cells of the sums that others were in the way on. Whether there is more room for
    /// any of them than before.
    pub(super) fn move_away(&mut self, contended: &BTreeSet<SpreadSum>) -> bool {
        let mut stripes = lock(&self.cells.stripes);
        let mut random = lock(&self.cells.random);
        let mut widened = false;
        for (sum, cell) in &mut self.taken {
            if !contended.contains(sum) {
                continue;
            }
            let of = stripes.get_or_insert_mut_ref(sum, || Stripes::COLD);
            let before = of.width;
            of.widen(self.cells.most);
            of.conflict_at = self.now;
            of.quiet &= !bit(*cell);
            // The old cell is still marked as in use, so that it is not taken again.
            let next = of.take(&mut random, self.cells.most);
            of.give_back(*cell);
            of.in_use |= bit(next);
            *cell = next;
            widened |= of.width > before;
        }
        widened
    }

    /// Goes back to the first cell of sums that turned out to have gone quiet: they have been folded.
    pub(super) fn cool(&mut self, folded: &BTreeSet<SpreadSum>) {
        let mut stripes = lock(&self.cells.stripes);
        for (sum, cell) in &mut self.taken {
            if folded.contains(sum) {
                stripes.pop(sum);
                *cell = Cell::FIRST;
            }
        }
    }

    /// Remembers the cells of this lease as quiet: all of them were written to.
    pub(super) fn succeeded(&self) {
        let mut stripes = lock(&self.cells.stripes);
        for (sum, cell) in &self.taken {
            if let Some(of) = stripes.peek_mut(sum) {
                of.quiet |= bit(*cell);
            }
        }
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let mut stripes = lock(&self.cells.stripes);
        for (sum, cell) in &self.taken {
            let Some(of) = stripes.peek_mut(sum) else {
                continue;
            };
            of.give_back(*cell);
            if of.is_cold() {
                stripes.pop(sum);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Cell, DimensionName};

    const NOW: UnixSeconds = UnixSeconds(1_000_000);

    fn cells(most: u8) -> Cells {
        Cells::new(most, fastrand::Rng::with_seed(7))
    }

    fn sum(name: &str) -> SpreadSum {
        SpreadSum::Keys(DimensionName::new(name).unwrap())
    }

    fn one(cells: &Cells, now: UnixSeconds) -> Lease<'_> {
        cells.lease([sum("a")].into(), now)
    }

    fn conflict(lease: &mut Lease<'_>) -> bool {
        lease.move_away(&[sum("a")].into())
    }

    #[test]
    fn a_sum_without_conflicts_has_one_cell_and_is_not_remembered() {
        let cells = cells(128);
        for _ in 0..100 {
            let lease = one(&cells, NOW);
            assert_eq!(lease.cell(&sum("a")), Cell::FIRST);
            lease.succeeded();
        }
        assert!(lock(&cells.stripes).is_empty());
    }

    #[test]
    fn requests_of_one_process_take_different_cells() {
        let cells = cells(128);
        let leases: Vec<_> = (0..128).map(|_| one(&cells, NOW)).collect();
        let taken: BTreeSet<_> = leases.iter().map(|lease| lease.cell(&sum("a"))).collect();
        assert_eq!(taken.len(), 128);
        // Beyond that there is no free one.
        assert!(taken.contains(&one(&cells, NOW).cell(&sum("a"))));
    }

    #[test]
    fn each_conflict_moves_to_another_cell_of_a_range_that_doubles() {
        let cells = cells(128);
        let mut lease = one(&cells, NOW);
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
        let cells = cells(128);
        let mut lease = one(&cells, NOW);
        conflict(&mut lease);
        conflict(&mut lease);
        let quiet = lease.cell(&sum("a"));
        lease.succeeded();
        drop(lease);
        for _ in 0..20 {
            assert_eq!(one(&cells, NOW).cell(&sum("a")), quiet);
        }
    }

    #[test]
    fn one_cell_can_be_all_there_is() {
        let cells = cells(1);
        let mut lease = one(&cells, NOW);
        assert!(!conflict(&mut lease));
        assert_eq!(lease.cell(&sum("a")), Cell::FIRST);
        assert_eq!(one(&cells, NOW).cell(&sum("a")), Cell::FIRST);
    }

    #[test]
    fn a_sum_cools_down_to_one_cell_when_conflicts_cease() {
        let cells = cells(128);
        let mut lease = one(&cells, NOW);
        for _ in 0..7 {
            conflict(&mut lease);
        }
        drop(lease);
        let mut now = NOW;
        for _ in 0..7 {
            now = now.after(COOLS_AFTER);
            drop(one(&cells, now));
        }
        assert_eq!(one(&cells, now).cell(&sum("a")), Cell::FIRST);
        assert!(lock(&cells.stripes).is_empty());
    }

    #[test]
    fn a_folded_sum_begins_again_at_its_first_cell() {
        let cells = cells(128);
        let mut lease = one(&cells, NOW);
        conflict(&mut lease);
        lease.succeeded();
        lease.cool(&[sum("a")].into());
        assert_eq!(lease.cell(&sum("a")), Cell::FIRST);
        drop(lease);
        assert_eq!(one(&cells, NOW).cell(&sum("a")), Cell::FIRST);
    }

    #[test]
    fn memory_is_bounded() {
        let cells = cells(128);
        for i in 0..MAX_REMEMBERED.get() + 10 {
            let name = sum(&format!("d{i}"));
            let mut lease = cells.lease([name.clone()].into(), NOW);
            lease.move_away(&[name].into());
        }
        assert_eq!(lock(&cells.stripes).len(), MAX_REMEMBERED.get());
    }
}
