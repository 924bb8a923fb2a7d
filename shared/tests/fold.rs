//! Folding: many cells become one, and no query ever notices.
#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod support;

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use fault_proxy::{Fault, FaultPlan, Operation, Proxy, Which};
use futures_util::future::join_all;
use shared::{
    domain::{Cell, CellSums, DimensionKey, DimensionName, RollupKey, UnixSeconds, sum_of_cells},
    store::{Folded, Housekeeping, Store},
    table::{Item, ItemKey, decode_rollup},
};
use support::{NOW, TestStore, post, soon};

fn later(seconds: u64) -> UnixSeconds {
    NOW.after(Duration::from_secs(seconds))
}

fn dimension() -> DimensionName {
    DimensionName::new("d").unwrap()
}

/// Makes the next `count` transactions conflict on the rollups, so that their writer changes the
/// cell.
fn conflict(proxy: &Proxy, count: u64) {
    let on_rollups = Fault::Conflict(Which::items(|pk, _| pk.starts_with("dim#")));
    let faults = (0..count).map(|at| (Operation::TransactWriteItems, at, on_rollups.clone()));
    proxy.set_plan(FaultPlan::script(faults));
}

/// A key of which items have only a hash, and the name beside it.
fn long_key() -> String {
    "k".repeat(300)
}

/// A store whose keys `k` and [`long_key`] have several cells.
async fn with_cells() -> (Proxy, TestStore, String) {
    let (proxy, test) = TestStore::behind_a_proxy().await;
    for i in 0..5 {
        conflict(&proxy, i);
        let body = format!(
            r#"{{"dims":{{"d":"k","e":"{}"}},"counters":{{"x":{}}},"increments":{{"y":1}},
                "gauges":{{"g":2}},"members":{{"s":"m{i}"}}}}"#,
            long_key(),
            10_u64.pow(i.try_into().unwrap())
        );
        post(&test.another(), NOW, &i.to_string(), &body).await.unwrap();
    }
    let stats = "c.x=11111 c.y=5 m.s=5";
    (proxy, test, format!("k: {stats}\ntotal: {stats}"))
}

/// What housekeeping folds in the dimension `d`.
async fn fold(store: &Store, clock: impl Fn() -> UnixSeconds) -> Folded {
    housekeeping(store, clock).await.folded
}

async fn housekeeping(store: &Store, clock: impl Fn() -> UnixSeconds) -> Housekeeping {
    let done = store.keep_house(clock, soon()).await.unwrap();
    let of_dimension = done.into_iter().find(|(of, _)| *of == dimension());
    of_dimension.map(|(_, done)| done.unwrap()).unwrap_or_default()
}

/// The cells of the rollup, by their partition key.
async fn cells(test: &TestStore) -> BTreeMap<String, Item> {
    let scanned = test.client.scan().table_name(&test.settings.table).send().await.unwrap();
    let part_of_key = |item: &Item, name: &str| item[name].as_s().unwrap().clone();
    let cells = scanned.items().iter().filter(|item| part_of_key(item, "pk").starts_with("dim#d#"));
    cells.map(|item| (part_of_key(item, "pk"), item.clone())).collect()
}

fn sums(cells: &BTreeMap<&String, &Item>) -> CellSums {
    let cells = cells.values().map(|item| decode_rollup(item).unwrap());
    sum_of_cells(cells.collect()).unwrap()
}

/// What readers may see while one state becomes the other: each item as it was before, or as it is
/// after.
fn views<'a>(
    before: &'a BTreeMap<String, Item>,
    after: &'a BTreeMap<String, Item>,
) -> Vec<BTreeMap<&'a String, &'a Item>> {
    let keys: Vec<_> = before.keys().collect();
    let view = |mix: u32| {
        let seen = keys.iter().enumerate().filter_map(|(i, key)| {
            let from = if mix & (1 << i) == 0 { before } else { after };
            from.get_key_value(*key)
        });
        seen.collect()
    };
    (0..1 << keys.len()).map(view).collect()
}

#[tokio::test]
async fn quiet_cells_become_one_and_every_view_of_each_step_adds_up_to_the_same() {
    let (_proxy, test, shown) = with_cells().await;
    let mut before = cells(&test).await;
    assert!(before.len() > 2, "{before:?}");
    let expected = sums(&before.iter().collect());
    let others = before.len() - 1;
    let steps = [
        (599, Folded::default()),
        (600, Folded { absorbed: others, ..Folded::default() }),
        (600 + 1_199, Folded::default()),
        (600 + 1_200, Folded { emptied: others, ..Folded::default() }),
        (600 + 2_399, Folded::default()),
        (600 + 2_400, Folded { completed: 1, ..Folded::default() }),
        (10_000, Folded::default()),
    ];
    for (seconds, did) in steps {
        assert_eq!(fold(&test.store, || later(seconds)).await, did);
        let after = cells(&test).await;
        for view in views(&before, &after) {
            let sums = sums(&view).live(test.settings.period_length, later(seconds));
            let expected = expected.live(test.settings.period_length, later(seconds));
            assert_eq!(sums, expected, "after {seconds} s: {view:?}");
        }
        assert_eq!(test.shown_at(later(10_000), "d").await, shown);
        let with_long_key = shown.replacen('k', &long_key(), 1);
        assert_eq!(test.shown_at(later(10_000), "e").await, with_long_key);
        before = after;
    }
    assert_eq!(before.len(), 1);
    let names: Vec<_> = before.values().flat_map(Item::keys).collect();
    assert!(!names.iter().any(|name| ["absorbed", "folding_since"].contains(&name.as_str())));
}

#[tokio::test]
async fn a_writer_on_a_folded_cell_goes_back_to_the_first() {
    let (proxy, test) = TestStore::behind_a_proxy().await;
    let body = |x: u8| format!(r#"{{"dims":{{"d":"k"}},"counters":{{"x":{x}}}}}"#);
    test.post("a", &body(0)).await;
    conflict(&proxy, 1);
    test.post("a", &body(1)).await;
    proxy.set_plan(FaultPlan::none());
    let before = cells(&test).await;
    assert_eq!(before.keys().collect::<Vec<_>>(), ["dim#d#0", "dim#d#1"]);
    for (seconds, x) in [(600, 2), (1_800, 3), (3_000, 4)] {
        fold(&test.store, || later(seconds)).await;
        // The same process, which remembers that cell, and at a time at which it is still hot.
        test.post("a", &body(x)).await;
        assert_eq!(test.shown("d").await, format!("k: c.x={x}\ntotal: c.x={x}"));
    }
    assert_eq!(cells(&test).await.keys().collect::<Vec<_>>(), ["dim#d#0"]);
}

#[tokio::test]
async fn runs_at_the_same_moment_do_each_step_once() {
    let (_proxy, test, shown) = with_cells().await;
    let stores = [test.another(), test.another(), test.another()];
    for seconds in [600, 1_800, 3_000] {
        join_all(stores.iter().map(|store| fold(store, move || later(seconds)))).await;
        assert_eq!(test.shown_at(later(10_000), "d").await, shown);
    }
    assert_eq!(cells(&test).await.len(), 1);
}

#[tokio::test]
async fn a_step_notes_when_it_was_done_and_not_when_the_run_began() {
    let (_proxy, test, _) = with_cells().await;
    // The clock moves on by ten minutes each time somebody looks at it.
    let looks = AtomicU64::new(0);
    let clock = || later(600 * (2 + looks.fetch_add(1, Relaxed)));
    let folded = fold(&test.store, clock).await;
    assert!(folded.absorbed > 0, "{folded:?}");
    let since = async |dimension: &str, key: &str| {
        let key = RollupKey {
            dimension: DimensionName::new(dimension).unwrap(),
            key: DimensionKey::new(key).unwrap(),
        };
        let key = ItemKey::rollup(&key, Cell::FIRST).attributes();
        let item = test.client.get_item().table_name(&test.settings.table).set_key(Some(key));
        let item = item.send().await.unwrap().item.unwrap();
        item["folding_since"].as_n().unwrap().parse::<u64>().unwrap()
    };
    let (first, second) = (since("d", "k").await, since("e", &long_key()).await);
    assert!(first < second, "one was folded after the other");
}
