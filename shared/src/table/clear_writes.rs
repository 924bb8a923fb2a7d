//! The writes that remove what is zero from a rollup, and a key of which nothing is left.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::{
    error::BuildError,
    types::{ConditionCheck, Delete, TransactWriteItem, Update},
};

use super::{
    attribute::{CELLS, FOLDED, KEY_COUNT, Named, PARTITION_KEY, VACATED, WRITES},
    expression::UpdateExpression,
    item::{CorruptItem, Item, UpdateToken, decode_rollup, number},
    key::ItemKey,
    transaction::exists,
};
use crate::domain::{
    Cell, CellState, DimensionName, FoldStage, Overflow, Period, RollupCell, RollupKey, StatName,
    Sum,
};

/// The most attributes that one transaction removes. The condition compares each, and an expression
/// has at most 300 operators. Source: *Constraints in Amazon DynamoDB*, Developer Guide.
const MAX_REMOVED: usize = 100;
/// The most cells that one transaction clears: it has 100 actions.
const MAX_CLEARED: usize = 100;

/// Why a rollup can't be cleared.
#[derive(Debug, thiserror::Error)]
pub enum ClearError {
    /// A cell can't be read.
    #[error(transparent)]
    Corrupt(#[from] CorruptItem),
    /// A sum would need more than 38 digits.
    #[error(transparent)]
    Overflow(#[from] Overflow),
}

/// The cells of a key's rollup, as they were read.
#[derive(Debug)]
pub struct StoredRollup {
    cells: Vec<(Item, RollupCell)>,
}

/// The attributes of a rollup that may go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Removable(Vec<String>);

impl Removable {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether these are all that may go.
    #[must_use]
    pub fn is_all(&self) -> bool {
        self.0.len() < MAX_REMOVED
    }
}

impl StoredRollup {
    /// The rollup that has these cells.
    ///
    /// # Errors
    /// A cell can't be read.
    pub fn new(items: impl IntoIterator<Item = Item>) -> Result<Self, CorruptItem> {
        let cells = items.into_iter().map(|item| decode_rollup(&item).map(|cell| (item, cell)));
        Ok(Self { cells: cells.collect::<Result<_, _>>()? })
    }

    /// Whether the key is in the table, and nothing is kept of it besides its first cell.
    #[must_use]
    pub fn is_empty_key(&self) -> bool {
        match &self.cells[..] {
            [(_, cell)] => cell.sums.count() == 0 && matches!(cell.state, CellState::First(_)),
            _ => false,
        }
    }

    /// Whether the key is not in the table.
    #[must_use]
    pub fn is_absent(&self) -> bool {
        self.cells.is_empty()
    }

    /// The sums that are zero, and the gauges that have expired: as many as go at once. `None` as
    /// long as the rollup is being folded, or has too many cells.
    ///
    /// # Errors
    /// A sum would need more than 38 digits.
    pub fn removable(
        &self,
        covers: impl Fn(&StatName) -> bool,
        has_expired: impl Fn(Period) -> bool,
    ) -> Result<Option<Removable>, ClearError> {
        if self.cells.len() > MAX_CLEARED || self.cells.iter().any(|(_, cell)| is_folding(cell)) {
            return Ok(None);
        }
        let mut sums: BTreeMap<&str, Sum> = BTreeMap::new();
        for (item, _) in &self.cells {
            for (name, value) in item {
                let Some(Named::Counter(stat) | Named::MemberCount(stat) | Named::GaugeOf(_, stat)) =
                    Named::parse(name)
                else {
                    continue;
                };
                let value = value.as_n().ok().and_then(|digits| digits.parse().ok());
                let (Ok(stat), Some(value)) = (StatName::new(stat), value) else {
                    continue;
                };
                if covers(&stat) {
                    let sum = sums.entry(name).or_default();
                    *sum = sum.checked_add(value)?;
                }
            }
        }
        let is_over = |name: &str| match Named::parse(name) {
            Some(Named::GaugeOf(period, _)) => has_expired(period),
            _ => false,
        };
        let names = sums.into_iter().filter(|(name, sum)| *sum == Sum::ZERO || is_over(name));
        let names = names.map(|(name, _)| name.to_owned()).take(MAX_REMOVED);
        Ok(Some(Removable(names.collect())))
    }

    /// Removes attributes from all cells, if these are as they were read: one transaction.
    ///
    /// # Errors
    /// Never, as long as this module sets what the SDK requires.
    pub fn clear(
        &self,
        table: &str,
        removable: &Removable,
    ) -> Result<Vec<TransactWriteItem>, BuildError> {
        let mut actions = Vec::new();
        for (item, cell) in &self.cells {
            let names = removable.0.iter().filter(|name| item.contains_key(*name));
            let mut expression = UpdateExpression::default();
            expression.remove_what_fits(names.cloned());
            let (Some(key), false) = (ItemKey::of_item(item), expression.is_empty()) else {
                continue;
            };
            let mut conditions = Vec::new();
            for (placeholder, name) in expression.names.clone() {
                let value = placeholder.replace('#', ":r");
                conditions.push(format!("{placeholder} = {value}"));
                expression.values.extend(item.get(&name).map(|as_read| (value, as_read.clone())));
            }
            if let CellState::Other(_) = cell.state {
                // Folding goes by the number of writes.
                expression.add(WRITES.to_owned(), number(1));
                conditions.push(format!("attribute_not_exists({FOLDED})"));
            }
            let update = Update::builder()
                .table_name(table)
                .set_key(Some(key.attributes()))
                .update_expression(expression.text())
                .condition_expression(conditions.join(" AND "))
                .set_expression_attribute_names(Some(expression.names))
                .set_expression_attribute_values(Some(expression.values))
                .build()?;
            actions.push(TransactWriteItem::builder().update(update).build());
        }
        Ok(actions)
    }

    /// Whether nothing is left of the key, and nobody has written to it since it was marked.
    #[must_use]
    pub fn is_vacated_by(&self, mark: UpdateToken) -> bool {
        let first = self.cells.first().map(|(item, _)| item);
        let marked = first.and_then(|item| item.get(VACATED));
        self.is_empty_key() && marked == Some(&number(mark.0))
    }
}

fn is_folding(cell: &RollupCell) -> bool {
    match &cell.state {
        CellState::First(first) => first.folding_since.is_some() || !first.absorbed.is_empty(),
        CellState::Other(other) => other.stage != FoldStage::Open,
    }
}

/// Marks the first cell of a key: whoever writes to it removes the mark.
///
/// # Errors
/// Never, as long as this module sets what the SDK requires.
pub fn mark_vacated(
    table: &str,
    of: &RollupKey,
    mark: UpdateToken,
) -> Result<Vec<TransactWriteItem>, BuildError> {
    let update = Update::builder()
        .table_name(table)
        .set_key(Some(ItemKey::rollup(of, Cell::FIRST).attributes()))
        .update_expression(format!("SET {VACATED} = :mark"))
        .condition_expression(exists())
        .expression_attribute_values(":mark", number(mark.0))
        .build()?;
    Ok(vec![TransactWriteItem::builder().update(update).build()])
}

/// Takes a dimension off the list, if it counts no keys and has one partition: one transaction.
/// Whether it has a count is what `is_counted` says.
///
/// # Errors
/// Never, as long as this module sets what the SDK requires.
pub fn delete_dimension(
    table: &str,
    dimension: &DimensionName,
    is_counted: bool,
) -> Result<Vec<TransactWriteItem>, BuildError> {
    let entry = Delete::builder()
        .table_name(table)
        .set_key(Some(ItemKey::dimension(dimension).attributes()))
        .condition_expression(format!("attribute_not_exists({CELLS}) OR {CELLS} = :one"))
        .expression_attribute_values(":one", number(1))
        .build()?;
    let key = Some(ItemKey::key_count(dimension, Cell::FIRST).attributes());
    let count = match is_counted {
        true => {
            let delete = Delete::builder()
                .table_name(table)
                .set_key(key)
                .condition_expression(format!("#{KEY_COUNT} = :none"))
                .expression_attribute_names(format!("#{KEY_COUNT}"), KEY_COUNT)
                .expression_attribute_values(":none", number(0));
            TransactWriteItem::builder().delete(delete.build()?).build()
        }
        false => {
            let check = ConditionCheck::builder()
                .table_name(table)
                .set_key(key)
                .condition_expression(format!("attribute_not_exists({PARTITION_KEY})"));
            TransactWriteItem::builder().condition_check(check.build()?).build()
        }
    };
    Ok(vec![TransactWriteItem::builder().delete(entry).build(), count])
}

/// Deletes a key, if it is marked and its dimension has one partition, and takes one off the number
/// of keys, if it `is_counted`: one transaction.
///
/// Writers may use other cells than the first only after the dimension has more partitions.
///
/// # Errors
/// Never, as long as this module sets what the SDK requires.
pub fn delete_key(
    table: &str,
    of: &RollupKey,
    mark: UpdateToken,
    is_counted: bool,
) -> Result<Vec<TransactWriteItem>, BuildError> {
    let delete = Delete::builder()
        .table_name(table)
        .set_key(Some(ItemKey::rollup(of, Cell::FIRST).attributes()))
        .condition_expression(format!("{VACATED} = :mark"))
        .expression_attribute_values(":mark", number(mark.0))
        .build()?;
    let check = ConditionCheck::builder()
        .table_name(table)
        .set_key(Some(ItemKey::dimension(&of.dimension).attributes()))
        .condition_expression(format!("attribute_not_exists({CELLS}) OR {CELLS} = :one"))
        .expression_attribute_values(":one", number(1))
        .build()?;
    let mut actions = vec![
        TransactWriteItem::builder().delete(delete).build(),
        TransactWriteItem::builder().condition_check(check).build(),
    ];
    if is_counted {
        let count = Update::builder()
            .table_name(table)
            .set_key(Some(ItemKey::key_count(&of.dimension, Cell::FIRST).attributes()))
            .update_expression(format!("ADD #{KEY_COUNT} :less"))
            .condition_expression(format!("#{KEY_COUNT} >= :one"))
            .expression_attribute_names(format!("#{KEY_COUNT}"), KEY_COUNT)
            .expression_attribute_values(":less", number(-1))
            .expression_attribute_values(":one", number(1))
            .build()?;
        actions.push(TransactWriteItem::builder().update(count).build());
    }
    Ok(actions)
}
