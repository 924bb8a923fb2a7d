//! What holds for the keys of items, whatever the names.

use std::collections::{BTreeMap, BTreeSet};

use arbitrary::Arbitrary;
use aws_sdk_dynamodb::types::AttributeValue;
use shared::{
    domain::{
        Cell, DimensionKey, DimensionName, Id, IdempotencyKey, Member, MemberSet, RollupKey,
        StatName,
    },
    table::{Item, ItemKey, Partition, Shard, decode_dimension, decode_rollup},
};

/// The longest keys of an item. Source: *Constraints in Amazon DynamoDB*, DynamoDB Developer Guide.
const MAX_PARTITION_BYTES: usize = 2_048;
const MAX_SORT_BYTES: usize = 1_024;
/// Up to this length a name is in the key itself, even if each of its bytes is escaped.
const ALWAYS_PLAIN_BYTES: usize = 85;
/// A little more than the longest name.
const MAX_TEXT_BYTES: usize = 1_100;

/// Two sets of names. The second is the first except for the fields that are given, so names are
/// often the same or nearly so.
#[derive(Debug, Arbitrary)]
pub struct Input<'a> {
    first: Texts<'a>,
    other_id: Option<Text<'a>>,
    other_dimension: Option<Text<'a>>,
    other_key: Option<Text<'a>>,
    other_stat: Option<Text<'a>>,
    other_member: Option<Text<'a>>,
    other_idempotency_key: Option<Text<'a>>,
    /// Unused: seeds keep their meaning.
    unused_other_period: Option<u64>,
    other_cell: Option<u8>,
}

#[derive(Debug, Clone, Arbitrary)]
struct Texts<'a> {
    id: Text<'a>,
    dimension: Text<'a>,
    key: Text<'a>,
    stat: Text<'a>,
    member: Text<'a>,
    idempotency_key: Text<'a>,
    /// Unused: seeds keep their meaning.
    unused_period: u64,
    cell: u8,
}

/// A text and how often it is repeated: short inputs make long names too.
#[derive(Debug, Clone, Arbitrary)]
struct Text<'a> {
    repeated: &'a str,
    times: u16,
}

/// The names of a [`Texts`], as far as they are valid.
struct ValidNames {
    id: Option<Id>,
    dimension: Option<DimensionName>,
    of: Option<RollupKey>,
    set: Option<MemberSet>,
    shard: Option<Shard>,
    idempotency_key: Option<IdempotencyKey>,
    cell: Cell,
}

/// What distinguishes an item from all others.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Identity {
    Detail(Id),
    Departure(Id, RollupKey),
    Rollup(RollupKey, Cell),
    Members(MemberSet, Shard),
    Dimension(DimensionName),
    KeyCount(DimensionName, Cell),
    Marker(Id, String),
}

/// The partition that an item is in.
struct ItemPlace<'a> {
    identity: &'a Identity,
    partition: String,
}

/// Panics if an invariant does not hold.
pub fn check(input: &Input<'_>) {
    let pair = [input.first.names(), input.second().names()];
    let identities: BTreeSet<_> = pair.iter().flat_map(ValidNames::identities).collect();
    let identities: Vec<_> = identities.into_iter().collect();
    let mut seen: BTreeMap<ItemKey, &Identity> = BTreeMap::new();
    for identity in &identities {
        let key = identity.item_key();
        check_limits(&key);
        check_round_trip(identity, &key);
        if let Some(other) = seen.insert(key, identity) {
            panic!("{other:?} and {identity:?} have one key");
        }
    }
    check_partitions(&pair, &identities);
}

fn check_limits(key: &ItemKey) {
    let (partition, sort) = texts(&key.attributes());
    assert!((1..=MAX_PARTITION_BYTES).contains(&partition.len()), "{partition}");
    assert!((1..=MAX_SORT_BYTES).contains(&sort.len()), "{sort}");
    assert_eq!(ItemKey::of_item(&key.attributes()).as_ref(), Some(key));
}

/// A name is read from the key, or from the attribute beside it if the key has only its hash.
fn check_round_trip(identity: &Identity, key: &ItemKey) {
    match identity {
        Identity::Dimension(dimension) => {
            let read = |item: &Item| Some(decode_dimension(item).ok()?.name);
            check_name(dimension, dimension.as_str(), key, read);
        }
        Identity::Rollup(of, _) => {
            let read = |item: &Item| Some(decode_rollup(item).ok()?.key);
            check_name(&of.key, of.key.as_str(), key, read);
        }
        _ => {}
    }
}

fn check_name<N: PartialEq + std::fmt::Debug>(
    name: &N,
    text: &str,
    key: &ItemKey,
    read: impl Fn(&Item) -> Option<N>,
) {
    let mut item = key.attributes();
    // The attributes that cells of counters have, other than the first.
    for attribute in ["incarnation", "writes", "written_at"] {
        item.insert(attribute.to_owned(), AttributeValue::N("1".to_owned()));
    }
    match read(&item) {
        Some(from_key) => assert_eq!(from_key, *name),
        None => assert!(text.len() > ALWAYS_PLAIN_BYTES, "{name:?} is not in its key"),
    }
    item.insert("name".to_owned(), AttributeValue::S(text.to_owned()));
    assert_eq!(read(&item).as_ref(), Some(name));
}

/// A query of a partition finds what belongs there, and nothing else.
fn check_partitions(pair: &[ValidNames; 2], identities: &[Identity]) {
    let places: Vec<_> = identities.iter().map(Identity::place).collect();
    let is_dimension = |identity: &Identity| matches!(identity, Identity::Dimension(_));
    check_partition(&Partition::dimensions(), &places, is_dimension);
    let dimensions: BTreeSet<_> =
        pair.iter().filter_map(|names| names.dimension.as_ref()).collect();
    let cells: BTreeSet<_> = pair.iter().map(|names| names.cell).collect();
    for (dimension, cell) in
        dimensions.iter().flat_map(|of| cells.iter().map(move |cell| (of, cell)))
    {
        check_partition(
            &Partition::rollups(dimension, *cell),
            &places,
            |identity| matches!(identity, Identity::Rollup(of, at) if of.dimension == **dimension && at == cell),
        );
    }
}

fn check_partition(
    partition: &Partition,
    places: &[ItemPlace<'_>],
    belongs: impl Fn(&Identity) -> bool,
) {
    let (_, values) = partition.condition();
    let wanted = values.get(":p").and_then(|value| value.as_s().ok()).expect("a text");
    for ItemPlace { identity, partition: key, .. } in places {
        assert_eq!(key == wanted, belongs(identity), "{partition:?} {identity:?}");
    }
}

fn texts(key: &Item) -> (String, String) {
    let text = |name: &str| key.get(name).and_then(|value| value.as_s().ok()).cloned();
    (text("pk").expect("a partition key"), text("sk").expect("a sort key"))
}

impl<'a> Input<'a> {
    fn second(&self) -> Texts<'a> {
        let first = &self.first;
        let or = |other: &Option<Text<'a>>, same: &Text<'a>| other.as_ref().unwrap_or(same).clone();
        Texts {
            id: or(&self.other_id, &first.id),
            dimension: or(&self.other_dimension, &first.dimension),
            key: or(&self.other_key, &first.key),
            stat: or(&self.other_stat, &first.stat),
            member: or(&self.other_member, &first.member),
            idempotency_key: or(&self.other_idempotency_key, &first.idempotency_key),
            unused_period: first.unused_period,
            cell: self.other_cell.unwrap_or(first.cell),
        }
    }
}

impl Texts<'_> {
    fn names(&self) -> ValidNames {
        let dimension = DimensionName::new(&self.dimension.text()).ok();
        let of = dimension.clone().and_then(|dimension| {
            let key = DimensionKey::new(&self.key.text()).ok()?;
            Some(RollupKey { dimension, key })
        });
        let set = of.clone().and_then(|of| {
            let stat = StatName::new(&self.stat.text()).ok()?;
            Some(MemberSet { of, stat })
        });
        ValidNames {
            id: Id::new(&self.id.text()).ok(),
            dimension,
            of,
            set,
            shard: Member::new(&self.member.text()).ok().as_ref().map(Shard::of),
            idempotency_key: IdempotencyKey::new(&self.idempotency_key.text()).ok(),
            cell: Cell::new(self.cell % Cell::MOST).expect("below 128"),
        }
    }
}

impl Text<'_> {
    fn text(&self) -> String {
        let most = MAX_TEXT_BYTES.checked_div(self.repeated.len()).unwrap_or(0).max(1);
        self.repeated.repeat(usize::from(self.times).clamp(1, most))
    }
}

impl ValidNames {
    fn identities(&self) -> Vec<Identity> {
        let detail = self.id.clone().map(Identity::Detail);
        let marker = self.id.clone().zip(self.idempotency_key.clone());
        let departure = self.id.clone().zip(self.of.clone());
        let members = self.set.clone().zip(self.shard);
        let of = || self.of.clone();
        let possible = [
            detail,
            marker.map(|(id, key)| Identity::Marker(id, key.as_str().to_owned())),
            departure.map(|(id, from)| Identity::Departure(id, from)),
            of().map(|of| Identity::Rollup(of, self.cell)),
            members.map(|(set, shard)| Identity::Members(set, shard)),
            self.dimension.clone().map(Identity::Dimension),
            self.dimension.clone().map(|dimension| Identity::KeyCount(dimension, self.cell)),
        ];
        possible.into_iter().flatten().collect()
    }
}

impl Identity {
    fn item_key(&self) -> ItemKey {
        match self {
            Self::Detail(id) => ItemKey::detail(id),
            Self::Departure(id, from) => ItemKey::departure(id, from),
            Self::Rollup(of, cell) => ItemKey::rollup(of, *cell),
            Self::Members(set, shard) => ItemKey::members(set, *shard),
            Self::Dimension(dimension) => ItemKey::dimension(dimension),
            Self::KeyCount(dimension, cell) => ItemKey::key_count(dimension, *cell),
            Self::Marker(id, key) => {
                ItemKey::marker(id, &IdempotencyKey::new(key).expect("it was valid"))
            }
        }
    }

    fn place(&self) -> ItemPlace<'_> {
        let (partition, _) = texts(&self.item_key().attributes());
        ItemPlace { identity: self, partition }
    }
}
