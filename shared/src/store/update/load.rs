//! The first round trip of an update: what is stored already.

use std::{
    collections::{BTreeMap, BTreeSet},
    mem,
};

use aws_sdk_dynamodb::types::KeysAndAttributes;
use futures_util::{StreamExt, TryStreamExt, future::try_join, stream};

use super::submission::Submission;
use crate::{
    domain::{Member, MemberSet, Overflow, PeriodLength, Plan, member_sets, plan},
    store::{Deadline, Store, StoreError, failure::Failure},
    table::{
        Item, ItemKey, Marker, Shard, StoredDetail, decode_detail, decode_marker, decode_members,
    },
    usage,
};

/// The most keys of a batch. Source: *BatchGetItem*, DynamoDB API Reference.
const BATCH_KEYS: usize = 100;
/// The most batches that are on their way at the same time.
const CONCURRENT_BATCHES: usize = 16;

/// What the table has of what an update touches.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    /// The detail; the default if there is none.
    pub(super) stored: StoredDetail,
    pub(super) marker: Option<Marker>,
    /// How many members the update adds to sets. A member counts once for each set.
    pub(super) members: usize,
    /// Members of the update that are not in their sets, or were not a moment ago.
    pub(super) new_members: BTreeMap<MemberSet, BTreeSet<Member>>,
}

impl Loaded {
    /// Notes how many of the members are new.
    pub(super) fn note_members(&self) {
        let count = |members: usize| u64::try_from(members).unwrap_or(u64::MAX);
        let new = self.new_members.values().map(BTreeSet::len).sum();
        usage::note(|usage| {
            usage.members_new += count(new);
            usage.members_known += count(self.members.saturating_sub(new));
        });
    }

    /// Whether the idempotency key shows that the update was counted before.
    ///
    /// # Errors
    /// The key came with another body.
    pub(super) fn repeats(&self, submission: &Submission<'_>) -> Result<bool, StoreError> {
        match (submission.idempotency, &self.marker) {
            (Some((_, fingerprint)), Some(marker)) if marker.expires_at > submission.now => {
                match marker.fingerprint == fingerprint {
                    true => Ok(true),
                    false => Err(StoreError::KeyReused),
                }
            }
            _ => Ok(false),
        }
    }

    /// Plans what to write. Takes the new members out, since there may be many of them.
    ///
    /// # Errors
    /// A sum would need more than 38 digits.
    pub(super) fn plan(
        &mut self,
        submission: &Submission<'_>,
        period_length: PeriodLength,
    ) -> Result<Plan, Overflow> {
        let before = &self.stored.detail;
        let period = period_length.of_update(submission.now, before.gauge_period);
        plan(before, submission.update, period, mem::take(&mut self.new_members))
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
    /// Loads what an update needs to know.
    ///
    /// The detail and the marker are always read consistently: with an old detail, an update could
    /// seem to change nothing. Sets only grow, and writes to them are conditional, so an old answer
    /// about a set costs another attempt at most.
    pub(super) async fn load(
        &self,
        submission: &Submission<'_>,
        sets_consistency: Consistency,
        deadline: Deadline,
    ) -> Result<Loaded, StoreError> {
        let detail = ItemKey::detail(submission.id);
        let marker = submission.idempotency.map(|(key, _)| ItemKey::marker(submission.id, key));
        let sets = member_sets(submission.update);

        let own = [&detail].into_iter().chain(&marker).cloned().collect();
        let shards = sets.iter().flat_map(|(set, members)| {
            members.iter().map(|member| ItemKey::members(set, Shard::of(member)))
        });
        let shards = shards.collect();
        let members = sets.values().map(BTreeSet::len).sum();
        let (own, shards) = try_join(
            self.get(own, Consistency::Strong, deadline),
            self.get(shards, sets_consistency, deadline),
        )
        .await?;
        Ok(Loaded {
            stored: own.get(&detail).map(decode_detail).transpose()?.unwrap_or_default(),
            marker: marker.and_then(|key| own.get(&key)).map(decode_marker).transpose()?,
            members,
            new_members: new_members(sets, &shards)?,
        })
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

fn new_members(
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
