//! The writes that change over how many partitions a dimension is spread.

use aws_sdk_dynamodb::{
    error::BuildError,
    types::{Delete, TransactWriteItem, Update},
};

use super::{
    attribute::{CELLS, KEY_COUNT, NARROWED_AT, NARROWED_TO, PARTITION_KEY},
    item::number,
    key::ItemKey,
};
use crate::domain::{Cell, DimensionName, Narrowing, Spread};

/// Makes the spread of a dimension what it should be, if it is still what was read.
///
/// # Errors
/// Never, as long as this module sets what the SDK requires.
pub fn spread_write(
    table: &str,
    dimension: &DimensionName,
    read: Spread,
    spread: Spread,
) -> Result<Update, BuildError> {
    let is_as_read = match read.narrowing {
        None => format!("attribute_not_exists({NARROWED_AT})"),
        Some(_) => format!("{NARROWED_AT} = :read_since AND {NARROWED_TO} = :read_to"),
    };
    // An entry begins without the number.
    let is_first = match read.cells == Spread::ONE.cells {
        true => format!(" OR attribute_not_exists({CELLS})"),
        false => String::new(),
    };
    let update = Update::builder()
        .table_name(table)
        .set_key(Some(ItemKey::dimension(dimension).attributes()))
        .condition_expression(format!(
            "attribute_exists({PARTITION_KEY}) AND ({CELLS} = :read{is_first}) AND {is_as_read}"
        ))
        .expression_attribute_values(":read", number(read.cells))
        .expression_attribute_values(":cells", number(spread.cells));
    let update = match read.narrowing {
        None => update,
        Some(Narrowing { to, since }) => update
            .expression_attribute_values(":read_to", number(to))
            .expression_attribute_values(":read_since", number(since.0)),
    };
    let update = match spread.narrowing {
        None => update
            .update_expression(format!("SET {CELLS} = :cells REMOVE {NARROWED_TO}, {NARROWED_AT}")),
        Some(Narrowing { to, since }) => update
            .update_expression(format!(
                "SET {CELLS} = :cells, {NARROWED_TO} = :to, {NARROWED_AT} = :since"
            ))
            .expression_attribute_values(":to", number(to))
            .expression_attribute_values(":since", number(since.0)),
    };
    update.build()
}

/// Moves a number of keys from a cell to the first one, if it is still that `count`: one
/// transaction.
///
/// # Errors
/// Never, as long as this module sets what the SDK requires.
pub fn move_key_count(
    table: &str,
    dimension: &DimensionName,
    from: Cell,
    count: u64,
) -> Result<Vec<TransactWriteItem>, BuildError> {
    let add = Update::builder()
        .table_name(table)
        .set_key(Some(ItemKey::key_count(dimension, Cell::FIRST).attributes()))
        .update_expression(format!("ADD #{KEY_COUNT} :count"))
        .expression_attribute_names(format!("#{KEY_COUNT}"), KEY_COUNT)
        .expression_attribute_values(":count", number(count))
        .build()?;
    let delete = Delete::builder()
        .table_name(table)
        .set_key(Some(ItemKey::key_count(dimension, from).attributes()))
        .condition_expression(format!("#{KEY_COUNT} = :count"))
        .expression_attribute_names(format!("#{KEY_COUNT}"), KEY_COUNT)
        .expression_attribute_values(":count", number(count))
        .build()?;
    Ok(vec![
        TransactWriteItem::builder().update(add).build(),
        TransactWriteItem::builder().delete(delete).build(),
    ])
}
