//! The first round trip of updates: what is stored already.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::KeysAndAttributes;
use futures_util::{StreamExt, TryStreamExt, future::try_join, stream};

use super::submission::Submission;
use crate::{
    domain::{Detail, Id, Member, MemberSet, member_sets},
    store::{Deadline, Store, StoreError, failure::Failure},
    table::{Item, ItemKey, Marker, Revision, Shard, decode_detail, decode_marker, decode_members},
    usage,
};

/// The most keys of a batch. Source: *BatchGetItem*, DynamoDB API Reference.
const BATCH_KEYS: usize = 100;
/// The most batches that are on their way at the same time.
const CONCURRENT_BATCHES: usize = 16;

/// What the table has of what updates touch.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    /// The details that there are.
    pub(super) details: BTreeMap<Id, Detail>,
    /// Their revisions.
    pub(super) revisions: BTreeMap<Id, Revision>,
    /// The markers of the idempotency keys that the updates came with, as far as there are any.
    pub(super) markers: BTreeMap<ItemKey, Marker>,
    /// How many members the updates add to sets. A member counts once for each set.
    members: usize,
    /// Members of each update that are not in their sets, or were not a moment ago.
    pub(super) new_members: Vec<BTreeMap<MemberSet, BTreeSet<Member>>>,
}

impl Loaded {
    /// Notes how many of the members are new.
    pub(super) fn note_members(&self) {
        let count = |members: usize| u64::try_from(members).unwrap_or(u64::MAX);
        let new = self.new_members.iter().flat_map(BTreeMap::values).map(BTreeSet::len).sum();
        usage::note(|usage| {
            usage.members_new += count(new);
            usage.members_known += count(self.members.saturating_sub(new));
        });
    }
}

/// Whether reads see every write that was acknowledged before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::store) enum Consistency {
    /// They may miss the latest ones, for half the price.
    Eventual,
    /// They see them all.
    Strong,
}

impl Store {
    /// Loads what updates need to know.
    ///
    /// Details and markers are always read consistently: with an old detail, an update could seem
    /// to change nothing. Sets only grow, and writes to them are conditional, so an old answer
    /// about a set costs another attempt at most.
    pub(super) async fn load(
        &self,
        submissions: &[Submission<'_>],
        sets_consistency: Consistency,
        deadline: Deadline,
    ) -> Result<Loaded, StoreError> {
        let details: BTreeMap<_, _> =
            submissions.iter().map(|of| (ItemKey::detail(of.id), of.id)).collect();
        let markers: BTreeSet<_> = submissions
            .iter()
            .filter_map(|of| Some(ItemKey::marker(of.id, of.idempotency?.0)))
            .collect();
        let own = details.keys().chain(&markers).cloned().collect();
        let sets: Vec<_> = submissions.iter().map(|of| member_sets(of.update)).collect();
        let members = || sets.iter().flatten();
        let shards = members().flat_map(|(set, members)| {
            members.iter().map(|member| ItemKey::members(set, Shard::of(member)))
        });
        let shards = shards.collect();
        let (own, shards) = try_join(
            self.get(own, Consistency::Strong, deadline),
            self.get(shards, sets_consistency, deadline),
        )
        .await?;

        let mut loaded = Loaded {
            members: members().map(|(_, members)| members.len()).sum(),
            ..Loaded::default()
        };
        for (key, item) in own {
            match details.get(&key) {
                Some(id) => {
                    let stored = decode_detail(&item)?;
                    loaded.details.insert((*id).clone(), stored.detail);
                    loaded.revisions.insert((*id).clone(), stored.revision);
                }
                None => drop(loaded.markers.insert(key, decode_marker(&item)?)),
            }
        }
        let new = sets.into_iter().map(|sets| new_members(sets, &shards));
        loaded.new_members = new.collect::<Result<_, _>>()?;
        Ok(loaded)
    }

    /// The items with these keys, as far as they exist.
    pub(in crate::store) async fn get(
        &self,
        keys: BTreeSet<ItemKey>,
        consistency: Consistency,
        deadline: Deadline,
    ) -> Result<BTreeMap<ItemKey, Item>, StoreError> {
        let keys: Vec<_> = keys.into_iter().collect();
        let batches =
            keys.chunks(BATCH_KEYS).map(|batch| self.get_batch(batch, consistency, deadline));
        let batches: Vec<_> = batches.collect();
        let items: Vec<Vec<Item>> =
            stream::iter(batches).buffer_unordered(CONCURRENT_BATCHES).try_collect().await?;
        let items = items.into_iter().flatten();
        Ok(items.filter_map(|item| Some((ItemKey::of_item(&item)?, item))).collect())
    }

    async fn get_batch(
        &self,
        keys: &[ItemKey],
        consistency: Consistency,
        deadline: Deadline,
    ) -> Result<Vec<Item>, StoreError> {
        let mut backoff = self.backoff(deadline);
        let mut items = Vec::new();
        let mut pending = KeysAndAttributes::builder()
            .set_keys(Some(keys.iter().map(ItemKey::attributes).collect()))
            .consistent_read(consistency == Consistency::Strong)
            .build()?;
        loop {
            let answer = self
                .read(deadline, || {
                    let request = self.client.batch_get_item();
                    request.request_items(&self.settings.table, pending.clone())
                })
                .await?;
            items.extend(answer.responses.unwrap_or_default().into_values().flatten());
            match answer.unprocessed_keys.unwrap_or_default().remove(&self.settings.table) {
                Some(rest) if !rest.keys().is_empty() => pending = rest,
                _ => return Ok(items),
            }
            // DynamoDB leaves keys out if it throttles, or if the answer would exceed 16 MB.
            let cause = format!("{} keys unprocessed", pending.keys().len());
            backoff.wait(Failure::Throttled, cause.into()).await?;
        }
    }
}

pub(super) fn new_members(
    sets: BTreeMap<MemberSet, BTreeSet<Member>>,
    items: &BTreeMap<ItemKey, Item>,
) -> Result<BTreeMap<MemberSet, BTreeSet<Member>>, StoreError> {
    let mut new = BTreeMap::new();
    for (set, members) in sets {
        let mut absent = BTreeSet::new();
        for member in members {
            let shard = items.get(&ItemKey::members(&set, Shard::of(&member)));
            let stored = shard.map(decode_members).transpose()?.unwrap_or_default();
            if !stored.contains(&member) {
                absent.insert(member);
            }
        }
        if !absent.is_empty() {
            new.insert(set, absent);
        }
    }
    Ok(new)
}
