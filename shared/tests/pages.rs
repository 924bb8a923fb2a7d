//! Reading some keys of a dimension, in pages, on a real DynamoDB API.

#![allow(
    missing_docs,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use fault_proxy::{Fault, FaultPlan, Operation, Throttle, Which};
use shared::{
    domain::{
        Cell, DimensionKey, DimensionName, Direction, KeyPrefix, KeySelection, KeyStats, RollupKey,
        Sum,
    },
    store::KeyOrder,
    table::ItemKey,
    usage,
};
use support::{NOW, TestStore, soon};

fn key(name: &str) -> DimensionKey {
    DimensionKey::new(name).unwrap()
}

fn dimension() -> DimensionName {
    DimensionName::new("d").unwrap()
}

fn with_prefix(prefix: &str) -> KeySelection {
    KeySelection::WithPrefix(KeyPrefix::new(prefix).unwrap())
}

/// Names that the table keeps in another order than that of their bytes, or by their hashes.
fn odd_names() -> Vec<String> {
    let names =
        ["a", "b", "b#c", "b~", "b%41", "bA", "bb", "b b", "bé", "é", "éa", "~", "#", "日本"];
    let mut names: Vec<_> = names.map(str::to_lowercase).into();
    names.extend(["x", "b", "é"].map(|start| format!("{start}{}", "k".repeat(300))));
    names
}

/// Each key has a counter of its own value, from 1 on.
async fn filled(names: &[String]) -> TestStore {
    let test = TestStore::new().await;
    for (index, name) in names.iter().enumerate() {
        let body = serde_json::json!({"dims": {"d": name}, "counters": {"x": index + 1}});
        test.post(&format!("id{index}"), &body.to_string()).await;
    }
    test
}

fn order<'a>(
    selection: &'a KeySelection,
    direction: Direction,
    after: Option<&'a DimensionKey>,
) -> KeyOrder<'a> {
    KeyOrder { selection, direction, after }
}

impl TestStore {
    /// The names of the keys of a page.
    async fn page(
        &self,
        selection: &KeySelection,
        direction: Direction,
        after: Option<&DimensionKey>,
        limit: usize,
    ) -> Vec<String> {
        let order = order(selection, direction, after);
        let mut reader = self.store.keys_in_order(&dimension(), order, NOW, soon());
        let mut names = Vec::new();
        while names.len() < limit
            && let Some((key, _)) = reader.next_of(limit - names.len()).await.unwrap()
        {
            names.push(key.as_str().to_owned());
        }
        names
    }

    /// The names of all keys of a selection, page by page.
    async fn pages(
        &self,
        selection: &KeySelection,
        direction: Direction,
        limit: usize,
    ) -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        loop {
            let after = names.last().map(|name| key(name));
            let page = self.page(selection, direction, after.as_ref(), limit).await;
            if page.is_empty() {
                return names;
            }
            names.extend(page);
        }
    }

    /// All of them at once.
    async fn at_once(&self, selection: &KeySelection, direction: Direction) -> Vec<String> {
        let order = order(selection, direction, None);
        let mut reader = self.store.keys_in_order(&dimension(), order, NOW, soon());
        let mut names = Vec::new();
        while let Some((key, stats)) = reader.next().await.unwrap() {
            assert_ne!(stats, KeyStats::default());
            names.push(key.as_str().to_owned());
        }
        names
    }
}

#[tokio::test]
async fn pages_of_any_size_and_direction_have_each_key_once_in_one_order() {
    let names = odd_names();
    let test = filled(&names).await;
    let all = test.at_once(&KeySelection::All, Direction::Forward).await;
    assert_eq!(all.iter().cloned().collect::<BTreeSet<_>>(), names.iter().cloned().collect());
    let backward: Vec<_> = all.iter().rev().cloned().collect();
    assert_eq!(test.at_once(&KeySelection::All, Direction::Backward).await, backward);
    for limit in [1, 2, 5, all.len(), 100] {
        assert_eq!(test.pages(&KeySelection::All, Direction::Forward, limit).await, all);
        assert_eq!(test.pages(&KeySelection::All, Direction::Backward, limit).await, backward);
    }
}

#[tokio::test]
async fn a_prefix_finds_long_and_escaped_names_and_nothing_else() {
    let names = odd_names();
    let test = filled(&names).await;
    for prefix in ["a", "b", "b#", "b%", "b%4", "B", "é", "~", "日", "bk", "nothing"] {
        let selection = with_prefix(prefix);
        let lower = prefix.to_lowercase();
        let expected: BTreeSet<_> =
            names.iter().filter(|name| name.starts_with(&lower)).cloned().collect();
        for direction in [Direction::Forward, Direction::Backward] {
            let found = test.at_once(&selection, direction).await;
            // Among long names there may be others.
            let found: Vec<_> =
                found.into_iter().filter(|name| selection.contains(&key(name))).collect();
            assert_eq!(found.len(), expected.len(), "{prefix}");
            assert_eq!(found.iter().cloned().collect::<BTreeSet<_>>(), expected, "{prefix}");
            for limit in [1, 3] {
                let mut pages = test.pages(&selection, direction, limit).await;
                pages.retain(|name| selection.contains(&key(name)));
                assert_eq!(pages, found, "{prefix}");
            }
        }
    }
}

#[tokio::test]
async fn named_keys_are_read_by_themselves_in_the_same_order() {
    let names = odd_names();
    let test = filled(&names).await;
    let all = test.at_once(&KeySelection::All, Direction::Forward).await;
    let mut keys: BTreeSet<_> = names.iter().step_by(2).map(|name| key(name)).collect();
    let expected: Vec<_> = all.into_iter().filter(|name| keys.contains(&key(name))).collect();
    keys.insert(key("unknown"));
    let selection = KeySelection::These(keys);
    assert_eq!(test.at_once(&selection, Direction::Forward).await, expected);
    for limit in [1, 3, 50] {
        assert_eq!(test.pages(&selection, Direction::Forward, limit).await, expected);
    }
    let backward: Vec<_> = expected.into_iter().rev().collect();
    assert_eq!(test.pages(&selection, Direction::Backward, 2).await, backward);
}

#[tokio::test]
async fn a_page_reads_its_keys_and_no_more() {
    let names: Vec<_> = (0..400).map(|index| format!("key{index:03}")).collect();
    let test = filled(&names).await;
    let units = async |selection: &KeySelection, limit| {
        let read = test.page(selection, Direction::Forward, None, limit);
        usage::measured(read).await.1.read_units
    };
    let all = units(&KeySelection::All, 400).await;
    let ten = units(&KeySelection::All, 10).await;
    // One for the dimension's entry, one for up to 4 KB.
    assert!((ten - 2.0).abs() < f64::EPSILON, "{ten}");
    assert!(all >= 4.0, "{all}");
    let two = KeySelection::These([key("key001"), key("key399")].into());
    let two = units(&two, 10).await;
    assert!((two - 3.0).abs() < f64::EPSILON, "{two}");
    let prefixed = units(&with_prefix("key39"), 10).await;
    assert!(prefixed <= 3.0, "{prefixed}");
}

#[tokio::test]
async fn keys_that_come_and_go_between_pages_neither_repeat_nor_hide_others() {
    let names: Vec<_> = (0..30).map(|index| format!("k{index:02}")).collect();
    let test = filled(&names).await;
    let first = test.page(&KeySelection::All, Direction::Forward, None, 10).await;
    assert_eq!(first, names[..10]);
    for name in ["k05a", "k09a", "k25a"] {
        let body = format!(r#"{{"dims":{{"d":"{name}"}},"counters":{{"x":1}}}}"#);
        test.post(name, &body).await;
    }
    for name in ["k09", "k12"] {
        let table = test.settings.table.as_str();
        let of = RollupKey { dimension: dimension(), key: key(name) };
        let item = ItemKey::rollup(&of, Cell::FIRST);
        let delete = test.client.delete_item().table_name(table);
        delete.set_key(Some(item.attributes())).send().await.unwrap();
    }
    // The last key of the page before is gone.
    let after = key("k09");
    let second = test.page(&KeySelection::All, Direction::Forward, Some(&after), 10).await;
    assert_eq!(second, ["k09a", "k10", "k11", "k13", "k14", "k15", "k16", "k17", "k18", "k19"]);
}

#[tokio::test]
async fn a_page_of_a_dimension_that_is_spread_has_the_whole_sums() {
    let (proxy, test) = TestStore::behind_a_proxy().await;
    let names: Vec<_> = (0..40).map(|index| format!("k{index:02}")).collect();
    let post = async |value: usize| {
        for name in &names {
            let body = format!(r#"{{"dims":{{"d":"{name}"}},"counters":{{"x":{value}}}}}"#);
            test.post(name, &body).await;
        }
    };
    post(1).await;
    let is_full = Which::items(|pk, _| ["dim#d#0", "dim#d#1"].contains(&pk));
    let full = Fault::Throttle(Throttle::Cancelled(is_full));
    let faults = (0..1_000).map(|at| (Operation::TransactWriteItems, at, full.clone()));
    proxy.set_plan(FaultPlan::script(faults));
    post(3).await;
    proxy.set_plan(FaultPlan::none());

    let whole = test.store.summary(&dimension(), NOW, soon()).await.unwrap();
    let mut whole: Vec<_> = whole.keys().map(|(key, stats)| (key.clone(), stats.clone())).collect();
    assert!(whole.iter().all(|(_, stats)| stats.counters.values().eq([&Sum::from(3)])));
    let single = KeySelection::These(whole.iter().map(|(key, _)| key.clone()).collect());
    for (selection, direction) in [
        (&KeySelection::All, Direction::Forward),
        (&single, Direction::Forward),
        (&with_prefix("k"), Direction::Forward),
        (&KeySelection::All, Direction::Backward),
    ] {
        if direction == Direction::Backward {
            whole.reverse();
        }
        for limit in [7, 100] {
            let mut reader = test.store.keys_in_order(
                &dimension(),
                order(selection, direction, None),
                NOW,
                soon(),
            );
            let mut read = Vec::new();
            while let Some(next) = reader.next_of(limit).await.unwrap() {
                read.push(next);
            }
            assert_eq!(read, whole, "{selection:?} {limit}");
        }
    }
}

/// A dimension of 400 keys and more than 1 MB, which is more than a page of DynamoDB holds.
async fn fill_two_pages(test: &TestStore) {
    let gauges = (0..10).map(|stat| (format!("g{stat}{}", "g".repeat(250)), 1));
    let gauges: BTreeMap<_, _> = gauges.collect();
    for number in 0..400 {
        let key = format!("{number:03}{}", "k".repeat(200));
        let body = serde_json::json!({"dims": {"d": key}, "gauges": gauges});
        test.post(&format!("id{number}"), &body.to_string()).await;
    }
}

#[tokio::test]
async fn the_next_page_of_a_long_read_is_asked_for_while_the_first_is_worked_on() {
    let test = TestStore::new().await;
    fill_two_pages(&test).await;
    test.requests.take();
    let mut reader = test.store.keys(&dimension(), NOW, soon());
    reader.next().await.unwrap().unwrap();
    assert_eq!(test.requests.take().0, ["BatchGetItem", "Query", "Query"]);
    let mut keys = 1;
    while reader.next().await.unwrap().is_some() {
        keys += 1;
    }
    assert_eq!(keys, 400);
    assert!(test.requests.take().0.is_empty());
}

#[tokio::test]
async fn a_page_that_was_asked_for_in_vain_is_asked_for_again() {
    let (proxy, test) = TestStore::behind_a_proxy().await;
    fill_two_pages(&test).await;
    let both = [Fault::DropAnswer, Fault::Throttle(Throttle::ThroughputExceeded)];
    for (fault, faults) in both.into_iter().zip(1..) {
        proxy.set_plan(FaultPlan::script([(Operation::Query, 1, fault)]));
        let keys = test.at_once(&KeySelection::All, Direction::Forward).await;
        assert_eq!(keys.len(), 400);
        assert_eq!(proxy.counts().total_faults(), faults);
    }
}
