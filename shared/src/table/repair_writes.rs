//! The writes of repairs. Each adds to the first cell what is missing there.
//!
//! Whatever ids report meanwhile changes both sides of the comparison alike, so what is missing stays
//! the same. Only another repair changes it. Every repair therefore leaves a number in the item, and
//! requires the one that was there when the difference was found.

use std::cmp::Reverse;

use aws_sdk_dynamodb::{
    error::BuildError,
    types::{TransactWriteItem, Update},
};

use super::{
    attribute::{COUNTER, KEY_COUNT, MEMBER_COUNT, NAME, PARTITION_KEY, REPAIRED, VACATED},
    escape::HASH_MARK,
    expression::UpdateExpression,
    item::{UpdateToken, number, text},
    key::{EscapedKey, ItemKey},
    tally::{LongNames, SumsByName},
    transaction::exists,
};
use crate::domain::{Cell, Sum};

/// A repair of what a key's rollup holds.
#[derive(Debug, Clone, Copy)]
pub struct KeyRepair<'a> {
    /// The table.
    pub table: &'a str,
    /// The key.
    pub of: &'a EscapedKey,
    /// The long names.
    pub names: &'a LongNames,
    /// Whether the key is in the table. If not, the repair adds it, counts it and lists its
    /// dimension.
    pub is_key: bool,
    /// The repair before, as it was read.
    pub last: Option<u64>,
    /// This one.
    pub token: UpdateToken,
}

impl KeyRepair<'_> {
    /// The most sums that one transaction repairs: more would not fit into an expression.
    pub const MOST_SUMS: usize = 400;

    /// Adds to counters, and to the numbers of members, by the names of their stats: one
    /// transaction. `None` if the key's name would be needed, and nothing in the table has it.
    ///
    /// # Errors
    /// Never, as long as this module sets what the SDK requires.
    pub fn writes(
        &self,
        counters: &SumsByName,
        members: &SumsByName,
    ) -> Result<Option<Vec<TransactWriteItem>>, BuildError> {
        let mut expression = UpdateExpression::default();
        for (stat, missing) in counters {
            expression.add(format!("{COUNTER}{stat}"), number(missing));
        }
        for (stat, missing) in members {
            expression.add(format!("{MEMBER_COUNT}{stat}"), number(missing));
        }
        if self.is_key {
            expression.remove_what_fits([VACATED.to_owned()]);
            let condition = is_as_left_by(self.last, &mut expression);
            let condition = format!("{} AND {condition}", exists());
            let first = self.first_cell(expression, condition)?;
            return Ok(Some(vec![first]));
        }
        let (Some(key), Some(dimension)) =
            (self.names.known(self.of.key()), self.names.known(self.of.dimension()))
        else {
            return Ok(None);
        };
        if self.of.key().starts_with(HASH_MARK) {
            expression.set(NAME, text(&key));
        }
        let absent = format!("attribute_not_exists({PARTITION_KEY})");
        let mut count = UpdateExpression::default();
        count.add(KEY_COUNT.to_owned(), number(1));
        let key_count = ItemKey::key_count_of(self.of.dimension(), Cell::FIRST);
        Ok(Some(vec![
            self.first_cell(expression, absent)?,
            update(self.table, &key_count, count, None)?,
            list_dimension(self.table, self.of.dimension(), &dimension)?,
        ]))
    }

    fn first_cell(
        &self,
        mut expression: UpdateExpression,
        condition: String,
    ) -> Result<TransactWriteItem, BuildError> {
        expression.set(REPAIRED, number(self.token.0));
        update(self.table, &self.of.first_cell(), expression, Some(condition))
    }
}

/// Puts a dimension into the list, unless it is there.
///
/// # Errors
/// Never, as long as this module sets what the SDK requires.
pub fn list_dimension(
    table: &str,
    dimension: &str,
    name: &str,
) -> Result<TransactWriteItem, BuildError> {
    let mut expression = UpdateExpression::default();
    expression.set(NAME, text(name));
    update(table, &ItemKey::entry_of(dimension), expression, None)
}

/// Makes a number of keys right, of which each cell counts so many; negative numbers are taken from
/// the cells that count most: one transaction.
///
/// # Errors
/// Never, as long as this module sets what the SDK requires.
pub fn repair_key_count(
    table: &str,
    dimension: &str,
    counts: &[(Cell, u64)],
    missing: Sum,
    last: Option<u64>,
    token: UpdateToken,
) -> Result<Vec<TransactWriteItem>, BuildError> {
    let mut writes = Vec::new();
    let mut first_gains = missing.max(Sum::ZERO);
    let mut surplus = Sum::ZERO.checked_sub(missing.min(Sum::ZERO)).unwrap_or_default();
    let mut largest_first = counts.to_vec();
    largest_first.sort_by_key(|(cell, count)| (Reverse(*count), *cell));
    for (cell, count) in largest_first {
        let fewer = i64::try_from(count).map_or(surplus, Sum::from).min(surplus);
        surplus = surplus.checked_sub(fewer).unwrap_or_default();
        if cell == Cell::FIRST {
            first_gains = first_gains.checked_sub(fewer).unwrap_or_default();
        } else if fewer > Sum::ZERO {
            let key = ItemKey::key_count_of(dimension, cell);
            let gain = Sum::ZERO.checked_sub(fewer).unwrap_or_default();
            let (expression, condition) = add_keys(gain);
            writes.push(update(table, &key, expression, condition)?);
        }
    }
    let (mut expression, is_enough) = add_keys(first_gains);
    expression.set(REPAIRED, number(token.0));
    let is_as_left = is_as_left_by(last, &mut expression);
    let conditions = [Some(is_as_left), is_enough].into_iter().flatten();
    let condition = conditions.collect::<Vec<_>>().join(" AND ");
    let key = ItemKey::key_count_of(dimension, Cell::FIRST);
    writes.push(update(table, &key, expression, Some(condition))?);
    Ok(writes)
}

/// Adds to a number of keys, on the condition that it does not become negative.
fn add_keys(gain: Sum) -> (UpdateExpression, Option<String>) {
    let mut expression = UpdateExpression::default();
    expression.add(KEY_COUNT.to_owned(), number(gain));
    if gain >= Sum::ZERO {
        return (expression, None);
    }
    let at_least = Sum::ZERO.checked_sub(gain).unwrap_or_default();
    expression.values.insert(":least".to_owned(), number(at_least));
    let condition = expression.attribute_condition(KEY_COUNT, ">= :least");
    (expression, Some(condition))
}

/// The condition that no other repair has changed the item since.
fn is_as_left_by(last: Option<u64>, expression: &mut UpdateExpression) -> String {
    match last {
        None => format!("attribute_not_exists({REPAIRED})"),
        Some(last) => {
            expression.values.insert(":last".to_owned(), number(last));
            format!("{REPAIRED} = :last")
        }
    }
}

fn update(
    table: &str,
    key: &ItemKey,
    expression: UpdateExpression,
    condition: Option<String>,
) -> Result<TransactWriteItem, BuildError> {
    let update = Update::builder()
        .table_name(table)
        .set_key(Some(key.attributes()))
        .update_expression(expression.text())
        .set_condition_expression(condition)
        .set_expression_attribute_names(Some(expression.names))
        .set_expression_attribute_values(Some(expression.values))
        .build()?;
    Ok(TransactWriteItem::builder().update(update).build())
}
