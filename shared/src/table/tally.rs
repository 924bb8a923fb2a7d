//! What the items of a table say of each key: what its rollup holds, and what ids and sets hold
//! there.
//!
//! Rollups follow from the rest of the table: a counter is the sum of what ids hold, a number of
//! members is that of the sets. So a tally shows whether a rollup is right, without any log. Tallies
//! of one key add up, whatever items they come from and in whatever order.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher, RandomState},
};

use aws_sdk_dynamodb::types::AttributeValue;
use serde::{Deserialize, Serialize};

use super::{
    attribute::{CHANGED_AT, MEMBERS, NAME, REPAIRED},
    escape::{self, SEPARATOR, part},
    item::{
        CorruptItem, Item, decode_departure, decode_detail, decode_dimension, decode_key_count,
        decode_rollup,
    },
    key::{EscapedKey, ItemKey, ItemKind},
};
use crate::domain::{Cell, CellState, Detail, Overflow, Placement, Spread, Sum, UnixSeconds};

/// Of how many ids that have changed lately a tally keeps what each holds. With more of them, the key
/// never holds still for long enough to be compared.
const MOST_ACTIVE: usize = 40;

/// Sums by the name of their stat.
pub type SumsByName = BTreeMap<String, Sum>;

/// Why items can't be tallied.
#[derive(Debug, Clone, thiserror::Error)]
pub enum TallyError {
    /// An item can't be read.
    #[error("{0}")]
    Corrupt(String),
    /// A sum would need more than 38 digits.
    #[error(transparent)]
    Overflow(#[from] Overflow),
}

impl From<CorruptItem> for TallyError {
    fn from(error: CorruptItem) -> Self {
        Self::Corrupt(error.to_string())
    }
}

/// What the table says of a key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyTally {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    cells: Vec<CellTally>,
    /// What all ids hold, the active ones included.
    #[serde(default, skip_serializing_if = "Held::is_empty")]
    held: Held,
    /// What each id holds that has changed lately, by the partition key of its items.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    active: BTreeMap<String, Held>,
    /// Sets by their stat in the escaped form of keys.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    sets: BTreeMap<String, SetTally>,
}

/// A cell of a rollup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct CellTally {
    number: u8,
    #[serde(default)]
    incarnation: u64,
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    absorbed: BTreeSet<(u8, u64)>,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    counters: SumsByName,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    members: SumsByName,
    /// By the start of their period.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    gauges: BTreeMap<u64, SumsByName>,
}

/// What ids hold of a rollup.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Held {
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    counters: SumsByName,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    gauges: BTreeMap<u64, SumsByName>,
    /// How many ids hold something there now: their key has to be in the table.
    placed: i64,
    /// The sum of hashes of all items that say so, each in its revision. It changes whenever one of
    /// them does.
    revisions: u64,
}

/// A set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct SetTally {
    members: i64,
    /// The sum of hashes of its members.
    contents: u64,
}

/// Of what a tally has another number than the rest of the table.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Number {
    /// Whether the key is there: 1 or 0.
    Key,
    /// A counter of the rollup.
    Counter(String),
    /// The number of a set's members; its stat is in the escaped form of keys.
    Members(String),
}

/// A number that is stored, and what follows from the rest of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Difference {
    /// What is stored.
    pub stored: Sum,
    /// What it should be.
    pub computed: Sum,
}

impl Difference {
    /// What has to be added to what is stored.
    ///
    /// # Errors
    /// It would need more than 38 digits.
    pub fn missing(&self) -> Result<Sum, Overflow> {
        self.computed.checked_sub(self.stored)
    }
}

/// The numbers of a key that are not what they should be.
pub type Differences = BTreeMap<Number, Difference>;

/// What a rollup shows that does not follow from ids and sets.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Leftovers {
    /// Counters of which nobody holds anything.
    pub counters: BTreeSet<String>,
    /// Numbers of members without a set.
    pub members: BTreeSet<String>,
    /// Gauges, by the start of their period, less what ids hold of them.
    pub gauges: BTreeMap<u64, SumsByName>,
}

/// The ids whose part of a key is looked at by itself, by the partition keys of their items.
pub type ActiveIds = BTreeSet<String>;

impl KeyTally {
    /// Adds what another tally of the same key says.
    ///
    /// # Errors
    /// A sum would need more than 38 digits.
    pub fn merge(&mut self, other: Self) -> Result<(), Overflow> {
        self.cells.extend(other.cells);
        self.held.add(&other.held)?;
        for (id, held) in other.active {
            // One more than the bound is kept, as a sign that there are too many.
            if self.active.len() <= MOST_ACTIVE || self.active.contains_key(&id) {
                self.active.entry(id).or_default().add(&held)?;
            }
        }
        for (stat, set) in other.sets {
            let sum = self.sets.entry(stat).or_default();
            sum.members = sum.members.saturating_add(set.members);
            sum.contents = sum.contents.wrapping_add(set.contents);
        }
        Ok(())
    }

    /// About how many bytes of memory it takes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let sums = |sums: &SumsByName| bytes_of_map::<Sum>(sums.keys());
        let gauges = |gauges: &BTreeMap<u64, SumsByName>| gauges.values().map(sums).sum::<usize>();
        let held = |held: &Held| sums(&held.counters) + 2 * gauges(&held.gauges);
        let cells = self.cells.iter().map(|cell| {
            let of_sums = sums(&cell.counters) + sums(&cell.members) + 2 * gauges(&cell.gauges);
            4 * size_of::<CellTally>() + 48 * cell.absorbed.len() + of_sums
        });
        size_of::<Self>()
            + cells.sum::<usize>()
            + held(&self.held)
            + bytes_of_map::<Held>(self.active.keys())
            + self.active.values().map(held).sum::<usize>()
            + bytes_of_map::<SetTally>(self.sets.keys())
    }

    /// Whether the key is in the table.
    #[must_use]
    pub fn is_key(&self) -> bool {
        self.cells.iter().any(|cell| cell.number == Cell::FIRST.number())
    }

    /// The numbers that are not what they should be. They are certain if nobody wrote while the
    /// items were read.
    ///
    /// # Errors
    /// A sum would need more than 38 digits.
    pub fn differences(&self) -> Result<Differences, Overflow> {
        let stored = self.stored()?;
        let mut found = differing(&stored.counters, &self.held.counters, Number::Counter);
        let members = by_part(&stored.members);
        let sets = self.sets.iter().map(|(stat, set)| (stat.clone(), Sum::from(set.members)));
        found.extend(differing(&members, &sets.collect(), Number::Members));
        if self.held.placed > 0 && !self.is_key() {
            let absent = Difference { stored: Sum::ZERO, computed: Sum::from(1) };
            found.insert(Number::Key, absent);
        }
        Ok(found)
    }

    /// What the rollup holds, all cells together.
    fn stored(&self) -> Result<CellTally, Overflow> {
        let first = self.cells.iter().find(|cell| cell.number == Cell::FIRST.number());
        let none = BTreeSet::new();
        let absorbed = first.map_or(&none, |first| &first.absorbed);
        let counts = |cell: &&CellTally| !absorbed.contains(&(cell.number, cell.incarnation));
        let mut stored = CellTally::default();
        for cell in self.cells.iter().filter(counts) {
            add(&mut stored.counters, &cell.counters)?;
            add(&mut stored.members, &cell.members)?;
            add_all(&mut stored.gauges, &cell.gauges)?;
        }
        Ok(stored)
    }

    /// What the rollup shows that does not follow from ids and sets: stats of which nobody holds
    /// anything, by their names, and gauges of the periods that `count`.
    ///
    /// # Errors
    /// A sum would need more than 38 digits.
    pub fn leftovers(&self, counts: impl Fn(u64) -> bool) -> Result<Leftovers, Overflow> {
        let stored = self.stored()?;
        let held = &self.held;
        let counters = stored.counters.into_keys().filter(|stat| !held.counters.contains_key(stat));
        let members =
            stored.members.into_keys().filter(|stat| !self.sets.contains_key(&part(stat)));
        let mut gauges = BTreeMap::new();
        for (period, sums) in stored.gauges.into_iter().filter(|(period, _)| counts(*period)) {
            let mut left = SumsByName::new();
            for (stat, sum) in sums {
                let of_ids = held.gauges.get(&period).and_then(|held| held.get(&stat));
                match of_ids {
                    None => drop(left.insert(stat, sum)),
                    Some(of_ids) if *of_ids == sum => {}
                    Some(of_ids) => drop(left.insert(stat, sum.checked_sub(*of_ids)?)),
                }
            }
            if !left.is_empty() {
                gauges.insert(period, left);
            }
        }
        Ok(Leftovers { counters: counters.collect(), members: members.collect(), gauges })
    }

    /// The ids that have changed lately; none if there are too many of them to be looked at.
    #[must_use]
    pub fn active_ids(&self) -> ActiveIds {
        match self.active.len() <= MOST_ACTIVE {
            true => self.active.keys().cloned().collect(),
            false => ActiveIds::new(),
        }
    }

    /// What another reading of the same items says without these ids, if nothing of it has changed
    /// since this one. The numbers of sets that did change are left out of both.
    ///
    /// # Errors
    /// A sum would need more than 38 digits.
    pub fn unchanged_in(&self, later: &Self, but: &ActiveIds) -> Result<Option<Self>, Overflow> {
        let (before, held) = (self.held_without(but)?, later.held_without(but)?);
        if before.revisions != held.revisions {
            return Ok(None);
        }
        let sets = later.sets.clone();
        Ok(Some(Self { held, sets, ..Self::default() }))
    }

    /// The sets that are not what they were in an earlier reading, by the escaped form of their
    /// stats.
    #[must_use]
    pub fn sets_changed_since(&self, earlier: &Self) -> BTreeSet<String> {
        let all = self.sets.keys().chain(earlier.sets.keys());
        all.filter(|stat| self.sets.get(*stat) != earlier.sets.get(*stat)).cloned().collect()
    }

    /// Takes over the cells of another reading, and what ids hold in it.
    ///
    /// # Errors
    /// A sum would need more than 38 digits.
    pub fn with_snapshot(mut self, snapshot: Self) -> Result<Self, Overflow> {
        self.cells = snapshot.cells;
        self.held.add(&snapshot.held)?;
        Ok(self)
    }

    fn held_without(&self, ids: &ActiveIds) -> Result<Held, Overflow> {
        let mut held = self.held.clone();
        for of_id in ids.iter().filter_map(|id| self.active.get(id)) {
            held.subtract(of_id)?;
        }
        Ok(held)
    }
}

/// About how many bytes a map with these keys takes. Its entries come in nodes of 11, which are about
/// half full, or have one entry.
pub(crate) fn bytes_of_map<'a, V>(keys: impl Iterator<Item = &'a String>) -> usize {
    let node = 11 * (size_of::<String>() + size_of::<V>());
    let (count, names) =
        keys.fold((0, 0), |(count, names), key| (count + 1, names + key.len() + 16));
    usize::div_ceil(count, 6) * node + names
}

impl Held {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    fn add(&mut self, other: &Self) -> Result<(), Overflow> {
        add(&mut self.counters, &other.counters)?;
        add_all(&mut self.gauges, &other.gauges)?;
        self.placed = self.placed.saturating_add(other.placed);
        self.revisions = self.revisions.wrapping_add(other.revisions);
        Ok(())
    }

    fn subtract(&mut self, other: &Self) -> Result<(), Overflow> {
        for (stat, sum) in &other.counters {
            let left = self.counters.entry(stat.clone()).or_default();
            *left = left.checked_sub(*sum)?;
        }
        self.placed = self.placed.saturating_sub(other.placed);
        self.revisions = self.revisions.wrapping_sub(other.revisions);
        Ok(())
    }
}

fn add(sums: &mut SumsByName, more: &SumsByName) -> Result<(), Overflow> {
    for (stat, more) in more {
        match sums.get_mut(stat) {
            Some(sum) => *sum = sum.checked_add(*more)?,
            None => drop(sums.insert(stat.clone(), *more)),
        }
    }
    Ok(())
}

fn add_all(
    sums: &mut BTreeMap<u64, SumsByName>,
    more: &BTreeMap<u64, SumsByName>,
) -> Result<(), Overflow> {
    for (period, more) in more {
        add(sums.entry(*period).or_default(), more)?;
    }
    Ok(())
}

fn by_part(sums: &SumsByName) -> SumsByName {
    sums.iter().map(|(name, sum)| (part(name), *sum)).collect()
}

fn differing(
    stored: &SumsByName,
    computed: &SumsByName,
    number: impl Fn(String) -> Number,
) -> Differences {
    let all: BTreeSet<_> = stored.keys().chain(computed.keys()).collect();
    let of = |sums: &SumsByName, name| sums.get(name).copied().unwrap_or_default();
    let both = all.into_iter().map(|name| {
        let difference = Difference { stored: of(stored, name), computed: of(computed, name) };
        (number(name.clone()), difference)
    });
    both.filter(|(_, difference)| difference.stored != difference.computed).collect()
}

/// Names that are so long that keys have their hashes, by those.
#[derive(Debug, Clone, Default)]
pub struct LongNames(BTreeMap<String, String>);

impl LongNames {
    /// The name behind a part of a key; the part itself if nothing in the table has the name.
    #[must_use]
    pub fn name(&self, part: &str) -> String {
        self.known(part).unwrap_or_else(|| part.to_owned())
    }

    /// The name behind a part of a key, if it is known.
    #[must_use]
    pub fn known(&self, part: &str) -> Option<String> {
        self.0.get(part).cloned().or_else(|| escape::name(part))
    }

    fn note(&mut self, name: &str) {
        if escape::is_hashed(name) {
            self.0.insert(part(name), name.to_owned());
        }
    }
}

/// What the table says of a dimension.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DimensionTally {
    /// Over how many partitions it is spread; none if it is not in the list of dimensions.
    pub spread: Option<Spread>,
    /// How many partitions hold something.
    pub partitions: u8,
    /// How many keys it has.
    pub keys: u64,
    /// How many keys it counts.
    pub counted: u64,
}

impl DimensionTally {
    /// How many partitions readers read.
    #[must_use]
    pub fn read(&self) -> u8 {
        self.spread.map_or(0, |spread| spread.cells)
    }
}

/// Which keys are looked at: all of them, or only some, of each of which ids are looked at by
/// themselves.
pub type Watched = Option<BTreeMap<EscapedKey, ActiveIds>>;

/// Goes through the items of a table, and says of each what it means for which keys.
#[derive(Debug)]
pub struct Stocktaking {
    hasher: RandomState,
    /// Ids that changed since then are active.
    active_since: UnixSeconds,
    watched: Watched,
    /// The id whose items are being read, by their partition key, and whether it is active. Its
    /// detail comes first.
    current: Option<(String, bool)>,
    /// What was seen of dimensions, by the escaped form of their names.
    pub dimensions: BTreeMap<String, DimensionTally>,
    /// The long names that were seen.
    pub names: LongNames,
}

impl Stocktaking {
    /// Goes through all items; ids that changed since then are active. Two that are to be compared
    /// have the same `hasher`.
    #[must_use]
    pub fn new(hasher: RandomState, active_since: UnixSeconds, watched: Watched) -> Self {
        Self {
            hasher,
            active_since,
            watched,
            current: None,
            dimensions: BTreeMap::new(),
            names: LongNames::default(),
        }
    }

    /// One whose tallies can be compared with those of this one.
    #[must_use]
    pub fn another(&self, watched: Watched) -> Self {
        Self::new(self.hasher.clone(), self.active_since, watched)
    }

    /// What an item says of keys.
    ///
    /// # Errors
    /// The item can't be read, or a sum would need more than 38 digits.
    pub fn note(&mut self, item: &Item) -> Result<Vec<(EscapedKey, KeyTally)>, TallyError> {
        let Some(key) = ItemKey::of_item(item) else {
            return Ok(Vec::new());
        };
        let mut found = match key.kind() {
            Some(ItemKind::Detail) => self.note_detail(&key, item)?,
            Some(ItemKind::Departure(of)) => match EscapedKey::joined(of) {
                Some(of) => vec![(of, self.note_departure(&key, item)?)],
                None => Vec::new(),
            },
            Some(ItemKind::Rollup(of, cell)) => match EscapedKey::joined(&of) {
                Some(of) => vec![self.note_cell(of, cell, item)?],
                None => Vec::new(),
            },
            Some(ItemKind::Members(set)) => self.note_set(set, item).into_iter().collect(),
            Some(ItemKind::KeyCount(dimension, cell)) => {
                let count = decode_key_count(item)?;
                let tally = self.dimensions.entry(dimension.to_owned()).or_default();
                tally.counted = tally.counted.saturating_add(count);
                tally.partitions = tally.partitions.max(cell.number().saturating_add(1));
                Vec::new()
            }
            Some(ItemKind::Dimension) => {
                let entry = decode_dimension(item)?;
                self.names.note(entry.name.as_str());
                let tally = self.dimensions.entry(part(entry.name.as_str())).or_default();
                tally.spread = Some(entry.spread);
                Vec::new()
            }
            None => Vec::new(),
        };
        found.retain(|(of, _)| self.is_watched(of));
        Ok(found)
    }

    fn is_watched(&self, of: &EscapedKey) -> bool {
        self.watched.as_ref().is_none_or(|watched| watched.contains_key(of))
    }

    /// Whether what an id holds of a key is looked at by itself.
    fn is_active(&self, of: &EscapedKey, id: &str) -> bool {
        let is_named = |watched: &BTreeMap<EscapedKey, ActiveIds>| {
            watched.get(of).is_some_and(|ids| ids.contains(id))
        };
        let has_changed = matches!(&self.current, Some((current, true)) if current == id);
        has_changed || self.watched.as_ref().is_some_and(is_named)
    }

    fn note_detail(
        &mut self,
        key: &ItemKey,
        item: &Item,
    ) -> Result<Vec<(EscapedKey, KeyTally)>, TallyError> {
        let id = key.partition();
        if let Some(AttributeValue::S(name)) = item.get(NAME) {
            self.names.note(name);
        }
        let changed_at = item.get(CHANGED_AT).and_then(|at| at.as_n().ok()?.parse().ok());
        let is_recent = changed_at.is_some_and(|at: u64| at >= self.active_since.0);
        self.current = Some((id.to_owned(), is_recent));
        let stored = decode_detail(item)?;
        let revision = self.hasher.hash_one((key, stored.revision.number_and_tokens()));
        let mut tallies = Vec::new();
        for (dimension, placement) in &stored.detail.placements {
            self.names.note(dimension.as_str());
            self.names.note(placement.key.as_str());
            let of = EscapedKey::of(dimension, &placement.key);
            let held = held_at(&stored.detail, placement, revision)?;
            let tally = self.of_id(&of, id, held);
            tallies.push((of, tally));
        }
        Ok(tallies)
    }

    fn note_departure(&self, key: &ItemKey, item: &Item) -> Result<KeyTally, TallyError> {
        let left = decode_departure(item)?;
        let counters: SumsByName =
            left.iter().map(|(stat, sum)| (stat.to_string(), *sum)).collect();
        let revisions = self.hasher.hash_one((key, &counters));
        let held = Held { counters, revisions, ..Held::default() };
        let of = match key.kind() {
            Some(ItemKind::Departure(of)) => EscapedKey::joined(of),
            _ => None,
        };
        Ok(match of {
            Some(of) => self.of_id(&of, key.partition(), held),
            None => KeyTally { held, ..KeyTally::default() },
        })
    }

    fn of_id(&self, of: &EscapedKey, id: &str, held: Held) -> KeyTally {
        let active = match self.is_active(of, id) {
            true => BTreeMap::from([(id.to_owned(), held.clone())]),
            false => BTreeMap::new(),
        };
        KeyTally { held, active, ..KeyTally::default() }
    }

    fn note_cell(
        &mut self,
        of: EscapedKey,
        cell: Cell,
        item: &Item,
    ) -> Result<(EscapedKey, KeyTally), TallyError> {
        let rollup = decode_rollup(item)?;
        self.names.note(rollup.key.as_str());
        let tally = self.dimensions.entry(of.dimension().to_owned()).or_default();
        tally.partitions = tally.partitions.max(cell.number().saturating_add(1));
        tally.keys += u64::from(cell == Cell::FIRST);
        let mut found = CellTally { number: cell.number(), ..CellTally::default() };
        match rollup.state {
            CellState::First(first) => {
                let absorbed = first.absorbed.into_iter();
                found.absorbed =
                    absorbed.map(|(cell, incarnation)| (cell.number(), incarnation.0)).collect();
            }
            CellState::Other(other) => found.incarnation = other.incarnation.0,
        }
        for stat in rollup.sums.members.keys() {
            self.names.note(stat.as_str());
        }
        found.counters = by_name(&rollup.sums.counters);
        found.members = by_name(&rollup.sums.members);
        let gauges = rollup.sums.gauges.iter();
        found.gauges = gauges.map(|(of, sums)| (of.start().0, by_name(sums))).collect();
        Ok((of, KeyTally { cells: vec![found], ..KeyTally::default() }))
    }

    fn note_set(&self, set: &str, item: &Item) -> Option<(EscapedKey, KeyTally)> {
        let (of, stat) = set.rsplit_once(SEPARATOR)?;
        let members = item.get(MEMBERS)?.as_ss().ok()?;
        let hashes = members.iter().map(|member| self.hasher.hash_one(member));
        let set = SetTally {
            members: i64::try_from(members.len()).unwrap_or(i64::MAX),
            contents: hashes.fold(0, u64::wrapping_add),
        };
        let sets = BTreeMap::from([(stat.to_owned(), set)]);
        Some((EscapedKey::joined(of)?, KeyTally { sets, ..KeyTally::default() }))
    }
}

/// What a detail holds of the rollup of one of its keys.
fn held_at(detail: &Detail, placement: &Placement, revisions: u64) -> Result<Held, Overflow> {
    let counters = placement.counters.of(&detail.counters)?;
    let gauges = placement.gauges.of(&detail.gauges)?;
    // A key that was deleted after the id had come to it is back once the id reports there.
    let placed = i64::from(!counters.is_empty() || !gauges.is_empty());
    let period = detail.gauge_period.filter(|_| !gauges.is_empty());
    let gauges = period.map(|period| (period.start().0, by_name(&gauges)));
    Ok(Held {
        counters: by_name(&counters),
        gauges: gauges.into_iter().collect(),
        placed,
        revisions,
    })
}

fn by_name(sums: &crate::domain::Sums) -> SumsByName {
    sums.iter().map(|(stat, sum)| (stat.to_string(), *sum)).collect()
}

/// By which repair the numbers of an item were last made right; none if they never were.
#[must_use]
pub fn last_repair(item: Option<&Item>) -> Option<u64> {
    item?.get(REPAIRED)?.as_n().ok()?.parse().ok()
}

/// How many members an item of a set has.
#[must_use]
pub fn member_count(item: &Item) -> u64 {
    let members = item.get(MEMBERS).and_then(|members| members.as_ss().ok());
    members.map_or(0, |members| u64::try_from(members.len()).unwrap_or(u64::MAX))
}
