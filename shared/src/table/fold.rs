//! Folding: how the cells of a rollup become one again when its key has gone quiet.
//!
//! Readers take no locks, and DynamoDB shows the writes of a transaction to them one item at a time. So
//! no step changes what the cells that count add up to, whichever part of it a reader sees:
//!
//! 1. *Absorb*: the first cell gains the sums of the others and notes which they are; those are frozen,
//!    and keep their sums. A cell that the first one has noted doesn't count, so a reader that sees the
//!    first cell as it was counts the others, and one that sees it as it is doesn't.
//! 2. *Remove*: the frozen cells are deleted, at a time when no reader is left that has seen the first
//!    cell without their sums.
//! 3. *Forget*: the first cell's notes go, when no reader is left that has seen one of those cells.
//!
//! Each step is one transaction, conditional on the state that it was chosen for: it does not happen when
//! a writer or another run was faster.

use std::time::Duration;

use aws_sdk_dynamodb::{
    error::BuildError,
    types::{AttributeValue, Delete, TransactWriteItem, Update},
};

use super::{
    attribute::{self, ABSORBED, FOLDING_SINCE, FROZEN, INCARNATION, WRITES},
    cell::{Cell, CellState, CounterCell, FirstCell, OtherCell},
    expression::UpdateExpression,
    item::{encode_absorbed, number},
    key::ItemKey,
    transaction::name_if_hashed,
};
use crate::{
    domain::{KeyStats, Overflow, UnixSeconds},
    rollup::DimensionAndKey,
};

/// A cell that was not written for so long has gone quiet.
const QUIET_AFTER: Duration = Duration::from_secs(10 * 60);
/// How long a step waits for the one before: longer than any reader lives, which is Lambda's 15 minutes.
const STEP_AFTER: Duration = Duration::from_secs(20 * 60);
/// Most cells that one step handles: a transaction has 100 actions, one of them on the first cell.
const MAX_CELLS: usize = 99;
/// Most sums that one step adds to the first cell: more may not fit into the 4 KB of an expression.
const MAX_SUMS: usize = 400;

/// A step of folding a rollup's counters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FoldStep {
    /// Cells gone quiet are added to the first one.
    Absorb {
        /// Those cells.
        cells: Vec<OtherCell>,
        /// What they hold together.
        stats: KeyStats,
    },
    /// Absorbed cells are deleted.
    Remove {
        /// Those cells.
        cells: Vec<OtherCell>,
        /// When they were absorbed.
        since: UnixSeconds,
    },
    /// The first cell's notes of deleted cells are deleted.
    Forget {
        /// When those were deleted.
        since: UnixSeconds,
    },
}

impl FoldStep {
    /// The next step for a rollup that has these `cells`; none when there is nothing to do at `now`.
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

    /// The writes of this step: one transaction on the cells of a key.
    ///
    /// # Errors
    /// Never, as long as this module sets what the SDK requires.
    pub fn writes(
        &self,
        table: &str,
        of: &DimensionAndKey,
        now: UnixSeconds,
    ) -> Result<Vec<TransactWriteItem>, BuildError> {
        let on = Cells { table, of };
        match self {
            Self::Absorb { cells, stats } => {
                let frozen = cells.iter().map(|cell| on.freeze(cell));
                [on.absorb(cells, stats, now)].into_iter().chain(frozen).collect()
            }
            Self::Remove { cells, since } => {
                let deleted = cells.iter().map(|cell| on.delete(cell));
                [on.note_step(*since, now)].into_iter().chain(deleted).collect()
            }
            Self::Forget { since } => Ok(vec![on.forget(*since)?]),
        }
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

/// The cells of one key's counters.
#[derive(Clone, Copy)]
struct Cells<'a> {
    table: &'a str,
    of: &'a DimensionAndKey,
}

impl Cells<'_> {
    fn absorb(
        self,
        cells: &[OtherCell],
        stats: &KeyStats,
        now: UnixSeconds,
    ) -> Result<TransactWriteItem, BuildError> {
        let mut expression = UpdateExpression::default();
        for (stat, sum) in &stats.counters {
            expression.add(attribute::counter(stat), number(sum));
        }
        for (stat, count) in &stats.members {
            expression.add(attribute::member_count(stat), number(count));
        }
        let absorbed = cells.iter().map(|cell| encode_absorbed(cell.cell, cell.incarnation));
        expression.add(ABSORBED.to_owned(), AttributeValue::Ss(absorbed.collect()));
        expression.set(FOLDING_SINCE, number(now.0));
        name_if_hashed(&mut expression, self.of);
        let condition = format!("attribute_not_exists({FOLDING_SINCE})");
        self.update(Cell::FIRST, expression, &condition, [])
    }

    /// That it was not written since it was read is what makes the sums right that the first cell gains.
    fn freeze(self, cell: &OtherCell) -> Result<TransactWriteItem, BuildError> {
        let mut expression = UpdateExpression::default();
        expression.set(FROZEN, AttributeValue::Bool(true));
        let condition = format!(
            "{INCARNATION} = :incarnation AND {WRITES} = :writes AND attribute_not_exists({FROZEN})"
        );
        let values =
            [(":incarnation", number(cell.incarnation.0)), (":writes", number(cell.writes))];
        self.update(cell.cell, expression, &condition, values)
    }

    fn note_step(
        self,
        since: UnixSeconds,
        now: UnixSeconds,
    ) -> Result<TransactWriteItem, BuildError> {
        let mut expression = UpdateExpression::default();
        expression.set(FOLDING_SINCE, number(now.0));
        let condition = format!("{FOLDING_SINCE} = :since");
        self.update(Cell::FIRST, expression, &condition, [(":since", number(since.0))])
    }

    fn delete(self, cell: &OtherCell) -> Result<TransactWriteItem, BuildError> {
        let delete = Delete::builder()
            .table_name(self.table)
            .set_key(Some(ItemKey::counters(self.of, cell.cell).attributes()))
            .condition_expression(format!(
                "{INCARNATION} = :incarnation AND attribute_exists({FROZEN})"
            ))
            .expression_attribute_values(":incarnation", number(cell.incarnation.0))
            .build()?;
        Ok(TransactWriteItem::builder().delete(delete).build())
    }

    fn forget(self, since: UnixSeconds) -> Result<TransactWriteItem, BuildError> {
        let update = Update::builder()
            .table_name(self.table)
            .set_key(Some(ItemKey::counters(self.of, Cell::FIRST).attributes()))
            .update_expression(format!("REMOVE {ABSORBED}, {FOLDING_SINCE}"))
            .condition_expression(format!("{FOLDING_SINCE} = :since"))
            .expression_attribute_values(":since", number(since.0))
            .build()?;
        Ok(TransactWriteItem::builder().update(update).build())
    }

    fn update<const N: usize>(
        self,
        cell: Cell,
        mut expression: UpdateExpression,
        condition: &str,
        condition_values: [(&str, AttributeValue); N],
    ) -> Result<TransactWriteItem, BuildError> {
        let condition_values = condition_values.map(|(name, value)| (name.to_owned(), value));
        expression.values.extend(condition_values);
        let update = Update::builder()
            .table_name(self.table)
            .set_key(Some(ItemKey::counters(self.of, cell).attributes()))
            .update_expression(expression.text())
            .condition_expression(condition)
            .set_expression_attribute_names(Some(expression.names))
            .set_expression_attribute_values(Some(expression.values))
            .build()?;
        Ok(TransactWriteItem::builder().update(update).build())
    }
}
