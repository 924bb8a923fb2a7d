//! From an update to what has to be written, in two pure steps.
//!
//! First, `after = before.apply(update)` gives the id's next detail. Then the changes of the
//! rollups follow from `before` and `after` alone. Members take no part in this: their sets
//! remember them.

use std::collections::{BTreeMap, BTreeSet};

use crate::domain::{
    CellSums, Detail, DimensionKey, DimensionName, Member, Overflow, Period, Placement, RollupStat,
    Share, Shares, StatName, Sum, Update,
};

/// A key of a dimension: what a rollup belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RollupKey {
    /// The dimension.
    pub dimension: DimensionName,
    /// Its key.
    pub key: DimensionKey,
}

/// The set of the members that a stat has under a key.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct MemberSet {
    /// The dimension and its key.
    pub of: RollupKey,
    /// The stat.
    pub stat: StatName,
}

/// Sums by stat.
pub type Sums = BTreeMap<StatName, Sum>;

/// What has to be written to count an update: all of it or nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// The id's next detail; `None` if it stays as it is.
    pub detail: Option<Detail>,
    /// What to add to rollups. A zero counts too: it makes queries report the stat.
    pub rollups: BTreeMap<RollupKey, CellSums>,
    /// Members that are new to their set.
    pub members: BTreeMap<MemberSet, BTreeSet<Member>>,
    /// What the id leaves behind in the counters of keys that it has moved away from.
    pub departures: BTreeMap<RollupKey, Sums>,
    /// Dimensions that the id reports under for the first time. They may be new to the table.
    pub dimensions: BTreeSet<DimensionName>,
    /// Keys that the id has just come to, for the first time or again. They may be new to their
    /// dimension.
    pub keys: BTreeSet<RollupKey>,
    /// Stats that the id reports under a key for the first time. They may be new to its rollup.
    pub stats: BTreeMap<RollupKey, BTreeSet<RollupStat>>,
}

impl Plan {
    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// The sets that an update adds to, and the members that it adds to each.
#[must_use]
pub fn member_sets(update: &Update) -> BTreeMap<MemberSet, BTreeSet<Member>> {
    let mut sets = BTreeMap::new();
    for (dimension, key) in &update.dims {
        for (stat, members) in &update.members {
            let set = MemberSet {
                of: RollupKey { dimension: dimension.clone(), key: key.clone() },
                stat: stat.clone(),
            };
            if !members.is_empty() {
                sets.insert(set, members.clone());
            }
        }
    }
    sets
}

/// Plans an `update` of an id whose detail is `before`. Its gauges count in `period`, and
/// `new_members` are those of its members that are not in their sets yet.
///
/// # Errors
/// A sum would need more than 38 digits.
pub fn plan(
    before: &Detail,
    update: &Update,
    period: Period,
    new_members: BTreeMap<MemberSet, BTreeSet<Member>>,
) -> Result<Plan, Overflow> {
    let after = before.apply(update, period)?;
    let mut plan = changes(before, &after)?;
    for set in new_members.keys() {
        let stats = plan.stats.entry(set.of.clone()).or_default();
        stats.insert(RollupStat::Members(set.stat.clone()));
    }
    plan.members = new_members;
    if after != *before {
        plan.detail = Some(after);
    }
    Ok(plan)
}

/// What the rollups gain when an id's detail goes from `before` to `after`.
fn changes(before: &Detail, after: &Detail) -> Result<Plan, Overflow> {
    let mut plan = Plan {
        dimensions: after.dimensions_new_since(before).into_iter().cloned().collect(),
        ..Plan::default()
    };
    for (dimension, placement) in &after.placements {
        let at = |key: &DimensionKey| RollupKey { dimension: dimension.clone(), key: key.clone() };
        let last = before.placements.get(dimension);
        let same = last.filter(|last| last.key == placement.key);
        if same.is_none() {
            plan.keys.insert(at(&placement.key));
        }

        let gain = CellSums {
            counters: counter_gains(before, same, after, placement)?,
            gauges: gauge_gains(before, same, after, placement)?,
            members: Sums::new(),
        };
        let stats = first_reports(before, same, &gain);
        if !stats.is_empty() {
            plan.stats.insert(at(&placement.key), stats);
        }
        if gain.count() > 0 {
            plan.rollups.insert(at(&placement.key), gain);
        }
        if let (Some(last), None) = (last, same) {
            let mut left = last.counters.of(&before.counters)?;
            left.retain(|_, sum| *sum != Sum::ZERO);
            if !left.is_empty() {
                plan.departures.insert(at(&last.key), left);
            }
        }
    }
    Ok(plan)
}

/// The stats of a gain that the id has not reported under the key before. It has reported a gauge
/// there if it did so in the period of its last gauges.
fn first_reports(
    before: &Detail,
    same: Option<&Placement>,
    gain: &CellSums,
) -> BTreeSet<RollupStat> {
    let is_reported = |values: &Sums, shares: Option<&Shares>, stat: &StatName| {
        let share = shares.filter(|_| values.contains_key(stat)).map(|shares| shares.get(stat));
        share.is_some_and(|share| share != Share::Absent)
    };
    let stats = gain.rollup_stats().into_iter().filter(|stat| match stat {
        RollupStat::Counter(stat) => {
            !is_reported(&before.counters, same.map(|last| &last.counters), stat)
        }
        RollupStat::Gauge(stat) => {
            !is_reported(&before.gauges, same.map(|last| &last.gauges), stat)
        }
        RollupStat::Members(_) => true,
    });
    stats.collect()
}

fn counter_gains(
    before: &Detail,
    last: Option<&Placement>,
    after: &Detail,
    placement: &Placement,
) -> Result<Sums, Overflow> {
    let old = last.map_or(Ok(Sums::new()), |last| last.counters.of(&before.counters))?;
    gains(&old, placement.counters.of(&after.counters)?)
}

fn gauge_gains(
    before: &Detail,
    last: Option<&Placement>,
    after: &Detail,
    placement: &Placement,
) -> Result<BTreeMap<Period, Sums>, Overflow> {
    let Some(period) = after.gauge_period else {
        return Ok(BTreeMap::new());
    };
    let last = last.filter(|_| before.gauge_period == after.gauge_period);
    let old = last.map_or(Ok(Sums::new()), |last| last.gauges.of(&before.gauges))?;
    let gains = gains(&old, placement.gauges.of(&after.gauges)?)?;
    Ok(if gains.is_empty() { BTreeMap::new() } else { [(period, gains)].into() })
}

/// What to add to `old` to get `new`: nothing for a sum that stays, zero for a new one that is
/// zero.
///
/// # Errors
/// A difference would need more than 38 digits.
pub fn gains(old: &Sums, new: Sums) -> Result<Sums, Overflow> {
    let changed = new.into_iter().filter(|(stat, sum)| old.get(stat) != Some(sum));
    let gain = |(stat, sum): (StatName, Sum)| {
        let before = old.get(&stat).copied().unwrap_or_default();
        Ok((stat, sum.checked_sub(before)?))
    };
    changed.map(gain).collect()
}
