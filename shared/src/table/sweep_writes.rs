//! The writes of the sweep, which removes what has expired from the rollups of a dimension.

use aws_sdk_dynamodb::{error::BuildError, types::Update};

use super::{
    attribute::{Named, PARTITION_KEY, SWEPT_SINCE, SWEPT_TO},
    expression::UpdateExpression,
    item::{Item, Sweep, number, text},
    key::ItemKey,
};
use crate::domain::{DimensionName, PeriodLength, UnixSeconds};

/// The gauges of a rollup's cell that have expired, by the names of their attributes.
#[must_use]
pub fn expired_gauges(item: &Item, period_length: PeriodLength, now: UnixSeconds) -> Vec<String> {
    let has_expired = |name: &&String| match Named::parse(name) {
        Some(Named::GaugeOf(period, _)) => period_length.has_expired(period, now),
        _ => false,
    };
    item.keys().filter(has_expired).cloned().collect()
}

/// Removes gauges from a rollup's cell, as many as fit into a request.
///
/// # Errors
/// Never, as long as this module sets what the SDK requires.
pub fn remove_gauges(
    table: &str,
    key: &ItemKey,
    gauges: Vec<String>,
) -> Result<Update, BuildError> {
    let mut expression = UpdateExpression::default();
    expression.remove_what_fits(gauges);
    Update::builder()
        .table_name(table)
        .set_key(Some(key.attributes()))
        .update_expression(expression.text())
        .condition_expression(format!("attribute_exists({PARTITION_KEY})"))
        .set_expression_attribute_names(Some(expression.names))
        .build()
}

/// Notes how far the sweep of a dimension has come.
///
/// # Errors
/// Never, as long as this module sets what the SDK requires.
pub fn sweep_write(
    table: &str,
    dimension: &DimensionName,
    sweep: &Sweep,
) -> Result<Update, BuildError> {
    let since = sweep.since.map_or(0, |since| since.0);
    let update = Update::builder()
        .table_name(table)
        .set_key(Some(ItemKey::dimension(dimension).attributes()))
        .condition_expression(format!("attribute_exists({PARTITION_KEY})"))
        .expression_attribute_values(":since", number(since));
    match &sweep.to {
        None => update
            .update_expression(format!("SET {SWEPT_SINCE} = :since REMOVE {SWEPT_TO}"))
            .build(),
        Some(to) => update
            .update_expression(format!("SET {SWEPT_SINCE} = :since, {SWEPT_TO} = :to"))
            .expression_attribute_values(":to", text(&to.0))
            .build(),
    }
}
