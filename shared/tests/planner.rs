//! The planner against an independent model of the contract: random updates of several ids, under
//! several keys, in several periods.

#![allow(
    missing_docs,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

#[path = "invariants/planned.rs"]
mod planned;

use std::collections::BTreeSet;

use proptest::{collection::vec, option, prelude::*, sample::select};
use shared::{
    domain::{
        Cell, CounterChange, DimensionKey, DimensionName, Member, Period, StatName, UnixSeconds,
        Update,
    },
    table::Target,
};

use planned::{ContractModel, PlannedTable, Transactions, items, non_zero};

const IDS: [&str; 3] = ["i", "j", "k"];
const STATS: [&str; 4] = ["a", "b", "c", "d"];

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
    let change = prop_oneof![
        value().prop_map(CounterChange::Set),
        value().prop_map(CounterChange::Add),
        (value(), value()).prop_map(|(set, add)| CounterChange::SetThenAdd(set, add)),
    ];
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

proptest! {
    #[test]
    fn rollups_are_what_the_contract_says(history in history()) {
        let (mut table, mut model) = (PlannedTable::default(), ContractModel::default());
        for (id, update, period) in &history {
            table.update(id, update, *period);
            model.update(id, update, *period);
        }
        prop_assert_eq!(&table.counters, &model.counter_rollups);
        prop_assert_eq!(&table.gauges, &model.gauge_rollups);
    }

    #[test]
    fn rollups_are_the_sum_of_details(history in history()) {
        let mut table = PlannedTable::default();
        for (id, update, period) in &history {
            table.update(id, update, *period);
            prop_assert_eq!(non_zero(&table.counters), non_zero(&table.recomputed()));
        }
    }

    #[test]
    fn a_replay_changes_nothing(history in history()) {
        let mut table = PlannedTable::default();
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
            let mut table = PlannedTable::default();
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
        let mut table = PlannedTable::default();
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
        let mut table = PlannedTable::default();
        let period = Period::starting_at(UnixSeconds(360));
        if moves {
            table.update("i", &body("before"), period);
        }
        let plan = table.update("i", &body("after"), period);
        let transactions =
            Transactions::of(&plan, "i", has_key, UnixSeconds(400), Cell::FIRST);
        prop_assert!(transactions.last.is_some(), "few members of a shard");
        for transaction in transactions.iter() {
            let items = items(transaction);
            prop_assert!(items.len() <= 100);
            prop_assert_eq!(items.iter().collect::<BTreeSet<_>>().len(), items.len());
        }
        // All members and keys, each counted with the transaction that adds it.
        let all = || transactions.iter().flatten();
        let shards = all().filter(|action| action.target == Target::Members).count();
        prop_assert_eq!(shards > 0, dims * members > 0);
        let keys = all().filter(|action| action.target == Target::NewKey).count();
        prop_assert_eq!(keys, plan.keys.len());
        prop_assert!(transactions.are_apart(), "what runs at once touches different items");
    }
}
