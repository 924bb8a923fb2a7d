//! The keys of items.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use sha2::{Digest, Sha256};

use super::{
    attribute::{PARTITION_KEY, SORT_KEY},
    escape::{self, SEPARATOR, part},
};
use crate::domain::{
    Cell, DimensionKey, DimensionName, Id, IdempotencyKey, Member, MemberSet, Period, RollupKey,
};

const ID: &str = "id";
const DIMENSION: &str = "dim";
const SET: &str = "set";
const DIMENSIONS: &str = "dims";
const DETAIL: &str = "detail";
const DONE: &str = "done";
const KEY: &str = "key";
const KEYS: &str = "keys";
const COUNTERS: &str = "c";
const GAUGES: &str = "g";

/// The part of a set that a member belongs to, by the first 20 bits of its SHA-256. Each item of a
/// set holds about a millionth of its members, so the cost of a new member stays the same up to
/// tens of millions of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard(u32);

impl Shard {
    /// The shard of a member.
    #[must_use]
    pub fn of(member: &Member) -> Self {
        let [a, b, c, ..]: [u8; 32] = Sha256::digest(member.as_str()).into();
        Self(u32::from_be_bytes([0, a, b, c]) >> 4)
    }
}

/// What an audit has to know about an item's key. The names are in the escaped form of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ItemKind<'a> {
    Detail,
    /// Of `<dimension>#<key>`.
    Departure(&'a str),
    /// Of `<dimension>#<key>`.
    Counters(String),
    /// Of the set `<dimension>#<key>#<stat>`.
    Members(&'a str),
    /// `<dimension>#<key>`.
    KnownKey(&'a str),
    /// Of a dimension.
    KeyCount(&'a str),
}

/// The primary key of an item.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ItemKey {
    partition: String,
    sort: String,
}

impl ItemKey {
    /// The detail of an id.
    #[must_use]
    pub fn detail(id: &Id) -> Self {
        Self::new([ID, &part(id.as_str())], [DETAIL])
    }

    /// What an id has left behind in the counters of a key that it has moved away from.
    #[must_use]
    pub fn departure(id: &Id, from: &RollupKey) -> Self {
        let dimension = part(from.dimension.as_str());
        let key = part(from.key.as_str());
        Self::new([ID, &part(id.as_str())], ["left", &dimension, &key])
    }

    /// A cell of a key's counters and numbers of unique members.
    #[must_use]
    pub fn counters(of: &RollupKey, cell: Cell) -> Self {
        let key = part(of.key.as_str());
        let dimension = part(of.dimension.as_str());
        Self::new([DIMENSION, &dimension], [COUNTERS, &key, &cell.number().to_string()])
    }

    /// A cell of a key's gauges in a period.
    #[must_use]
    pub fn gauges(of: &RollupKey, period: Period, cell: Cell) -> Self {
        let key = part(of.key.as_str());
        let dimension = part(of.dimension.as_str());
        Self::new(
            [DIMENSION, &dimension],
            [GAUGES, &period_part(period), &key, &cell.number().to_string()],
        )
    }

    /// A shard of a set.
    #[must_use]
    pub fn members(set: &MemberSet, shard: Shard) -> Self {
        let dimension = part(set.of.dimension.as_str());
        let key = part(set.of.key.as_str());
        let stat = part(set.stat.as_str());
        Self::new([SET, &dimension, &key, &stat], [format!("{:05x}", shard.0)])
    }

    /// The entry of a dimension in the list of dimensions.
    #[must_use]
    pub fn dimension(dimension: &DimensionName) -> Self {
        Self::new([DIMENSIONS], [part(dimension.as_str())])
    }

    /// The registration of a key in its dimension.
    #[must_use]
    pub fn known_key(of: &RollupKey) -> Self {
        let dimension = part(of.dimension.as_str());
        Self::new([KEY, &dimension, &part(of.key.as_str())], [KEY])
    }

    /// A cell of the number of keys that a dimension has.
    #[must_use]
    pub fn key_count(dimension: &DimensionName, cell: Cell) -> Self {
        Self::new([KEYS, &part(dimension.as_str())], [cell.number().to_string()])
    }

    /// The marker of an update that was counted under an idempotency key.
    #[must_use]
    pub fn marker(id: &Id, key: &IdempotencyKey) -> Self {
        Self::new([DONE, &part(id.as_str()), &part(key.as_str())], [DONE])
    }

    /// The key of a stored item; `None` if the item has none.
    #[must_use]
    pub fn of_item(item: &HashMap<String, AttributeValue>) -> Option<Self> {
        let text = |name| item.get(name)?.as_s().ok().cloned();
        Some(Self { partition: text(PARTITION_KEY)?, sort: text(SORT_KEY)? })
    }

    /// The key as the SDK wants it.
    #[must_use]
    pub fn attributes(&self) -> HashMap<String, AttributeValue> {
        HashMap::from([
            (PARTITION_KEY.to_owned(), AttributeValue::S(self.partition.clone())),
            (SORT_KEY.to_owned(), AttributeValue::S(self.sort.clone())),
        ])
    }

    /// What an audit has to know about it; `None` if audits ignore the item.
    pub(super) fn kind(&self) -> Option<ItemKind<'_>> {
        let (kind, names) = self.partition.split_once(SEPARATOR)?;
        match (kind, self.sort.as_str().split_once(SEPARATOR)) {
            (ID, None) => Some(ItemKind::Detail),
            (ID, Some((_left, of))) => Some(ItemKind::Departure(of)),
            (DIMENSION, Some((COUNTERS, key_and_cell))) => {
                let (key, _cell) = key_and_cell.rsplit_once(SEPARATOR)?;
                Some(ItemKind::Counters(format!("{names}{SEPARATOR}{key}")))
            }
            (SET, _) => Some(ItemKind::Members(names)),
            (KEY, _) => Some(ItemKind::KnownKey(names)),
            (KEYS, _) => Some(ItemKind::KeyCount(names)),
            _ => None,
        }
    }

    /// Whether this is the key of gauges of `period`.
    pub(super) fn is_of_period(&self, period: Period) -> bool {
        let mut parts = self.sort.split(SEPARATOR);
        parts.next() == Some(GAUGES) && parts.next() == Some(&period_part(period))
    }

    /// The dimension key in the sort key of a rollup; `None` if the sort key has only its hash.
    pub(super) fn rollup_key(&self) -> Option<String> {
        let (before_cell, _cell) = self.sort.rsplit_once(SEPARATOR)?;
        let (_before, key) = before_cell.rsplit_once(SEPARATOR)?;
        escape::name(key)
    }

    /// The cell in the sort key of a rollup.
    pub(super) fn rollup_cell(&self) -> Option<Cell> {
        let (_before, cell) = self.sort.rsplit_once(SEPARATOR)?;
        Cell::new(cell.parse().ok()?)
    }

    /// The name in the sort key of an entry of the list of dimensions; `None` if the sort key has
    /// only its hash.
    pub(super) fn dimension_name(&self) -> Option<String> {
        escape::name(&self.sort)
    }

    fn new<const P: usize, const S: usize>(
        partition: [impl AsRef<str>; P],
        sort: [impl AsRef<str>; S],
    ) -> Self {
        Self { partition: joined(&partition), sort: joined(&sort) }
    }
}

/// The place of a key among those of a dimension: rollups are read in this order.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RollupOrder(String);

impl From<&DimensionKey> for RollupOrder {
    fn from(key: &DimensionKey) -> Self {
        // Includes the separator that follows in a sort key: it decides the order if one key begins
        // with another.
        Self(joined(&[&part(key.as_str()), ""]))
    }
}

/// Items of one partition that a query reads in the order of their sort keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRange {
    partition: String,
    first: String,
    last: String,
}

impl KeyRange {
    /// All dimensions.
    #[must_use]
    pub fn dimensions() -> Self {
        Self {
            partition: DIMENSIONS.to_owned(),
            first: " ".to_owned(),
            last: char::MAX.to_string(),
        }
    }

    /// The cells of the number of keys that a dimension has.
    #[must_use]
    pub fn key_counts(dimension: &DimensionName) -> Self {
        Self {
            partition: joined(&[KEYS, &part(dimension.as_str())]),
            first: "0".to_owned(),
            last: ":".to_owned(),
        }
    }

    /// The counters of all keys of a dimension.
    #[must_use]
    pub fn counters(dimension: &DimensionName) -> Self {
        Self::of_dimension(dimension, COUNTERS, COUNTERS)
    }

    /// The gauges of all keys of a dimension in the periods from `first` to `last`.
    #[must_use]
    pub fn gauges(dimension: &DimensionName, first: Period, last: Period) -> Self {
        let [first, last] = [first, last].map(|period| joined(&[GAUGES, &period_part(period)]));
        Self::of_dimension(dimension, &first, &last)
    }

    /// The condition on the keys, and the values of its placeholders.
    #[must_use]
    pub fn condition(&self) -> (String, HashMap<String, AttributeValue>) {
        let values = [(":p", &self.partition), (":a", &self.first), (":z", &self.last)];
        let values = values
            .map(|(placeholder, value)| (placeholder.to_owned(), AttributeValue::S(value.clone())));
        (format!("{PARTITION_KEY} = :p AND {SORT_KEY} BETWEEN :a AND :z"), values.into())
    }

    fn of_dimension(dimension: &DimensionName, first: &str, last: &str) -> Self {
        // The character after the separator ends the range after all keys that begin with `last`.
        let after_separator = char::from(SEPARATOR as u8 + 1);
        Self {
            partition: joined(&[DIMENSION, &part(dimension.as_str())]),
            first: format!("{first}{SEPARATOR}"),
            last: format!("{last}{after_separator}"),
        }
    }
}

fn joined(parts: &[impl AsRef<str>]) -> String {
    let parts: Vec<_> = parts.iter().map(AsRef::as_ref).collect();
    parts.join("#")
}

/// The texts of periods sort in the order of time.
fn period_part(period: Period) -> String {
    format!("{:012}", period.start().0)
}
