//! Fills a table with keys, faster than updates would.

use anyhow::{Context, ensure};
use aws_sdk_dynamodb::{
    Client,
    types::{AttributeValue, PutRequest, WriteRequest},
};
use shared::{
    domain::{Cell, DimensionKey, DimensionName, RollupKey},
    table::{Item, ItemKey},
};
use tokio::task::JoinSet;

/// The most items of a *`BatchWriteItem`*.
const ITEMS_OF_BATCH: usize = 25;
const WRITERS: usize = 8;

/// Gives a dimension more keys, with rollups like that of its key `k0`.
///
/// # Errors
/// There is no such key, or the database fails.
pub async fn fill(
    client: &Client,
    table: &str,
    dimension: &str,
    keys: usize,
) -> anyhow::Result<()> {
    let dimension = DimensionName::new(dimension)?;
    let first = client.get_item().table_name(table);
    let first = first.set_key(Some(key_of_rollup(&dimension, "k0")?)).send().await?;
    let first = first.item.context("k0 has no rollup")?;
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (client, table, first) = (client.clone(), table.to_owned(), first.clone());
        let dimension = dimension.clone();
        writers.spawn(async move {
            let mut numbers = (1..keys).filter(|key| key % WRITERS == writer).peekable();
            while numbers.peek().is_some() {
                let batch = numbers.by_ref().take(ITEMS_OF_BATCH).map(|number| {
                    let mut item = first.clone();
                    item.extend(key_of_rollup(&dimension, &format!("k{number}"))?);
                    let put = PutRequest::builder().set_item(Some(item)).build()?;
                    Ok(WriteRequest::builder().put_request(put).build())
                });
                let batch = batch.collect::<anyhow::Result<Vec<_>>>()?;
                let request = client.batch_write_item().request_items(&table, batch);
                let left = request.send().await?.unprocessed_items.unwrap_or_default();
                ensure!(left.is_empty(), "items were left out: {left:?}");
            }
            Ok(())
        });
    }
    while let Some(written) = writers.join_next().await {
        written??;
    }
    let more = AttributeValue::N((keys - 1).to_string());
    client
        .update_item()
        .table_name(table)
        .set_key(Some(ItemKey::key_count(&dimension, Cell::FIRST).attributes()))
        .update_expression("ADD #keys :more")
        .expression_attribute_names("#keys", "keys")
        .expression_attribute_values(":more", more)
        .send()
        .await?;
    Ok(())
}

fn key_of_rollup(dimension: &DimensionName, key: &str) -> anyhow::Result<Item> {
    let of = RollupKey { dimension: dimension.clone(), key: DimensionKey::new(key)? };
    Ok(ItemKey::rollup(&of, Cell::FIRST).attributes())
}
