//! Folding: how the cells of a rollup become one again once its key has gone quiet.
//!
//! Readers take no locks, and DynamoDB shows them the writes of a transaction one item at a time.
//! Therefore no step changes the sum of the cells that count, whichever of its writes a reader has
//! seen:
//!
//! 1. *Absorb*: the first cell gains the sums of the others and notes which cells they are. Those
//!    are frozen and keep their sums. A cell that the first one has noted doesn't count: a reader
//!    that sees the first cell without the note counts the others, and one that sees it with the
//!    note doesn't.
//! 2. *Empty*: the frozen cells lose their sums, once no reader is left that has seen the first
//!    cell without them.
//! 3. *Forget*: the first cell's notes and the empty cells are deleted, once no reader is left that
//!    has seen sums in one of those.
//!
//! Each step is one transaction, conditional on the state that it was chosen for. If a writer or
//! another run was faster, the step does not happen. As long as there is something to fold, a cell
//! besides the first one exists: whoever reads those finds all of it.

use std::{collections::BTreeSet, time::Duration};

use super::{
    Cell, CellState, CellSums, FirstCell, FoldStage, Incarnation, OtherCell, Overflow,
    PeriodLength, RollupCell, UnixSeconds,
};

/// A cell has gone quiet if nobody has written to it for this long.
const QUIET_AFTER: Duration = Duration::from_secs(10 * 60);
/// How long a step waits after the one before: longer than any reader lives, since a Lambda
/// function runs for at most 15 minutes.
const STEP_AFTER: Duration = Duration::from_secs(20 * 60);
/// The most cells that one step handles: a transaction has 100 actions, one of them on the first
/// cell.
const MAX_CELLS: usize = 99;
/// The most sums that one step adds to the first cell: more might exceed the 4 KB of an expression.
const MAX_SUMS: usize = 400;

/// A step of folding a rollup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoldStep {
    /// Adds quiet cells to the first one.
    Absorb {
        /// Those cells.
        cells: Vec<OtherCell>,
        /// The sum of what they hold.
        sums: CellSums,
    },
    /// Absorbed cells lose their sums.
    Empty {
        /// Those cells.
        cells: Vec<OtherCell>,
        /// When they were absorbed.
        since: UnixSeconds,
    },
    /// The first cell's notes are deleted, and the empty cells.
    Forget {
        /// Those cells.
        cells: Vec<OtherCell>,
        /// When they were emptied.
        since: UnixSeconds,
    },
}

impl FoldStep {
    /// The next step for a rollup with this `first` cell and these `others`; `None` if there is
    /// nothing to do at `now`.
    ///
    /// # Errors
    /// A sum would need more than 38 digits.
    pub fn next(
        first: &FirstCell,
        others: &[(OtherCell, CellSums)],
        period_length: PeriodLength,
        now: UnixSeconds,
    ) -> Result<Option<Self>, Overflow> {
        let Some(since) = first.folding_since else {
            return absorb(others, period_length, now);
        };
        if now < since.after(STEP_AFTER) {
            return Ok(None);
        }
        let cells = |stage| absorbed(&first.absorbed, others, stage);
        let frozen = cells(FoldStage::Frozen);
        Ok(Some(match frozen.is_empty() {
            true => Self::Forget { cells: cells(FoldStage::Emptied), since },
            false => Self::Empty { cells: frozen, since },
        }))
    }

    /// The cells that the step handles besides the first one.
    #[must_use]
    pub fn cells(&self) -> &[OtherCell] {
        match self {
            Self::Absorb { cells, .. } | Self::Empty { cells, .. } | Self::Forget { cells, .. } => {
                cells
            }
        }
    }
}

fn absorbed(
    absorbed: &BTreeSet<(Cell, Incarnation)>,
    others: &[(OtherCell, CellSums)],
    stage: FoldStage,
) -> Vec<OtherCell> {
    let cells = others.iter().map(|(cell, _)| *cell).filter(|cell| cell.stage == stage);
    cells.filter(|cell| absorbed.contains(&(cell.cell, cell.incarnation))).collect()
}

fn absorb(
    others: &[(OtherCell, CellSums)],
    period_length: PeriodLength,
    now: UnixSeconds,
) -> Result<Option<FoldStep>, Overflow> {
    let is_quiet = |cell: &OtherCell| {
        cell.stage == FoldStage::Open && cell.written_at.after(QUIET_AFTER) <= now
    };
    let mut cells = Vec::new();
    let mut sums = CellSums::default();
    for (cell, of_cell) in others.iter().filter(|(cell, _)| is_quiet(cell)) {
        if cells.len() == MAX_CELLS {
            break;
        }
        let mut more = sums.clone();
        more.add(&of_cell.live(period_length, now))?;
        // Other cells may fit. One that is too large by itself stays, which costs its bytes.
        if more.count() > MAX_SUMS {
            continue;
        }
        sums = more;
        cells.push(*cell);
    }
    Ok((!cells.is_empty()).then_some(FoldStep::Absorb { cells, sums }))
}

/// A rollup's cells as they were read: the state of the first one, and the others.
#[must_use]
pub fn split_first(cells: Vec<RollupCell>) -> (FirstCell, Vec<(OtherCell, CellSums)>) {
    let mut first = FirstCell::default();
    let mut others = Vec::new();
    for cell in cells {
        match cell.state {
            CellState::First(state) => first = state,
            CellState::Other(state) => others.push((state, cell.sums)),
        }
    }
    (first, others)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{StatName, Sum};

    const NOW: UnixSeconds = UnixSeconds(1_000_000);

    /// An open cell of this number with so many counters of 1, which has gone quiet.
    fn quiet(number: u8, counters: usize) -> (OtherCell, CellSums) {
        let counter = |i| (StatName::new(&format!("c{number}_{i}")).unwrap(), Sum::from(1));
        let cell = OtherCell {
            cell: Cell::new(number).unwrap(),
            incarnation: Incarnation(u64::from(number)),
            writes: 1,
            written_at: UnixSeconds(NOW.0 - 600),
            stage: FoldStage::Open,
        };
        (cell, CellSums { counters: (0..counters).map(counter).collect(), ..CellSums::default() })
    }

    fn absorbed(others: &[(OtherCell, CellSums)]) -> Vec<u8> {
        let step = FoldStep::next(&FirstCell::default(), others, PeriodLength::DEFAULT, NOW);
        match step.unwrap() {
            Some(FoldStep::Absorb { cells, sums }) => {
                assert!(sums.count() <= MAX_SUMS);
                cells.iter().map(|cell| cell.cell.number()).collect()
            }
            None => Vec::new(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_step_absorbs_as_many_cells_as_fit_and_leaves_out_what_does_not() {
        let others = [quiet(1, 200), quiet(2, 401), quiet(3, 201), quiet(4, 200), quiet(5, 1)];
        assert_eq!(absorbed(&others), [1, 4]);
        assert_eq!(absorbed(&others[1..2]), [0; 0], "too large by itself");
        let many: Vec<_> = (1..=100).map(|number| quiet(number, 1)).collect();
        assert_eq!(absorbed(&many).len(), MAX_CELLS);
    }

    #[test]
    fn a_cell_that_was_written_lately_or_is_being_folded_is_not_absorbed() {
        let (mut cell, sums) = quiet(1, 1);
        cell.written_at.0 += 1;
        assert_eq!(absorbed(&[(cell, sums.clone())]), [0; 0]);
        let (mut cell, _) = quiet(1, 1);
        cell.stage = FoldStage::Frozen;
        assert_eq!(absorbed(&[(cell, sums)]), [0; 0]);
    }

    #[test]
    fn each_step_waits_for_20_minutes_after_the_one_before() {
        let (mut cell, sums) = quiet(1, 1);
        cell.stage = FoldStage::Frozen;
        let first = FirstCell {
            absorbed: [(cell.cell, cell.incarnation)].into(),
            folding_since: Some(NOW),
        };
        let next = |cell, seconds| {
            let now = NOW.after(Duration::from_secs(seconds));
            FoldStep::next(&first, &[(cell, sums.clone())], PeriodLength::DEFAULT, now).unwrap()
        };
        assert_eq!(next(cell, 1_199), None);
        assert!(
            matches!(next(cell, 1_200), Some(FoldStep::Empty { cells, .. }) if cells == [cell])
        );
        cell.stage = FoldStage::Emptied;
        assert!(
            matches!(next(cell, 1_200), Some(FoldStep::Forget { cells, .. }) if cells == [cell])
        );
        assert_eq!(next(cell, 1_200).unwrap().cells(), [cell]);
    }

    #[test]
    fn cells_are_split_into_the_first_and_the_others() {
        let (other, sums) = quiet(3, 2);
        let noted = FirstCell {
            absorbed: [(other.cell, other.incarnation)].into(),
            folding_since: Some(NOW),
        };
        let key = crate::domain::DimensionKey::new("k").unwrap();
        let cells = [CellState::First(noted.clone()), CellState::Other(other)]
            .map(|state| RollupCell { key: key.clone(), sums: sums.clone(), state });
        assert_eq!(split_first(cells.to_vec()), (noted, vec![(other, sums)]));
    }
}
