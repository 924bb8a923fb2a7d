//! A dimension is spread over more partitions when one is full, becomes narrow again when it has
//! cooled down, and no query ever sees anything of it.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::float_cmp,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    time::Duration,
};

use fault_proxy::{Fault, FaultPlan, Operation, Proxy, Throttle, Which};
use futures_util::future::join_all;
use shared::{
    domain::{DimensionName, UnixSeconds},
    store::{Folded, Housekeeping, Settings, Store, StoreError},
    table::{ItemKey, decode_dimension},
    usage::measured,
};
use support::{NOW, TestStore, post, soon};
use tokio::sync::RwLock;

fn later(minutes: u64) -> UnixSeconds {
    NOW.after(Duration::from_secs(minutes * 60))
}

fn dimension() -> DimensionName {
    DimensionName::new("d").unwrap()
}

/// Lets this partition of the dimension `d` take no writes.
fn fill(proxy: &Proxy, is_full: impl Fn(&str) -> bool + Send + Sync + 'static) {
    let on_partition = Which::items(move |pk, _| is_full(pk));
    let fault = Fault::Throttle(Throttle::Cancelled(on_partition));
    let faults = (0..1_000).map(|at| (Operation::TransactWriteItems, at, fault.clone()));
    proxy.set_plan(FaultPlan::script(faults));
}

/// How many partitions readers read.
async fn cells(test: &TestStore) -> u8 {
    let key = ItemKey::dimension(&dimension()).attributes();
    let entry = test.client.get_item().table_name(&test.settings.table).set_key(Some(key));
    let entry = entry.send().await.unwrap().item.unwrap();
    decode_dimension(&entry).unwrap().spread.cells
}

async fn keep_house(store: &Store, now: UnixSeconds) -> Housekeeping {
    let done = store.keep_house(|| now, soon()).await.unwrap();
    let done: BTreeMap<_, _> = done.into_iter().collect();
    *done[&dimension()].as_ref().unwrap()
}

fn body(key: &str, value: u64) -> String {
    format!(
        r#"{{"dims":{{"d":"{key}"}},"counters":{{"x":{value}}},"gauges":{{"g":1}},"members":{{"m":"{value}"}}}}"#
    )
}

#[tokio::test]
async fn a_full_partition_makes_the_keys_of_its_dimension_use_others() {
    let (proxy, test) = TestStore::behind_a_proxy().await;
    let keys: Vec<_> = (0..32).map(|key| format!("k{key}")).collect();
    for key in &keys {
        test.post(key, &body(key, 1)).await;
    }
    assert_eq!(cells(&test).await, 1);
    fill(&proxy, |pk| pk == "dim#d#0");
    for key in &keys {
        test.post(key, &body(key, 2)).await;
    }
    assert!(cells(&test).await >= 2);
    let shown = test.shown("d").await;
    assert!(shown.ends_with("total: c.x=64 now.g=32 m.m=64"), "{shown}");
    // Another process, which knows nothing of it, finds its way too.
    for key in &keys {
        post(&test.another(), NOW, key, &body(key, 3)).await.unwrap();
    }
    let shown = test.shown("d").await;
    assert!(shown.ends_with("total: c.x=96 now.g=32 m.m=96"), "{shown}");
    assert_eq!(local_dynamodb::audit(&test.client, &test.settings.table).await.unwrap(), []);
}

#[tokio::test]
async fn a_transaction_that_is_throttled_as_a_whole_goes_to_other_partitions_if_one_is_full() {
    for (throttle, widened) in
        [(Throttle::PartitionFull, true), (Throttle::ThroughputExceeded, false)]
    {
        let (proxy, test) = TestStore::behind_a_proxy().await;
        let keys: Vec<_> = (0..8).map(|key| format!("k{key}")).collect();
        for key in &keys {
            test.post(key, &body(key, 1)).await;
        }
        let once = (Operation::TransactWriteItems, 0, Fault::Throttle(throttle));
        for key in &keys {
            proxy.set_plan(FaultPlan::script([once.clone()]));
            test.post(key, &body(key, 2)).await;
        }
        assert_eq!(cells(&test).await > 1, widened);
        let shown = test.shown("d").await;
        assert!(shown.ends_with("total: c.x=16 now.g=8 m.m=16"), "{shown}");
    }
}

#[tokio::test]
async fn where_every_partition_is_full_an_update_gives_up_early() {
    let (proxy, mut test) = TestStore::behind_a_proxy().await;
    test.settings.pace.throttled = Duration::from_millis(200);
    let store = test.another();
    post(&store, NOW, "i", &body("k", 1)).await.unwrap();
    fill(&proxy, |pk| pk.starts_with("dim#"));
    let began = tokio::time::Instant::now();
    let error = post(&store, NOW, "i", &body("k", 2)).await.unwrap_err();
    assert!(matches!(error, StoreError::Throttled(_)), "{error:?}");
    assert!(began.elapsed() < Duration::from_secs(30), "long before the deadline of two minutes");
    proxy.set_plan(FaultPlan::none());
    assert_eq!(test.shown("d").await, "k: c.x=1 now.g=1 m.m=1\ntotal: c.x=1 now.g=1 m.m=1");
    assert!(Settings::new("t", test.settings.period_length).pace.throttled.as_secs() == 3);
}

#[tokio::test]
async fn a_dimension_that_has_cooled_down_costs_what_one_costs_that_never_was_hot() {
    let (proxy, test) = TestStore::behind_a_proxy().await;
    let keys: Vec<_> = (0..32).map(|key| format!("k{key}")).collect();
    for key in &keys {
        test.post(key, &body(key, 1)).await;
    }
    let (never_hot, usage) =
        measured(Box::pin(test.store.summary(&dimension(), later(0), soon()))).await;
    let cost = usage.read_units;
    let never_hot = never_hot.unwrap();

    fill(&proxy, |pk| ["dim#d#0", "dim#d#1"].contains(&pk));
    for key in &keys {
        test.post(key, &body(key, 1).replace(r#""g":1"#, r#""g":2"#)).await;
    }
    proxy.set_plan(FaultPlan::none());
    for key in &keys {
        test.post(key, &body(key, 1)).await;
    }
    assert!(cells(&test).await >= 4);
    assert_eq!(test.summary_at(NOW, "d").await, never_hot);

    let without_gauges = test.summary_at(later(21), "d").await;
    let mut done = Vec::new();
    for step in 1..=8 {
        let now = later(step * 21);
        done.push(keep_house(&test.store, now).await);
        assert_eq!(test.summary_at(now, "d").await, without_gauges, "{done:?}");
    }
    assert!(done.iter().any(|done| done.narrowed_to == Some(1)), "{done:?}");
    assert_eq!(cells(&test).await, 1);
    let (shown, usage) = measured(Box::pin(test.store.summary(&dimension(), NOW, soon()))).await;
    assert_eq!(shown.unwrap(), without_gauges);
    assert_eq!(usage.read_units, cost);
    assert_eq!(local_dynamodb::audit(&test.client, &test.settings.table).await.unwrap(), []);
}

#[tokio::test]
async fn numbers_of_keys_are_counted_when_a_dimension_is_spread_and_narrowed() {
    let (proxy, test) = TestStore::behind_a_proxy().await;
    test.post("first", &body("first", 1)).await;
    // New keys that conflict are counted in other cells.
    for i in 0..6 {
        let on_count = Fault::Conflict(Which::items(|pk, _| pk.starts_with("keys#d#0")));
        proxy.set_plan(FaultPlan::script([(Operation::TransactWriteItems, 0, on_count)]));
        post(&test.another(), NOW, &format!("i{i}"), &body(&format!("k{i}"), 1)).await.unwrap();
    }
    proxy.set_plan(FaultPlan::none());
    let audit = async || local_dynamodb::audit(&test.client, &test.settings.table).await.unwrap();
    assert_eq!(audit().await, []);
    for step in 1..=8 {
        keep_house(&test.store, later(step * 21)).await;
        assert_eq!(audit().await, []);
    }
    assert_eq!(cells(&test).await, 1);

    // The limit sees all of them.
    let mut settings = test.settings.clone();
    settings.max_keys = 7;
    let limited = Store::new(test.client.clone(), settings, fastrand::Rng::new());
    let refused = post(&limited, NOW, "one-more", &body("one-more", 1)).await;
    assert!(matches!(refused, Err(StoreError::TooManyKeys { .. })), "{refused:?}");
}

/// Writers, readers and housekeeping at once, while conflicts and throttles come and go. The clock
/// moves by 21 minutes at a time, when no request is under way: no request takes that long.
#[tokio::test(flavor = "multi_thread")]
async fn a_query_at_any_moment_shows_what_was_acknowledged_before_while_the_spread_changes() {
    const WRITERS: usize = 8;
    const LEAST_UPDATES: u64 = 40;
    const MOST_UPDATES: u64 = 3_000;
    let (proxy, test) = TestStore::behind_a_proxy().await;
    proxy.set_hold(Some(Duration::from_millis(2)));
    let (sent, acknowledged) = (AtomicU64::new(0), AtomicU64::new(0));
    let (done, was_narrowed) = (AtomicBool::new(false), AtomicBool::new(false));
    let minutes = AtomicU64::new(0);
    let under_way = RwLock::new(());
    let stores: Vec<Store> = (0..WRITERS).map(|_| test.another()).collect();

    let writers = stores.iter().enumerate().map(|(writer, store)| {
        let (sent, acknowledged, was_narrowed) = (&sent, &acknowledged, &was_narrowed);
        let (minutes, under_way) = (&minutes, &under_way);
        async move {
            for update in 0..MOST_UPDATES {
                if update >= LEAST_UPDATES && was_narrowed.load(Relaxed) {
                    break;
                }
                let _guard = under_way.read().await;
                sent.fetch_add(1, Relaxed);
                let body = r#"{"dims":{"d":"k"},"increments":{"x":1}}"#;
                let now = later(minutes.load(Relaxed));
                post(store, now, &writer.to_string(), body).await.unwrap();
                acknowledged.fetch_add(1, Relaxed);
            }
        }
    });
    let writing = async {
        join_all(writers).await;
        done.store(true, Relaxed);
    };
    let reading = async {
        let mut queries = 0_u32;
        while !done.load(Relaxed) {
            let _guard = under_way.read().await;
            let before = acknowledged.load(Relaxed);
            let shown = total(&test).await;
            let after = sent.load(Relaxed);
            assert!((before..=after).contains(&shown), "{before} <= {shown} <= {after}");
            queries += 1;
        }
        queries
    };
    let keeping = async {
        let keeper = test.another();
        let (mut widest, mut folded) = (1, Folded::default());
        let mut step = 0_u64;
        while !done.load(Relaxed) {
            {
                let _nothing_under_way = under_way.write().await;
                minutes.fetch_add(21, Relaxed);
            }
            // Conflicts come and go, so the spread is raised and lowered.
            step += 1;
            proxy.set_hold((step % 16 < 4).then_some(Duration::from_millis(2)));
            let _guard = under_way.read().await;
            let kept = keep_house(&keeper, later(minutes.load(Relaxed))).await;
            widest = widest.max(cells(&test).await);
            folded.absorbed += kept.folded.absorbed;
            folded.emptied += kept.folded.emptied;
            folded.completed += kept.folded.completed;
            if kept.narrowed_to.is_some() {
                was_narrowed.store(true, Relaxed);
            }
        }
        (widest, folded)
    };
    let ((), queries, (widest, folded)) = tokio::join!(writing, reading, keeping);
    let expected = sent.load(Relaxed);
    assert_eq!(total(&test).await, expected);
    assert!(queries > 0 && widest > 1, "{queries} queries, {widest} partitions");
    assert!(was_narrowed.load(Relaxed), "the spread was never lowered");
    assert!(folded.absorbed > 0 && folded.emptied > 0 && folded.completed > 0, "{folded:?}");

    // When all is quiet, one cell is left, and the sum with it.
    for _ in 0..8 {
        minutes.fetch_add(21, Relaxed);
        keep_house(&test.store, later(minutes.load(Relaxed))).await;
    }
    assert_eq!(cells(&test).await, 1);
    assert_eq!(total(&test).await, expected);
    assert_eq!(local_dynamodb::audit(&test.client, &test.settings.table).await.unwrap(), []);
}

async fn total(test: &TestStore) -> u64 {
    let summary = test.store.summary(&dimension(), NOW, soon()).await.unwrap();
    let sum = summary.total().counters.values().next();
    sum.map_or(0, |sum| sum.to_string().parse().unwrap())
}

#[tokio::test]
async fn housekeeping_of_a_table_at_rest_reads_the_list_of_dimensions() {
    let test = TestStore::new().await;
    for key in 0..50 {
        test.post(&key.to_string(), &body(&key.to_string(), 1)).await;
    }
    // The first run sweeps.
    keep_house(&test.store, later(1)).await;
    for minutes in [11, 21, 600] {
        let (kept, usage) = measured(Box::pin(keep_house(&test.store, later(minutes)))).await;
        assert_eq!(kept, Housekeeping::default());
        assert!(usage.read_units <= 1.0 && usage.write_units == 0.0, "{usage}");
    }
}

#[tokio::test]
async fn a_sweep_removes_expired_gauges_of_keys_that_nobody_reports_any_more() {
    let test = TestStore::new().await;
    for key in 0..20 {
        test.post(&key.to_string(), &body(&key.to_string(), 1)).await;
    }
    let gauges_of_periods = async || {
        let items = test.client.scan().table_name(&test.settings.table).send().await.unwrap();
        let gauges = items.items().iter().flat_map(|item| item.keys());
        gauges
            .filter(|name| name.starts_with('g') && name.ends_with(":g") && name.len() > 3)
            .count()
    };
    assert_eq!(gauges_of_periods().await, 20);
    assert_eq!(keep_house(&test.store, later(5)).await.swept, 0, "nothing has expired");
    assert_eq!(keep_house(&test.store, later(60)).await.swept, 0, "once a day is enough");
    assert_eq!(keep_house(&test.store, later(24 * 60 + 5)).await.swept, 20);
    assert_eq!(gauges_of_periods().await, 0);
    let shown = test.shown_at(later(24 * 60 + 5), "d").await;
    assert!(shown.ends_with("total: c.x=20 m.m=20"), "{shown}");
}

#[tokio::test]
async fn a_sweep_leaves_what_somebody_is_writing_to_for_the_next_one() {
    let (proxy, test) = TestStore::behind_a_proxy().await;
    for key in ["a", "b"] {
        test.post(key, &body(key, 1)).await;
    }
    let held = Fault::Conflict(Which::items(|pk, sk| pk == "dim#d#0" && sk == "a"));
    let faults = (0..100).map(|at| (Operation::UpdateItem, at, held.clone()));
    proxy.set_plan(FaultPlan::script(faults));
    keep_house(&test.store, later(5)).await;
    assert_eq!(keep_house(&test.store, later(24 * 60 + 5)).await.swept, 1);
    proxy.set_plan(FaultPlan::none());
    assert_eq!(keep_house(&test.store, later(2 * 24 * 60 + 5)).await.swept, 1);
}
