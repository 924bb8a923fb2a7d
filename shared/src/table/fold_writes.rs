//! The writes of folding: each [`FoldStep`] becomes one transaction, conditional on the state that
//! the step was chosen for. If a writer or another run was faster, it fails.

use aws_sdk_dynamodb::{
    error::BuildError,
    types::{AttributeValue, Delete, Put, TransactWriteItem, Update},
};

use super::{
    attribute::{ABSORBED, FOLDED, FOLDING_SINCE, INCARNATION, WRITES, WRITTEN_AT},
    expression::UpdateExpression,
    item::{EMPTIED, FROZEN, encode_absorbed, number, text},
    key::ItemKey,
    transaction::{add_sums, keep_name, name_if_hashed},
};
use crate::domain::{Cell, CellSums, FoldStep, OtherCell, RollupKey, UnixSeconds};

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
    let on = Rollup { table, of };
    let first = match step {
        FoldStep::Absorb { cells, sums } => on.absorb(cells, sums, now)?,
        FoldStep::Empty { since, .. } => on.note_step(*since, now)?,
        FoldStep::Forget { since, .. } => on.forget(*since)?,
    };
    let others = step.cells().iter().map(|cell| match step {
        FoldStep::Absorb { .. } => on.freeze(cell),
        FoldStep::Empty { .. } => on.empty(cell),
        FoldStep::Forget { .. } => on.delete(cell),
    });
    [Ok(first)].into_iter().chain(others).collect()
}

/// One key's rollup.
#[derive(Clone, Copy)]
struct Rollup<'a> {
    table: &'a str,
    of: &'a RollupKey,
}

impl Rollup<'_> {
    fn absorb(
        self,
        cells: &[OtherCell],
        sums: &CellSums,
        now: UnixSeconds,
    ) -> Result<TransactWriteItem, BuildError> {
        let mut expression = UpdateExpression::default();
        add_sums(&mut expression, sums);
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
        expression.set(FOLDED, text(FROZEN));
        let condition = format!(
            "{INCARNATION} = :incarnation AND {WRITES} = :writes AND attribute_not_exists({FOLDED})"
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

    fn empty(self, cell: &OtherCell) -> Result<TransactWriteItem, BuildError> {
        let mut item = ItemKey::rollup(self.of, cell.cell).attributes();
        keep_name(&mut item, self.of);
        item.extend([
            (INCARNATION.to_owned(), number(cell.incarnation.0)),
            (WRITES.to_owned(), number(cell.writes)),
            (WRITTEN_AT.to_owned(), number(cell.written_at.0)),
            (FOLDED.to_owned(), text(EMPTIED)),
        ]);
        let put = Put::builder()
            .table_name(self.table)
            .set_item(Some(item))
            .condition_expression(format!("{INCARNATION} = :incarnation AND {FOLDED} = :frozen"))
            .expression_attribute_values(":incarnation", number(cell.incarnation.0))
            .expression_attribute_values(":frozen", text(FROZEN))
            .build()?;
        Ok(TransactWriteItem::builder().put(put).build())
    }

    fn forget(self, since: UnixSeconds) -> Result<TransactWriteItem, BuildError> {
        let update = Update::builder()
            .table_name(self.table)
            .set_key(Some(ItemKey::rollup(self.of, Cell::FIRST).attributes()))
            .update_expression(format!("REMOVE {ABSORBED}, {FOLDING_SINCE}"))
            .condition_expression(format!("{FOLDING_SINCE} = :since"))
            .expression_attribute_values(":since", number(since.0))
            .build()?;
        Ok(TransactWriteItem::builder().update(update).build())
    }

    fn delete(self, cell: &OtherCell) -> Result<TransactWriteItem, BuildError> {
        let delete = Delete::builder()
            .table_name(self.table)
            .set_key(Some(ItemKey::rollup(self.of, cell.cell).attributes()))
            .condition_expression(format!("{INCARNATION} = :incarnation AND {FOLDED} = :emptied"))
            .expression_attribute_values(":incarnation", number(cell.incarnation.0))
            .expression_attribute_values(":emptied", text(EMPTIED))
            .build()?;
        Ok(TransactWriteItem::builder().delete(delete).build())
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
            .set_key(Some(ItemKey::rollup(self.of, cell).attributes()))
            .update_expression(expression.text())
            .condition_expression(condition)
            .set_expression_attribute_names(Some(expression.names))
            .set_expression_attribute_values(Some(expression.values))
            .build()?;
        Ok(TransactWriteItem::builder().update(update).build())
    }
}
