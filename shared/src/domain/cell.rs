//! Cells: the items that one sum is spread over, so that its writers don't get in each other's way.

use std::collections::BTreeSet;

use crate::domain::{DimensionKey, DimensionName, KeyStats, RollupKey, UnixSeconds};

/// A sum that is spread over cells.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SpreadSum {
    /// The rollups of a key: its counters and its gauges each have cells, of the same numbers.
    Rollup(RollupKey),
    /// The number of keys that a dimension has.
    Keys(DimensionName),
}

/// The number of a cell: 0 to 127.
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
}

/// Distinguishes an item of a cell from a later one with the same number. Together with that number
/// it is unique.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Incarnation(pub u64);

/// A cell of a key's counters and numbers of members, as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CounterCell {
    /// The key.
    pub key: DimensionKey,
    /// The counters and numbers of members.
    pub stats: KeyStats,
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
    /// Whether it takes no more writes, because its sums have been added to the first cell.
    pub frozen: bool,
}

/// Decides which cells count. It has to see them in their order: those of a key together, the first
/// cell first.
#[derive(Debug, Default)]
pub struct CountingCells {
    key: Option<DimensionKey>,
    absorbed: BTreeSet<(Cell, Incarnation)>,
}

impl CountingCells {
    /// Whether the sums of the next `cell` count. If not, the first cell already has them.
    pub fn counts(&mut self, cell: &CounterCell) -> bool {
        if self.key.as_ref() != Some(&cell.key) {
            self.key = Some(cell.key.clone());
            self.absorbed.clear();
        }
        match &cell.state {
            CellState::First(first) => {
                self.absorbed.clone_from(&first.absorbed);
                true
            }
            CellState::Other(other) => !self.absorbed.contains(&(other.cell, other.incarnation)),
        }
    }
}
