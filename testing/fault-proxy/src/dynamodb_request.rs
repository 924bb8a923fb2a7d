//! A request as it arrived, and what its body says.

use std::{borrow::Cow, collections::BTreeMap, mem};

use hyper::{
    body::Bytes,
    header::{CONTENT_LENGTH, HeaderValue},
    http::request::Parts,
};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::operation::Operation;

/// A request as it arrived.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) operation: Operation,
    pub(crate) head: Parts,
    pub(crate) body: Bytes,
}

/// What identifies an item.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ItemKey {
    table: String,
    pub(crate) pk: String,
    pub(crate) sk: String,
}

impl Request {
    /// The item of each action of a transaction; none where it has no `pk` and `sk` of text. If this is
    /// no transaction that can be understood, DynamoDB will say so.
    pub(crate) fn transaction(&self) -> Option<Vec<Option<ItemKey>>> {
        let transaction: Transaction<'_> = serde_json::from_slice(&self.body).ok()?;
        Some(transaction.actions.into_iter().map(Action::item).collect())
    }

    /// The item of a single write.
    pub(crate) fn written(&self) -> Option<ItemKey> {
        serde_json::from_slice::<Write<'_>>(&self.body).ok()?.item_key()
    }

    pub(crate) fn replace_body(&mut self, body: &Value) {
        self.body = body.to_string().into();
        self.head.headers.insert(CONTENT_LENGTH, HeaderValue::from(self.body.len()));
    }
}

#[derive(Deserialize)]
struct Transaction<'a> {
    #[serde(borrow, rename = "TransactItems")]
    actions: Vec<Action<'a>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Action<'a> {
    #[serde(borrow)]
    condition_check: Option<Write<'a>>,
    #[serde(borrow)]
    delete: Option<Write<'a>>,
    #[serde(borrow)]
    put: Option<Write<'a>>,
    #[serde(borrow)]
    update: Option<Write<'a>>,
}

impl Action<'_> {
    fn item(self) -> Option<ItemKey> {
        self.condition_check.or(self.delete).or(self.put).or(self.update)?.item_key()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Write<'a> {
    #[serde(borrow)]
    table_name: Cow<'a, str>,
    #[serde(borrow)]
    item: Option<Keys<'a>>,
    #[serde(borrow)]
    key: Option<Keys<'a>>,
}

impl Write<'_> {
    fn item_key(self) -> Option<ItemKey> {
        self.key.or(self.item)?.of_table(&self.table_name)
    }
}

#[derive(Deserialize)]
struct Keys<'a> {
    #[serde(borrow)]
    pk: Option<Attribute<'a>>,
    #[serde(borrow)]
    sk: Option<Attribute<'a>>,
}

#[derive(Deserialize)]
struct Attribute<'a> {
    #[serde(borrow, rename = "S")]
    text: Option<Cow<'a, str>>,
}

impl Keys<'_> {
    fn of_table(self, table: &str) -> Option<ItemKey> {
        let text = |part: Option<Attribute<'_>>| Some(part?.text?.into_owned());
        Some(ItemKey { table: table.to_owned(), pk: text(self.pk)?, sk: text(self.sk)? })
    }
}

/// The body of a `BatchGetItem`.
#[derive(Debug)]
pub(crate) struct Batch(Value);

/// Keys that a batch leaves out, by table, each with what else is said of that table, as in
/// `UnprocessedKeys`.
pub(crate) type LeftOut = BTreeMap<String, Value>;

impl Batch {
    pub(crate) fn of(request: &Request) -> Option<Self> {
        serde_json::from_slice(&request.body).ok().map(Self)
    }

    pub(crate) fn items(&self) -> Vec<Option<ItemKey>> {
        let tables = self.0.get("RequestItems").and_then(Value::as_object).into_iter().flatten();
        let keys = tables.flat_map(|(table, of_table)| {
            let keys = of_table.get("Keys").and_then(Value::as_array).into_iter().flatten();
            keys.map(|key| Keys::deserialize(key).ok()?.of_table(table))
        });
        keys.collect()
    }

    /// The body without those keys, and those keys.
    pub(crate) fn without(mut self, left_out: &[bool]) -> (Value, LeftOut) {
        let mut left = LeftOut::new();
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

/// Takes the flagged keys out of those of a table; none if there are none.
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
pub(crate) fn with_unprocessed(body: &[u8], left_out: LeftOut) -> Option<Bytes> {
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
