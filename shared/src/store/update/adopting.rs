//! Taking over what another service has counted: sums of rollups, and what ids have reported.
//!
//! Sums that no id can account for are taken over on behalf of one id, as what it has left behind
//! under their keys: so they are the sums of what ids hold, like all others. Whoever adopts again
//! what the other service has counted since adds the difference only. Each write is conditional on
//! what is stored of it, so it is counted once, whatever happens to its answer.

use std::collections::BTreeMap;

use super::Consistency;
use crate::{
    domain::{
        CellSums, Detail, Fingerprint, Id, IdempotencyKey, JointPlan, Period, RollupKey, Sums,
        UnixSeconds, gains,
    },
    store::{Deadline, Store, StoreError, backoff::Backoff},
    table::{
        ItemKey, Marker, NewMarker, Revision, StoredDetail, UpdateToken, Writing, decode_departure,
        decode_detail, decode_marker,
    },
};

use super::submission::KEY_LIFETIME;

/// What details remember adoptions by: `adopted!`.
const TOKEN: UpdateToken = UpdateToken(u64::from_be_bytes(*b"adopted!"));
/// The most sums of a key in one transaction: a condition has 300 operators at most, and each of
/// these takes two.
const SUMS_AT_ONCE: usize = 100;

/// What became of ids that were adopted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AdoptedIds {
    /// Those that were written.
    pub written: u64,
    /// Those that were written before, and are the same.
    pub unchanged: u64,
    /// Those that have reported here already, and stay as they are.
    pub kept: u64,
}

/// What is written in one transaction.
struct Adoption<'a> {
    plan: JointPlan,
    revisions: BTreeMap<Id, Revision>,
    /// What there is of the departures of the plan.
    departures: BTreeMap<(Id, RollupKey), Sums>,
    markers: Vec<NewMarker<'a>>,
}

impl Store {
    /// Takes over `counters` of rollups on behalf of `id`: the most that fit into one transaction
    /// are 40 keys. Returns how many of the rollups have changed.
    ///
    /// # Errors
    /// See [`StoreError`]. Whatever it is, a repetition does what is left.
    pub async fn adopt_counters(
        &self,
        id: &Id,
        counters: &BTreeMap<RollupKey, Sums>,
        now: UnixSeconds,
        deadline: Deadline,
    ) -> Result<usize, StoreError> {
        let mut backoff = self.backoff(deadline);
        let mut changed = 0;
        loop {
            let keys = counters.keys().map(|of| ItemKey::departure(id, of)).collect();
            let items = self.get(keys, Consistency::Strong, deadline).await?;
            let mut adoption = Adoption::new();
            let mut is_all = true;
            for (of, sums) in counters {
                let item = items.get(&ItemKey::departure(id, of));
                let stored = item.map(decode_departure).transpose()?.unwrap_or_default();
                let gains = gains(&stored, sums.clone())?;
                is_all &= gains.len() <= SUMS_AT_ONCE;
                let gains: Sums = gains.into_iter().take(SUMS_AT_ONCE).collect();
                if !gains.is_empty() {
                    let place = (id.clone(), of.clone());
                    adoption.departures.insert(place.clone(), stored);
                    adoption.plan.departures.insert(place, gains.clone());
                    adoption.gain(of, CellSums { counters: gains, ..CellSums::default() });
                }
            }
            if adoption.plan.is_empty() {
                return Ok(changed);
            }
            if self.write_adoption(&adoption, now, &mut backoff).await? {
                changed = changed.max(adoption.plan.departures.len());
                if is_all {
                    return Ok(changed);
                }
            }
        }
    }

    /// Takes over `gauges` of one rollup, on behalf of `id` and once within 24 hours: `key` says
    /// which they are. Whether they were taken over now.
    ///
    /// # Errors
    /// See [`StoreError`]. Whatever it is, a repetition does what is left.
    pub async fn adopt_gauges(
        &self,
        id: &Id,
        key: &IdempotencyKey,
        (of, gauges): (&RollupKey, &BTreeMap<Period, Sums>),
        now: UnixSeconds,
        deadline: Deadline,
    ) -> Result<bool, StoreError> {
        let mut backoff = self.backoff(deadline);
        let item_key = ItemKey::marker(id, key);
        loop {
            let found = self.get([item_key.clone()].into(), Consistency::Strong, deadline).await?;
            let marker = found.get(&item_key).map(decode_marker).transpose()?;
            if marker.is_some_and(|marker| marker.expires_at > now) {
                return Ok(false);
            }
            let marker = Marker {
                fingerprint: Fingerprint::of(key.as_str().as_bytes()),
                expires_at: now.after(KEY_LIFETIME),
            };
            let mut adoption = Adoption::new();
            adoption.markers.push(NewMarker { id, key, marker });
            adoption.gain(of, CellSums { gauges: gauges.clone(), ..CellSums::default() });
            if self.write_adoption(&adoption, now, &mut backoff).await? {
                return Ok(true);
            }
        }
    }

    /// Takes over what ids have reported elsewhere, as their details: the most that fit into one
    /// transaction are 90. An id that has reported here stays as it is.
    ///
    /// # Errors
    /// See [`StoreError`]. Whatever it is, a repetition does what is left.
    pub async fn adopt_ids(
        &self,
        details: &BTreeMap<Id, Detail>,
        now: UnixSeconds,
        deadline: Deadline,
    ) -> Result<AdoptedIds, StoreError> {
        let mut backoff = self.backoff(deadline);
        loop {
            let keys = details.keys().map(ItemKey::detail).collect();
            let items = self.get(keys, Consistency::Strong, deadline).await?;
            let mut adoption = Adoption::new();
            let mut adopted = AdoptedIds::default();
            for (id, detail) in details {
                let item = items.get(&ItemKey::detail(id));
                let stored = item.map(decode_detail).transpose()?.unwrap_or_default();
                let StoredDetail { detail: found, revision } = stored;
                if !revision.was_made_only_by(TOKEN) {
                    adopted.kept += 1;
                } else if item.is_some() && found == *detail {
                    adopted.unchanged += 1;
                } else {
                    adopted.written += 1;
                    adoption.plan.details.insert(id.clone(), detail.clone());
                    adoption.revisions.insert(id.clone(), revision);
                }
            }
            if adoption.plan.is_empty() || self.write_adoption(&adoption, now, &mut backoff).await?
            {
                return Ok(adopted);
            }
        }
    }

    /// Writes an adoption. False if what it was made from has changed; then it has waited.
    async fn write_adoption(
        &self,
        adoption: &Adoption<'_>,
        now: UnixSeconds,
        backoff: &mut Backoff<'_>,
    ) -> Result<bool, StoreError> {
        let (consistency, deadline) = (Consistency::Strong, backoff.deadline());
        let new_names = self.new_names(&adoption.plan, consistency, now, deadline).await?;
        let writing = Writing {
            table: &self.settings.table,
            revisions: &adoption.revisions,
            token: TOKEN,
            plan: &adoption.plan,
            departures_found: Some(&adoption.departures),
            new_names: &new_names,
            markers: &adoption.markers,
            period_length: self.settings.period_length,
            now,
        };
        self.write_plan(&writing, backoff).await
    }
}

impl Adoption<'_> {
    fn new() -> Self {
        Self {
            plan: JointPlan::default(),
            revisions: BTreeMap::new(),
            departures: BTreeMap::new(),
            markers: Vec::new(),
        }
    }

    /// Plans what a rollup gains, and what may be new to the table with it.
    fn gain(&mut self, of: &RollupKey, gain: CellSums) {
        self.plan.dimensions.insert(of.dimension.clone());
        self.plan.keys.insert(of.clone());
        self.plan.stats.insert(of.clone(), gain.rollup_stats());
        self.plan.rollups.insert(of.clone(), gain);
    }
}
