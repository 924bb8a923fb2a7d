//! Items: what they hold, and how to write and read it.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    str::FromStr,
};

use aws_sdk_dynamodb::{primitives::Blob, types::AttributeValue};

use super::{
    attribute::{
        self, ABSORBED, CELLS, CHANGED_AT, EXPIRES_AT, FINGERPRINT, FOLDED, FOLDING_SINCE,
        GAUGE_PERIOD, INCARNATION, KEY_COUNT, MEMBERS, NAME, NARROWED_AT, NARROWED_TO, Named,
        PLACEMENT_COUNTERS, PLACEMENT_GAUGES, PLACEMENT_KEY, RECENT_UPDATES, SORT_KEY, SWEPT_SINCE,
        SWEPT_TO, VERSION, WRITES, WRITTEN_AT,
    },
    key::ItemKey,
};
use crate::domain::{
    Cell, CellState, CellSums, Detail, DimensionKey, DimensionName, Fingerprint, FirstCell,
    FoldStage, Id, Incarnation, Member, NameError, Narrowing, OtherCell, Period, Placement,
    RollupCell, Share, Shares, Spread, StatName, Sum, UnixSeconds,
};

/// An item as the SDK has it.
pub type Item = HashMap<String, AttributeValue>;

/// A stored item that this module can't have written.
#[derive(Debug, thiserror::Error)]
#[error("the item {key:?} is corrupt: {reason}")]
pub struct CorruptItem {
    key: Option<ItemKey>,
    reason: String,
}

/// The value of [`FOLDED`] of a cell whose sums the first one has.
pub(super) const FROZEN: &str = "frozen";
/// The value of [`FOLDED`] of a cell whose sums are gone.
pub(super) const EMPTIED: &str = "emptied";

/// The most updates that a detail remembers.
const MAX_RECENT: usize = 8;
/// Bytes of an update's token.
const TOKEN_BYTES: usize = 8;

/// A random number by which one call of [`Store::update`](crate::store::Store::update) recognizes
/// its own writes in a detail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UpdateToken(pub u64);

/// The state in which a detail was read: how often it was written, and by which updates last. The
/// default stands for a detail that does not exist.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Revision {
    version: u64,
    recent: Vec<UpdateToken>,
}

impl Revision {
    /// Whether this update is one of the last that were counted.
    #[must_use]
    pub fn was_made_by(&self, update: UpdateToken) -> bool {
        self.recent.contains(&update)
    }

    /// Whether it is the revision of no detail, or of one that nothing but this update has made, as
    /// far as it remembers.
    #[must_use]
    pub fn was_made_only_by(&self, update: UpdateToken) -> bool {
        self.recent.iter().all(|token| *token == update)
    }

    /// Whether more updates were counted since an `earlier` revision than this one remembers.
    #[must_use]
    pub fn has_forgotten(&self, earlier: &Self) -> bool {
        let since = self.version.saturating_sub(earlier.version);
        usize::try_from(since).map_or(true, |since| since > MAX_RECENT)
    }

    /// What distinguishes it from every other revision of the same detail.
    pub(super) fn number_and_tokens(&self) -> (u64, Vec<u64>) {
        (self.version, self.recent.iter().map(|token| token.0).collect())
    }

    /// The number that a condition compares; `None` if there is no detail.
    pub(super) fn version(&self) -> Option<AttributeValue> {
        (self.version > 0).then(|| number(self.version))
    }

    /// The updates that it remembers, as they are stored.
    pub(super) fn recent(&self) -> AttributeValue {
        let recent = self.recent.iter().flat_map(|token| token.0.to_be_bytes());
        AttributeValue::B(Blob::new(recent.collect::<Vec<u8>>()))
    }

    /// The revision after a write by this update.
    pub(crate) fn after(&self, update: UpdateToken) -> Self {
        let kept = self.recent.iter().rev().take(MAX_RECENT - 1).rev();
        Self { version: self.version + 1, recent: kept.copied().chain([update]).collect() }
    }

    fn encode(&self) -> [(String, AttributeValue); 2] {
        [(VERSION.to_owned(), number(self.version)), (RECENT_UPDATES.to_owned(), self.recent())]
    }
}

/// A detail and the revision in which it was read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredDetail {
    /// The detail.
    pub detail: Detail,
    /// Its revision.
    pub revision: Revision,
}

/// The record that an update with an idempotency key was counted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Marker {
    /// The fingerprint of the update's body.
    pub fingerprint: Fingerprint,
    /// When the marker ends, even if DynamoDB deletes it later.
    pub expires_at: UnixSeconds,
}

/// A dimension's entry in the list of dimensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DimensionEntry {
    /// The dimension.
    pub name: DimensionName,
    /// Over how many partitions it is spread.
    pub spread: Spread,
    /// How far the sweep for expired gauges has come.
    pub sweep: Sweep,
}

/// How far the sweep of a dimension's first partition has come, on which expired gauges are
/// removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sweep {
    /// When it began; none if there never was one.
    pub since: Option<UnixSeconds>,
    /// Where it goes on; none if it has reached the end.
    pub to: Option<SweepPosition>,
}

/// Where a sweep goes on: after the rollup with this sort key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SweepPosition(pub(super) String);

impl SweepPosition {
    /// That of the last key that a query has read.
    #[must_use]
    pub fn of_key(key: &Item) -> Option<Self> {
        key.get(SORT_KEY)?.as_s().ok().cloned().map(Self)
    }
}

pub(super) fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

pub(super) fn text(value: &str) -> AttributeValue {
    AttributeValue::S(value.to_owned())
}

pub(super) fn encode_detail(
    id: &Id,
    detail: &Detail,
    revision: &Revision,
    now: UnixSeconds,
) -> Item {
    let mut item = ItemKey::detail(id).attributes();
    item.extend(revision.encode());
    item.insert(CHANGED_AT.to_owned(), number(now.0));
    item.insert(NAME.to_owned(), text(id.as_str()));
    for (stat, value) in &detail.counters {
        item.insert(attribute::counter(stat), number(value));
    }
    for (stat, value) in &detail.gauges {
        item.insert(attribute::gauge(stat), number(value));
    }
    if let Some(period) = detail.gauge_period {
        item.insert(GAUGE_PERIOD.to_owned(), number(period.start().0));
    }
    for (dimension, placement) in &detail.placements {
        let mut fields = HashMap::from([(PLACEMENT_KEY.to_owned(), text(placement.key.as_str()))]);
        let counters = encode_shares(&placement.counters, &detail.counters);
        let gauges = encode_shares(&placement.gauges, &detail.gauges);
        fields.extend(counters.map(|list| (PLACEMENT_COUNTERS.to_owned(), list)));
        fields.extend(gauges.map(|list| (PLACEMENT_GAUGES.to_owned(), list)));
        item.insert(attribute::placement(dimension), AttributeValue::M(fields));
    }
    item
}

/// The bytes of an id's detail, as DynamoDB counts them.
#[must_use]
pub fn detail_bytes(id: &Id, detail: &Detail) -> usize {
    item_bytes(&encode_detail(id, detail, &Revision::default(), UnixSeconds(0)))
}

/// The bytes of an item, as DynamoDB counts them.
#[must_use]
pub fn item_bytes(item: &Item) -> usize {
    item.iter().map(attribute_bytes).sum()
}

/// Source: *`DynamoDB` item sizes and formats*, Developer Guide.
fn attribute_bytes((name, value): (&String, &AttributeValue)) -> usize {
    name.len() + value_bytes(value)
}

fn value_bytes(value: &AttributeValue) -> usize {
    match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::N(digits) => digits.len().div_ceil(2) + 1,
        AttributeValue::B(bytes) => bytes.as_ref().len(),
        AttributeValue::L(values) => {
            3 + values.iter().map(|value| 1 + value_bytes(value)).sum::<usize>()
        }
        AttributeValue::M(fields) => {
            3 + fields.iter().map(|field| 1 + attribute_bytes(field)).sum::<usize>()
        }
        AttributeValue::Ss(texts) => texts.iter().map(String::len).sum(),
        _ => 1,
    }
}

/// A list in the order of the stats' names, so that names take no room: 0 for the whole value, null
/// for nothing of it. `None` if all shares are whole.
fn encode_shares(shares: &Shares, values: &BTreeMap<StatName, Sum>) -> Option<AttributeValue> {
    if shares.all_whole() {
        return None;
    }
    let list = values.keys().map(|stat| match shares.get(stat) {
        Share::Whole => number(0),
        Share::Less(elsewhere) => number(elsewhere),
        Share::Absent => AttributeValue::Null(true),
    });
    Some(AttributeValue::L(list.collect()))
}

/// How the first cell remembers a cell that it has absorbed.
pub(super) fn encode_absorbed(cell: Cell, incarnation: Incarnation) -> String {
    format!("{}.{}", cell.number(), incarnation.0)
}

pub(super) fn encode_marker(marker: &Marker) -> Item {
    let fingerprint = Blob::new(marker.fingerprint.as_bytes());
    HashMap::from([
        (FINGERPRINT.to_owned(), AttributeValue::B(fingerprint)),
        (EXPIRES_AT.to_owned(), number(marker.expires_at.0)),
    ])
}

/// A detail, and the revision it is in.
///
/// # Errors
/// The item is not a detail.
pub fn decode_detail(item: &Item) -> Result<StoredDetail, CorruptItem> {
    let reader = Reader { item };
    let mut detail = Detail::default();
    for (name, value) in item {
        match Named::parse(name) {
            Some(Named::Counter(stat)) => {
                detail.counters.insert(reader.stat(stat)?, reader.number(value)?);
            }
            Some(Named::Gauge(stat)) => {
                detail.gauges.insert(reader.stat(stat)?, reader.number(value)?);
            }
            _ => {}
        }
    }
    for (name, value) in item {
        if let Some(Named::Placement(dimension)) = Named::parse(name) {
            let dimension = reader.valid(DimensionName::new(dimension))?;
            let placement = reader.placement(value, &detail)?;
            detail.placements.insert(dimension, placement);
        }
    }
    if let Some(start) = item.get(GAUGE_PERIOD) {
        let start = UnixSeconds(reader.number(start)?);
        detail.gauge_period = Some(Period::starting_at(start));
    }
    let revision = reader.revision()?;
    Ok(StoredDetail { detail, revision })
}

/// The id whose detail this is.
///
/// # Errors
/// The item is not a detail.
pub fn decode_id(item: &Item) -> Result<Id, CorruptItem> {
    let reader = Reader { item };
    match reader.attribute(NAME)? {
        AttributeValue::S(name) => reader.valid(Id::new(name)),
        _ => Err(reader.corrupt("the name is no text")),
    }
}

/// An idempotency marker.
///
/// # Errors
/// The item is not a marker.
pub fn decode_marker(item: &Item) -> Result<Marker, CorruptItem> {
    let reader = Reader { item };
    let fingerprint = match reader.attribute(FINGERPRINT)? {
        AttributeValue::B(blob) => Fingerprint::from_bytes(blob.as_ref()),
        _ => None,
    };
    Ok(Marker {
        fingerprint: fingerprint.ok_or_else(|| reader.corrupt("no fingerprint"))?,
        expires_at: UnixSeconds(reader.number(reader.attribute(EXPIRES_AT)?)?),
    })
}

/// The members that a shard of a set holds.
///
/// # Errors
/// The item is not a shard of a set.
pub fn decode_members(item: &Item) -> Result<BTreeSet<Member>, CorruptItem> {
    let reader = Reader { item };
    match reader.attribute(MEMBERS)? {
        AttributeValue::Ss(members) => {
            members.iter().map(|member| reader.valid(Member::new(member))).collect()
        }
        _ => Err(reader.corrupt("members are no string set")),
    }
}

/// An entry of the list of dimensions.
///
/// # Errors
/// The item is no such entry.
pub fn decode_dimension(item: &Item) -> Result<DimensionEntry, CorruptItem> {
    let reader = Reader { item };
    let name = reader.name(ItemKey::dimension_name)?;
    let since = reader.optional(SWEPT_SINCE)?.map(UnixSeconds);
    let to = item.get(SWEPT_TO).and_then(|to| to.as_s().ok().cloned()).map(SweepPosition);
    Ok(DimensionEntry {
        name: reader.valid(DimensionName::new(&name))?,
        spread: reader.spread()?,
        sweep: Sweep { since, to },
    })
}

/// A cell of a key's rollup.
///
/// # Errors
/// The item is no such cell.
pub fn decode_rollup(item: &Item) -> Result<RollupCell, CorruptItem> {
    let reader = Reader { item };
    let mut sums = CellSums::default();
    for (name, value) in item {
        let (sums, stat) = match Named::parse(name) {
            Some(Named::Counter(stat)) => (&mut sums.counters, stat),
            Some(Named::MemberCount(stat)) => (&mut sums.members, stat),
            Some(Named::GaugeOf(period, stat)) => (sums.gauges.entry(period).or_default(), stat),
            _ => continue,
        };
        sums.insert(reader.stat(stat)?, reader.number(value)?);
    }
    decode_cell(item, Ok(sums))
}

/// A cell with these sums, or of an item in which they can't be read for this reason. What else
/// there is of it is in `others`.
pub(super) fn decode_cell(
    others: &Item,
    sums: Result<CellSums, String>,
) -> Result<RollupCell, CorruptItem> {
    let reader = Reader { item: others };
    let sums = sums.map_err(|reason| reader.corrupt(reason))?;
    let key = reader.valid(DimensionKey::new(&reader.name(ItemKey::rollup_key)?))?;
    Ok(RollupCell { key, sums, state: reader.cell_state()? })
}

/// What an id left behind in the counters of a key that it has moved away from.
///
/// # Errors
/// The item does not hold such counters.
pub fn decode_departure(item: &Item) -> Result<BTreeMap<StatName, Sum>, CorruptItem> {
    let reader = Reader { item };
    let counters = item.iter().filter_map(|(name, value)| match Named::parse(name) {
        Some(Named::Counter(stat)) => Some((stat, value)),
        _ => None,
    });
    counters.map(|(stat, value)| Ok((reader.stat(stat)?, reader.number(value)?))).collect()
}

/// How many keys of a dimension a cell counts.
///
/// # Errors
/// The item is not such a cell.
pub fn decode_key_count(item: &Item) -> Result<u64, CorruptItem> {
    let reader = Reader { item };
    reader.number(reader.attribute(KEY_COUNT)?)
}

/// Reads attributes of an item, and knows how to complain about it.
struct Reader<'a> {
    item: &'a Item,
}

impl<'a> Reader<'a> {
    fn corrupt(&self, reason: impl ToString) -> CorruptItem {
        CorruptItem { key: ItemKey::of_item(self.item), reason: reason.to_string() }
    }

    fn attribute(&self, name: &str) -> Result<&'a AttributeValue, CorruptItem> {
        self.item.get(name).ok_or_else(|| self.corrupt(format!("no attribute {name}")))
    }

    fn number<N: FromStr>(&self, value: &AttributeValue) -> Result<N, CorruptItem> {
        let digits = value.as_n().map_err(|_| self.corrupt("not a number"))?;
        digits.parse().map_err(|_| self.corrupt(format!("the number {digits} is out of range")))
    }

    fn optional<N: FromStr>(&self, name: &str) -> Result<Option<N>, CorruptItem> {
        self.item.get(name).map(|value| self.number(value)).transpose()
    }

    fn valid<T>(&self, name: Result<T, NameError>) -> Result<T, CorruptItem> {
        name.map_err(|error| self.corrupt(error))
    }

    fn stat(&self, name: &str) -> Result<StatName, CorruptItem> {
        self.valid(StatName::new(name))
    }

    /// The name in the attribute `name`, otherwise the one in the item's key.
    fn name(&self, in_key: fn(&ItemKey) -> Option<String>) -> Result<String, CorruptItem> {
        if let Some(AttributeValue::S(name)) = self.item.get(NAME) {
            return Ok(name.clone());
        }
        ItemKey::of_item(self.item)
            .as_ref()
            .and_then(in_key)
            .ok_or_else(|| self.corrupt("the key has no name"))
    }

    fn cell_state(&self) -> Result<CellState, CorruptItem> {
        let cell = ItemKey::of_item(self.item).and_then(|key| key.rollup_cell());
        let cell = cell.ok_or_else(|| self.corrupt("the key has no cell"))?;
        if cell == Cell::FIRST {
            return Ok(CellState::First(FirstCell {
                absorbed: self.absorbed()?,
                folding_since: self.optional(FOLDING_SINCE)?.map(UnixSeconds),
            }));
        }
        Ok(CellState::Other(OtherCell {
            cell,
            incarnation: Incarnation(self.number(self.attribute(INCARNATION)?)?),
            writes: self.number(self.attribute(WRITES)?)?,
            written_at: UnixSeconds(self.number(self.attribute(WRITTEN_AT)?)?),
            stage: self.fold_stage()?,
        }))
    }

    fn fold_stage(&self) -> Result<FoldStage, CorruptItem> {
        match self.item.get(FOLDED).map(AttributeValue::as_s) {
            None => Ok(FoldStage::Open),
            Some(Ok(stage)) if stage == FROZEN => Ok(FoldStage::Frozen),
            Some(Ok(stage)) if stage == EMPTIED => Ok(FoldStage::Emptied),
            Some(_) => Err(self.corrupt("the stage of folding is unknown")),
        }
    }

    fn spread(&self) -> Result<Spread, CorruptItem> {
        let to = self.optional(NARROWED_TO)?;
        let since = self.optional(NARROWED_AT)?.map(UnixSeconds);
        let narrowing = to.zip(since).map(|(to, since)| Narrowing { to, since });
        let cells = self.optional(CELLS)?.unwrap_or(Spread::ONE.cells);
        match (1..=Cell::MOST).contains(&cells) {
            true => Ok(Spread { cells, narrowing }),
            false => Err(self.corrupt(format!("{cells} partitions"))),
        }
    }

    fn absorbed(&self) -> Result<BTreeSet<(Cell, Incarnation)>, CorruptItem> {
        let Some(absorbed) = self.item.get(ABSORBED) else {
            return Ok(BTreeSet::new());
        };
        let absorbed = absorbed.as_ss().map_err(|_| self.corrupt("absorbed cells are no set"))?;
        let parse = |text: &String| {
            let (cell, incarnation) = text.split_once('.')?;
            Some((Cell::new(cell.parse().ok()?)?, Incarnation(incarnation.parse().ok()?)))
        };
        let cells = absorbed.iter().map(parse);
        cells.collect::<Option<_>>().ok_or_else(|| self.corrupt("absorbed cells are unreadable"))
    }

    fn revision(&self) -> Result<Revision, CorruptItem> {
        let AttributeValue::B(recent) = self.attribute(RECENT_UPDATES)? else {
            return Err(self.corrupt("recent updates are not binary"));
        };
        let (tokens, _) = recent.as_ref().as_chunks::<TOKEN_BYTES>();
        let tokens = tokens.iter().map(|token| UpdateToken(u64::from_be_bytes(*token)));
        Ok(Revision { version: self.number(self.attribute(VERSION)?)?, recent: tokens.collect() })
    }

    fn placement(&self, value: &AttributeValue, of: &Detail) -> Result<Placement, CorruptItem> {
        let fields = value.as_m().map_err(|_| self.corrupt("a placement is no map"))?;
        let key = fields.get(PLACEMENT_KEY).and_then(|key| key.as_s().ok());
        let key = key.ok_or_else(|| self.corrupt("a placement has no key"))?;
        Ok(Placement {
            key: self.valid(DimensionKey::new(key))?,
            counters: self.shares(fields.get(PLACEMENT_COUNTERS), &of.counters)?,
            gauges: self.shares(fields.get(PLACEMENT_GAUGES), &of.gauges)?,
        })
    }

    fn shares(
        &self,
        list: Option<&AttributeValue>,
        values: &BTreeMap<StatName, Sum>,
    ) -> Result<Shares, CorruptItem> {
        let mut shares = Shares::default();
        let Some(list) = list else {
            return Ok(shares);
        };
        let list = list.as_l().map_err(|_| self.corrupt("shares are no list"))?;
        if list.len() != values.len() {
            return Err(self.corrupt("not one share for each stat"));
        }
        for (stat, share) in values.keys().zip(list) {
            let share = match share {
                AttributeValue::Null(_) => Share::Absent,
                elsewhere => Share::Less(self.number(elsewhere)?),
            };
            shares.set(stat, share);
        }
        Ok(shares)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revision_remembers_the_last_updates_and_knows_when_it_has_forgotten_some() {
        let first = Revision::default();
        let mut revision = first.clone();
        for update in 1..=8 {
            revision = revision.after(UpdateToken(update));
            assert!((1..=update).all(|earlier| revision.was_made_by(UpdateToken(earlier))));
            assert!(!revision.has_forgotten(&first));
        }
        revision = revision.after(UpdateToken(9));
        assert!(!revision.was_made_by(UpdateToken(1)));
        assert!(revision.has_forgotten(&first));
    }

    /// Source: *`DynamoDB` item sizes and formats*, Developer Guide.
    #[test]
    fn a_detail_has_the_bytes_that_dynamodb_counts() {
        let (id, stat) = (Id::new("i").unwrap(), || StatName::new("abc").unwrap());
        let empty = detail_bytes(&id, &Detail::default());
        let more = |detail: &Detail| detail_bytes(&id, detail) - empty;
        let with_counter =
            |value: Sum| Detail { counters: [(stat(), value)].into(), ..Detail::default() };
        // The name `c:abc`; a byte for two digits, and one.
        assert_eq!(more(&with_counter(Sum::from(7))), 5 + 2);
        assert_eq!(more(&with_counter(Sum::from(1_234))), 5 + 3);
        assert_eq!(more(&with_counter(Sum::MAX)), 5 + 20);

        let mut moved = with_counter(Sum::from(7));
        let key = DimensionKey::new("es").unwrap();
        let placement =
            |counters| Placement { key: key.clone(), counters, gauges: Shares::default() };
        let dimension = || DimensionName::new("country").unwrap();
        moved.placements.insert(dimension(), placement(Shares::default()));
        // A map with one field: 3 bytes and 1, and `key` with `es`.
        assert_eq!(more(&moved), 7 + "d:country".len() + 3 + 1 + 5);
        let mut shares = Shares::default();
        shares.set(&stat(), Share::Absent);
        moved.placements.insert(dimension(), placement(shares));
        // A second field, `counters`, with a list of one null.
        assert_eq!(more(&moved), 7 + "d:country".len() + 3 + 1 + 5 + 1 + 8 + 3 + 1 + 1);
    }

    #[test]
    fn values_of_each_type_have_the_bytes_that_dynamodb_counts() {
        let texts = vec!["ab".to_owned(), "c".to_owned()];
        let fields = [("ab".to_owned(), AttributeValue::S("c".to_owned()))];
        for (value, bytes) in [
            (AttributeValue::S("ab".to_owned()), 2),
            (AttributeValue::N("123".to_owned()), 3),
            (AttributeValue::B(Blob::new([1, 2, 3])), 3),
            (AttributeValue::Ss(texts), 3),
            (AttributeValue::L(vec![AttributeValue::N("1".to_owned())]), 3 + 1 + 2),
            (AttributeValue::M(fields.into()), 3 + 1 + 3),
            (AttributeValue::Bool(true), 1),
        ] {
            assert_eq!(value_bytes(&value), bytes, "{value:?}");
        }
    }
}
