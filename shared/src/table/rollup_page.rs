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
    de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor},
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
        // Once for all texts, which is much faster than for each.
        let body = str::from_utf8(body).map_err(serde::de::Error::custom)?;
        let answer: Answer = serde_json::from_str(body)?;
        Ok(Self {
            cells: answer.items.0,
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
    items: ReadCells,
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
    /// The value as the SDK has it. One that rollups don't have is null, which is as wrong.
    fn into_attribute(self) -> AttributeValue {
        match self {
            Self::Text(text) => AttributeValue::S(text.0.into_owned()),
            Self::Number(digits) => AttributeValue::N(digits.0.into_owned()),
            Self::Texts(texts) => {
                AttributeValue::Ss(texts.into_iter().map(|text| text.0.into_owned()).collect())
            }
            Self::Other => AttributeValue::Null(true),
        }
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

/// An item, such as a key.
struct ReadItem(Item);

impl<'de> Deserialize<'de> for ReadItem {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let values: HashMap<String, Value<'de>> = HashMap::deserialize(deserializer)?;
        let values = values.into_iter();
        Ok(Self(values.map(|(name, value)| (name, value.into_attribute())).collect()))
    }
}

/// Items, and the cell that each is, if it is one.
struct ReadCells(Vec<Result<RollupCell, CorruptItem>>);

impl<'de> Deserialize<'de> for ReadCells {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct CellsVisitor;

        impl<'de> Visitor<'de> for CellsVisitor {
            type Value = ReadCells;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("items")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<ReadCells, A::Error> {
                let (mut cells, mut names) = (Vec::new(), KnownNames::default());
                while let Some(cell) = items.next_element_seed(CellReader(&mut names))? {
                    cells.push(cell);
                }
                Ok(ReadCells(cells))
            }
        }

        deserializer.deserialize_seq(CellsVisitor)
    }
}

/// Reads an item, whose attributes may have names that others had.
struct CellReader<'a>(&'a mut KnownNames);

impl<'de> DeserializeSeed<'de> for CellReader<'_> {
    type Value = Result<RollupCell, CorruptItem>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for CellReader<'_> {
    type Value = Result<RollupCell, CorruptItem>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an item")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut names = self.0.of_item();
        let (mut sums, mut others) = (Ok(ReadSums::default()), Item::new());
        while let Some(Text(name)) = map.next_key()? {
            let value = map.next_value()?;
            match names.find(&name) {
                Some(name) => {
                    if let Ok(read) = &mut sums
                        && let Err(reason) = read.add(name, &value)
                    {
                        sums = Err(reason);
                    }
                }
                None => {
                    others.insert(name.into_owned(), value.into_attribute());
                }
            }
        }
        Ok(decode_cell(&others, sums.map(ReadSums::into_sums)))
    }
}

/// The attributes that the items of a page have. Most items have the same ones in the same order,
/// and a name that is found where it is expected is neither parsed nor copied again.
#[derive(Default)]
struct KnownNames {
    names: Vec<KnownName>,
    by_text: foldhash::HashMap<Box<str>, usize>,
    /// The name with which the last item began.
    first: Option<usize>,
}

struct KnownName {
    text: Box<str>,
    /// The sum that it names; none if it names something else, or no stat.
    sum: Option<Result<SumName, String>>,
    /// The name that came after it the last time.
    next: Option<usize>,
}

/// What a sum of a cell is.
enum SumName {
    Counter(StatName),
    Members(StatName),
    Gauge(Period, StatName),
}

impl SumName {
    /// None of an attribute that is no sum. One that is for no stat is an error.
    fn parse(attribute: &str) -> Option<Result<Self, String>> {
        let of = |stat, name: &dyn Fn(StatName) -> Self| {
            Some(StatName::new(stat).map(name).map_err(|error| error.to_string()))
        };
        match Named::parse(attribute)? {
            Named::Counter(stat) => of(stat, &Self::Counter),
            Named::MemberCount(stat) => of(stat, &Self::Members),
            Named::GaugeOf(period, stat) => of(stat, &|stat| Self::Gauge(period, stat)),
            Named::Gauge(_) | Named::Placement(_) => None,
        }
    }
}

impl KnownNames {
    /// The names of the next item.
    fn of_item(&mut self) -> NamesOfItem<'_> {
        NamesOfItem { known: self, last: None }
    }

    /// The place of a name, which may be new.
    fn place(&mut self, text: &str) -> usize {
        if let Some(place) = self.by_text.get(text) {
            return *place;
        }
        let place = self.names.len();
        self.names.push(KnownName { text: text.into(), sum: SumName::parse(text), next: None });
        self.by_text.insert(text.into(), place);
        place
    }
}

/// The names of an item, one after another.
struct NamesOfItem<'a> {
    known: &'a mut KnownNames,
    last: Option<usize>,
}

impl NamesOfItem<'_> {
    /// The sum that the next name of the item names, if it does.
    fn find(&mut self, text: &str) -> Option<&Result<SumName, String>> {
        let KnownNames { names, first, .. } = &self.known;
        let expected = match self.last {
            Some(last) => names.get(last).and_then(|last| last.next),
            None => *first,
        };
        let is_expected = |place: &usize| names.get(*place).is_some_and(|name| *name.text == *text);
        let place = expected.filter(is_expected).unwrap_or_else(|| {
            let place = self.known.place(text);
            match self.last.and_then(|last| self.known.names.get_mut(last)) {
                Some(last) => last.next = Some(place),
                None => self.known.first = Some(place),
            }
            place
        });
        self.last = Some(place);
        self.known.names.get(place).and_then(|name| name.sum.as_ref())
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
    fn add(&mut self, name: &Result<SumName, String>, value: &Value<'_>) -> Result<(), String> {
        let (sums, stat) = match name.as_ref().map_err(String::clone)? {
            SumName::Counter(stat) => (&mut self.counters, stat),
            SumName::Members(stat) => (&mut self.members, stat),
            SumName::Gauge(period, stat) => (self.gauges.entry(*period).or_default(), stat),
        };
        let Value::Number(Text(digits)) = value else {
            return Err("not a number".to_owned());
        };
        let sum = digits.parse().map_err(|_| format!("the number {digits} is out of range"))?;
        sums.push((stat.clone(), sum));
        Ok(())
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
