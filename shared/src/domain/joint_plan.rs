//! The plans of several updates as one.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    CellSums, Detail, DimensionName, Id, Member, MemberSet, Overflow, Plan, RollupKey, RollupStat,
    Sums,
};

/// What has to be written to count several updates: all of it or nothing. Rollups that they share
/// gain the sum of their gains, in one write.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct JointPlan {
    /// The next detail of each id whose detail changes.
    pub details: BTreeMap<Id, Detail>,
    /// What to add to rollups: see [`Plan::rollups`].
    pub rollups: BTreeMap<RollupKey, CellSums>,
    /// Members that are new to their set.
    pub members: BTreeMap<MemberSet, BTreeSet<Member>>,
    /// What each id leaves behind: see [`Plan::departures`].
    pub departures: BTreeMap<(Id, RollupKey), Sums>,
    /// Dimensions that may be new to the table.
    pub dimensions: BTreeSet<DimensionName>,
    /// Keys that may be new to their dimension.
    pub keys: BTreeSet<RollupKey>,
    /// Stats that may be new to their rollup.
    pub stats: BTreeMap<RollupKey, BTreeSet<RollupStat>>,
}

impl JointPlan {
    /// Whether there is nothing to write.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// The keys whose rollups gain something. A key may come twice.
    pub fn all_keys(&self) -> impl Iterator<Item = &RollupKey> {
        self.rollups.keys().chain(self.members.keys().map(|set| &set.of))
    }

    /// Adds the plan of another update, one of `id`. If there is one of that id already, it was
    /// made for the detail that is in `details`.
    ///
    /// # Errors
    /// A sum of gains would need more than 38 digits, though each gain fits. What was added is of
    /// no use then.
    pub fn add(&mut self, id: &Id, plan: Plan) -> Result<(), Overflow> {
        if let Some(detail) = plan.detail {
            self.details.insert(id.clone(), detail);
        }
        for (of, gain) in plan.rollups {
            self.rollups.entry(of).or_default().add(&gain)?;
        }
        for (set, members) in plan.members {
            self.members.entry(set).or_default().extend(members);
        }
        for (from, left) in plan.departures {
            super::summary::add_sums(
                self.departures.entry((id.clone(), from)).or_default(),
                &left,
            )?;
        }
        self.dimensions.extend(plan.dimensions);
        self.keys.extend(plan.keys);
        for (of, stats) in plan.stats {
            self.stats.entry(of).or_default().extend(stats);
        }
        Ok(())
    }
}
