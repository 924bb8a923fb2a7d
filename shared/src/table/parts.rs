//! How a plan is cut into parts that each fit into a transaction.

use std::collections::{BTreeMap, BTreeSet};

use super::{key::Shard, transaction::Writing};
use crate::domain::{DimensionName, Member, MemberSet, RollupKey, SpreadSum};

/// The most actions of a transaction. Source: *TransactWriteItems*, DynamoDB API Reference.
const MAX_ACTIONS: usize = 100;

/// What an update writes in one transaction.
#[derive(Debug, Clone)]
pub enum Part {
    /// New keys of dimensions, and how many there are.
    Keys,
    /// New members of a key's sets, and how many there are.
    Members(RollupKey, Vec<ShardOfSet>),
    /// The numeric part, with keys and members if they fit.
    Numbers {
        /// Whether it includes the new keys.
        keys: bool,
        /// The new members that it includes.
        members: Shards,
    },
}

/// The parts of an update, in the order in which they are written.
#[derive(Debug, Clone, Default)]
pub struct Parts {
    /// What does not fit into the last part: keys, and members with their numbers. The inner lists
    /// touch different items, so they may be written at the same time; the parts of one list may
    /// not. Repeating a part is harmless.
    pub first: Vec<Vec<Part>>,
    /// All the rest. `None` if a shard has so many new members that some are left for another plan,
    /// which is made once the parts above are written.
    pub last: Option<Part>,
}

/// Names that the table does not have yet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewNames {
    /// Dimensions that are not in the list of dimensions.
    pub dimensions: BTreeSet<DimensionName>,
    /// Keys that are not registered for their dimension.
    pub keys: BTreeSet<RollupKey>,
}

impl NewNames {
    /// The dimensions of the new keys, and how many new keys each of them has.
    #[must_use]
    pub fn keys_by_dimension(&self) -> BTreeMap<&DimensionName, u64> {
        let mut dimensions = BTreeMap::new();
        for key in &self.keys {
            *dimensions.entry(&key.dimension).or_default() += 1;
        }
        dimensions
    }
}

impl Writing<'_> {
    /// The plan in parts that each fit into a transaction.
    #[must_use]
    pub fn parts(&self) -> Parts {
        let (members, all) = shards(&self.plan.members);
        let keys = self.new_names.keys.len() + self.new_names.keys_by_dimension().len();
        let fixed = self.actions_without_members(&members);
        let keys_fit = fixed + keys <= MAX_ACTIONS;
        let taken = if keys_fit { fixed + keys } else { fixed };
        let shard_count: usize = members.values().map(Vec::len).sum();
        let members_fit = all && taken + shard_count <= MAX_ACTIONS;

        let mut first = Vec::new();
        if !keys_fit {
            first.push(vec![Part::Keys]);
        }
        if members_fit {
            return Parts { first, last: Some(Part::Numbers { keys: keys_fit, members }) };
        }
        for (of, shards) in members {
            // One action is for the numbers of members.
            let chunks = shards.chunks(MAX_ACTIONS - 1);
            first.push(chunks.map(|chunk| Part::Members(of.clone(), chunk.to_vec())).collect());
        }
        let members = Shards::new();
        Parts { first, last: all.then_some(Part::Numbers { keys: keys_fit, members }) }
    }

    /// The sums that a part adds to.
    #[must_use]
    pub fn spread(&self, part: &Part) -> BTreeSet<SpreadSum> {
        let keys = || self.new_names.keys_by_dimension().into_keys().cloned().map(SpreadSum::Keys);
        match part {
            Part::Keys => keys().collect(),
            Part::Members(of, _) => [SpreadSum::Rollup(of.clone())].into(),
            Part::Numbers { keys: with_keys, members } => {
                let plan = self.plan;
                let rollups = plan.counters.keys().chain(plan.gauges.keys()).chain(members.keys());
                let keys = with_keys.then(keys).into_iter().flatten();
                rollups.cloned().map(SpreadSum::Rollup).chain(keys).collect()
            }
        }
    }

    /// Whether a part writes nothing.
    #[must_use]
    pub fn is_empty(&self, part: &Part) -> bool {
        match part {
            Part::Keys => self.new_names.keys.is_empty(),
            Part::Members(_, shards) => shards.is_empty(),
            Part::Numbers { keys, members } => {
                let no_keys = !*keys || self.new_names.keys.is_empty();
                no_keys && self.actions_without_members(members) == 0
            }
        }
    }

    /// How many actions the last transaction has if it includes `members`, not counting those for
    /// new keys and for the shards of sets.
    fn actions_without_members(&self, members: &Shards) -> usize {
        let plan = self.plan;
        let counted_keys: BTreeSet<_> = plan.counters.keys().chain(members.keys()).collect();
        usize::from(plan.detail.is_some())
            + usize::from(self.marker.is_some())
            + counted_keys.len()
            + plan.gauges.len()
            + plan.departures.len()
            + self.new_names.dimensions.len()
    }
}

/// The new members of a set that belong to one of its shards.
#[derive(Debug, Clone)]
pub struct ShardOfSet {
    pub(super) set: MemberSet,
    pub(super) shard: Shard,
    pub(super) members: Vec<Member>,
}

/// New members by the key that they are counted under.
pub type Shards = BTreeMap<RollupKey, Vec<ShardOfSet>>;

/// The most members that one action adds to a shard. With more, the condition could exceed the 4 KB
/// of an expression.
const MAX_MEMBERS_OF_ACTION: usize = 100;

/// The shards that members belong to, and whether these include all of the members.
fn shards(sets: &BTreeMap<MemberSet, BTreeSet<Member>>) -> (Shards, bool) {
    let mut shards = Shards::new();
    let mut all = true;
    for (set, members) in sets {
        let mut by_shard: BTreeMap<Shard, Vec<Member>> = BTreeMap::new();
        for member in members {
            let members = by_shard.entry(Shard::of(member)).or_default();
            if members.len() < MAX_MEMBERS_OF_ACTION {
                members.push(member.clone());
            } else {
                all = false;
            }
        }
        let of_set = by_shard.into_iter().map(|(shard, members)| ShardOfSet {
            set: set.clone(),
            shard,
            members,
        });
        shards.entry(set.of.clone()).or_default().extend(of_set);
    }
    (shards, all)
}
