//! Cells: the items that one sum is spread over, so that its writers don't get in each other's way.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    DimensionKey, DimensionName, KeyStats, Overflow, Period, PeriodLength, RollupKey, Sums,
    UnixSeconds, summary::add_sums,
};

/// A sum that is spread over cells.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SpreadSum {
    /// The rollup of a key.
    Rollup(RollupKey),
    /// The number of keys that a dimension has.
    Keys(DimensionName),
}

impl SpreadSum {
    /// The dimension that the sum belongs to.
    #[must_use]
    pub fn dimension(&self) -> &DimensionName {
        match self {
            Self::Rollup(of) => &of.dimension,
            Self::Keys(dimension) => dimension,
        }
    }
}

/// The number of a cell: 0 to 127. The cells of one number are a partition of their dimension.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cell(u8);

impl Cell {
    /// The cell that a sum has from the start. Most sums have no other.
    pub const FIRST: Self = Self(0);
    /// The most cells of a sum.
    pub const MOST: u8 = 128;

    /// The cell with this number; `None` from 128 on.
    #[must_use]
    pub fn new(number: u8) -> Option<Self> {
        (number < Self::MOST).then_some(Self(number))
    }

    /// Its number.
    #[must_use]
    pub fn number(self) -> u8 {
        self.0
    }

    /// The first `count` cells, in their order; at most 128.
    pub fn first(count: u8) -> impl Iterator<Item = Self> {
        (0..count).map_while(Self::new)
    }
}

/// Distinguishes an item of a cell from a later one with the same number. Together with that number
/// it is unique.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

/// The sums of a cell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CellSums {
    /// Counters and increments.
    pub counters: Sums,
    /// Numbers of unique members.
    pub members: Sums,
    /// Gauges by their period.
    pub gauges: BTreeMap<Period, Sums>,
}

impl CellSums {
    /// Adds `other`, stat by stat.
    ///
    /// # Errors
    /// A sum would need more than 38 digits.
    pub fn add(&mut self, other: &Self) -> Result<(), Overflow> {
        add_sums(&mut self.counters, &other.counters)?;
        add_sums(&mut self.members, &other.members)?;
        for (period, sums) in &other.gauges {
            add_sums(self.gauges.entry(*period).or_default(), sums)?;
        }
        Ok(())
    }

    /// How many sums there are.
    #[must_use]
    pub fn count(&self) -> usize {
        let gauges: usize = self.gauges.values().map(Sums::len).sum();
        self.counters.len() + self.members.len() + gauges
    }

    /// The sums without gauges that have expired.
    #[must_use]
    pub fn live(&self, period_length: PeriodLength, now: UnixSeconds) -> Self {
        let mut live = self.clone();
        live.gauges.retain(|period, _| !period_length.has_expired(*period, now));
        live
    }

    /// What a reader reports in the period `current`, before which was `prior`.
    #[must_use]
    pub fn stats(self, prior: Period, current: Period) -> KeyStats {
        let Self { counters, members, mut gauges } = self;
        let gauges_current = gauges.remove(&current).unwrap_or_default();
        let gauges = gauges.remove(&prior).unwrap_or_default();
        KeyStats { counters, gauges, gauges_current, members }
    }
}

/// A cell of a key's rollup, as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RollupCell {
    /// The key.
    pub key: DimensionKey,
    /// What it holds.
    pub sums: CellSums,
    /// Which cell it is, and how far its folding has come.
    pub state: CellState,
}

/// How far the folding of a cell has come (see [`FoldStep`](super::FoldStep)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CellState {
    /// The first one.
    First(FirstCell),
    /// Another one.
    Other(OtherCell),
}

/// What the first cell of a rollup knows of the others.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FirstCell {
    /// The cells whose sums have been added to this one. They no longer count.
    pub absorbed: BTreeSet<(Cell, Incarnation)>,
    /// When the last step of folding was done; `None` if no folding is under way.
    pub folding_since: Option<UnixSeconds>,
}

/// A cell that is not the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OtherCell {
    /// Its number.
    pub cell: Cell,
    /// Distinguishes it from a later cell with that number.
    pub incarnation: Incarnation,
    /// How often it was written.
    pub writes: u64,
    /// When it was last written.
    pub written_at: UnixSeconds,
    /// How far its folding has come.
    pub stage: FoldStage,
}

/// How far the folding of a cell other than the first has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum FoldStage {
    /// It takes writes.
    Open,
    /// The first cell has its sums. It keeps them, and takes no more writes.
    Frozen,
    /// Its sums are gone.
    Emptied,
}

/// The sums of a rollup, from its `cells` in their order, of which the first one is first.
///
/// A cell that the first one has absorbed does not count.
///
/// # Errors
/// A sum would need more than 38 digits.
pub fn sum_of_cells(cells: Vec<RollupCell>) -> Result<CellSums, Overflow> {
    let mut absorbed = BTreeSet::new();
    let mut sums = CellSums::default();
    for cell in cells {
        match cell.state {
            CellState::First(first) => absorbed = first.absorbed,
            CellState::Other(other) if absorbed.contains(&(other.cell, other.incarnation)) => {
                continue;
            }
            CellState::Other(_) => {}
        }
        match sums.count() {
            0 => sums = cell.sums,
            _ => sums.add(&cell.sums)?,
        }
    }
    Ok(sums)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{StatName, Sum};

    const NOW: UnixSeconds = UnixSeconds(360 * 1_000);

    fn period(number: u64) -> Period {
        Period::starting_at(UnixSeconds(360 * number))
    }

    fn sums(value: i64) -> Sums {
        Sums::from([(StatName::new("s").unwrap(), Sum::from(value))])
    }

    /// Counters of 1, members of 2, and a gauge of 4 in each of these periods.
    fn cell_sums(periods: &[u64]) -> CellSums {
        let gauges = periods.iter().map(|number| (period(*number), sums(4))).collect();
        CellSums { counters: sums(1), members: sums(2), gauges }
    }

    fn rollup_cell(state: CellState) -> RollupCell {
        RollupCell { key: DimensionKey::new("k").unwrap(), sums: cell_sums(&[1_000]), state }
    }

    fn other(number: u8, incarnation: u64) -> CellState {
        CellState::Other(OtherCell {
            cell: Cell::new(number).unwrap(),
            incarnation: Incarnation(incarnation),
            writes: 1,
            written_at: NOW,
            stage: FoldStage::Frozen,
        })
    }

    #[test]
    fn cells_have_numbers_from_0_to_127() {
        assert_eq!(Cell::new(127).map(Cell::number), Some(127));
        assert_eq!(Cell::new(128), None);
        let numbers = |count| Cell::first(count).map(Cell::number).collect::<Vec<_>>();
        assert_eq!(numbers(3), [0, 1, 2]);
        assert!(numbers(0).is_empty());
        assert_eq!(numbers(255).len(), 128);
    }

    #[test]
    fn all_sums_count_and_expired_gauges_are_not_alive() {
        let all = cell_sums(&[997, 999, 1_000]);
        assert_eq!(all.count(), 5);
        assert_eq!(CellSums::default().count(), 0);
        let live = all.live(PeriodLength::DEFAULT, NOW);
        assert_eq!(live, cell_sums(&[999, 1_000]));
    }

    #[test]
    fn readers_see_the_gauges_of_two_periods_each_in_its_place() {
        let mut all = cell_sums(&[998, 1_000]);
        all.gauges.insert(period(999), sums(5));
        let stats = all.stats(period(999), period(1_000));
        assert_eq!((stats.counters, stats.members), (sums(1), sums(2)));
        assert_eq!((stats.gauges, stats.gauges_current), (sums(5), sums(4)));
    }

    #[test]
    fn the_cells_of_a_rollup_add_up_without_those_that_the_first_has_absorbed() {
        let first = CellState::First(FirstCell {
            absorbed: [(Cell::new(2).unwrap(), Incarnation(7))].into(),
            folding_since: None,
        });
        let cells = [first, other(1, 7), other(2, 7), other(2, 8)].map(rollup_cell);
        let sum = sum_of_cells(cells.into()).unwrap();
        assert_eq!((sum.counters, sum.members), (sums(3), sums(6)));
        assert_eq!(sum.gauges, [(period(1_000), sums(12))].into());
        assert_eq!(sum_of_cells(Vec::new()).unwrap(), CellSums::default());
    }
}
