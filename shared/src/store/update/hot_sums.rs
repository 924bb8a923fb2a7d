//! Which cell a write goes to: the memory of hot sums and hot dimensions.
//!
//! Two transactions that write to one item at once conflict, and a partition takes 1,000 write
//! units a second at most. Each calls for room of its own kind:
//!
//! - A conflict is about one sum. Its writer moves to another cell, out of a range that doubles
//!   each time, and stays where it met none. Writers spread out without coordination, each to a
//!   cell of its own. A sum that nobody contends for has one cell for ever.
//! - A throttle is about a partition, which holds the cells of one number of all keys of a
//!   dimension. Its writer spreads the dimension's keys over twice as many partitions: each key
//!   then has one cell among those, by its hash, the same for every process.
//!
//! A key that is throttled again and again, whatever partition it moves to, is hot by itself, and
//! gets a wider range as with conflicts.
//!
//! All requests that one process serves at once share what it knows: they don't take one cell at
//! the same time.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher, BuildHasherDefault, DefaultHasher},
    num::NonZeroUsize,
    sync::Mutex,
    time::Duration,
};

use lru::LruCache;

use crate::{
    domain::{Cell, DimensionName, SPREAD_IS_TRUSTED_FOR, Spread, SpreadSum, UnixSeconds},
    store::lock,
};

/// The most sums that are remembered (those in use, and hot ones, at some 200 bytes each), and the
/// most dimensions.
const MAX_REMEMBERED: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();
/// The range of a sum or a dimension is halved when it met nobody for so long.
const COOLS_AFTER: Duration = Duration::from_secs(10 * 60);
/// A key whose partition is full so often in a row is hot by itself: its dimension's other keys
/// would have left it a partition by then.
const HOT_FROM: u8 = 3;
/// A cell that is being folded takes no writes for so long: three steps, 20 minutes apart.
const FOLDED_FOR: Duration = Duration::from_secs(60 * 60);

/// The memory of hot sums and hot dimensions.
#[derive(Debug)]
pub struct HotSums {
    memory: Mutex<Memory>,
    most: u8,
}

#[derive(Debug)]
struct Memory {
    sums: LruCache<SpreadSum, SumRange>,
    dimensions: LruCache<DimensionName, DimensionRange>,
    random: fastrand::Rng,
}

/// What is known of one sum's cells. Each set of cells has a bit for each cell.
#[derive(Debug, Clone, Copy)]
struct SumRange {
    /// How many cells the sum is spread over: 1 to 128, a power of two.
    width: u8,
    /// Cells that requests of this process are writing to.
    in_use: u128,
    /// Cells that were written to without a conflict.
    quiet: u128,
    /// Cells that are being folded.
    folded: u128,
    /// When it was widened or halved last, or a folded cell was met.
    changed_at: UnixSeconds,
}

/// What is known of a dimension's partitions.
#[derive(Debug, Clone, Copy)]
struct DimensionRange {
    /// How many partitions its keys are spread over: 1 to 128, a power of two.
    width: u8,
    /// When it was widened or halved last.
    changed_at: UnixSeconds,
    /// What its entry said, and when.
    spread: Option<(Spread, UnixSeconds)>,
}

impl SumRange {
    const COLD: Self =
        Self { width: 1, in_use: 0, quiet: 0, folded: 0, changed_at: UnixSeconds(0) };

    /// The cells that the sum may use, where the keys of its dimension are spread over
    /// `partitions`.
    fn cells(&self, home: u64, partitions: u8) -> u128 {
        let all = self.width.max(partitions);
        let home = u8::try_from(home % u64::from(partitions)).unwrap_or_default();
        let cells = (0..self.width).map(|i| home.wrapping_add(i) % all);
        let cells = cells.filter_map(Cell::new).fold(0, |cells, cell| cells | bit(cell));
        match cells & !self.folded {
            0 => bit(Cell::FIRST),
            open => open,
        }
    }

    fn widen(&mut self, most: u8) {
        self.width = self.width.saturating_mul(2).min(most);
    }

    fn cool(&mut self, now: UnixSeconds) {
        if self.width > 1 && self.changed_at.after(COOLS_AFTER) <= now {
            self.width /= 2;
            self.changed_at = now;
        }
        if self.folded != 0 && self.changed_at.after(FOLDED_FOR) <= now {
            self.folded = 0;
        }
    }

    /// Takes a cell: one that proved to be quiet, else any that is free.
    fn take(&mut self, home: u64, partitions: u8, random: &mut fastrand::Rng, most: u8) -> Cell {
        while self.cells(home, partitions) & !self.in_use == 0 && self.width < most {
            self.widen(most);
        }
        let cells = self.cells(home, partitions);
        let free = cells & !self.in_use;
        let cell = match (free & self.quiet, free) {
            (0, 0) => any(cells, random),
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
        self.width == 1 && self.in_use == 0 && self.folded == 0
    }
}

impl DimensionRange {
    const COLD: Self = Self { width: 1, changed_at: UnixSeconds(0), spread: None };

    fn cool(&mut self, now: UnixSeconds) {
        if self.width > 1 && self.changed_at.after(COOLS_AFTER) <= now {
            self.width /= 2;
            self.changed_at = now;
        }
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

/// Where a key's cell is, in whatever number of partitions: the same for every process of one
/// release. Processes of another may disagree, which costs them cells, and nothing else.
fn home(sum: &SpreadSum) -> u64 {
    match sum {
        SpreadSum::Rollup(of) => {
            BuildHasherDefault::<DefaultHasher>::default().hash_one(of.key.as_str())
        }
        // It has no neighbours to keep away from.
        SpreadSum::Keys(_) => 0,
    }
}

impl HotSums {
    /// A memory of sums that have at most `most` cells each.
    #[must_use]
    pub fn new(most: u8, random: fastrand::Rng) -> Self {
        let memory = Memory {
            sums: LruCache::sparse(MAX_REMEMBERED),
            dimensions: LruCache::sparse(MAX_REMEMBERED),
            random,
        };
        Self { memory: Mutex::new(memory), most: most.clamp(1, Cell::MOST) }
    }

    /// Takes a cell of each of these sums, until the lease is dropped.
    pub fn lease(&self, sums: BTreeSet<SpreadSum>, now: UnixSeconds) -> Lease<'_> {
        let mut memory = lock(&self.memory);
        let taken = sums.into_iter().map(|sum| {
            let taken = memory.take(&sum, self.most, now);
            (sum, taken)
        });
        Lease { of: self, taken: taken.collect(), now }
    }

    /// Remembers what a dimension's entry said.
    pub fn remember_spread(&self, dimension: &DimensionName, spread: Spread, now: UnixSeconds) {
        let mut memory = lock(&self.memory);
        memory.dimension(dimension).spread = Some((spread, now));
    }
}

impl Memory {
    fn dimension(&mut self, dimension: &DimensionName) -> &mut DimensionRange {
        self.dimensions.get_or_insert_mut_ref(dimension, || DimensionRange::COLD)
    }

    /// Over how many partitions the keys of a dimension are spread.
    fn partitions(&mut self, sum: &SpreadSum, now: UnixSeconds) -> u8 {
        let SpreadSum::Rollup(of) = sum else {
            return 1;
        };
        let Some(range) = self.dimensions.get_mut(&of.dimension) else {
            return 1;
        };
        range.cool(now);
        range.width
    }

    fn take(&mut self, sum: &SpreadSum, most: u8, now: UnixSeconds) -> Taken {
        let partitions = self.partitions(sum, now);
        let Self { sums, random, .. } = self;
        let range = sums.get_or_insert_mut_ref(sum, || SumRange::COLD);
        range.cool(now);
        let cell = range.take(home(sum), partitions, random, most);
        Taken { cell, partitions, throttles: 0 }
    }
}

/// A cell that a transaction writes to.
#[derive(Debug, Clone, Copy)]
struct Taken {
    cell: Cell,
    /// Over how many partitions the dimension was spread when it was taken.
    partitions: u8,
    /// How often in a row its partition was full.
    throttles: u8,
}

/// The cells that a transaction writes to.
#[derive(Debug)]
pub struct Lease<'a> {
    of: &'a HotSums,
    taken: BTreeMap<SpreadSum, Taken>,
    now: UnixSeconds,
}

impl Lease<'_> {
    /// The cell of a sum.
    #[must_use]
    pub fn cell(&self, sum: &SpreadSum) -> Cell {
        self.taken.get(sum).map(|taken| taken.cell).unwrap_or_default()
    }

    /// The dimensions that have to be spread further for these cells to be written to, as far as
    /// this process knows; each with the last of its cells.
    #[must_use]
    pub fn beyond_spread(&self) -> BTreeMap<DimensionName, Cell> {
        let mut memory = lock(&self.of.memory);
        let mut last: BTreeMap<DimensionName, Cell> = BTreeMap::new();
        for (sum, taken) in self.taken.iter().filter(|(_, taken)| taken.cell != Cell::FIRST) {
            let last = last.entry(sum.dimension().clone()).or_default();
            *last = taken.cell.max(*last);
        }
        last.retain(|dimension, cell| match memory.dimension(dimension).spread {
            Some((spread, at)) if self.now < at.after(SPREAD_IS_TRUSTED_FOR) => {
                spread.widened_to(*cell).is_some()
            }
            _ => true,
        });
        last
    }

    /// Goes to the first cell of all sums of a dimension that has no entry yet.
    pub fn keep_to_first(&mut self, dimension: &DimensionName) {
        let mut memory = lock(&self.of.memory);
        for (sum, taken) in &mut self.taken {
            if sum.dimension() == dimension {
                if let Some(range) = memory.sums.peek_mut(sum) {
                    range.give_back(taken.cell);
                }
                taken.cell = Cell::FIRST;
            }
        }
    }

    /// Moves to other cells of sums that other writers are on. Whether each of them has moved.
    pub(super) fn avoid_conflicts(&mut self, contended: &BTreeSet<SpreadSum>) -> bool {
        let most = self.of.most;
        self.move_away(contended, |_, _, range| {
            range.widen(most);
            true
        })
    }

    /// Spreads the dimensions further whose partitions take no more. Whether each of these sums has
    /// moved to another.
    pub(super) fn avoid_throttles(&mut self, throttled: &BTreeSet<SpreadSum>) -> bool {
        let (most, now) = (self.of.most, self.now);
        {
            let mut memory = lock(&self.of.memory);
            for (sum, taken) in self.taken.iter_mut().filter(|(sum, _)| throttled.contains(sum)) {
                taken.throttles = taken.throttles.saturating_add(1);
                let SpreadSum::Rollup(of) = sum else {
                    continue;
                };
                let range = memory.dimension(&of.dimension);
                // Another request, or another key of this one, may have widened it since.
                if range.width == taken.partitions {
                    range.width = range.width.saturating_mul(2).min(most);
                    range.changed_at = now;
                }
            }
        }
        self.move_away(throttled, |sum, taken, range| {
            // A number of keys has partitions of its own.
            let is_hot = matches!(sum, SpreadSum::Keys(_)) || taken.throttles >= HOT_FROM;
            if is_hot {
                range.widen(most);
            }
            is_hot
        })
    }

    /// Moves to other cells of these sums, which `widen` gives more cells, or leaves to the
    /// partitions of their dimension. Whether each has moved, and out of more cells than before:
    /// only then does the next attempt meet nobody that this one has met.
    fn move_away(
        &mut self,
        from: &BTreeSet<SpreadSum>,
        widen: impl Fn(&SpreadSum, &Taken, &mut SumRange) -> bool,
    ) -> bool {
        let mut memory = lock(&self.of.memory);
        let mut all_moved = true;
        for (sum, taken) in &mut self.taken {
            if !from.contains(sum) {
                continue;
            }
            let partitions = memory.partitions(sum, self.now);
            let Memory { sums, random, .. } = &mut *memory;
            let range = sums.get_or_insert_mut_ref(sum, || SumRange::COLD);
            let (before, width) = (taken.cell, range.width);
            range.quiet &= !bit(before);
            // While the old cell is marked as in use, another one is taken.
            match widen(sum, taken, range) {
                true => range.changed_at = self.now,
                false => range.give_back(before),
            }
            let cell = range.take(home(sum), partitions, random, self.of.most);
            range.give_back(before);
            range.in_use |= bit(cell);
            all_moved &= cell != before && (range.width > width || partitions > taken.partitions);
            *taken = Taken { cell, partitions, ..*taken };
        }
        all_moved
    }

    /// Leaves the cells of these sums, which are being folded.
    pub(super) fn avoid_folded(&mut self, folded: &BTreeSet<SpreadSum>) {
        let mut memory = lock(&self.of.memory);
        for (sum, taken) in &mut self.taken {
            if !folded.contains(sum) {
                continue;
            }
            let partitions = memory.partitions(sum, self.now);
            let Memory { sums, random, .. } = &mut *memory;
            let range = sums.get_or_insert_mut_ref(sum, || SumRange::COLD);
            range.give_back(taken.cell);
            // It was quiet long enough to be folded.
            range.width = 1;
            range.quiet = 0;
            range.folded |= bit(taken.cell) & !bit(Cell::FIRST);
            range.changed_at = self.now;
            let cell = range.take(home(sum), partitions, random, 1);
            *taken = Taken { cell, partitions, ..*taken };
        }
    }

    /// Remembers the cells of this lease as quiet, after a write to all of them.
    pub fn succeeded(&self) {
        let mut memory = lock(&self.of.memory);
        for (sum, taken) in &self.taken {
            if let Some(range) = memory.sums.peek_mut(sum) {
                range.quiet |= bit(taken.cell);
            }
        }
    }
}

impl Drop for Lease<'_> {
    fn drop(&mut self) {
        let mut memory = lock(&self.of.memory);
        for (sum, taken) in &self.taken {
            let Some(range) = memory.sums.peek_mut(sum) else {
                continue;
            };
            range.give_back(taken.cell);
            if range.is_cold() {
                memory.sums.pop(sum);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{DimensionKey, RollupKey};

    const NOW: UnixSeconds = UnixSeconds(1_000_000);

    fn hot_sums(most: u8) -> HotSums {
        HotSums::new(most, fastrand::Rng::with_seed(7))
    }

    fn dimension() -> DimensionName {
        DimensionName::new("d").unwrap()
    }

    fn sum(key: &str) -> SpreadSum {
        SpreadSum::Rollup(RollupKey {
            dimension: dimension(),
            key: DimensionKey::new(key).unwrap(),
        })
    }

    fn one(of: &HotSums, now: UnixSeconds) -> Lease<'_> {
        of.lease([sum("a")].into(), now)
    }

    fn conflict(lease: &mut Lease<'_>) -> bool {
        lease.avoid_conflicts(&[sum("a")].into())
    }

    fn throttle(of: &HotSums, key: &str) -> bool {
        of.lease([sum(key)].into(), NOW).avoid_throttles(&[sum(key)].into())
    }

    fn remembered(of: &HotSums) -> usize {
        lock(&of.memory).sums.len()
    }

    #[test]
    fn a_sum_without_conflicts_has_one_cell_and_is_not_remembered() {
        let of = hot_sums(128);
        for _ in 0..100 {
            let lease = one(&of, NOW);
            assert_eq!(lease.cell(&sum("a")), Cell::FIRST);
            assert!(lease.beyond_spread().is_empty());
            lease.succeeded();
        }
        assert_eq!(remembered(&of), 0);
    }

    #[test]
    fn requests_of_one_process_take_different_cells() {
        let of = hot_sums(128);
        let leases: Vec<_> = (0..128).map(|_| one(&of, NOW)).collect();
        let taken: BTreeSet<_> = leases.iter().map(|lease| lease.cell(&sum("a"))).collect();
        assert_eq!(taken.len(), 128);
        // Beyond that there is no free one.
        assert!(taken.contains(&one(&of, NOW).cell(&sum("a"))));
    }

    #[test]
    fn no_request_takes_the_cell_of_another_of_its_process_whichever_of_them_has_moved() {
        let of = hot_sums(128);
        let stays = one(&of, NOW);
        let mut moves = one(&of, NOW);
        for _ in 0..5 {
            assert!(conflict(&mut moves));
        }
        let cells: BTreeSet<_> =
            [&stays, &moves].map(|lease| lease.cell(&sum("a"))).into_iter().collect();
        assert_eq!(cells.len(), 2);
        // With these two, all of a range of 64.
        let others: Vec<_> = (0..62).map(|_| one(&of, NOW)).collect();
        assert!(others.iter().all(|other| !cells.contains(&other.cell(&sum("a")))));
    }

    #[test]
    fn a_cell_that_was_quiet_is_not_preferred_any_more_after_a_conflict() {
        let of = hot_sums(128);
        let mut first = one(&of, NOW);
        assert!(conflict(&mut first));
        first.succeeded();
        let quiet = first.cell(&sum("a"));
        drop(first);
        let mut second = one(&of, NOW);
        assert_eq!(second.cell(&sum("a")), quiet);
        assert!(conflict(&mut second));
        drop(second);
        let cells: BTreeSet<_> = (0..50).map(|_| one(&of, NOW).cell(&sum("a"))).collect();
        assert!(cells.len() > 1, "{cells:?}");
    }

    #[test]
    fn each_conflict_moves_to_another_cell_of_a_range_that_doubles() {
        let of = hot_sums(128);
        let mut lease = one(&of, NOW);
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
        let of = hot_sums(128);
        let mut lease = one(&of, NOW);
        conflict(&mut lease);
        conflict(&mut lease);
        let quiet = lease.cell(&sum("a"));
        lease.succeeded();
        drop(lease);
        for _ in 0..20 {
            assert_eq!(one(&of, NOW).cell(&sum("a")), quiet);
        }
    }

    #[test]
    fn one_cell_can_be_all_there_is() {
        let of = hot_sums(1);
        let mut lease = one(&of, NOW);
        assert!(!conflict(&mut lease));
        assert!(!lease.avoid_throttles(&[sum("a")].into()));
        assert_eq!(lease.cell(&sum("a")), Cell::FIRST);
        assert_eq!(one(&of, NOW).cell(&sum("a")), Cell::FIRST);
    }

    #[test]
    fn a_sum_cools_down_to_one_cell_when_conflicts_cease() {
        let of = hot_sums(128);
        let mut lease = one(&of, NOW);
        for _ in 0..7 {
            conflict(&mut lease);
        }
        drop(lease);
        let mut now = NOW;
        for _ in 0..7 {
            now = now.after(COOLS_AFTER);
            drop(one(&of, now));
        }
        assert_eq!(one(&of, now).cell(&sum("a")), Cell::FIRST);
        assert_eq!(remembered(&of), 0);
    }

    #[test]
    fn throttles_spread_the_keys_of_a_dimension_and_each_keeps_one_cell() {
        let of = hot_sums(128);
        let keys: Vec<_> = (0..256).map(|key| key.to_string()).collect();
        let cells = |of: &HotSums| -> Vec<Cell> {
            keys.iter().map(|key| of.lease([sum(key)].into(), NOW).cell(&sum(key))).collect()
        };
        assert!(cells(&of).iter().all(|cell| *cell == Cell::FIRST));
        for width in [2_usize, 4, 8, 16, 32, 64, 128] {
            throttle(&of, "0");
            let taken = cells(&of);
            let distinct: BTreeSet<_> = taken.iter().collect();
            assert!(distinct.len() > width / 2 && distinct.len() <= width, "{distinct:?}");
            assert_eq!(cells(&of), taken, "the same again");
            assert_eq!(remembered(&of), 0);
        }
        assert!(!throttle(&of, "0"), "it ends at 128");
        // Other dimensions stay where they are.
        let other = SpreadSum::Rollup(RollupKey {
            dimension: DimensionName::new("e").unwrap(),
            key: DimensionKey::new("0").unwrap(),
        });
        assert_eq!(of.lease([other.clone()].into(), NOW).cell(&other), Cell::FIRST);
    }

    #[test]
    fn requests_that_were_throttled_together_widen_a_dimension_once() {
        let of = hot_sums(128);
        let mut leases: Vec<_> = ["0", "1", "2"].map(|key| of.lease([sum(key)].into(), NOW)).into();
        for (lease, key) in leases.iter_mut().zip(["0", "1", "2"]) {
            lease.avoid_throttles(&[sum(key)].into());
        }
        assert_eq!(lock(&of.memory).dimension(&dimension()).width, 2);
    }

    #[test]
    fn a_key_that_is_throttled_again_and_again_gets_a_range_of_its_own() {
        let of = hot_sums(128);
        let mut lease = one(&of, NOW);
        let width = |of: &HotSums| lock(&of.memory).sums.peek(&sum("a")).unwrap().width;
        for throttles in 1..HOT_FROM {
            lease.avoid_throttles(&[sum("a")].into());
            assert_eq!(width(&of), 1, "{throttles}");
        }
        for expected in [2, 4, 8, 16, 32, 64, 128] {
            assert!(lease.avoid_throttles(&[sum("a")].into()), "there are more cells");
            assert_eq!(width(&of), expected);
        }
        assert!(!lease.avoid_throttles(&[sum("a")].into()), "nothing is left to widen");
        // Other keys of the dimension have one cell each.
        let other = of.lease([sum("b")].into(), NOW);
        assert_eq!(lock(&of.memory).sums.peek(&sum("b")).unwrap().width, 1);
        drop(other);
    }

    #[test]
    fn a_hot_key_of_a_hot_dimension_has_a_range_around_its_own_partition() {
        let of = hot_sums(128);
        for _ in 0..3 {
            throttle(&of, "0");
        }
        let mut lease = one(&of, NOW);
        let home = lease.cell(&sum("a"));
        conflict(&mut lease);
        let next = lease.cell(&sum("a"));
        assert_eq!(next.number(), (home.number() + 1) % 8);
    }

    #[test]
    fn a_dimension_cools_down_to_one_partition_when_throttles_cease() {
        let of = hot_sums(128);
        for _ in 0..7 {
            throttle(&of, "0");
        }
        let mut now = NOW;
        for _ in 0..7 {
            now = now.after(COOLS_AFTER);
            drop(one(&of, now));
        }
        assert_eq!(one(&of, now).cell(&sum("a")), Cell::FIRST);
    }

    #[test]
    fn a_folded_cell_is_left_alone_until_folding_is_over() {
        let of = hot_sums(128);
        let mut lease = one(&of, NOW);
        conflict(&mut lease);
        lease.succeeded();
        lease.avoid_folded(&[sum("a")].into());
        assert_eq!(lease.cell(&sum("a")), Cell::FIRST);
        drop(lease);
        assert_eq!(one(&of, NOW).cell(&sum("a")), Cell::FIRST);

        // In a dimension that is spread, too: there the key's own cell is another one.
        let of = hot_sums(128);
        for _ in 0..7 {
            throttle(&of, "0");
        }
        let mut lease = one(&of, NOW);
        let home = lease.cell(&sum("a"));
        assert_ne!(home, Cell::FIRST);
        lease.avoid_folded(&[sum("a")].into());
        drop(lease);
        assert_eq!(one(&of, NOW).cell(&sum("a")), Cell::FIRST);
        let later = NOW.after(FOLDED_FOR);
        assert_ne!(lock(&of.memory).dimension(&dimension()).width, 1);
        lock(&of.memory).dimension(&dimension()).changed_at = later;
        assert_eq!(one(&of, later).cell(&sum("a")), home);
    }

    #[test]
    fn a_cell_beyond_the_known_spread_has_to_be_asked_for() {
        let of = hot_sums(128);
        let mut lease = one(&of, NOW);
        conflict(&mut lease);
        let needed = BTreeMap::from([(dimension(), Cell::new(1).unwrap())]);
        assert_eq!(lease.beyond_spread(), needed);
        of.remember_spread(&dimension(), Spread { cells: 2, narrowing: None }, NOW);
        assert!(lease.beyond_spread().is_empty());
        drop(lease);
        // What was read is trusted for a while only.
        let later = NOW.after(SPREAD_IS_TRUSTED_FOR);
        let mut lease = one(&of, later);
        conflict(&mut lease);
        assert_eq!(lease.beyond_spread().len(), 1);
        lease.keep_to_first(&dimension());
        assert_eq!(lease.cell(&sum("a")), Cell::FIRST);
        assert!(lease.beyond_spread().is_empty());
    }

    #[test]
    fn memory_is_bounded() {
        let of = hot_sums(128);
        for i in 0..MAX_REMEMBERED.get() + 10 {
            let name = sum(&i.to_string());
            let mut lease = of.lease([name.clone()].into(), NOW);
            lease.avoid_conflicts(&[name].into());
        }
        assert_eq!(remembered(&of), MAX_REMEMBERED.get());
    }
}
