//! The planner against an independent model of the contract: random updates of several ids, under
//! several keys, in several periods.

#![allow(
    missing_docs,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

use std::collections::{BTreeMap, BTreeSet};

use aws_sdk_dynamodb::types::Put;
use proptest::{collection::vec, option, prelude::*, sample::select};
use shared::{
    domain::{
        CounterChange, Detail, DimensionKey, DimensionName, Fingerprint, Id, IdempotencyKey,
        Member, Period, PeriodLength, StatName, Sum, UnixSeconds, Update,
    },
    rollup::{DimensionAndKey, MemberSet, Plan, Sums, member_sets, plan},
    table::{Cell, ItemKey, Marker, NewNames, Revision, Target, Transaction, UpdateToken, Writing},
};

const IDS: [&str; 3] = ["i", "j", "k"];
const STATS: [&str; 4] = ["a", "b", "c", "d"];

/// What the table holds, as far as the planner is concerned.
#[derive(Debug, Default, Clone, PartialEq)]
struct Table {
    details: BTreeMap<&'static str, Detail>,
    counters: BTreeMap<DimensionAndKey, Sums>,
    gauges: BTreeMap<(Period, DimensionAndKey), Sums>,
    members: BTreeMap<MemberSet, BTreeSet<Member>>,
    departures: BTreeMap<(&'static str, DimensionAndKey), Sums>,
    dimensions: BTreeSet<DimensionName>,
}

impl Table {
    fn update(&mut self, id: &'static str, update: &Update, period: Period) -> Plan {
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

    fn write(&mut self, id: &'static str, plan: &Plan) {
        if let Some(detail) = &plan.detail {
            self.details.insert(id, detail.clone());
        }
        for (of, gains) in &plan.counters {
            add(self.counters.entry(of.clone()).or_default(), gains);
        }
        for (of, gains) in &plan.gauges {
            let period = plan.period.expect("gauges have a period");
            add(self.gauges.entry((period, of.clone())).or_default(), gains);
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
    fn recomputed(&self) -> BTreeMap<DimensionAndKey, Sums> {
        let mut rollups: BTreeMap<DimensionAndKey, Sums> = BTreeMap::new();
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
struct Model {
    counters: BTreeMap<(&'static str, StatName), Sum>,
    gauges: BTreeMap<(&'static str, Period, StatName), Sum>,
    counter_rollups: BTreeMap<DimensionAndKey, Sums>,
    gauge_rollups: BTreeMap<(Period, DimensionAndKey), Sums>,
}

impl Model {
    fn update(&mut self, id: &'static str, update: &Update, period: Period) {
        for (stat, change) in &update.counters {
            let counter = self.counters.entry((id, stat.clone())).or_default();
            let old = *counter;
            *counter = match change {
                CounterChange::Set(value) => (*value).into(),
                CounterChange::Add(value) => old.checked_add((*value).into()).unwrap(),
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

fn at(dimension: &DimensionName, key: &DimensionKey) -> DimensionAndKey {
    DimensionAndKey { dimension: dimension.clone(), key: key.clone() }
}

fn add(sums: &mut Sums, gains: &Sums) {
    for (stat, gain) in gains {
        let sum = sums.entry(stat.clone()).or_default();
        *sum = sum.checked_add(*gain).unwrap();
    }
}

fn non_zero(
    rollups: &BTreeMap<DimensionAndKey, Sums>,
) -> BTreeMap<(DimensionAndKey, StatName), Sum> {
    let sums = rollups.iter().flat_map(|(of, sums)| {
        sums.iter().map(move |(stat, sum)| ((of.clone(), stat.clone()), *sum))
    });
    sums.filter(|(_, sum)| *sum != Sum::ZERO).collect()
}

fn stat() -> impl Strategy<Value = StatName> {
    select(&STATS[..]).prop_map(|name| StatName::new(name).unwrap())
}

fn value() -> impl Strategy<Value = i64> {
    prop_oneof![4 => -3..4_i64, 1 => any::<i64>(), 1 => select(vec![i64::MIN, i64::MAX, 0])]
}

fn update() -> impl Strategy<Value = Update> {
    let key = |name: &str| {
        option::weighted(0.7, select(["x", "y", "z"].map(|key| format!("{name}{key}")).to_vec()))
    };
    let dims = (key("d"), key("e")).prop_map(|(d, e)| {
        let dims = [("d", d), ("e", e)];
        let dims = dims.into_iter().filter_map(|(dimension, key)| {
            Some((DimensionName::new(dimension).unwrap(), DimensionKey::new(&key?).unwrap()))
        });
        dims.collect()
    });
    let change =
        prop_oneof![value().prop_map(CounterChange::Set), value().prop_map(CounterChange::Add)];
    let members = vec(select(["m", "n", "o"].map(|m| Member::new(m).unwrap()).to_vec()), 0..3);
    (
        dims,
        vec((stat(), change), 0..4),
        vec((stat(), value()), 0..3),
        option::weighted(0.3, members),
    )
        .prop_map(|(dims, counters, gauges, members)| Update {
            dims,
            counters: counters.into_iter().collect(),
            gauges: gauges.into_iter().collect(),
            members: members
                .map(|members| (StatName::new("s").unwrap(), members.into_iter().collect()))
                .into_iter()
                .collect(),
        })
}

fn history() -> impl Strategy<Value = Vec<(&'static str, Update, Period)>> {
    vec((select(&IDS[..]), update(), any::<bool>()), 1..25).prop_map(|steps| {
        let mut start = 0;
        let steps = steps.into_iter().map(|(id, update, next_period)| {
            start += if next_period { 360 } else { 0 };
            (id, update, Period::starting_at(UnixSeconds(start)))
        });
        steps.collect()
    })
}

/// Each action's item, and what it is.
fn items(transaction: &Transaction) -> Vec<ItemKey> {
    let keys = transaction.iter().map(|action| {
        let put = action.write.put().map(Put::item);
        let update = action.write.update().map(aws_sdk_dynamodb::types::Update::key);
        ItemKey::of_item(put.or(update).expect("a put or an update")).expect("a key")
    });
    keys.collect()
}

proptest! {
    #[test]
    fn rollups_are_what_the_contract_says(history in history()) {
        let (mut table, mut model) = (Table::default(), Model::default());
        for (id, update, period) in &history {
            table.update(id, update, *period);
            model.update(id, update, *period);
        }
        prop_assert_eq!(&table.counters, &model.counter_rollups);
        prop_assert_eq!(&table.gauges, &model.gauge_rollups);
    }

    #[test]
    fn rollups_are_the_sum_of_details(history in history()) {
        let mut table = Table::default();
        for (id, update, period) in &history {
            table.update(id, update, *period);
            prop_assert_eq!(non_zero(&table.counters), non_zero(&table.recomputed()));
        }
    }

    #[test]
    fn a_replay_changes_nothing(history in history()) {
        let mut table = Table::default();
        for (id, update, period) in &history {
            let mut update = update.clone();
            update.counters.retain(|_, change| matches!(change, CounterChange::Set(_)));
            table.update(id, &update, *period);
            let after = table.clone();
            let again = table.update(id, &update, *period);
            prop_assert!(again.is_empty(), "{:?}", again);
            prop_assert_eq!(&table, &after);
        }
    }

    #[test]
    fn increments_give_the_same_sums_in_any_order(
        steps in vec((select(&IDS[..]), select(vec!["x", "y"]), stat(), -100..100_i64), 1..20)
            .prop_flat_map(|steps| (Just(steps.clone()), Just(steps).prop_shuffle())),
    ) {
        let (ordered, shuffled) = steps;
        let play = |steps: &[(&'static str, &str, StatName, i64)]| {
            let mut table = Table::default();
            for (id, key, stat, value) in steps {
                let update = Update {
                    dims: [(DimensionName::new("d").unwrap(), DimensionKey::new(key).unwrap())].into(),
                    counters: [(stat.clone(), CounterChange::Add(*value))].into(),
                    ..Update::default()
                };
                table.update(id, &update, Period::starting_at(UnixSeconds(0)));
            }
            table.counters
        };
        prop_assert_eq!(play(&ordered), play(&shuffled));
    }

    #[test]
    fn every_reported_dimension_is_listed(history in history()) {
        let mut table = Table::default();
        for (id, update, period) in &history {
            table.update(id, update, *period);
        }
        let reported = table.counters.keys().chain(table.gauges.keys().map(|(_, of)| of));
        let reported = reported.chain(table.members.keys().map(|set| &set.of));
        for of in reported {
            prop_assert!(table.dimensions.contains(&of.dimension));
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn no_transaction_has_two_actions_on_one_item_or_more_than_100(
        dims in 0..=20_usize, counters in 0..=200_usize, gauges in 0..=200_usize,
        members in 0..400_usize, moves in any::<bool>(), has_key in any::<bool>(),
    ) {
        let json = |part: &str, count: usize, value: &str| {
            let entries: Vec<_> = (0..count).map(|i| format!("\"{part}{i}\":{value}")).collect();
            format!("\"{part}\":{{{}}}", entries.join(","))
        };
        let body = |key: &str| {
            let members: Vec<_> = (0..members).map(|i| format!("\"{i}\"")).collect();
            let parts = [
                json("dims", dims, &format!("\"{key}\"")),
                json("counters", counters, "1"),
                json("gauges", gauges, "1"),
                format!("\"multiMembers\":{{\"s\":[{}]}}", members.join(",")),
            ];
            Update::from_json(format!("{{{}}}", parts.join(",")).as_bytes()).unwrap()
        };
        let mut table = Table::default();
        let period = Period::starting_at(UnixSeconds(360));
        if moves {
            table.update("i", &body("before"), period);
        }
        let plan = table.update("i", &body("after"), period);
        let id = Id::new("i").unwrap();
        let key = IdempotencyKey::new("key").unwrap();
        let marker = Marker { fingerprint: Fingerprint::of(b""), expires_at: UnixSeconds(1) };
        let new_names = NewNames { dimensions: plan.dimensions.clone(), keys: plan.keys.clone() };
        let writing = Writing {
            table: "table",
            id: &id,
            revision: &Revision::default(),
            token: UpdateToken(1),
            plan: &plan,
            new_names: &new_names,
            marker: has_key.then_some((&key, marker)),
            period_length: PeriodLength::DEFAULT,
            now: UnixSeconds(400),
        };
        let parts = writing.parts();
        let transaction = |part| writing.transaction(part, |_| Cell::FIRST).unwrap();
        let first: Vec<Vec<Transaction>> =
            parts.first.iter().map(|lane| lane.iter().map(transaction).collect()).collect();
        let last = transaction(parts.last.as_ref().expect("few members of a shard"));
        for transaction in first.iter().flatten().chain([&last]) {
            let items = items(transaction);
            prop_assert!(items.len() <= 100);
            prop_assert_eq!(items.iter().collect::<BTreeSet<_>>().len(), items.len());
        }
        // All members and keys, each counted with the transaction that adds it.
        let all = || first.iter().flatten().chain([&last]).flatten();
        let shards = all().filter(|action| action.target == Target::Members).count();
        prop_assert_eq!(shards > 0, dims * members > 0);
        let keys = all().filter(|action| action.target == Target::KnownKey).count();
        prop_assert_eq!(keys, plan.keys.len());
        let lanes: Vec<BTreeSet<_>> =
            first.iter().map(|lane| lane.iter().flat_map(items).collect()).collect();
        let apart: usize = lanes.iter().map(BTreeSet::len).sum();
        let together: BTreeSet<_> = lanes.iter().flatten().collect();
        prop_assert_eq!(apart, together.len(), "what runs at once touches different items");
    }
}
