//! The writes of folding: each [`FoldStep`] becomes one transaction, conditional on the state that
//! the step was chosen for. If a writer or another run was faster, it fails.

use aws_sdk_dynamodb::{
    error::BuildError,
    types::{AttributeValue, Delete, TransactWriteItem, Update},
};

use super::{
    attribute::{self, ABSORBED, FOLDING_SINCE, FROZEN, INCARNATION, WRITES},
    expression::UpdateExpression,
    item::{encode_absorbed, number},
    key::ItemKey,
    transaction::name_if_hashed,
};
use crate::domain::{Cell, FoldStep, KeyStats, OtherCell, RollupKey, UnixSeconds};

/// The writes of a step of folding: one transaction on the cells of a key.
///
/// # Errors
/// Never, as long as this module sets what the SDK requires.
pub fn fold_writes(
    step: &FoldStep,
    table: &str,
    of: &RollupKey,
    now: UnixSeconds,
) -> Result<Vec<TransactWriteItem>, BuildError> {
    let on = CounterCells { table, of };
    match step {
        FoldStep::Absorb { cells, stats } => {
            let frozen = cells.iter().map(|cell| on.freeze(cell));
            [on.absorb(cells, stats, now)].into_iter().chain(frozen).collect()
        }
        FoldStep::Remove { cells, since } => {
            let deleted = cells.iter().map(|cell| on.delete(cell));
            [on.note_step(*since, now)].into_iter().chain(deleted).collect()
        }
        FoldStep::Forget { since } => Ok(vec![on.forget(*since)?]),
    }
}

/// The cells of one key's counters.
#[derive(Clone, Copy)]
struct CounterCells<'a> {
    table: &'a str,
    of: &'a RollupKey,
}

impl CounterCells<'_> {
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

    /// The first cell gains the sums as they were read, so nobody may have written to this cell
    /// since.
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
