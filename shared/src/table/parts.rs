//! How a plan is cut into parts that each fit into a transaction.

use std::collections::{BTreeMap, BTreeSet};

use super::{key::Shard, transaction::Writing};
use crate::domain::{DimensionName, Member, MemberSet, RollupKey, SpreadSum};

/// The most actions of a transaction. Source: *TransactWriteItems*, DynamoDB API Reference.
const MAX_ACTIONS: usize = 100;

/// What updates write in one transaction.
#[derive(Debug, Clone)]
pub enum Part {
    /// Names that are new to the table, with their numbers.
    Names,
    /// New members of a key's sets, with their numbers.
    Members(RollupKey, Vec<ShardOfSet>),
    /// The numeric part, with names and members if they fit.
    Numbers {
        /// Whether it has the names that are new.
        names: bool,
        /// The members that it has.
        members: Shards,
    },
}

/// The parts of a plan, in the order in which they are written.
#[derive(Debug, Clone, Default)]
pub struct Parts {
    /// Names that come before members: see `first`.
    pub names: Option<Part>,
    /// What does not fit into the last part: members with their numbers. Entries of the outer list
    /// touch different items, so they may run at once; the parts of one may not. To repeat one is
    /// harmless.
    pub first: Vec<Vec<Part>>,
    /// All the rest. `None` if a shard has so many new members that some are left for another plan,
    /// which is made once the parts above are written.
    pub last: Option<Part>,
    /// Whether the last part is all there is, and fits into one transaction.
    pub is_one: bool,
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
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.dimensions.is_empty() && self.keys.is_empty()
    }

    /// The dimensions of the new keys, and how many each has.
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
    ///
    /// Names go with the numbers. If members go before those, names go before the members: what is
    /// counted under a key begins with the key's first cell.
    #[must_use]
    pub fn parts(&self) -> Parts {
        let (members, all) = shards(&self.plan.members);
        let shard_count: usize = members.values().map(Vec::len).sum();
        let fixed = self.actions_without_members(true, &members);
        if all && fixed + shard_count <= MAX_ACTIONS {
            let last = Some(Part::Numbers { names: true, members });
            return Parts { names: None, first: Vec::new(), last, is_one: true };
        }
        let first = members.into_iter().map(|(of, shards)| {
            // One action is for the numbers of members.
            let chunks = shards.chunks(MAX_ACTIONS - 1);
            chunks.map(|chunk| Part::Members(of.clone(), chunk.to_vec())).collect()
        });
        Parts {
            names: (!self.new_names.is_empty()).then_some(Part::Names),
            first: first.collect(),
            last: all.then(|| Part::Numbers { names: false, members: Shards::new() }),
            is_one: false,
        }
    }

    /// The sums that a part adds to, each in any cell of its own.
    #[must_use]
    pub fn spread(&self, part: &Part) -> BTreeSet<SpreadSum> {
        let key_counts =
            || self.new_names.keys_by_dimension().into_keys().cloned().map(SpreadSum::Keys);
        match part {
            Part::Names => key_counts().collect(),
            Part::Members(of, _) => [SpreadSum::Rollup(of.clone())].into(),
            Part::Numbers { names, members } => {
                let rollups = self.rollups(*names, members).into_iter();
                let known = rollups.filter(|of| !*names || !self.new_names.keys.contains(of));
                let key_counts = names.then(key_counts).into_iter().flatten();
                known.cloned().map(SpreadSum::Rollup).chain(key_counts).collect()
            }
        }
    }

    /// Whether a part writes nothing.
    #[must_use]
    pub fn is_empty(&self, part: &Part) -> bool {
        match part {
            Part::Names => self.new_names.is_empty(),
            Part::Members(_, shards) => shards.is_empty(),
            Part::Numbers { names, members } => self.actions_without_members(*names, members) == 0,
        }
    }

    /// The rollups that the numbers add to.
    pub(super) fn rollups<'b>(
        &'b self,
        names: bool,
        members: &'b Shards,
    ) -> BTreeSet<&'b RollupKey> {
        let new = names.then_some(&self.new_names.keys).into_iter().flatten();
        self.plan.rollups.keys().chain(members.keys()).chain(new).collect()
    }

    /// How many actions the numbers have, besides the shards of sets, with these `members`.
    fn actions_without_members(&self, names: bool, members: &Shards) -> usize {
        let plan = self.plan;
        let new_names = match names {
            true => self.new_names.dimensions.len() + self.new_names.keys_by_dimension().len(),
            false => 0,
        };
        plan.details.len()
            + self.markers.len()
            + self.rollups(names, members).len()
            + plan.departures.len()
            + new_names
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
