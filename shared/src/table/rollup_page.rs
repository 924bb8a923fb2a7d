//! A page of rollups, read from the JSON of DynamoDB's answer in one pass.
//!
//! The SDK makes a map of owned texts of each item, which costs more than everything else that a
//! query does.
//!
//! Source of the format: *`DynamoDB` low-level API*, Developer Guide.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
    fmt,
};

use aws_sdk_dynamodb::types::{AttributeValue, ConsumedCapacity};
use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, Visitor},
};

use super::{
    attribute::Named,
    item::{CorruptItem, Item, decode_cell},
};
use crate::domain::{CellSums, Period, RollupCell, StatName, Sum};

/// What a query of rollups is answered by.
#[derive(Debug)]
pub struct RollupPage {
    /// The cells, in their order.
    pub cells: Vec<Result<RollupCell, CorruptItem>>,
    /// The key of the last item that was read, if there may be more.
    pub last: Option<Item>,
    /// What the query has consumed.
    pub consumed: Option<ConsumedCapacity>,
}

impl RollupPage {
    /// Reads the body of an answer.
    ///
    /// # Errors
    /// It is not the answer to a query.
    pub fn read(body: &[u8]) -> Result<Self, serde_json::Error> {
        let answer: Answer = serde_json::from_slice(body)?;
        Ok(Self {
            cells: answer.items.into_iter().map(|ReadCell(cell)| cell).collect(),
            last: answer.last_evaluated_key.map(|key| key.0),
            consumed: answer.consumed_capacity.map(|consumed| {
                ConsumedCapacity::builder()
                    .set_table_name(consumed.table_name)
                    .set_capacity_units(consumed.capacity_units)
                    .build()
            }),
        })
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Answer {
    items: Vec<ReadCell>,
    last_evaluated_key: Option<ReadItem>,
    consumed_capacity: Option<Consumed>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Consumed {
    table_name: Option<String>,
    capacity_units: Option<f64>,
}

/// A text, borrowed where nothing in it is escaped.
#[derive(Deserialize)]
struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

/// A value, as far as rollups have such.
enum Value<'a> {
    Text(Text<'a>),
    Number(Text<'a>),
    Texts(Vec<Text<'a>>),
    Other,
}

impl Value<'_> {
    fn into_attribute(self) -> Option<AttributeValue> {
        Some(match self {
            Self::Text(text) => AttributeValue::S(text.0.into_owned()),
            Self::Number(digits) => AttributeValue::N(digits.0.into_owned()),
            Self::Texts(texts) => {
                AttributeValue::Ss(texts.into_iter().map(|text| text.0.into_owned()).collect())
            }
            Self::Other => return None,
        })
    }
}

impl<'de> Deserialize<'de> for Value<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ValueVisitor;

        impl<'de> Visitor<'de> for ValueVisitor {
            type Value = Value<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value with its type")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value<'de>, A::Error> {
                let mut value = Value::Other;
                while let Some(Text(kind)) = map.next_key()? {
                    value = match &*kind {
                        "N" => Value::Number(map.next_value()?),
                        "S" => Value::Text(map.next_value()?),
                        "SS" => Value::Texts(map.next_value()?),
                        _ => {
                            map.next_value::<IgnoredAny>()?;
                            Value::Other
                        }
                    };
                }
                Ok(value)
            }
        }

        deserializer.deserialize_map(ValueVisitor)
    }
}

/// An item without values that rollups don't have.
struct ReadItem(Item);

impl<'de> Deserialize<'de> for ReadItem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let values: HashMap<String, Value<'de>> = HashMap::deserialize(deserializer)?;
        let values = values.into_iter();
        let item = values.filter_map(|(name, value)| Some((name, value.into_attribute()?)));
        Ok(Self(item.collect()))
    }
}

/// A cell, if the item is one.
struct ReadCell(Result<RollupCell, CorruptItem>);

impl<'de> Deserialize<'de> for ReadCell {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CellVisitor;

        impl<'de> Visitor<'de> for CellVisitor {
            type Value = ReadCell;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an item")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ReadCell, A::Error> {
                let (mut sums, mut others) = (Ok(ReadSums::default()), Item::new());
                while let Some(Text(name)) = map.next_key()? {
                    let value = map.next_value()?;
                    match Named::parse(&name) {
                        Some(
                            named
                            @ (Named::Counter(_) | Named::MemberCount(_) | Named::GaugeOf(..)),
                        ) => {
                            sums = sums.and_then(|sums: ReadSums| sums.with(&named, &value));
                        }
                        _ => {
                            let value = value.into_attribute();
                            others.extend(value.map(|value| (name.into_owned(), value)));
                        }
                    }
                }
                Ok(ReadCell(decode_cell(&others, sums.map(ReadSums::into_sums))))
            }
        }

        deserializer.deserialize_map(CellVisitor)
    }
}

/// The sums of a cell, in the order in which they come: maps are made of them at once.
#[derive(Default)]
struct ReadSums {
    counters: Vec<(StatName, Sum)>,
    members: Vec<(StatName, Sum)>,
    gauges: BTreeMap<Period, Vec<(StatName, Sum)>>,
}

impl ReadSums {
    fn with(mut self, named: &Named<'_>, value: &Value<'_>) -> Result<Self, String> {
        let (sums, stat) = match *named {
            Named::Counter(stat) => (&mut self.counters, stat),
            Named::MemberCount(stat) => (&mut self.members, stat),
            Named::GaugeOf(period, stat) => (self.gauges.entry(period).or_default(), stat),
            Named::Gauge(_) | Named::Placement(_) => return Ok(self),
        };
        let Value::Number(Text(digits)) = value else {
            return Err("not a number".to_owned());
        };
        let stat = StatName::new(stat).map_err(|error| error.to_string())?;
        let sum = digits.parse().map_err(|_| format!("the number {digits} is out of range"))?;
        sums.push((stat, sum));
        Ok(self)
    }

    fn into_sums(self) -> CellSums {
        let gauges = self.gauges.into_iter();
        CellSums {
            counters: self.counters.into_iter().collect(),
            members: self.members.into_iter().collect(),
            gauges: gauges.map(|(period, sums)| (period, sums.into_iter().collect())).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::table::decode_rollup;

    /// A value as DynamoDB writes it.
    fn json_of(value: &AttributeValue) -> serde_json::Value {
        match value {
            AttributeValue::S(text) => json!({"S": text}),
            AttributeValue::N(digits) => json!({"N": digits}),
            AttributeValue::Ss(texts) => json!({"SS": texts}),
            AttributeValue::Bool(value) => json!({"BOOL": value}),
            AttributeValue::L(values) => {
                json!({"L": values.iter().map(json_of).collect::<Vec<_>>()})
            }
            other => panic!("{other:?}"),
        }
    }

    fn answer(items: &[Item]) -> serde_json::Value {
        let items = items.iter().map(|item| {
            let values = item.iter().map(|(name, value)| (name.clone(), json_of(value)));
            values.collect::<serde_json::Map<_, _>>()
        });
        let items: Vec<_> = items.collect();
        json!({"Count": items.len(), "Items": items, "ScannedCount": items.len()})
    }

    fn number() -> impl Strategy<Value = AttributeValue> {
        let sums = prop_oneof![any::<i64>().prop_map(i128::from), any::<i128>()];
        sums.prop_map(|sum| AttributeValue::N(sum.to_string()))
    }

    fn value() -> impl Strategy<Value = AttributeValue> {
        prop_oneof![
            8 => number(),
            1 => ".{0,5}".prop_map(AttributeValue::S),
            1 => prop::collection::vec("[0-9.]{1,5}", 1..3).prop_map(AttributeValue::Ss),
            1 => any::<bool>().prop_map(AttributeValue::Bool),
            1 => prop::collection::vec(number(), 0..3).prop_map(AttributeValue::L),
        ]
    }

    /// Cells, of which some are corrupt.
    fn item() -> impl Strategy<Value = Item> {
        let names = "c:[a-c]{1,2}|m:[a-c]|g[a-z0-9]{0,2}:[a-c]|c:-?é?|name|absorbed|folding_since|\
             incarnation|writes|written_at|folded";
        let key = ("dim#d#[0-9]|dims", "[a-z\"\\\\é]{1,3}").prop_map(|(pk, sk)| {
            [("pk", pk), ("sk", sk)].map(|(name, text)| (name.to_owned(), AttributeValue::S(text)))
        });
        (prop::collection::hash_map(names, value(), 0..8), key).prop_map(|(mut item, key)| {
            item.extend(key);
            item
        })
    }

    proptest! {
        #[test]
        fn a_page_has_the_cells_that_its_items_are(items in prop::collection::vec(item(), 0..5)) {
            let page = RollupPage::read(answer(&items).to_string().as_bytes()).unwrap();
            prop_assert_eq!(page.cells.len(), items.len());
            prop_assert!(page.last.is_none() && page.consumed.is_none());
            for (cell, item) in page.cells.into_iter().zip(&items) {
                match (cell, decode_rollup(item)) {
                    (Ok(cell), Ok(expected)) => prop_assert_eq!(cell, expected),
                    (Err(_), Err(_)) => {}
                    other => prop_assert!(false, "{:?}", other),
                }
            }
        }
    }

    #[test]
    fn a_page_knows_where_it_ends_and_what_it_has_consumed() {
        let mut body = answer(&[]);
        body["LastEvaluatedKey"] = json!({"pk": {"S": "dim#d#0"}, "sk": {"S": "ké\"y"}});
        body["ConsumedCapacity"] = json!({"TableName": "t", "CapacityUnits": 12.5});
        let page = RollupPage::read(body.to_string().as_bytes()).unwrap();
        let consumed = page.consumed.unwrap();
        assert_eq!((consumed.table_name(), consumed.capacity_units()), (Some("t"), Some(12.5)));
        let last = page.last.unwrap();
        assert_eq!(last["sk"], AttributeValue::S("ké\"y".to_owned()));
        assert_eq!(last.len(), 2);
    }

    #[test]
    fn what_is_no_answer_to_a_query_is_an_error() {
        for body in ["", "{}", "[]", r#"{"Items":{}}"#, r#"{"Items":[1]}"#, r#"{"Items":[]"#] {
            assert!(RollupPage::read(body.as_bytes()).is_err(), "{body}");
        }
        let corrupt =
            answer(&[Item::from([("c:a".to_owned(), AttributeValue::S("x".to_owned()))])]);
        let page = RollupPage::read(corrupt.to_string().as_bytes()).unwrap();
        assert!(page.cells[0].is_err());
    }
}
