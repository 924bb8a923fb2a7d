//! A request as it arrived, and what its body says.

use std::{borrow::Cow, collections::BTreeMap, mem};

use hyper::{
    body::Bytes,
    header::{CONTENT_LENGTH, HeaderValue},
    http::request::Parts,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::dynamodb_operation::Operation;

/// A request as it arrived.
#[derive(Debug)]
pub(crate) struct DynamoDbRequest {
    pub(crate) operation: Operation,
    pub(crate) head: Parts,
    pub(crate) body: Bytes,
}

/// What identifies an item.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ItemId {
    table: String,
    pub(crate) pk: String,
    pub(crate) sk: String,
}

impl DynamoDbRequest {
    /// The item of each action of a transaction: none if its `pk` and `sk` are not text. Nothing at
    /// all if the body is no transaction; DynamoDB will refuse it.
    pub(crate) fn transaction(&self) -> Option<Vec<Option<ItemId>>> {
        let transaction: TransactionBody<'_> = serde_json::from_slice(&self.body).ok()?;
        Some(transaction.actions.into_iter().map(ActionBody::item).collect())
    }

    /// The keys of a batch read.
    pub(crate) fn batch(&self) -> Option<Batch> {
        Batch::of(self)
    }

    /// The partition key that a query is for.
    pub(crate) fn queried_partition(&self) -> Option<String> {
        let body: Value = serde_json::from_slice(&self.body).ok()?;
        let condition = body.get("KeyConditionExpression")?.as_str()?;
        let (_, after_equals) = condition.split_once('=')?;
        let placeholder = after_equals.split_whitespace().next()?;
        let value = body.get("ExpressionAttributeValues")?.get(placeholder)?.get("S")?;
        value.as_str().map(str::to_owned)
    }

    /// The item of a single read or write.
    pub(crate) fn written(&self) -> Option<ItemId> {
        serde_json::from_slice::<WriteBody<'_>>(&self.body).ok()?.item_key()
    }

    pub(crate) fn replace_body(&mut self, body: &Value) {
        self.body = body.to_string().into();
        self.head.headers.insert(CONTENT_LENGTH, HeaderValue::from(self.body.len()));
    }
}

#[derive(Deserialize)]
struct TransactionBody<'a> {
    #[serde(borrow, rename = "TransactItems")]
    actions: Vec<ActionBody<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct ActionBody<'a> {
    #[serde(borrow)]
    condition_check: Option<WriteBody<'a>>,
    #[serde(borrow)]
    delete: Option<WriteBody<'a>>,
    #[serde(borrow)]
    put: Option<WriteBody<'a>>,
    #[serde(borrow)]
    update: Option<WriteBody<'a>>,
}

impl ActionBody<'_> {
    fn item(self) -> Option<ItemId> {
        self.condition_check.or(self.delete).or(self.put).or(self.update)?.item_key()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct WriteBody<'a> {
    #[serde(borrow)]
    table_name: Cow<'a, str>,
    #[serde(borrow)]
    item: Option<KeysBody<'a>>,
    #[serde(borrow)]
    key: Option<KeysBody<'a>>,
}

impl WriteBody<'_> {
    fn item_key(self) -> Option<ItemId> {
        self.key.or(self.item)?.of_table(&self.table_name)
    }
}

#[derive(Deserialize)]
struct KeysBody<'a> {
    #[serde(borrow)]
    pk: Option<AttributeBody<'a>>,
    #[serde(borrow)]
    sk: Option<AttributeBody<'a>>,
}

#[derive(Deserialize)]
struct AttributeBody<'a> {
    #[serde(borrow, rename = "S")]
    text: Option<Cow<'a, str>>,
}

impl KeysBody<'_> {
    fn of_table(self, table: &str) -> Option<ItemId> {
        let text = |part: Option<AttributeBody<'_>>| Some(part?.text?.into_owned());
        Some(ItemId { table: table.to_owned(), pk: text(self.pk)?, sk: text(self.sk)? })
    }
}

/// The body of a `BatchGetItem`.
#[derive(Debug)]
pub(crate) struct Batch(Value);

/// Keys that a batch leaves out, by table, in the form of `UnprocessedKeys`.
pub(crate) type KeysLeftOut = BTreeMap<String, Value>;

impl Batch {
    pub(crate) fn of(request: &DynamoDbRequest) -> Option<Self> {
        serde_json::from_slice(&request.body).ok().map(Self)
    }

    pub(crate) fn items(&self) -> Vec<Option<ItemId>> {
        let tables = self.0.get("RequestItems").and_then(Value::as_object).into_iter().flatten();
        let keys = tables.flat_map(|(table, of_table)| {
            let keys = of_table.get("Keys").and_then(Value::as_array).into_iter().flatten();
            keys.map(|key| KeysBody::deserialize(key).ok()?.of_table(table))
        });
        keys.collect()
    }

    /// The body without those keys, and those keys.
    pub(crate) fn without(mut self, left_out: &[bool]) -> (Value, KeysLeftOut) {
        let mut left = KeysLeftOut::new();
        let mut flags = left_out.iter().copied();
        if let Some(tables) = self.0.get_mut("RequestItems").and_then(Value::as_object_mut) {
            for (table, of_table) in tables.iter_mut() {
                if let Some(of_left) = split_keys(of_table, &mut flags) {
                    left.insert(table.clone(), of_left);
                }
            }
            tables.retain(|_, of_table| keys_of(of_table).is_some_and(|keys| !keys.is_empty()));
        }
        (self.0, left)
    }
}

/// Takes the flagged keys out of a table's. Returns none if no key is flagged.
fn split_keys(of_table: &mut Value, flags: &mut impl Iterator<Item = bool>) -> Option<Value> {
    let keys = mem::take(keys_of(of_table)?);
    let flagged = keys.into_iter().map(|key| (flags.next().unwrap_or(false), key));
    let (left, kept): (Vec<_>, Vec<_>) = flagged.partition(|(is_left_out, _)| *is_left_out);
    let keys_only = |keys: Vec<(bool, Value)>| keys.into_iter().map(|(_, key)| key).collect();
    let mut of_left = of_table.clone();
    *keys_of(of_table)? = keys_only(kept);
    if left.is_empty() {
        return None;
    }
    *keys_of(&mut of_left)? = keys_only(left);
    Some(of_left)
}

fn keys_of(of_table: &mut Value) -> Option<&mut Vec<Value>> {
    of_table.get_mut("Keys")?.as_array_mut()
}

/// The body of an answer with these keys added to what DynamoDB itself did not process.
pub(crate) fn with_unprocessed(body: &[u8], left_out: KeysLeftOut) -> Option<Bytes> {
    let mut body: Map<String, Value> = serde_json::from_slice(body).ok()?;
    let unprocessed = body.entry("UnprocessedKeys").or_insert_with(|| Map::new().into());
    let unprocessed = unprocessed.as_object_mut()?;
    for (table, mut of_table) in left_out {
        match unprocessed.get_mut(&table).and_then(keys_of) {
            Some(already) => already.append(keys_of(&mut of_table)?),
            None => drop(unprocessed.insert(table, of_table)),
        }
    }
    Some(Value::Object(body).to_string().into())
}
