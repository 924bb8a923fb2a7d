//! A table in memory that plans are written to, and a model of what the contract demands of it.

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::{Put, Update as UpdateItem};
use shared::{
    domain::{
        Cell, CounterChange, Detail, DimensionKey, DimensionName, Fingerprint, Id, IdempotencyKey,
        JointPlan, Member, MemberSet, Period, PeriodLength, Plan, RollupKey, StatName, Sum, Sums,
        UnixSeconds, Update, member_sets, plan,
    },
    table::{ItemKey, Marker, NewMarker, NewNames, Transaction, UpdateToken, Writing},
};

/// What the table holds, as far as the planner is concerned.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct PlannedTable {
    pub details: BTreeMap<&'static str, Detail>,
    pub counters: BTreeMap<RollupKey, Sums>,
    pub gauges: BTreeMap<(Period, RollupKey), Sums>,
    pub members: BTreeMap<MemberSet, BTreeSet<Member>>,
    pub departures: BTreeMap<(&'static str, RollupKey), Sums>,
    pub dimensions: BTreeSet<DimensionName>,
}

impl PlannedTable {
    pub fn update(&mut self, id: &'static str, update: &Update, period: Period) -> Plan {
        let before = self.details.get(id).cloned().unwrap_or_default();
        let mut new_members = member_sets(update);
        for (set, members) in &mut new_members {
            members.retain(|member| {
                !self.members.get(set).is_some_and(|known| known.contains(member))
            });
        }
        new_members.retain(|_, members| !members.is_empty());
        let plan = plan(&before, update, period, new_members).unwrap();
        self.write(id, &plan);
        plan
    }

    pub fn write(&mut self, id: &'static str, plan: &Plan) {
        if let Some(detail) = &plan.detail {
            self.details.insert(id, detail.clone());
        }
        for (of, gains) in &plan.rollups {
            if !gains.counters.is_empty() {
                add(self.counters.entry(of.clone()).or_default(), &gains.counters);
            }
            for (period, gains) in &gains.gauges {
                add(self.gauges.entry((*period, of.clone())).or_default(), gains);
            }
        }
        for (from, left) in &plan.departures {
            add(self.departures.entry((id, from.clone())).or_default(), left);
        }
        for (set, members) in &plan.members {
            self.members.entry(set.clone()).or_default().extend(members.iter().cloned());
        }
        self.dimensions.extend(plan.dimensions.iter().cloned());
    }

    /// The counters' rollups, from the details alone: what an audit would compute.
    pub fn recomputed(&self) -> BTreeMap<RollupKey, Sums> {
        let mut rollups: BTreeMap<RollupKey, Sums> = BTreeMap::new();
        for detail in self.details.values() {
            for (dimension, placement) in &detail.placements {
                let held = placement.counters.of(&detail.counters).unwrap();
                add(rollups.entry(at(dimension, &placement.key)).or_default(), &held);
            }
        }
        for ((_, from), left) in &self.departures {
            add(rollups.entry(from.clone()).or_default(), left);
        }
        rollups
    }
}

/// The contract's table, word for word: the last values of each id, and deltas on rollups.
#[derive(Debug, Default)]
pub struct ContractModel {
    counters: BTreeMap<(&'static str, StatName), Sum>,
    gauges: BTreeMap<(&'static str, Period, StatName), Sum>,
    pub counter_rollups: BTreeMap<RollupKey, Sums>,
    pub gauge_rollups: BTreeMap<(Period, RollupKey), Sums>,
}

impl ContractModel {
    pub fn update(&mut self, id: &'static str, update: &Update, period: Period) {
        for (stat, change) in &update.counters {
            let counter = self.counters.entry((id, stat.clone())).or_default();
            let old = *counter;
            *counter = match change {
                CounterChange::Set(value) => (*value).into(),
                CounterChange::Add(value) => old.checked_add((*value).into()).unwrap(),
                CounterChange::SetThenAdd(value, more) => {
                    Sum::from(*value).checked_add((*more).into()).unwrap()
                }
            };
            let delta = Sums::from([(stat.clone(), counter.checked_sub(old).unwrap())]);
            for (dimension, key) in &update.dims {
                add(self.counter_rollups.entry(at(dimension, key)).or_default(), &delta);
            }
        }
        for (stat, value) in &update.gauges {
            let gauge = self.gauges.entry((id, period, stat.clone())).or_default();
            let delta = Sum::from(*value).checked_sub(*gauge).unwrap();
            *gauge = (*value).into();
            let delta = Sums::from([(stat.clone(), delta)]);
            for (dimension, key) in &update.dims {
                let rollup = self.gauge_rollups.entry((period, at(dimension, key))).or_default();
                add(rollup, &delta);
            }
        }
    }
}

fn at(dimension: &DimensionName, key: &DimensionKey) -> RollupKey {
    RollupKey { dimension: dimension.clone(), key: key.clone() }
}

fn add(sums: &mut Sums, gains: &Sums) {
    for (stat, gain) in gains {
        let sum = sums.entry(stat.clone()).or_default();
        *sum = sum.checked_add(*gain).unwrap();
    }
}

pub fn non_zero(rollups: &BTreeMap<RollupKey, Sums>) -> BTreeMap<(RollupKey, StatName), Sum> {
    let sums = rollups.iter().flat_map(|(of, sums)| {
        sums.iter().map(move |(stat, sum)| ((of.clone(), stat.clone()), *sum))
    });
    sums.filter(|(_, sum)| *sum != Sum::ZERO).collect()
}

/// The key of the item that each action writes to.
pub fn items(transaction: &Transaction) -> Vec<ItemKey> {
    let keys = transaction.iter().map(|action| {
        let put = action.write.put().map(Put::item);
        let update = action.write.update().map(UpdateItem::key);
        ItemKey::of_item(put.or(update).expect("a put or an update")).expect("a key")
    });
    keys.collect()
}

/// The transactions of an update.
#[derive(Debug)]
pub struct Transactions {
    pub names: Option<Transaction>,
    pub first: Vec<Vec<Transaction>>,
    pub last: Option<Transaction>,
}

impl Transactions {
    /// Those that write a plan to this `cell` of each sum. All names of the plan are new to the
    /// table.
    pub fn of(plan: &Plan, id: &str, has_key: bool, now: UnixSeconds, cell: Cell) -> Self {
        let id = Id::new(id).unwrap();
        let key = IdempotencyKey::new("key").unwrap();
        let marker = Marker { fingerprint: Fingerprint::of(b""), expires_at: UnixSeconds(1) };
        let marker = has_key.then_some(NewMarker { id: &id, key: &key, marker });
        let new_names = NewNames { dimensions: plan.dimensions.clone(), keys: plan.keys.clone() };
        let mut joint = JointPlan::default();
        joint.add(&id, plan.clone()).unwrap();
        let writing = Writing {
            table: "table",
            revisions: &BTreeMap::new(),
            token: UpdateToken(1),
            plan: &joint,
            departures_found: None,
            new_names: &new_names,
            markers: marker.as_slice(),
            period_length: PeriodLength::DEFAULT,
            now,
        };
        let parts = writing.parts();
        let transaction = |part| writing.transaction(part, |_| cell).unwrap();
        Self {
            names: parts.names.as_ref().map(transaction),
            first: parts.first.iter().map(|lane| lane.iter().map(transaction).collect()).collect(),
            last: parts.last.as_ref().map(transaction),
        }
    }

    pub fn iter(&self) -> impl Iterator<Item = &Transaction> {
        self.names.iter().chain(self.first.iter().flatten()).chain(&self.last)
    }

    /// Whether transactions that may run at the same time touch different items.
    pub fn are_apart(&self) -> bool {
        let lanes = self.first.iter().map(|lane| lane.iter().flat_map(items).collect());
        let lanes: Vec<BTreeSet<_>> = lanes.collect();
        let together: BTreeSet<_> = lanes.iter().flatten().collect();
        lanes.iter().map(BTreeSet::len).sum::<usize>() == together.len()
    }
}
