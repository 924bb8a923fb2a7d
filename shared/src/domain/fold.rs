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
//! 2. *Remove*: the frozen cells are deleted, once no reader is left that has seen the first cell
//!    without their sums.
//! 3. *Forget*: the first cell's notes are deleted, once no reader is left that has seen one of
//!    those cells.
//!
//! Each step is one transaction, conditional on the state that it was chosen for. If a writer or
//! another run was faster, the step does not happen.

use std::time::Duration;

use super::{CellState, CounterCell, FirstCell, KeyStats, OtherCell, Overflow, UnixSeconds};

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

/// A step of folding a rollup's counters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoldStep {
    /// Adds quiet cells to the first one.
    Absorb {
        /// Those cells.
        cells: Vec<OtherCell>,
        /// The sum of what they hold.
        stats: KeyStats,
    },
    /// Deletes absorbed cells.
    Remove {
        /// Those cells.
        cells: Vec<OtherCell>,
        /// When they were absorbed.
        since: UnixSeconds,
    },
    /// Deletes the first cell's notes of cells that are gone.
    Forget {
        /// When those cells were deleted.
        since: UnixSeconds,
    },
}

impl FoldStep {
    /// The next step for a rollup that has these `cells`; `None` if there is nothing to do at
    /// `now`.
    ///
    /// # Errors
    /// A sum would need more than 38 digits.
    pub fn next(cells: &[CounterCell], now: UnixSeconds) -> Result<Option<Self>, Overflow> {
        let mut first = FirstCell::default();
        let mut others = Vec::new();
        for cell in cells {
            match &cell.state {
                CellState::First(state) => first = state.clone(),
                CellState::Other(state) => others.push((*state, &cell.stats)),
            }
        }
        let Some(since) = first.folding_since else {
            return absorb(&others, now);
        };
        if now < since.after(STEP_AFTER) {
            return Ok(None);
        }
        let absorbed = others.iter().map(|(cell, _)| *cell);
        let cells: Vec<_> = absorbed
            .filter(|cell| first.absorbed.contains(&(cell.cell, cell.incarnation)))
            .collect();
        Ok(Some(match cells.is_empty() {
            true => Self::Forget { since },
            false => Self::Remove { cells, since },
        }))
    }
}

fn absorb(
    others: &[(OtherCell, &KeyStats)],
    now: UnixSeconds,
) -> Result<Option<FoldStep>, Overflow> {
    let quiet = others.iter().filter(|(cell, _)| cell.written_at.after(QUIET_AFTER) <= now);
    let mut cells = Vec::new();
    let mut sums = KeyStats::default();
    for (cell, stats) in quiet.take(MAX_CELLS) {
        let mut more = sums.clone();
        more.add(stats)?;
        if more.counters.len() + more.members.len() > MAX_SUMS {
            break;
        }
        sums = more;
        cells.push(*cell);
    }
    Ok((!cells.is_empty()).then_some(FoldStep::Absorb { cells, stats: sums }))
}
