//! Over how many partitions a dimension is spread.
//!
//! The cells of one number are a partition, which takes so many writes a second and no more.
//! Readers read as many partitions as the dimension's entry says. A writer therefore raises that
//! number before it uses a cell beyond it.
//!
//! Lowering it takes two steps, since writers remember the number for a while. The first announces
//! the lower one, which writers keep to from then on. The second makes it the number of readers,
//! when no writer is left that may remember the higher one, and if the partitions beyond it are
//! still empty.

use std::time::Duration;

use super::{Cell, UnixSeconds};

/// How long a writer may go by what it has read of a dimension's entry.
pub const SPREAD_IS_TRUSTED_FOR: Duration = Duration::from_secs(10 * 60);
/// How long after its announcement a number is lowered: as long as a writer may remember the higher
/// one, and twice as long as any function may still be writing.
const LOWERED_AFTER: Duration = Duration::from_secs(40 * 60);

/// Over how many partitions a dimension is spread, as its entry in the list of dimensions says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spread {
    /// How many partitions may hold something: 1 to 128.
    pub cells: u8,
    /// A lower number, which is announced.
    pub narrowing: Option<Narrowing>,
}

/// A lower number of partitions, which is announced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Narrowing {
    /// The number.
    pub to: u8,
    /// Since when it is announced.
    pub since: UnixSeconds,
}

impl Spread {
    /// One partition, as every dimension has at first, and most have for ever.
    pub const ONE: Self = Self { cells: 1, narrowing: None };

    /// How many partitions a writer may write to.
    #[must_use]
    pub fn writable(&self) -> u8 {
        self.narrowing.map_or(self.cells, |narrowing| narrowing.to)
    }

    /// The spread in which `cell` may be written to; none when it may already.
    #[must_use]
    pub fn widened_to(&self, cell: Cell) -> Option<Self> {
        let least = cell.number().saturating_add(1);
        if least <= self.writable() {
            return None;
        }
        let cells = least.checked_next_power_of_two().unwrap_or(Cell::MOST).min(Cell::MOST);
        Some(Self { cells: cells.max(self.cells), narrowing: None })
    }

    /// The next step of narrowing at `now`, when the last partition that holds something is that of
    /// the cell `last`; none when there is nothing to do.
    #[must_use]
    pub fn narrowed_to(&self, last: Cell, now: UnixSeconds) -> Option<Self> {
        let held = last.number().saturating_add(1);
        let held = held.checked_next_power_of_two().unwrap_or(Cell::MOST);
        match self.narrowing {
            None if held < self.cells => {
                Some(Self { narrowing: Some(Narrowing { to: held, since: now }), ..*self })
            }
            // A writer went beyond it that still remembered the higher number.
            Some(Narrowing { to, .. }) if held > to => Some(Self { narrowing: None, ..*self }),
            Some(Narrowing { to, since }) if since.after(LOWERED_AFTER) <= now => {
                Some(Self { cells: to, narrowing: None })
            }
            _ => None,
        }
    }
}

impl Default for Spread {
    fn default() -> Self {
        Self::ONE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: UnixSeconds = UnixSeconds(1_000_000);

    #[test]
    fn a_number_is_lowered_long_after_writers_have_stopped_trusting_what_they_read() {
        assert_eq!(SPREAD_IS_TRUSTED_FOR.as_secs(), 600);
        assert_eq!(LOWERED_AFTER.as_secs(), 2_400);
    }

    fn cell(number: u8) -> Cell {
        Cell::new(number).unwrap()
    }

    fn of(cells: u8) -> Spread {
        Spread { cells, narrowing: None }
    }

    #[test]
    fn a_spread_widens_to_the_next_power_of_two_and_never_beyond_128() {
        for (number, cells) in [(1, 2), (2, 4), (3, 4), (4, 8), (63, 64), (64, 128), (127, 128)] {
            assert_eq!(Spread::ONE.widened_to(cell(number)), Some(of(cells)));
        }
        assert_eq!(Spread::ONE.widened_to(Cell::FIRST), None);
        assert_eq!(of(8).widened_to(cell(7)), None);
    }

    #[test]
    fn a_lower_number_is_announced_and_takes_effect_when_no_writer_remembers_the_higher_one() {
        let announced = of(8).narrowed_to(cell(1), NOW).unwrap();
        assert_eq!((announced.cells, announced.writable()), (8, 2));
        assert_eq!(
            announced.narrowed_to(
                cell(1),
                NOW.after(LOWERED_AFTER.saturating_sub(Duration::from_secs(1)))
            ),
            None
        );
        assert_eq!(announced.narrowed_to(cell(0), NOW.after(LOWERED_AFTER)), Some(of(2)));
    }

    #[test]
    fn a_writer_that_needs_more_takes_an_announcement_back() {
        let announced = of(8).narrowed_to(cell(0), NOW).unwrap();
        assert_eq!(announced.widened_to(cell(1)), Some(of(8)));
        assert_eq!(announced.widened_to(Cell::FIRST), None);
    }

    #[test]
    fn what_was_written_beyond_an_announced_number_takes_it_back() {
        let announced = of(8).narrowed_to(cell(0), NOW).unwrap();
        let late = NOW.after(LOWERED_AFTER);
        assert_eq!(announced.narrowed_to(cell(5), late), Some(of(8)));
    }

    #[test]
    fn there_is_nothing_to_narrow_where_the_last_partition_is_in_use() {
        assert_eq!(of(8).narrowed_to(cell(4), NOW), None);
        assert_eq!(Spread::ONE.narrowed_to(Cell::FIRST, NOW), None);
    }
}
