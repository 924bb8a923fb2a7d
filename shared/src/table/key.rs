//! The keys of items.

use std::collections::{BTreeSet, HashMap};

use aws_sdk_dynamodb::types::AttributeValue;
use sha2::{Digest, Sha256};

use super::{
    attribute::{PARTITION_KEY, SORT_KEY},
    escape::{self, SEPARATOR, part},
    item::SweepPosition,
};
use crate::domain::{
    Cell, Deletion, DimensionKey, DimensionName, Id, IdempotencyKey, Member, MemberSet, RollupKey,
};

const ID: &str = "id";
const DIMENSION: &str = "dim";
const SET: &str = "set";
const DIMENSIONS: &str = "dims";
const DETAIL: &str = "detail";
const DONE: &str = "done";
const NOTHING: &str = "nothing";
const KEYS: &str = "keys";
pub(super) const LEFT: &str = "left";

/// The part of a set that a member belongs to, by the first 20 bits of its SHA-256. An item of a
/// set holds a millionth of its members, and what a new member costs stays the same to tens of
/// millions of them. The first 8 of those bits choose one of 256 partition keys: a set takes
/// 256,000 write units a second.
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

/// A key of a dimension in the escaped form that the table's keys have: `<dimension>#<key>`. Long
/// names are hashes there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EscapedKey(String);

impl EscapedKey {
    /// That of a key.
    #[must_use]
    pub fn of(dimension: &DimensionName, key: &DimensionKey) -> Self {
        Self(joined(&[part(dimension.as_str()), part(key.as_str())]))
    }

    /// The key that this text names, as [`Self::as_str`] has it; `None` if it names none.
    #[must_use]
    pub fn joined(text: &str) -> Option<Self> {
        let (dimension, key) = text.split_once(SEPARATOR)?;
        let is_one = !dimension.is_empty() && !key.is_empty() && !key.contains(SEPARATOR);
        is_one.then(|| Self(text.to_owned()))
    }

    /// Dimension and key.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The dimension.
    #[must_use]
    pub fn dimension(&self) -> &str {
        self.0.split_once(SEPARATOR).map_or("", |(dimension, _)| dimension)
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &str {
        self.0.split_once(SEPARATOR).map_or("", |(_, key)| key)
    }

    /// The first cell of its rollup.
    #[must_use]
    pub fn first_cell(&self) -> ItemKey {
        ItemKey::new([DIMENSION, self.dimension(), &Cell::FIRST.number().to_string()], [self.key()])
    }

    /// What an id has left behind there, whose items have this partition key.
    #[must_use]
    pub fn departure_of(&self, id: &str) -> ItemKey {
        ItemKey { partition: id.to_owned(), sort: joined(&[LEFT, self.dimension(), self.key()]) }
    }

    /// The partition keys of the sets of a stat, which is in the escaped form too.
    pub fn sets(&self, stat: &str) -> impl Iterator<Item = Partition> {
        let set = joined(&[SET, self.as_str(), stat]);
        (0..=u8::MAX).map(move |part| Partition(format!("{set}{SEPARATOR}{part:02x}")))
    }
}

/// What an audit has to know about an item's key. The names are in the escaped form of keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ItemKind<'a> {
    Detail,
    /// Of `<dimension>#<key>`.
    Departure(&'a str),
    /// A cell of the rollup of `<dimension>#<key>`.
    Rollup(String, Cell),
    /// Of the set `<dimension>#<key>#<stat>`.
    Members(&'a str),
    /// A cell of a dimension's number of keys.
    KeyCount(&'a str, Cell),
    /// An entry of the list of dimensions.
    Dimension,
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
        Self::new([ID, &part(id.as_str())], [LEFT, &dimension, &key])
    }

    /// The detail of the id that this item belongs to: a detail, or what an id has left behind.
    /// `None` for all other items.
    #[must_use]
    pub fn detail_of_id(&self) -> Option<Self> {
        let is_of_id = matches!(self.kind(), Some(ItemKind::Detail | ItemKind::Departure(_)));
        is_of_id.then(|| Self { partition: self.partition.clone(), sort: DETAIL.to_owned() })
    }

    /// The first cell of the rollup that holds what an id has left behind; `None` if this is
    /// something else.
    pub(super) fn rollup_of_departure(&self) -> Option<Self> {
        let Some(ItemKind::Departure(of)) = self.kind() else {
            return None;
        };
        let (dimension, key) = of.split_once(SEPARATOR)?;
        Some(Self::new([DIMENSION, dimension, &Cell::FIRST.number().to_string()], [key]))
    }

    /// Whether this is what some id has left behind under keys that a deletion covers.
    pub(super) fn is_departure_covered_by(&self, deletion: &Deletion) -> bool {
        let Some(ItemKind::Departure(of)) = self.kind() else {
            return false;
        };
        match deletion {
            Deletion::Everything | Deletion::Stats(_) => true,
            Deletion::Keys(dimension, keys) => {
                let names = of.split_once(SEPARATOR);
                names.is_some_and(|(of_dimension, of_key)| {
                    is_covered(of_dimension, of_key, dimension, keys.as_ref())
                })
            }
        }
    }

    /// What a deletion has to know of this shard of a set: the first cell of its rollup, and its
    /// stat in the escaped form of keys. `None` if it is not a shard, or its key is not covered.
    pub(super) fn shard_covered_by(&self, deletion: &Deletion) -> Option<(Self, &str)> {
        let Some(ItemKind::Members(set)) = self.kind() else {
            return None;
        };
        let (of, stat) = set.rsplit_once(SEPARATOR)?;
        let (of_dimension, of_key) = of.split_once(SEPARATOR)?;
        let is_covered = match deletion {
            Deletion::Everything | Deletion::Stats(_) => true,
            Deletion::Keys(dimension, keys) => {
                is_covered(of_dimension, of_key, dimension, keys.as_ref())
            }
        };
        let first = Cell::FIRST.number().to_string();
        is_covered.then(|| (Self::new([DIMENSION, of_dimension, &first], [of_key]), stat))
    }

    /// Whether this is the first cell of a key that a deletion deletes.
    #[must_use]
    pub fn is_key_covered_by(&self, deletion: &Deletion) -> bool {
        let (Deletion::Keys(dimension, keys), Some(ItemKind::Rollup(of, Cell::FIRST))) =
            (deletion, self.kind())
        else {
            return false;
        };
        of.split_once(SEPARATOR).is_some_and(|(of_dimension, of_key)| {
            is_covered(of_dimension, of_key, dimension, keys.as_ref())
        })
    }

    /// The first cells of the rollup that this is a cell of, so many of them.
    #[must_use]
    pub fn cells(&self, many: u8) -> Vec<Self> {
        let dimension = self.partition.rsplit_once(SEPARATOR).map_or("", |(of, _)| of);
        let cell = |cell: Cell| Self::new([dimension, &cell.number().to_string()], [&self.sort]);
        Cell::first(many).map(cell).collect()
    }

    /// A cell of a key's rollup.
    #[must_use]
    pub fn rollup(of: &RollupKey, cell: Cell) -> Self {
        let partition = Partition::rollups(&of.dimension, cell);
        Self { partition: partition.0, sort: part(of.key.as_str()) }
    }

    /// A shard of a set.
    #[must_use]
    pub fn members(set: &MemberSet, shard: Shard) -> Self {
        let dimension = part(set.of.dimension.as_str());
        let key = part(set.of.key.as_str());
        let stat = part(set.stat.as_str());
        let (partition, sort) = (shard.0 >> 12, shard.0 & 0xfff);
        let partition = format!("{partition:02x}");
        Self::new([SET, &dimension, &key, &stat, &partition], [format!("{sort:03x}")])
    }

    /// The entry of a dimension in the list of dimensions.
    #[must_use]
    pub fn dimension(dimension: &DimensionName) -> Self {
        Self::new([DIMENSIONS], [part(dimension.as_str())])
    }

    /// The key of no item: no other partition key is a single part that is not `dims`.
    #[must_use]
    pub fn of_nothing() -> Self {
        Self::new([NOTHING], [NOTHING])
    }

    /// A cell of the number of keys that a dimension has.
    #[must_use]
    pub fn key_count(dimension: &DimensionName, cell: Cell) -> Self {
        Self::new([KEYS, &part(dimension.as_str()), &cell.number().to_string()], [KEYS])
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

    /// The detail of the id whose items have this partition key.
    #[must_use]
    pub fn detail_in(id: &str) -> Self {
        Self { partition: id.to_owned(), sort: DETAIL.to_owned() }
    }

    /// The entry of a dimension, by the escaped form of its name.
    #[must_use]
    pub fn entry_of(dimension: &str) -> Self {
        Self::new([DIMENSIONS], [dimension])
    }

    /// A cell of the number of keys of a dimension, by the escaped form of its name.
    #[must_use]
    pub fn key_count_of(dimension: &str, cell: Cell) -> Self {
        Self::new([KEYS, dimension, &cell.number().to_string()], [KEYS])
    }

    /// The place of this shard among those of its set.
    pub(super) fn shard(&self) -> String {
        let first = self.partition.rsplit_once(SEPARATOR).map_or("", |(_, first)| first);
        format!("{first}{}", self.sort)
    }

    /// The name of the id that this item belongs to, if its partition key has one that is not
    /// hashed.
    pub(super) fn id_name(&self) -> Option<String> {
        let (kind, name) = self.partition.split_once(SEPARATOR)?;
        (kind == ID).then(|| escape::name(name)).flatten()
    }

    /// Its partition key.
    #[must_use]
    pub fn partition(&self) -> &str {
        &self.partition
    }

    /// The key as the SDK wants it.
    #[must_use]
    pub fn attributes(&self) -> HashMap<String, AttributeValue> {
        HashMap::from([
            (PARTITION_KEY.to_owned(), AttributeValue::S(self.partition.clone())),
            (SORT_KEY.to_owned(), AttributeValue::S(self.sort.clone())),
        ])
    }

    /// What an audit wants to know; `None` for what it does not look at.
    pub(super) fn kind(&self) -> Option<ItemKind<'_>> {
        let Some((kind, names)) = self.partition.split_once(SEPARATOR) else {
            return (self.partition == DIMENSIONS).then_some(ItemKind::Dimension);
        };
        match (kind, self.sort.as_str().split_once(SEPARATOR)) {
            (ID, None) => Some(ItemKind::Detail),
            (ID, Some((_left, of))) => Some(ItemKind::Departure(of)),
            (DIMENSION, _) => {
                let (dimension, _cell) = names.rsplit_once(SEPARATOR)?;
                let of = joined(&[dimension, &self.sort]);
                Some(ItemKind::Rollup(of, self.rollup_cell()?))
            }
            (SET, _) => Some(ItemKind::Members(names.rsplit_once(SEPARATOR)?.0)),
            (KEYS, _) => {
                let (dimension, _cell) = names.rsplit_once(SEPARATOR)?;
                Some(ItemKind::KeyCount(dimension, self.rollup_cell()?))
            }
            _ => None,
        }
    }

    /// The dimension key in the sort key of a rollup; `None` when it is hashed there.
    pub(super) fn rollup_key(&self) -> Option<String> {
        escape::name(&self.sort)
    }

    /// The cell in the partition key of a rollup.
    pub(super) fn rollup_cell(&self) -> Option<Cell> {
        let (_dimension, cell) = self.partition.rsplit_once(SEPARATOR)?;
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

impl RollupOrder {
    /// That of an item with this key; `None` if it has none.
    #[must_use]
    pub fn of_item(item: &HashMap<String, AttributeValue>) -> Option<Self> {
        item.get(SORT_KEY)?.as_s().ok().cloned().map(Self)
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<&DimensionKey> for RollupOrder {
    fn from(key: &DimensionKey) -> Self {
        Self(part(key.as_str()))
    }
}

/// All items of one partition key, which a query reads in the order of their sort keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Partition(String);

impl Partition {
    /// All dimensions.
    #[must_use]
    pub fn dimensions() -> Self {
        Self(DIMENSIONS.to_owned())
    }

    /// The cells of this number of all keys of a dimension.
    #[must_use]
    pub fn rollups(dimension: &DimensionName, cell: Cell) -> Self {
        Self(joined(&[DIMENSION, &part(dimension.as_str()), &cell.number().to_string()]))
    }

    /// The same, by the escaped form of the dimension's name.
    #[must_use]
    pub fn rollups_of(dimension: &str, cell: Cell) -> Self {
        Self(joined(&[DIMENSION, dimension, &cell.number().to_string()]))
    }

    /// The items that have the same partition key as this one: of a detail, all of its id.
    #[must_use]
    pub fn of_item(key: &ItemKey) -> Self {
        Self(key.partition.clone())
    }

    /// The key at which a sweep goes on.
    #[must_use]
    pub fn key_at(&self, position: &SweepPosition) -> HashMap<String, AttributeValue> {
        ItemKey { partition: self.0.clone(), sort: position.0.clone() }.attributes()
    }

    /// The condition on the keys, and the values of its placeholders.
    #[must_use]
    pub fn condition(&self) -> (String, HashMap<String, AttributeValue>) {
        let values = HashMap::from([(":p".to_owned(), AttributeValue::S(self.0.clone()))]);
        (format!("{PARTITION_KEY} = :p"), values)
    }
}

/// Whether names in the escaped form are those of a dimension and its key, or of any of its keys.
/// Whether the parts of a dimension and of its key stand for names that are deleted.
fn is_covered(
    of_dimension: &str,
    of_key: &str,
    dimension: &DimensionName,
    keys: Option<&BTreeSet<DimensionKey>>,
) -> bool {
    of_dimension == part(dimension.as_str()) && keys.is_none_or(|keys| is_among(of_key, keys))
}

/// Whether a part stands for one of these keys.
fn is_among(of_key: &str, keys: &BTreeSet<DimensionKey>) -> bool {
    match escape::name(of_key) {
        Some(name) => DimensionKey::new(&name).is_ok_and(|key| keys.contains(&key)),
        // Few names are so long that the table has their hashes.
        None => {
            let mut hashed = keys.iter().filter(|key| escape::plain(key.as_str()).is_none());
            hashed.any(|key| part(key.as_str()) == of_key)
        }
    }
}

fn joined(parts: &[impl AsRef<str>]) -> String {
    let parts: Vec<_> = parts.iter().map(AsRef::as_ref).collect();
    parts.join("#")
}
