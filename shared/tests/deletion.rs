//! What a deletion takes out, and that everything else stays exact: beside live traffic, when
//! answers are lost, and when the operator's program is killed half-way.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use std::{
    collections::BTreeMap,
    fmt::Write,
    num::NonZeroU32,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use fastrand::Rng;
use fault_proxy::{Fault, FaultPlan, Operation, Proxy, Throttle, Which};
use futures_util::future::join_all;
use shared::{
    domain::{
        DeletionOfAllIds, DimensionKey, DimensionName, KeyPrefix, KeySelection, KeyStats, Member,
        StatPattern, Sum,
    },
    store::{Deleted, DeletionMode, DeletionRun, Pacer, Store, StoreError},
};
use support::{NOW, TestStore, id, post, soon};

/// Faster than any test.
const UNBOUNDED: NonZeroU32 = NonZeroU32::MAX;

async fn run(
    store: &Store,
    mode: DeletionMode,
    work: impl AsyncFnOnce(&Store, &mut DeletionRun<'_>) -> Result<(), StoreError>,
) -> Result<Deleted, StoreError> {
    let mut pacer = Pacer::new(UNBOUNDED);
    let mut run = DeletionRun {
        mode,
        clock: || NOW,
        pacer: &mut pacer,
        patience: Duration::from_secs(60),
        deleted: Deleted::default(),
        watch: &mut |_, _| {},
    };
    work(store, &mut run).await?;
    Ok(run.deleted)
}

async fn delete_id(store: &Store, mode: DeletionMode, name: &str) -> Result<Deleted, StoreError> {
    run(store, mode, async |store, run| store.delete_id(&id(name), run).await).await
}

async fn delete_member(
    store: &Store,
    mode: DeletionMode,
    name: &str,
) -> Result<Deleted, StoreError> {
    let member = Member::new(name).unwrap();
    run(store, mode, async |store, run| store.delete_member(&member, run).await).await
}

async fn delete(
    store: &Store,
    mode: DeletionMode,
    deletion: &DeletionOfAllIds,
) -> Result<Deleted, StoreError> {
    run(store, mode, async |store, run| store.delete_of_all_ids(deletion, run).await).await
}

fn keys(dimension: &str, selection: KeySelection) -> DeletionOfAllIds {
    DeletionOfAllIds::Keys(DimensionName::new(dimension).unwrap(), selection)
}

fn key(dimension: &str, key: &str) -> DeletionOfAllIds {
    keys(dimension, KeySelection::These([DimensionKey::new(key).unwrap()].into()))
}

fn stats(pattern: &str) -> DeletionOfAllIds {
    DeletionOfAllIds::Stats(StatPattern::new(pattern).unwrap())
}

async fn assert_exact(test: &TestStore, when: &str) {
    let found = local_dynamodb::audit(&test.client, &test.settings.table).await.unwrap();
    assert!(found.is_empty(), "{when}: {found:?}");
}

/// A dimension's stats other than zeros, a line for each key that has any.
async fn nonzero(test: &TestStore, dimension: &str) -> String {
    let summary = test.summary_at(NOW, dimension).await;
    let mut lines = String::new();
    for (key, stats) in summary.keys() {
        let KeyStats { counters, gauges, gauges_current, members } = stats;
        let mut line = String::new();
        for (group, sums) in [counters, gauges, gauges_current, members].into_iter().enumerate() {
            for (stat, sum) in sums.iter().filter(|(_, sum)| **sum != Sum::ZERO) {
                write!(line, " {group}.{stat}={sum}").unwrap();
            }
        }
        if !line.is_empty() {
            writeln!(lines, "{key}:{line}").unwrap();
        }
    }
    lines
}

/// An update at random: some dimensions, under keys that change, and some stats.
fn random_update(random: &mut Rng) -> String {
    let dims = ["d", "e", "f"].map(|dimension| (dimension, random.u8(..3)));
    let named = dims.into_iter().filter(|_| random.bool());
    let named: Vec<_> = named.map(|(dim, key)| format!(r#""{dim}":"k{key}""#)).collect();
    let left_out = random.u8(..4);
    let mut stats = |name: &str| {
        let mut values = Vec::new();
        for stat in (0..3).filter(|stat| *stat != left_out) {
            values.push(format!(r#""{name}{stat}":{}"#, random.i32(-100..100)));
        }
        values.join(",")
    };
    let (counters, increments) = (stats("c"), stats("i"));
    format!(
        r#"{{"dims":{{{}}},"counters":{{{counters}}},"increments":{{{increments}}}}}"#,
        named.join(",")
    )
}

#[tokio::test]
async fn what_is_left_after_an_id_is_deleted_is_what_the_others_have_reported() {
    for seed in 0..8 {
        let (test, others) = (TestStore::new().await, TestStore::new().await);
        let mut random = Rng::with_seed(seed);
        for _ in 0..60 {
            let name = format!("i{}", random.u8(..4));
            let update = random_update(&mut random);
            test.post(&name, &update).await;
            if name != "i0" {
                others.post(&name, &update).await;
            }
        }
        delete_id(&test.store, DeletionMode::Delete, "i0").await.unwrap();
        for dimension in ["d", "e", "f"] {
            let left = nonzero(&test, dimension).await;
            assert_eq!(left, nonzero(&others, dimension).await, "seed {seed}, {dimension}");
        }
        assert_exact(&test, &format!("seed {seed}")).await;
        assert_eq!(test.store.detail(&id("i0"), soon()).await.unwrap(), None);
        let again = delete_id(&test.store, DeletionMode::Delete, "i0").await.unwrap();
        assert_eq!(again, Deleted::default(), "nothing is left of it");
    }
}

#[tokio::test]
async fn a_deleted_id_counts_from_zero_again_and_its_gauges_are_gone() {
    let test = TestStore::new().await;
    let report = r#"{"dims":{"d":"k"},"counters":{"x":5},"increments":{"y":2},"gauges":{"g":7}}"#;
    test.post("a", report).await;
    test.post("b", r#"{"dims":{"d":"k"},"counters":{"x":1},"gauges":{"g":1}}"#).await;
    delete_id(&test.store, DeletionMode::Delete, "a").await.unwrap();
    assert_eq!(test.shown("d").await, "k: c.x=1 c.y=0 now.g=1\ntotal: c.x=1 c.y=0 now.g=1");
    test.post("a", report).await;
    assert_eq!(test.shown("d").await, "k: c.x=6 c.y=2 now.g=8\ntotal: c.x=6 c.y=2 now.g=8");
    assert_exact(&test, "after another report").await;
}

/// So many keys that an id leaves behind, and so many dimensions, that no transaction has room for
/// all.
async fn post_widely(test: &TestStore, name: &str) {
    for key in 0..60 {
        let dims: Vec<_> = (0..20).map(|dim| format!(r#""a{dim}":"k{key}""#)).collect();
        let dims = if key % 10 == 0 { dims.join(",") } else { format!(r#""d":"k{key}""#) };
        test.post(name, &format!(r#"{{"dims":{{{dims}}},"counters":{{"x":{key}}}}}"#)).await;
    }
    for of in 0..3 {
        let dims: Vec<_> = (0..20).map(|dim| format!(r#""b{of}x{dim}":"k""#)).collect();
        let dims = dims.join(",");
        test.post(name, &format!(r#"{{"dims":{{{dims}}},"counters":{{"x":{of}}}}}"#)).await;
    }
}

#[tokio::test]
async fn a_preview_finds_what_is_deleted_and_writes_nothing() {
    let test = TestStore::new().await;
    post_widely(&test, "a").await;
    test.requests.take();
    let preview = delete_id(&test.store, DeletionMode::Preview, "a").await.unwrap();
    let (operations, _) = test.requests.take();
    assert!(operations.iter().all(|operation| ["BatchGetItem", "Query"].contains(&&**operation)));
    assert!(preview.departures > 100 && preview.rollups > 160, "{preview:?}");
    let deleted = delete_id(&test.store, DeletionMode::Delete, "a").await.unwrap();
    assert_eq!(deleted, preview);
    assert_exact(&test, "deleted").await;
}

#[tokio::test]
async fn a_deletion_that_is_killed_after_any_transaction_is_completed_by_another() {
    let (proxy, test) = TestStore::behind_a_proxy().await;
    post_widely(&test, "a").await;
    test.post("b", r#"{"dims":{"d":"k1"},"counters":{"x":1}}"#).await;
    let transactions = || proxy.counts().requests_of(Operation::TransactWriteItems);
    let mut kills = 0;
    loop {
        let before = transactions();
        let killed = async {
            while transactions() == before {
                tokio::task::yield_now().await;
            }
        };
        let deletion = delete_id(&test.store, DeletionMode::Delete, "a");
        tokio::select! {
            biased;
            () = killed => kills += 1,
            done = deletion => {
                done.unwrap();
                break;
            }
        }
        proxy.settle().await;
        assert_exact(&test, &format!("killed {kills} times")).await;
    }
    assert!(kills >= 4, "{kills}");
    assert_eq!(nonzero(&test, "d").await, "k1: 0.x=1\n");
    assert_eq!(nonzero(&test, "b1x1").await, "");
}

#[tokio::test]
async fn a_deletion_whose_answers_are_lost_takes_out_nothing_twice() {
    let (proxy, test) = TestStore::behind_a_proxy().await;
    post_widely(&test, "a").await;
    test.post("b", r#"{"dims":{"d":"k1"},"counters":{"x":1}}"#).await;
    let faults = [Fault::DropAnswer, Fault::Cut, Fault::ErrorAfterCommit, Fault::DropRequest];
    let every_other = (0..40).step_by(2).map(|at| {
        let fault = faults[usize::try_from(at / 2).unwrap() % faults.len()].clone();
        (Operation::TransactWriteItems, at, fault)
    });
    proxy.set_plan(FaultPlan::script(every_other));
    delete_id(&test.store, DeletionMode::Delete, "a").await.unwrap();
    proxy.set_plan(FaultPlan::none());
    proxy.settle().await;
    assert_exact(&test, "with lost answers").await;
    assert_eq!(nonzero(&test, "d").await, "k1: 0.x=1\n");
}

#[tokio::test]
async fn a_deletion_waits_for_writers_of_the_same_rollups() {
    let (proxy, test) = TestStore::behind_a_proxy().await;
    test.post("a", r#"{"dims":{"d":"k"},"counters":{"x":5}}"#).await;
    test.post("b", r#"{"dims":{"d":"k"},"counters":{"x":1}}"#).await;
    let conflict = Fault::Conflict(Which::items(|pk, _| pk.starts_with("dim#")));
    let conflicts = (0..5).map(|at| (Operation::TransactWriteItems, at, conflict.clone()));
    proxy.set_plan(FaultPlan::script(conflicts));
    delete_id(&test.store, DeletionMode::Delete, "a").await.unwrap();
    assert_eq!(test.shown("d").await, "k: c.x=1\ntotal: c.x=1");
}

/// Writers of some ids, until they are stopped. Each counts up, and lets others have so many turns
/// after each report. Returns the last value of each.
async fn write_until(
    test: &TestStore,
    stopped: &AtomicBool,
    names: std::ops::Range<u32>,
    pause: u32,
) -> BTreeMap<u32, i64> {
    let writers = names.map(async |name| {
        let store = test.another();
        let mut random = Rng::with_seed(name.into());
        let mut last = 0;
        while !stopped.load(Relaxed) {
            last += 1;
            let key = random.u8(..4);
            let body = format!(
                r#"{{"dims":{{"d":"k{key}","e":"k"}},"counters":{{"x":{last}}},"gauges":{{"g":1}}}}"#
            );
            post(&store, NOW, &format!("i{name}"), &body).await.unwrap();
            for _ in 0..pause {
                tokio::task::yield_now().await;
            }
        }
        (name, last)
    });
    join_all(writers).await.into_iter().collect()
}

#[tokio::test]
async fn what_others_report_during_a_deletion_stays_exact() {
    let test = TestStore::new().await;
    for name in 0..4 {
        for key in 0..30 {
            let body = format!(r#"{{"dims":{{"d":"k{key}","e":"k"}},"counters":{{"x":{key}}}}}"#);
            test.post(&format!("i{name}"), &body).await;
        }
    }
    let stopped = AtomicBool::new(false);
    let delete = async {
        // Of these, i0 goes on reporting.
        for name in ["i0", "i1", "i0"] {
            delete_id(&test.store, DeletionMode::Delete, name).await.unwrap();
        }
        assert_eq!(test.store.detail(&id("i1"), soon()).await.unwrap(), None);
        stopped.store(true, Relaxed);
    };
    let (last, (), _) = tokio::join!(
        write_until(&test, &stopped, 2..5, 0),
        delete,
        write_until(&test, &stopped, 0..1, 100)
    );
    assert_exact(&test, "beside writers").await;
    delete_id(&test.store, DeletionMode::Delete, "i0").await.unwrap();
    assert_exact(&test, "afterwards").await;
    let expected: i64 = last.values().sum();
    let counted = test.summary_at(NOW, "e").await;
    let counted = counted.total().counters.values().next().copied().unwrap();
    assert_eq!(counted, Sum::from(expected));
}

/// Members under 130 keys of two dimensions: `m` in the sets of `u` everywhere, and in those of `v`
/// under some of the keys.
async fn post_members(test: &TestStore) {
    for key in 0..130 {
        let v = if key % 10 == 0 { "m" } else { "n" };
        let body = format!(
            r#"{{"dims":{{"d":"k{key}","e":"all"}},"multiMembers":{{"u":["m","n{key}"],"v":["{v}"]}}}}"#
        );
        test.post("a", &body).await;
    }
}

#[tokio::test]
async fn a_deleted_member_is_in_no_set_and_counts_again_when_it_is_reported_again() {
    let test = TestStore::new().await;
    post_members(&test).await;
    let shown = test.summary_at(NOW, "d").await;
    let preview = delete_member(&test.store, DeletionMode::Preview, "m").await.unwrap();
    assert_eq!(preview.members, 130 + 13 + 2);
    assert_eq!((preview.shards, preview.rollups), (preview.members, preview.members));
    assert_eq!(test.summary_at(NOW, "d").await, shown, "a preview changes nothing");
    let deleted = delete_member(&test.store, DeletionMode::Delete, "m").await.unwrap();
    assert_eq!(deleted, preview);
    assert_exact(&test, "deleted").await;
    assert!(test.shown("d").await.ends_with("total: m.u=130 m.v=117"));
    assert_eq!(test.shown("e").await, "all: m.u=130 m.v=1\ntotal: m.u=130 m.v=1");
    let again = delete_member(&test.store, DeletionMode::Delete, "m").await.unwrap();
    assert_eq!(again, Deleted::default(), "nothing is left of it");
    test.post("b", r#"{"dims":{"d":"k0"},"members":{"u":"m","v":"m"}}"#).await;
    assert!(test.shown("d").await.ends_with("total: m.u=131 m.v=118"));
    assert_exact(&test, "reported again").await;
}

#[tokio::test]
async fn a_member_is_deleted_once_from_each_set_whatever_answers_are_lost_or_whoever_is_killed() {
    let (proxy, test) = TestStore::behind_a_proxy().await;
    post_members(&test).await;
    let faults = [Fault::DropAnswer, Fault::Cut, Fault::ErrorAfterCommit, Fault::DropRequest];
    let every_other = (0..400).step_by(2).map(|at| {
        let fault = faults[usize::try_from(at / 2).unwrap() % faults.len()].clone();
        (Operation::TransactWriteItems, at, fault)
    });
    proxy.set_plan(FaultPlan::script(every_other));
    let transactions = || proxy.counts().requests_of(Operation::TransactWriteItems);
    let before = transactions();
    let killed = async {
        while transactions() < before + 50 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        biased;
        () = killed => {}
        _ = delete_member(&test.store, DeletionMode::Delete, "m") => panic!("there is more to delete"),
    }
    proxy.settle().await;
    assert_exact(&test, "killed").await;
    delete_member(&test.store, DeletionMode::Delete, "m").await.unwrap();
    proxy.set_plan(FaultPlan::none());
    proxy.settle().await;
    assert_exact(&test, "deleted").await;
    assert!(test.shown("d").await.ends_with("total: m.u=130 m.v=117"));
}

#[tokio::test]
async fn members_that_are_reported_during_a_deletion_are_counted_once() {
    let test = TestStore::new().await;
    post_members(&test).await;
    let reports = (0..130).map(async |key| {
        // Some of the reports come before the deletion, and some after it.
        let body = format!(
            r#"{{"dims":{{"d":"k{key}","e":"all"}},"multiMembers":{{"u":["m","o{key}"]}}}}"#
        );
        post(&test.another(), NOW, &format!("i{key}"), &body).await.unwrap();
    });
    let (deleted, _) =
        tokio::join!(delete_member(&test.store, DeletionMode::Delete, "m"), join_all(reports));
    deleted.unwrap();
    assert_exact(&test, "beside writers").await;
    let all = test.summary_at(NOW, "e").await;
    let all = all.total().members.values().next().copied().unwrap();
    assert!([Sum::from(260), Sum::from(261)].contains(&all), "{all}");
}

/// More rollups than one transaction takes.
#[tokio::test]
async fn an_id_that_counts_under_a_hundred_dimensions_is_deleted_in_steps() {
    let test = TestStore::new().await;
    for dimension in 0..100 {
        let body = format!(r#"{{"dims":{{"d{dimension}":"k"}},"counters":{{"c{dimension}":1}}}}"#);
        test.post("a", &body).await;
    }
    let deleted = delete_id(&test.store, DeletionMode::Delete, "a").await.unwrap();
    assert_eq!((deleted.ids, deleted.rollups), (1, 100));
    assert_exact(&test, "deleted").await;
    assert_eq!(nonzero(&test, "d99").await, "");
}

#[tokio::test]
async fn a_preview_counts_every_sum_that_is_taken_out() {
    let test = TestStore::new().await;
    let report = |key: &str, value: u32| {
        format!(r#"{{"dims":{{"d":"{key}"}},"counters":{{"x":{value},"y":{value},"z":{value}}}}}"#)
    };
    test.post("a", &report("old", 5)).await;
    test.post("a", &report("new", 7)).await;
    for (deletion, sums, departures) in [
        // What it left under the old key, and what it added under the new one.
        (None, 6, 1),
        (Some(stats("x")), 2, 1),
        (Some(key("d", "old")), 3, 1),
        (Some(key("d", "new")), 3, 0),
    ] {
        let preview = match &deletion {
            None => delete_id(&test.store, DeletionMode::Preview, "a").await.unwrap(),
            Some(some) => delete(&test.store, DeletionMode::Preview, some).await.unwrap(),
        };
        assert_eq!((preview.sums, preview.departures), (sums, departures), "{deletion:?}");
    }
}

#[tokio::test]
async fn a_deleted_key_is_gone_and_ids_that_report_there_count_from_then_on() {
    let test = TestStore::new().await;
    let report = |key: &str, x: u32| {
        format!(
            r#"{{"dims":{{"d":"{key}","e":"k"}},"counters":{{"x":{x},"z":0}},"members":{{"m":"{x}"}}}}"#
        )
    };
    test.post("a", &report("gone", 5)).await;
    test.post("b", &report("gone", 7)).await;
    test.post("b", &report("stays", 9)).await;
    let others = test.shown("e").await;
    let preview = delete(&test.store, DeletionMode::Preview, &key("d", "gone")).await.unwrap();
    assert_eq!((preview.ids, preview.departures, preview.members, preview.keys), (1, 1, 2, 1));
    // Each member has an item of a set. The rollup loses what an id holds, what another left, and both members.
    assert_eq!((preview.shards, preview.rollups), (2, 4));
    assert_exact(&test, "previewed").await;
    let deleted = delete(&test.store, DeletionMode::Delete, &key("d", "gone")).await.unwrap();
    assert_eq!(deleted, preview);
    assert_exact(&test, "deleted").await;
    assert_eq!(test.shown("d").await, "stays: c.x=2 c.z=0 m.m=1\ntotal: c.x=2 c.z=0 m.m=1");
    assert_eq!(test.shown("e").await, others, "what counts elsewhere stays");
    let mut scan =
        test.client.scan().table_name(&test.settings.table).into_paginator().items().send();
    while let Some(item) = scan.next().await {
        assert!(!format!("{item:?}").contains("gone"), "{item:?}");
    }
    let again = delete(&test.store, DeletionMode::Delete, &key("d", "gone")).await.unwrap();
    assert_eq!(again, Deleted::default(), "nothing is left of it");

    // This process knows the key, and that is what it is wrong about.
    test.post("a", &report("gone", 6)).await;
    test.post("c", &report("gone", 100)).await;
    assert_exact(&test, "reported again").await;
    let shown = test.shown("d").await;
    assert!(shown.starts_with("gone: c.x=101 c.z=0 m.m=2\n"), "{shown}");
}

#[tokio::test]
async fn a_key_that_an_id_is_at_without_counting_there_comes_back_with_its_first_count() {
    let test = TestStore::new().await;
    test.post("a", r#"{"dims":{"d":"k"},"counters":{"x":5}}"#).await;
    test.post("b", r#"{"dims":{"d":"k"},"members":{"m":"1"}}"#).await;
    delete(&test.store, DeletionMode::Delete, &key("d", "k")).await.unwrap();
    // Members that are known are not counted again, so b comes to the key and counts nothing.
    let other = test.another();
    post(&other, NOW, "b", r#"{"dims":{"d":"k"},"members":{"m":"1"}}"#).await.unwrap();
    post(&other, NOW, "b", r#"{"dims":{"d":"k"},"counters":{"x":3}}"#).await.unwrap();
    post(&test.store, NOW, "a", r#"{"dims":{"d":"k"},"counters":{"x":6}}"#).await.unwrap();
    assert_exact(&test, "reported again").await;
    assert_eq!(test.shown("d").await, "k: c.x=4 m.m=1\ntotal: c.x=4 m.m=1");
}

#[tokio::test]
async fn a_whole_dimension_loses_its_keys_with_long_names_too() {
    let test = TestStore::new().await;
    let (long_key, long_stat) = ("k".repeat(300), "s".repeat(290));
    for (i, key) in ["a", "b#c", &long_key].into_iter().enumerate() {
        let body = format!(
            r#"{{"dims":{{"d":"{key}","e":"k"}},"counters":{{"{long_stat}":{i},"x":1}},"members":{{"{long_stat}":"{i}"}}}}"#
        );
        test.post("a", &body).await;
        test.post(&format!("i{i}"), &body).await;
    }
    let others = test.shown("e").await;
    let all = keys("d", KeySelection::All);
    let preview = delete(&test.store, DeletionMode::Preview, &all).await.unwrap();
    let deleted = delete(&test.store, DeletionMode::Delete, &all).await.unwrap();
    assert_eq!(deleted, preview);
    assert_eq!((deleted.keys, deleted.members), (3, 3));
    assert_exact(&test, "deleted").await;
    assert_eq!(test.shown("d").await, "total:");
    assert_eq!(test.shown("e").await, others);
    assert_eq!(test.dimensions().await, ["e"]);

    // This process knows the dimension and its keys, and another one knows neither.
    let body = r#"{"dims":{"d":"a"},"counters":{"x":3}}"#;
    post(&test.store, NOW, "a", body).await.unwrap();
    assert_exact(&test, "reported again").await;
    assert_eq!(test.dimensions().await, ["d", "e"]);
    post(&test.another(), NOW, "new", body).await.unwrap();
    assert_exact(&test, "reported by another").await;
    assert_eq!(test.shown("d").await, "a: c.x=5\ntotal: c.x=5");
}

#[tokio::test]
async fn keys_with_a_prefix_go_and_all_others_stay_exact_also_where_names_are_long() {
    let test = TestStore::new().await;
    let (long, longer) = (format!("bot{}", "k".repeat(300)), format!("bob{}", "k".repeat(300)));
    for (i, key) in ["bot1", "bot#2", &long, "bo", "bob", &longer].into_iter().enumerate() {
        let body = format!(
            r#"{{"dims":{{"d":"{key}","e":"k"}},"counters":{{"x":{}}},"members":{{"m":"{i}"}}}}"#,
            i + 1
        );
        test.post("mover", &body).await;
        test.post(&format!("i{i}"), &body).await;
    }
    let others = test.shown("e").await;
    let bots = keys("d", KeySelection::WithPrefix(KeyPrefix::new("bot").unwrap()));
    let preview = delete(&test.store, DeletionMode::Preview, &bots).await.unwrap();
    let deleted = delete(&test.store, DeletionMode::Delete, &bots).await.unwrap();
    assert_eq!(deleted, preview);
    assert_eq!((deleted.keys, deleted.members, deleted.ids, deleted.departures), (3, 3, 3, 3));
    assert_exact(&test, "deleted").await;
    assert_eq!(
        test.shown("d").await,
        format!("bo: c.x=5 m.m=1\nbob: c.x=6 m.m=1\n{longer}: c.x=7 m.m=1\ntotal: c.x=18 m.m=3")
    );
    assert_eq!(test.shown("e").await, others);
    let again = delete(&test.store, DeletionMode::Delete, &bots).await.unwrap();
    assert_eq!(again, Deleted::default());
}

#[tokio::test]
async fn a_deleted_stat_is_shown_nowhere_and_counts_from_zero_as_in_the_first_statshub() {
    let test = TestStore::new().await;
    let report = r#"{"dims":{"d":"k","e":"k"},"counters":{"bad_a":5,"good":1},"increments":{"bad_b":2},
        "gauges":{"bad_g":3},"members":{"bad_m":"1","good_m":"1"}}"#;
    test.post("a", report).await;
    test.post("b", r#"{"dims":{"d":"k","e":"k"},"counters":{"bad_a":5,"good":1}}"#).await;
    test.post("b", r#"{"dims":{"d":"other"},"counters":{"bad_a":9,"good":2}}"#).await;
    let preview = delete(&test.store, DeletionMode::Preview, &stats("bad*")).await.unwrap();
    let deleted = delete(&test.store, DeletionMode::Delete, &stats("bad*")).await.unwrap();
    assert_eq!(deleted, preview);
    assert_exact(&test, "deleted").await;
    assert_eq!(
        test.shown("d").await,
        "k: c.good=2 m.good_m=1\nother: c.good=1\ntotal: c.good=3 m.good_m=1"
    );
    let again = delete(&test.store, DeletionMode::Delete, &stats("bad*")).await.unwrap();
    assert_eq!(again, Deleted::default(), "nothing is left of it");
    test.post("a", report).await;
    assert_exact(&test, "reported again").await;
    let shown = test.shown("e").await;
    assert!(shown.starts_with("k: c.bad_a=5 c.bad_b=2 c.good=2 now.bad_g=3 m.bad_m=1"), "{shown}");
}

#[tokio::test]
async fn keys_and_stats_are_deleted_exactly_whatever_is_lost_whenever_the_program_is_killed() {
    for deletion in [key("d", "k1"), stats("?")] {
        let (proxy, test) = TestStore::behind_a_proxy().await;
        for name in 0..12 {
            for key in 0..3 {
                let body = format!(
                    r#"{{"dims":{{"d":"k{key}"}},"counters":{{"x":{name},"y":{key}}},"members":{{"m":"{name}"}}}}"#
                );
                test.post(&format!("i{name}"), &body).await;
            }
        }
        let faults = [Fault::DropAnswer, Fault::Cut, Fault::ErrorAfterCommit, Fault::DropRequest];
        let some = (0..4_000).step_by(3).map(|at| {
            let fault = faults[usize::try_from(at / 3).unwrap() % faults.len()].clone();
            (Operation::TransactWriteItems, at, fault)
        });
        proxy.set_plan(FaultPlan::script(some));
        let transactions = || proxy.counts().requests_of(Operation::TransactWriteItems);
        let mut kills = 0;
        loop {
            let before = transactions();
            let killed = async {
                while transactions() < before + 8 {
                    tokio::task::yield_now().await;
                }
            };
            tokio::select! {
                biased;
                () = killed => kills += 1,
                done = delete(&test.store, DeletionMode::Delete, &deletion) => {
                    done.unwrap();
                    break;
                }
            }
            proxy.settle().await;
            assert_exact(&test, &format!("{deletion:?} killed {kills} times")).await;
        }
        proxy.set_plan(FaultPlan::none());
        proxy.settle().await;
        assert_exact(&test, &format!("{deletion:?}")).await;
        assert!(kills >= 2, "{kills}");
        let shown = test.shown("d").await;
        let gone = if matches!(deletion, DeletionOfAllIds::Stats(_)) { "x=" } else { "k1" };
        assert!(!shown.contains(gone), "{shown}");
    }
}

#[tokio::test]
async fn what_is_reported_while_a_key_is_deleted_is_exact_wherever_it_counts() {
    let test = TestStore::new().await;
    for name in 0..6 {
        for key in 0..4 {
            let body = format!(r#"{{"dims":{{"d":"k{key}","e":"k"}},"counters":{{"x":{key}}}}}"#);
            test.post(&format!("i{name}"), &body).await;
        }
    }
    let stopped = AtomicBool::new(false);
    let deletions = async {
        for _ in 0..5 {
            for name in ["k0", "k1", "k2", "k3"] {
                delete(&test.store, DeletionMode::Delete, &key("d", name)).await.unwrap();
            }
        }
        stopped.store(true, Relaxed);
    };
    let (last, ()) = tokio::join!(write_until(&test, &stopped, 0..6, 20), deletions);
    assert_exact(&test, "beside writers").await;
    let counted = test.summary_at(NOW, "e").await;
    let counted = counted.total().counters.values().next().copied().unwrap();
    assert_eq!(counted, Sum::from(last.values().sum::<i64>()));
}

#[tokio::test]
async fn what_is_reported_while_dimensions_are_deleted_is_exact_and_listed() {
    let test = TestStore::new().await;
    let stopped = AtomicBool::new(false);
    let all = keys("d", KeySelection::All);
    let deletions = async {
        for _ in 0..20 {
            delete(&test.store, DeletionMode::Delete, &all).await.unwrap();
            assert_exact(&test, "with reports that are on their way").await;
        }
        stopped.store(true, Relaxed);
    };
    // Few reports, so that the dimension is empty now and then.
    tokio::join!(write_until(&test, &stopped, 0..2, 2_000), deletions);
    assert_exact(&test, "beside writers").await;
    let is_shown = test.shown("d").await != "total:";
    assert_eq!(test.dimensions().await.contains(&"d".to_owned()), is_shown);
}

/// Lets the first partition of the dimension `d` take no writes.
fn fill_first_partition(proxy: &Proxy) {
    let fault = Fault::Throttle(Throttle::Cancelled(Which::items(|pk, _| pk == "dim#d#0")));
    let faults = (0..1_000).map(|at| (Operation::TransactWriteItems, at, fault.clone()));
    proxy.set_plan(FaultPlan::script(faults));
}

#[tokio::test]
async fn a_key_whose_dimension_is_spread_loses_its_numbers_and_stays_until_it_is_narrow() {
    let (proxy, test) = TestStore::behind_a_proxy().await;
    for name in 0..8 {
        test.post(&format!("i{name}"), r#"{"dims":{"d":"k"},"counters":{"x":1,"y":2}}"#).await;
    }
    fill_first_partition(&proxy);
    for name in 0..8 {
        test.post(&format!("i{name}"), r#"{"dims":{"d":"k"},"counters":{"x":5}}"#).await;
    }
    proxy.set_plan(FaultPlan::none());
    let stat = delete(&test.store, DeletionMode::Delete, &stats("x")).await.unwrap();
    assert_eq!((stat.ids, stat.keys_left), (8, 0));
    assert_eq!(test.shown("d").await, "k: c.y=16\ntotal: c.y=16", "gone from all cells");
    assert_exact(&test, "a stat was deleted").await;
    let deleted = delete(&test.store, DeletionMode::Delete, &key("d", "k")).await.unwrap();
    assert_eq!((deleted.keys, deleted.keys_left), (0, 1));
    assert_eq!(test.shown("d").await, "total:");
    assert_exact(&test, "a key was deleted").await;
    // Folding and narrowing go on as if nothing had happened.
    for minutes in [0, 15, 40, 65, 90, 135] {
        let now = NOW.after(Duration::from_secs(minutes * 60));
        test.store.keep_house(|| now, soon()).await.unwrap();
        assert_exact(&test, "folded").await;
    }
    let deleted = delete(&test.store, DeletionMode::Delete, &key("d", "k")).await.unwrap();
    assert_eq!((deleted.keys, deleted.keys_left), (1, 0));
    assert_exact(&test, "deleted when it was narrow").await;
}

#[tokio::test]
async fn a_key_stays_while_it_has_gauges_of_ids_that_have_moved_away() {
    let test = TestStore::new().await;
    test.post("a", r#"{"dims":{"d":"k"},"gauges":{"g":5}}"#).await;
    test.post("a", r#"{"dims":{"d":"other"},"counters":{"x":1}}"#).await;
    let deleted = delete(&test.store, DeletionMode::Delete, &key("d", "k")).await.unwrap();
    assert_eq!((deleted.keys, deleted.keys_left), (0, 1));
    assert!(test.shown("d").await.contains("k: now.g=5\n"));
    let mut pacer = Pacer::new(UNBOUNDED);
    let mut later = DeletionRun {
        mode: DeletionMode::Delete,
        clock: || NOW.after(Duration::from_secs(13 * 60)),
        pacer: &mut pacer,
        patience: Duration::from_secs(60),
        deleted: Deleted::default(),
        watch: &mut |_, _| {},
    };
    test.store.delete_of_all_ids(&key("d", "k"), &mut later).await.unwrap();
    assert_eq!((later.deleted.keys, later.deleted.keys_left), (1, 0));
    assert_exact(&test, "gauges have expired").await;
}

#[tokio::test]
async fn deletions_and_reports_that_conflict_as_on_the_real_service_stay_exact() {
    let (proxy, test) = TestStore::behind_a_proxy().await;
    for name in 0..6 {
        test.post(&format!("i{name}"), r#"{"dims":{"d":"k0","e":"k"},"counters":{"x":1}}"#).await;
    }
    proxy.set_hold(Some(Duration::from_millis(5)));
    let stopped = AtomicBool::new(false);
    let deletions = async {
        for round in 0..12 {
            let deletion = [key("d", "k0"), key("d", "k1"), stats("y")].into_iter().nth(round % 3);
            delete(&test.store, DeletionMode::Delete, &deletion.unwrap()).await.unwrap();
            delete_id(&test.store, DeletionMode::Delete, "i0").await.unwrap();
        }
        stopped.store(true, Relaxed);
    };
    let (last, ()) = tokio::join!(write_until(&test, &stopped, 1..6, 100), deletions);
    proxy.set_hold(None);
    assert!(proxy.counts().hold_conflicts > 0);
    assert_exact(&test, "beside writers").await;
    let counted = test.summary_at(NOW, "e").await;
    let counted = counted.total().counters.values().next().copied().unwrap();
    assert_eq!(counted, Sum::from(last.values().sum::<i64>()));
}
