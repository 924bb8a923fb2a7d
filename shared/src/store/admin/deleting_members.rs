//! Deleting a member from every set that has it.
//!
//! Which sets there are is known from the rollups, which have their numbers of members. A member's
//! hash says in which shard of a set it would be, so each set costs one read of one item.

use std::collections::BTreeMap;

use super::{DeletionRun, deleting::count};
use crate::{
    domain::{DimensionKey, DimensionName, KeySelection, KeyStats, Member, MemberSet, RollupKey},
    store::{KeyOrder, Store, StoreError, failure::Failure, update::Consistency},
    table::{ItemKey, Shard, decode_members, delete_member, item_bytes},
};

/// The most keys that are read at once.
const KEYS_AT_ONCE: usize = 100;

impl Store {
    /// Deletes a member from every set that has it, and takes one off the number of its members.
    ///
    /// # Errors
    /// See [`StoreError`]. Each set has been dealt with or not, and a repetition does what is left.
    pub async fn delete_member(
        &self,
        member: &Member,
        run: &mut DeletionRun<'_>,
    ) -> Result<(), StoreError> {
        for dimension in self.dimensions(run.deadline()).await? {
            let mut after = None;
            loop {
                let page =
                    self.stats_after(&dimension, &KeySelection::All, after.as_ref(), run).await?;
                let Some((last, _)) = page.last() else {
                    break;
                };
                after = Some(last.clone());
                let sets = page.iter().flat_map(|(key, stats)| sets_of(&dimension, key, stats));
                self.delete_from_sets(member, sets.collect(), run).await?;
            }
        }
        Ok(())
    }

    /// The next keys of a dimension that are selected, and their stats; none at the end.
    pub(super) async fn stats_after(
        &self,
        dimension: &DimensionName,
        selection: &KeySelection,
        after: Option<&DimensionKey>,
        run: &mut DeletionRun<'_>,
    ) -> Result<Vec<(DimensionKey, KeyStats)>, StoreError> {
        let order = KeyOrder { selection, after, ..KeyOrder::ALL };
        let mut reader = self.keys_in_order(dimension, order, (run.clock)(), run.deadline());
        let read = async {
            let mut page = Vec::new();
            while page.len() < KEYS_AT_ONCE
                && let Some(key) = reader.next_of(KEYS_AT_ONCE - page.len()).await?
            {
                page.push(key);
            }
            Ok(page)
        };
        let page = run.pacer.run(read).await;
        run.report();
        page
    }

    async fn delete_from_sets(
        &self,
        member: &Member,
        sets: Vec<MemberSet>,
        run: &mut DeletionRun<'_>,
    ) -> Result<(), StoreError> {
        let shard = |set: &MemberSet| ItemKey::members(set, Shard::of(member));
        let mut sets: BTreeMap<_, _> = sets.into_iter().map(|set| (shard(&set), set)).collect();
        let mut backoff = self.backoff(run.deadline());
        while !sets.is_empty() {
            let shards = sets.keys().cloned().collect();
            let read = self.get(shards, Consistency::Strong, run.deadline());
            let mut found = run.pacer.run(read).await?;
            let mut left = BTreeMap::new();
            let mut overtaken = None;
            for (key, set) in sets {
                let Some(item) = found.remove(&key) else {
                    continue;
                };
                let members = decode_members(&item)?;
                if !members.contains(member) {
                    continue;
                }
                let is_only_one = members.len() == 1;
                let writes = delete_member(&self.settings.table, &set, member, is_only_one)?;
                match self.write(writes, run).await? {
                    Some(cause) => {
                        overtaken = Some(cause);
                        left.insert(key, set);
                    }
                    None => {
                        run.deleted.members += 1;
                        run.deleted.shards += 1;
                        run.deleted.rollups += 1;
                        run.deleted.bytes += count(item_bytes(&item));
                    }
                }
            }
            if let Some(cause) = overtaken {
                backoff.wait(Failure::InTheWay, cause).await?;
            }
            sets = left;
        }
        Ok(())
    }
}

/// The sets that a key has.
fn sets_of<'a>(
    dimension: &'a DimensionName,
    key: &'a DimensionKey,
    stats: &'a KeyStats,
) -> impl Iterator<Item = MemberSet> + 'a {
    stats.members.keys().map(|stat| MemberSet {
        of: RollupKey { dimension: dimension.clone(), key: key.clone() },
        stat: stat.clone(),
    })
}
