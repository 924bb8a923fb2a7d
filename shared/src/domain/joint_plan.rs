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

#[cfg(test)]
mod tests {
    use std::slice;

    use super::*;
    use crate::domain::{PeriodLength, StatName, Sum, UnixSeconds, Update, member_sets, plan};

    fn id(name: &str) -> Id {
        Id::new(name).unwrap()
    }

    /// The plan of an update of an id that has this detail.
    fn plan_of(before: &Detail, body: &str) -> Plan {
        let update = Update::from_json(body.as_bytes()).unwrap();
        let period = PeriodLength::DEFAULT.containing(UnixSeconds(0));
        plan(before, &update, period, member_sets(&update)).unwrap()
    }

    #[test]
    fn the_gains_of_updates_under_one_key_add_up_and_their_members_count_once() {
        let body = |value: i64| {
            format!(
                r#"{{"dims":{{"d":"k"}},"counters":{{"c":{value}}},"gauges":{{"g":1}},"members":{{"m":"x"}}}}"#
            )
        };
        let mut joint = JointPlan::default();
        assert!(joint.is_empty());
        for (name, value) in [("a", 5), ("b", 7)] {
            joint.add(&id(name), plan_of(&Detail::default(), &body(value))).unwrap();
        }
        assert!(!joint.is_empty());
        assert_eq!(joint.details.keys().collect::<Vec<_>>(), [&id("a"), &id("b")]);
        let [(of, gain)] = joint.rollups.iter().collect::<Vec<_>>()[..] else {
            panic!("{joint:?}");
        };
        assert_eq!(gain.counters[&StatName::new("c").unwrap()], Sum::from(12));
        assert_eq!(gain.gauges.values().next().unwrap().len(), 1);
        assert_eq!(joint.members.values().map(BTreeSet::len).collect::<Vec<_>>(), [1]);
        assert_eq!(joint.keys, [of.clone()].into());
        assert_eq!(joint.dimensions, [of.dimension.clone()].into());
        assert_eq!(joint.stats[of].len(), 3);
    }

    #[test]
    fn what_an_id_leaves_behind_adds_up_too() {
        let mut joint = JointPlan::default();
        let mut detail = Detail::default();
        for (key, value) in [("a", 5), ("b", 8), ("a", 9), ("b", 11)] {
            let body = format!(r#"{{"dims":{{"d":"{key}"}},"counters":{{"c":{value}}}}}"#);
            let plan = plan_of(&detail, &body);
            detail = plan.detail.clone().unwrap();
            joint.add(&id("i"), plan).unwrap();
        }
        let left = joint.departures.iter().map(|((id, from), sums)| {
            (id.as_str(), from.key.as_str(), sums[&StatName::new("c").unwrap()])
        });
        // 5 and then 1 under `a`; 3 under `b`, where it is again.
        let left: Vec<_> = left.collect();
        assert_eq!(left, [("i", "a", Sum::from(6)), ("i", "b", Sum::from(3))]);
        assert_eq!(joint.details.into_values().collect::<Vec<_>>(), slice::from_ref(&detail));
    }

    #[test]
    fn gains_that_fit_alone_and_not_together_are_an_error() {
        let stat = || StatName::new("c").unwrap();
        let of = RollupKey {
            dimension: DimensionName::new("d").unwrap(),
            key: crate::domain::DimensionKey::new("k").unwrap(),
        };
        let gain = CellSums { counters: [(stat(), Sum::MAX)].into(), ..CellSums::default() };
        let plan = Plan { rollups: [(of, gain)].into(), ..Plan::default() };
        let mut joint = JointPlan::default();
        joint.add(&id("a"), plan.clone()).unwrap();
        assert!(joint.add(&id("b"), plan).is_err());
    }
}
