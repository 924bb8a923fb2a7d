//! Fills a table with keys, faster than updates would.

use anyhow::{Context, ensure};
use aws_sdk_dynamodb::{
    Client,
    types::{AttributeValue, PutRequest, WriteRequest},
};
use shared::{
    domain::{Cell, DimensionKey, DimensionName, Id, RollupKey},
    table::{Item, ItemKey},
};
use tokio::task::JoinSet;

/// The most items of a *`BatchWriteItem`*.
const ITEMS_OF_BATCH: usize = 25;
const WRITERS: usize = 8;

/// Gives a dimension more keys, with rollups like that of its key `k0`, and each key an id with a
/// detail like that of `i0`, which is at `k0`.
///
/// # Errors
/// There is no such key or id, or the database fails.
pub async fn fill_with_ids(
    client: &Client,
    table: &str,
    dimension: &str,
    keys: usize,
) -> anyhow::Result<()> {
    let key_of_detail = |number: usize| -> anyhow::Result<Item> {
        Ok(ItemKey::detail(&Id::new(&format!("i{number}"))?).attributes())
    };
    let first = client.get_item().table_name(table).set_key(Some(key_of_detail(0)?)).send().await?;
    let first = first.item.context("i0 has no detail")?;
    let placement = format!("d:{dimension}");
    let detail = move |number: usize| {
        let mut item = first.clone();
        item.extend(key_of_detail(number)?);
        item.insert("name".to_owned(), AttributeValue::S(format!("i{number}")));
        if let Some(AttributeValue::M(fields)) = item.get_mut(&placement) {
            fields.insert("key".to_owned(), AttributeValue::S(format!("k{number}")));
        }
        Ok(item)
    };
    put_all(client, table, keys, detail).await?;
    fill(client, table, dimension, keys).await
}

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
    let of = dimension.clone();
    let rollup = move |number: usize| {
        let mut item = first.clone();
        item.extend(key_of_rollup(&of, &format!("k{number}"))?);
        Ok(item)
    };
    put_all(client, table, keys, rollup).await?;
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

/// Puts the items with the numbers from 1 on.
async fn put_all(
    client: &Client,
    table: &str,
    items: usize,
    item: impl Fn(usize) -> anyhow::Result<Item> + Clone + Send + 'static,
) -> anyhow::Result<()> {
    let mut writers = JoinSet::new();
    for writer in 0..WRITERS {
        let (client, table, item) = (client.clone(), table.to_owned(), item.clone());
        writers.spawn(async move {
            let mut numbers = (1..items).filter(|number| number % WRITERS == writer).peekable();
            while numbers.peek().is_some() {
                let batch = numbers.by_ref().take(ITEMS_OF_BATCH).map(|number| {
                    let put = PutRequest::builder().set_item(Some(item(number)?)).build()?;
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
    Ok(())
}
