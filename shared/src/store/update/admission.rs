//! Names that are new to the table: which they are, and whether there is room for them.
//!
//! If somebody gave a dimension a million keys by mistake (time stamps, say), every query of it
//! would be slow and expensive. Therefore each new key is registered and counted, and refused
//! beyond a limit. The count is spread over cells as other sums are, and read only if an id reports
//! under a new key.
//!
//! Dimensions and the stats of a key are bounded too. An update pays for all stats of its keys,
//! whoever reported them: without a bound, one client could raise the price of all others for good.
//! Only an id that reports a stat under a key for the first time can bring a new one there, and only
//! if this process has not seen it there does it have to look. Requests that look at the same moment
//! may together go beyond a bound.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::{BuildHasher, RandomState},
    num::NonZeroUsize,
    sync::Mutex,
    time::Duration,
};

use futures_util::future::{try_join, try_join_all};
use lru::LruCache;

use super::load::Consistency;
use crate::{
    domain::{Cell, DimensionName, JointPlan, RollupKey, RollupStat, Spread, UnixSeconds},
    store::{Deadline, StatsOf, Store, StoreError, failure::Gone, lock},
    table::{Item, ItemKey, NewNames, decode_dimension, decode_key_count, decode_rollup},
};

/// The most dimensions, and the most keys, that a process remembers to be in the table.
const MAX_REMEMBERED: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();
/// The most stats that it remembers, by a hash of 64 bits. If two of them have the same one, a stat is
/// taken for known by mistake, once in some 10^14 updates.
const MAX_REMEMBERED_STATS: NonZeroUsize = NonZeroUsize::new(50_000).unwrap();
/// A process looks again once it has admitted one part in this many of the room that it saw. Up to
/// this many processes together never admit more than there is room for, except for requests that
/// are on their way at the same moment.
const PART_OF_ROOM: u64 = 128;
/// After this long, it looks again in any case.
const LOOKS_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// What this process remembers of names.
#[derive(Debug)]
pub struct KnownNames(Mutex<Remembered>);

#[derive(Debug)]
struct Remembered {
    dimensions: LruCache<DimensionName, ()>,
    keys: LruCache<RollupKey, ()>,
    /// Keys that were deleted, and may have come back.
    gone: LruCache<RollupKey, ()>,
    /// Dimensions that were deleted, and may have come back.
    gone_dimensions: LruCache<DimensionName, ()>,
    stats: LruCache<u64, ()>,
    hasher: RandomState,
    room: LruCache<DimensionName, Room>,
}

/// The room that this process has seen in a dimension, less what it has admitted since.
#[derive(Debug, Clone, Copy)]
struct Room {
    /// How many more keys there may be.
    keys: u64,
    /// Once no more than this many are left, the process looks again.
    look_again_at: u64,
    /// Until when this is trusted.
    until: UnixSeconds,
}

impl Room {
    /// The room of a dimension that has `count` keys and may have `most`.
    fn seen(count: u64, most: u64, now: UnixSeconds) -> Self {
        let keys = most.saturating_sub(count);
        let look_again_at = keys - keys / PART_OF_ROOM;
        Self { keys, look_again_at, until: now.after(LOOKS_AGAIN_AFTER) }
    }

    /// Whether the process need not look again before it admits more keys.
    fn is_known(&self, now: UnixSeconds) -> bool {
        now < self.until && self.keys > self.look_again_at
    }

    /// Takes room for so many keys, if there is any.
    fn take(&mut self, keys: u64) -> bool {
        match self.keys.checked_sub(keys) {
            Some(left) => {
                self.keys = left;
                true
            }
            None => false,
        }
    }
}

impl Remembered {
    fn remember_stats(&mut self, of: &RollupKey, stats: &BTreeSet<RollupStat>) {
        for stat in stats {
            self.stats.put(self.hasher.hash_one((of, stat)), ());
        }
    }

    fn knows_stat(&mut self, of: &RollupKey, stat: &RollupStat) -> bool {
        self.stats.get(&self.hasher.hash_one((of, stat))).is_some()
    }
}

impl Default for KnownNames {
    fn default() -> Self {
        Self::new()
    }
}

impl KnownNames {
    /// A memory of a process that has just started.
    #[must_use]
    pub fn new() -> Self {
        Self(Mutex::new(Remembered {
            dimensions: LruCache::sparse(MAX_REMEMBERED),
            keys: LruCache::sparse(MAX_REMEMBERED),
            gone: LruCache::sparse(MAX_REMEMBERED),
            gone_dimensions: LruCache::sparse(MAX_REMEMBERED),
            stats: LruCache::sparse(MAX_REMEMBERED_STATS),
            hasher: RandomState::new(),
            room: LruCache::sparse(MAX_REMEMBERED),
        }))
    }

    /// Remembers that the table has all names of a plan that was written.
    pub fn remember(&self, plan: &JointPlan) {
        let mut names = lock(&self.0);
        for dimension in &plan.dimensions {
            names.dimensions.put(dimension.clone(), ());
        }
        for key in &plan.keys {
            names.keys.put(key.clone(), ());
        }
        for of in plan.all_keys() {
            names.gone.pop(of);
            names.gone_dimensions.pop(&of.dimension);
        }
        for (of, stats) in &plan.stats {
            names.remember_stats(of, stats);
        }
    }

    /// Notes that these names are not in the table any more, whoever reports under them.
    pub fn note_gone(&self, gone: Gone) {
        let mut names = lock(&self.0);
        for of in gone.keys {
            names.keys.pop(&of);
            names.gone.put(of, ());
        }
        for dimension in gone.dimensions {
            names.dimensions.pop(&dimension);
            names.gone_dimensions.put(dimension, ());
        }
    }

    /// Whether a dimension has to be listed even if it is found in the list: it may be on its way
    /// out.
    fn is_gone(&self, dimension: &DimensionName) -> bool {
        lock(&self.0).gone_dimensions.contains(dimension)
    }

    /// Remembers that a rollup has these stats.
    pub fn remember_stats(&self, of: &RollupKey, stats: &BTreeSet<RollupStat>) {
        lock(&self.0).remember_stats(of, stats);
    }

    /// The stats of a plan of which this process does not know that their rollup has them.
    #[must_use]
    pub fn unknown_stats(&self, plan: &JointPlan) -> BTreeMap<RollupKey, BTreeSet<RollupStat>> {
        let mut names = lock(&self.0);
        let mut unknown = BTreeMap::new();
        for (of, stats) in &plan.stats {
            let stats = stats.iter().filter(|stat| !names.knows_stat(of, stat));
            let stats: BTreeSet<_> = stats.cloned().collect();
            if !stats.is_empty() {
                unknown.insert(of.clone(), stats);
            }
        }
        unknown
    }

    /// The names of a plan of which this process does not know that the table has them.
    #[must_use]
    pub fn unknown(&self, plan: &JointPlan) -> NewNames {
        let mut names = lock(&self.0);
        let mut unknown = NewNames::default();
        for dimension in &plan.dimensions {
            if names.dimensions.get(dimension).is_none() {
                unknown.dimensions.insert(dimension.clone());
            }
        }
        for key in &plan.keys {
            if names.keys.get(key).is_none() {
                unknown.keys.insert(key.clone());
            }
        }
        for of in plan.all_keys() {
            if names.gone.contains(of) {
                unknown.keys.insert(of.clone());
            }
            if names.gone_dimensions.contains(&of.dimension) {
                unknown.dimensions.insert(of.dimension.clone());
            }
        }
        unknown
    }

    /// Whether this process need not look how much room a dimension has for new keys.
    #[must_use]
    pub fn knows_room(&self, dimension: &DimensionName, now: UnixSeconds) -> bool {
        let mut names = lock(&self.0);
        names.room.get(dimension).is_some_and(|room| room.is_known(now))
    }

    /// Takes room for so many new keys of a dimension, if there is any.
    #[must_use]
    pub fn take_room(&self, dimension: &DimensionName, keys: u64) -> bool {
        let mut names = lock(&self.0);
        names.room.get_mut(dimension).is_some_and(|room| room.take(keys))
    }

    /// Remembers how much room a dimension has that has `count` keys and may have `most`.
    pub fn remember_room(
        &self,
        dimension: &DimensionName,
        count: u64,
        most: u64,
        now: UnixSeconds,
    ) {
        lock(&self.0).room.put(dimension.clone(), Room::seen(count, most, now));
    }
}

impl Store {
    /// The names of a plan that are new to the table. Names that this process knows cost nothing.
    ///
    /// # Errors
    /// There is no room for a dimension, for the keys of one, or for the stats of a key.
    pub(super) async fn new_names(
        &self,
        plan: &JointPlan,
        consistency: Consistency,
        now: UnixSeconds,
        deadline: Deadline,
    ) -> Result<NewNames, StoreError> {
        let mut names = self.known_names.unknown(plan);
        let stats = self.known_names.unknown_stats(plan);
        if names.is_empty() && stats.is_empty() {
            return Ok(names);
        }
        // Both at once, so that a new key costs one round trip instead of two.
        let of_keys = names.keys_by_dimension().into_keys();
        let room = of_keys.map(|of| self.look_for_room(of, now, deadline));
        let dimensions = names.dimensions.iter().chain(stats.keys().map(|of| &of.dimension));
        let items = dimensions.map(ItemKey::dimension);
        let first_cell = |of: &RollupKey| ItemKey::rollup(of, Cell::FIRST);
        let items = items.chain(names.keys.iter().chain(stats.keys()).map(first_cell)).collect();
        let (found, _) =
            try_join(self.get(items, consistency, deadline), try_join_all(room)).await?;
        let is_listed =
            |dimension: &DimensionName| found.contains_key(&ItemKey::dimension(dimension));
        names.dimensions.retain(|of| !is_listed(of) || self.known_names.is_gone(of));
        names.keys.retain(|key| !found.contains_key(&first_cell(key)));

        let unlisted = names.dimensions.iter().filter(|dimension| !is_listed(dimension));
        let unlisted = unlisted.count();
        if unlisted > 0 {
            self.admit_dimensions(unlisted, deadline).await?;
        }
        self.admit_stats(stats, found, consistency, deadline).await?;
        for (dimension, keys) in names.keys_by_dimension() {
            if !self.known_names.take_room(dimension, keys) {
                let limit = self.settings.max_keys;
                return Err(StoreError::TooManyKeys { dimension: dimension.clone(), limit });
            }
        }
        Ok(names)
    }

    /// # Errors
    /// There is no room for so many new dimensions.
    async fn admit_dimensions(&self, new: usize, deadline: Deadline) -> Result<(), StoreError> {
        let limit = self.settings.max_dimensions;
        let all = self.dimension_entries(deadline).await?.len() + new;
        match u64::try_from(all).is_ok_and(|all| all <= limit) {
            true => Ok(()),
            false => Err(StoreError::TooManyDimensions { limit }),
        }
    }

    /// Looks whether rollups have these stats, or room for them. Their dimensions and first cells were
    /// `found` already, as far as they exist.
    ///
    /// # Errors
    /// A key has no room.
    async fn admit_stats(
        &self,
        stats: BTreeMap<RollupKey, BTreeSet<RollupStat>>,
        mut found: BTreeMap<ItemKey, Item>,
        consistency: Consistency,
        deadline: Deadline,
    ) -> Result<(), StoreError> {
        let mut cells = BTreeMap::new();
        for (of, wanted) in &stats {
            // A dimension may be spread over 128 partitions: whoever is new to a key would read as many
            // items. Most often the first one has all stats.
            let first =
                found.get(&ItemKey::rollup(of, Cell::FIRST)).map(decode_rollup).transpose()?;
            let Some(first) = first else {
                // A key that is new has no cells.
                cells.insert(of, Vec::new());
                continue;
            };
            let stored = first.sums.rollup_stats();
            if wanted.is_subset(&stored) {
                self.known_names.remember_stats(of, &stored);
                continue;
            }
            let entry = found.get(&ItemKey::dimension(&of.dimension)).map(decode_dimension);
            let spread = entry.transpose()?.map_or(Spread::ONE, |entry| entry.spread);
            let of_key = Cell::first(spread.cells).map(|cell| ItemKey::rollup(of, cell));
            cells.insert(of, of_key.collect::<Vec<_>>());
        }
        // The first of each was asked for already.
        let others = cells.values().flat_map(|of_key| of_key.iter().skip(1));
        let others = others.cloned().collect();
        found.extend(self.get(others, consistency, deadline).await?);

        let limit = self.settings.max_bytes_per_key;
        for (of, cells) in cells {
            let mut all = BTreeSet::new();
            for cell in cells.iter().filter_map(|cell| found.get(cell)) {
                all.extend(decode_rollup(cell)?.sums.rollup_stats());
            }
            self.known_names.remember_stats(of, &all);
            let before = all.len();
            all.extend(stats.get(of).into_iter().flatten().cloned());
            let bytes: usize = all.iter().map(RollupStat::bytes).sum();
            if all.len() > before && u32::try_from(bytes).map_or(true, |bytes| bytes > limit) {
                return Err(StoreError::TooManyStats { of: StatsOf::Key(of.clone()), limit });
            }
        }
        Ok(())
    }

    /// Reads how much room a dimension has for new keys, unless the process has done so lately.
    async fn look_for_room(
        &self,
        dimension: &DimensionName,
        now: UnixSeconds,
        deadline: Deadline,
    ) -> Result<(), StoreError> {
        if self.known_names.knows_room(dimension, now) {
            return Ok(());
        }
        let count = self.count_keys(dimension, deadline).await?;
        self.known_names.remember_room(dimension, count, self.settings.max_keys, now);
        Ok(())
    }

    /// How many keys a dimension has: the sum of the cells that its entry says there may be.
    async fn count_keys(
        &self,
        dimension: &DimensionName,
        deadline: Deadline,
    ) -> Result<u64, StoreError> {
        let entry = ItemKey::dimension(dimension);
        let first = ItemKey::key_count(dimension, Cell::FIRST);
        let items = [entry.clone(), first.clone()].into();
        let mut found = self.get(items, Consistency::Strong, deadline).await?;
        let entry = found.remove(&entry).as_ref().map(decode_dimension).transpose()?;
        let cells = entry.map_or(Spread::ONE, |entry| entry.spread).cells;
        let others = Cell::first(cells).map(|cell| ItemKey::key_count(dimension, cell));
        let others = others.filter(|key| *key != first).collect();
        found.extend(self.get(others, Consistency::Strong, deadline).await?);
        let mut counts = found.values().map(decode_key_count);
        counts.try_fold(0_u64, |sum, count| Ok(sum.saturating_add(count?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::DimensionKey;

    const NOW: UnixSeconds = UnixSeconds(1_000_000);

    fn dimension() -> DimensionName {
        DimensionName::new("d").unwrap()
    }

    #[test]
    fn a_process_looks_again_when_it_has_admitted_a_128th_of_the_room_it_saw() {
        for (count, most, trusted) in
            [(0, 1_280, 10), (280, 1_560, 10), (0, 128, 1), (0, 255, 1), (0, 256, 2)]
        {
            let mut room = Room::seen(count, most, NOW);
            for admitted in 0..trusted {
                assert!(room.is_known(NOW), "{admitted} of {most}");
                assert!(room.take(1));
            }
            assert!(!room.is_known(NOW), "{trusted} of {most}");
        }
    }

    #[test]
    fn little_room_is_looked_at_each_time() {
        for keys in [0, 1, 127] {
            assert!(!Room::seen(0, keys, NOW).is_known(NOW), "{keys}");
        }
        // Somebody lowered the limit below what is there.
        let mut room = Room::seen(10, 5, NOW);
        assert!(!room.is_known(NOW) && !room.take(1));
    }

    #[test]
    fn a_process_looks_again_after_a_minute_in_any_case() {
        let room = Room::seen(0, 1_000_000, NOW);
        assert!(room.is_known(NOW.after(Duration::from_secs(59))));
        assert!(!room.is_known(NOW.after(Duration::from_secs(60))));
    }

    #[test]
    fn room_is_taken_as_far_as_it_goes() {
        let mut room = Room::seen(2, 5, NOW);
        assert!(!room.take(4));
        assert!(room.take(2) && room.take(1));
        assert!(!room.take(1));
    }

    #[test]
    fn room_is_remembered_by_dimension_and_nothing_is_known_of_others() {
        let (names, other) = (KnownNames::new(), DimensionName::new("other").unwrap());
        assert!(!names.knows_room(&dimension(), NOW));
        assert!(!names.take_room(&dimension(), 1));
        names.remember_room(&dimension(), 0, 1_000, NOW);
        assert!(names.knows_room(&dimension(), NOW));
        assert!(names.take_room(&dimension(), 1));
        assert!(!names.knows_room(&other, NOW));
        assert!(!names.take_room(&other, 1));
    }

    #[test]
    fn names_of_plans_that_were_written_are_known() {
        let of = RollupKey { dimension: dimension(), key: DimensionKey::new("k").unwrap() };
        let plan = JointPlan {
            dimensions: [dimension()].into(),
            keys: [of.clone()].into(),
            ..JointPlan::default()
        };
        let names = KnownNames::new();
        let unknown = names.unknown(&plan);
        assert_eq!(unknown.dimensions, plan.dimensions);
        assert_eq!(unknown.keys, plan.keys);
        names.remember(&plan);
        assert!(names.unknown(&plan).is_empty());
    }
}
