//! Whatever is wrong with the numbers of a table is found, reported by name and repaired, beside
//! live traffic too; and nothing else is.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use std::{
    collections::HashMap,
    num::NonZeroU32,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use aws_sdk_dynamodb::types::AttributeValue;
use fastrand::Rng;
use fault_proxy::{Fault, FaultPlan, Operation, Proxy, Throttle, Which};
use futures_util::future::join_all;
use shared::{
    domain::{Sum, UnixSeconds},
    store::{
        AuditMode, AuditRun, Audited, Discrepancy, Finding, Pacer, Place, Store, Subject, Workspace,
    },
};
use support::{NOW, TestStore, post};

struct Report {
    audited: Audited,
    findings: Vec<Finding>,
}

impl Report {
    /// What is wrong, in the words of the operator's program.
    fn wrong(&self) -> Vec<String> {
        let wrong = self.findings.iter().map(|finding| match finding {
            Finding::Found(wrong) => wrong.to_string(),
            Finding::Repaired(wrong) => format!("repaired {wrong}"),
            other => format!("{other:?}"),
        });
        wrong.collect()
    }
}

async fn audit(store: &Store, mode: AuditMode, memory: usize) -> Report {
    let mut findings = Vec::new();
    let mut pacer = Pacer::new(NonZeroU32::MAX);
    let mut run = AuditRun {
        mode,
        clock: || NOW,
        pacer: &mut pacer,
        patience: Duration::from_secs(60),
        workspace: Workspace { directory: std::env::temp_dir(), memory },
        most_scans: 4,
        progress: &mut |_| {},
        report: &mut |finding| findings.push(finding),
        audited: Audited::default(),
    };
    Box::pin(store.audit(&mut run)).await.unwrap();
    let audited = run.audited;
    Report { audited, findings }
}

/// Audits, in memory and with temporary files: both find the same, and a repair repairs just that.
async fn assert_found_and_repaired(test: &TestStore, expected: &[&str]) {
    assert_repaired_as(test, expected, expected).await;
}

/// The same where the numbers differ by then, since other repairs go first.
async fn assert_repaired_as(test: &TestStore, expected: &[&str], as_repaired: &[&str]) {
    let mut found = audit(&test.store, AuditMode::Report, usize::MAX).await.wrong();
    found.sort();
    assert_eq!(found, expected);
    let mut with_files = audit(&test.another(), AuditMode::Report, 0).await.wrong();
    with_files.sort();
    assert_eq!(with_files, expected);
    let mut repaired = audit(&test.another(), AuditMode::Repair, 0).await.wrong();
    repaired.sort();
    let expected = as_repaired.iter().map(|wrong| format!("repaired {wrong}"));
    assert_eq!(repaired, expected.collect::<Vec<_>>());
    let again = audit(&test.another(), AuditMode::Repair, usize::MAX).await;
    assert!(again.findings.is_empty(), "{:?}", again.findings);
    assert_eq!((again.audited.scans, again.audited.suspects), (1, 0));
}

fn key(pk: &str, sk: &str) -> HashMap<String, AttributeValue> {
    [("pk", pk), ("sk", sk)]
        .map(|(name, text)| (name.into(), AttributeValue::S(text.into())))
        .into()
}

/// Changes an item behind the back of the service.
async fn damage(test: &TestStore, pk: &str, sk: &str, expression: &str, names: &[(&str, &str)]) {
    let names = names.iter().map(|(short, name)| ((*short).to_owned(), (*name).to_owned()));
    let names: HashMap<_, _> = names.collect();
    let mut update = test.client.update_item().table_name(&test.settings.table);
    update = update.set_key(Some(key(pk, sk))).update_expression(expression);
    if expression.contains(":five") {
        update = update.expression_attribute_values(":five", AttributeValue::N("5".into()));
    }
    if expression.contains(":one") {
        update = update.expression_attribute_values(":one", AttributeValue::N("1".into()));
    }
    update.set_expression_attribute_names(Some(names)).send().await.unwrap();
}

async fn delete(test: &TestStore, pk: &str, sk: &str) {
    let delete = test.client.delete_item().table_name(&test.settings.table);
    let deleted = delete.set_key(Some(key(pk, sk))).return_values("ALL_OLD".into()).send().await;
    assert!(deleted.unwrap().attributes.is_some(), "{pk} {sk} is there to be deleted");
}

async fn items(test: &TestStore, pk_begins_with: &str) -> Vec<(String, String)> {
    let all = test.client.scan().table_name(&test.settings.table).send().await.unwrap();
    let string = |value: &AttributeValue| value.as_s().unwrap().clone();
    let keys = all.items().iter().map(|item| (string(&item["pk"]), string(&item["sk"])));
    keys.filter(|(pk, _)| pk.starts_with(pk_begins_with)).collect()
}

/// Two ids under two keys of `d`, one of which has moved, and a set.
async fn filled() -> TestStore {
    let test = TestStore::new().await;
    test.post("a", r#"{"dims":{"d":"x","e":"k"},"counters":{"c":7},"members":{"m":"one"}}"#).await;
    test.post("b", r#"{"dims":{"d":"x"},"counters":{"c":2},"multiMembers":{"m":["two","one"]}}"#)
        .await;
    test.post("b", r#"{"dims":{"d":"y"},"increments":{"c":3}}"#).await;
    assert_found_and_repaired(&test, &[]).await;
    test
}

#[tokio::test]
async fn a_counter_that_was_changed_removed_or_made_up_is_made_right() {
    let test = filled().await;
    let shown = test.shown("d").await;
    let c = [("#c", "c:c")];
    damage(&test, "dim#d#0", "x", "ADD #c :five", &c).await;
    damage(&test, "dim#d#0", "y", "REMOVE #c", &c).await;
    damage(&test, "dim#e#0", "k", "ADD #c :five", &[("#c", "c:of_nobody")]).await;
    assert_found_and_repaired(
        &test,
        &[
            "the key k of e: counter of_nobody: stored 5, computed 0",
            "the key x of d: counter c: stored 14, computed 9",
            "the key y of d: counter c: stored 0, computed 3",
        ],
    )
    .await;
    assert_eq!(test.shown("d").await, shown);
}

#[tokio::test]
async fn numbers_of_members_become_those_of_the_sets() {
    let test = filled().await;
    damage(&test, "dim#d#0", "x", "ADD #m :five", &[("#m", "m:m")]).await;
    let sets = items(&test, "set#e#k#m").await;
    delete(&test, &sets[0].0, &sets[0].1).await;
    assert_found_and_repaired(
        &test,
        &[
            "the key k of e: members of m: stored 1, computed 0",
            "the key x of d: members of m: stored 7, computed 2",
        ],
    )
    .await;
}

#[tokio::test]
async fn a_rollup_that_is_gone_comes_back_with_its_key() {
    let test = filled().await;
    let (d, e) = (test.shown("d").await, test.shown("e").await);
    delete(&test, "dim#d#0", "x").await;
    delete(&test, "dim#e#0", "k").await;
    delete(&test, "dims", "e").await;
    delete(&test, "keys#e#0", "keys").await;
    let of_keys = [
        "the key k of e: counter c: stored 0, computed 7",
        "the key k of e: ids count there, and it is missing",
        "the key k of e: members of m: stored 0, computed 1",
        "the key x of d: counter c: stored 0, computed 9",
        "the key x of d: ids count there, and it is missing",
        "the key x of d: members of m: stored 0, computed 2",
    ];
    let found = [&["the dimension d: number of keys: stored 2, computed 1"], &of_keys[..]].concat();
    let then = [&["the dimension d: number of keys: stored 3, computed 2"], &of_keys[..]].concat();
    assert_repaired_as(&test, &found, &then).await;
    assert_eq!((test.shown("d").await, test.shown("e").await), (d, e));
    assert_eq!(test.dimensions().await, ["d", "e"]);
}

#[tokio::test]
async fn what_an_id_held_is_taken_out_if_the_id_is_gone() {
    let test = filled().await;
    delete(&test, "id#a", "detail").await;
    delete(&test, "id#b", "left#d#x").await;
    assert_found_and_repaired(
        &test,
        &[
            "the key k of e: counter c: stored 7, computed 0",
            "the key x of d: counter c: stored 9, computed 0",
        ],
    )
    .await;
}

/// A dimension `d` whose keys are spread over several partitions, its number of keys too.
async fn spread() -> (Proxy, TestStore) {
    let (proxy, test) = TestStore::behind_a_proxy().await;
    for i in 0..12 {
        if i == 4 {
            let full = Fault::Throttle(Throttle::Cancelled(Which::items(|pk, _| {
                ["dim#d#0", "keys#d#0"].contains(&pk)
            })));
            let faults = (0..1_000).map(|at| (Operation::TransactWriteItems, at, full.clone()));
            proxy.set_plan(FaultPlan::script(faults));
        }
        let body = format!(r#"{{"dims":{{"d":"k{}"}},"counters":{{"c":1}}}}"#, i % 4);
        test.post(&format!("i{i}"), &body).await;
        if i < 8 {
            let conflict = Fault::Conflict(Which::items(|pk, _| pk == "keys#d#0"));
            let body = format!(r#"{{"dims":{{"d":"new{i}"}},"counters":{{"c":1}}}}"#);
            proxy.set_plan(FaultPlan::script([(Operation::TransactWriteItems, 0, conflict)]));
            post(&test.another(), NOW, &format!("n{i}"), &body).await.unwrap();
        }
    }
    proxy.set_plan(FaultPlan::none());
    assert!(items(&test, "dim#d#").await.iter().any(|(pk, _)| pk != "dim#d#0"));
    assert!(items(&test, "keys#d#").await.len() > 1);
    (proxy, test)
}

#[tokio::test]
async fn numbers_of_keys_in_several_cells_are_made_right_and_stay_readable() {
    for direction in ["ADD #k :five", "SET #k = :one"] {
        let (_proxy, test) = spread().await;
        let counted = items(&test, "keys#d#").await;
        let (pk, sk) = counted.iter().find(|(pk, _)| pk != "keys#d#0").unwrap();
        for _ in 0..4 {
            damage(&test, pk, sk, direction, &[("#k", "keys")]).await;
        }
        damage(&test, "keys#d#0", "keys", "SET #k = :one", &[("#k", "keys")]).await;
        let found = audit(&test.store, AuditMode::Report, usize::MAX).await.wrong();
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("the dimension d: number of keys: stored "), "{found:?}");
        assert!(found[0].ends_with("computed 12"), "{found:?}");
        assert_found_and_repaired(&test, &[&found[0]]).await;
        test.post("new", r#"{"dims":{"d":"another"},"counters":{"c":1}}"#).await;
        assert_found_and_repaired(&test, &[]).await;
    }
}

#[tokio::test]
async fn readers_read_all_partitions_again_that_hold_something() {
    let (_proxy, test) = spread().await;
    let shown = test.shown("d").await;
    damage(&test, "dims", "d", "SET #c = :one", &[("#c", "cells")]).await;
    assert_ne!(test.shown("d").await, shown);
    let found = audit(&test.store, AuditMode::Report, usize::MAX).await.wrong();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("the dimension d: partitions that are read: stored 1, "));
    assert_found_and_repaired(&test, &[&found[0]]).await;
    assert_eq!(test.shown("d").await, shown);
    delete(&test, "dims", "d").await;
    let found = audit(&test.store, AuditMode::Report, usize::MAX).await.wrong();
    assert!(found[0].starts_with("the dimension d: partitions that are read: stored 0, "));
    assert_found_and_repaired(&test, &[&found[0]]).await;
    assert_eq!(test.shown("d").await, shown);
}

#[tokio::test]
async fn names_are_those_that_people_type_however_long_they_are() {
    let test = TestStore::new().await;
    let (long, stat) = ("k#".repeat(200), "s".repeat(290));
    let body = format!(
        r#"{{"dims":{{"größe x":"a#b","d":"{long}"}},"counters":{{"c":7}},"members":{{"{stat}":"one"}}}}"#
    );
    test.post(&"i".repeat(400), &body).await;
    damage(&test, "dim#gr%C3%B6%C3%9Fe x#0", "a%23b", "ADD #c :five", &[("#c", "c:c")]).await;
    let cells = items(&test, "dim#d#0").await;
    damage(&test, "dim#d#0", &cells[0].1, "ADD #m :five", &[("#m", &format!("m:{stat}"))]).await;
    assert_found_and_repaired(
        &test,
        &[
            "the key a#b of größe x: counter c: stored 12, computed 7",
            &format!("the key {long} of d: members of {stat}: stored 6, computed 1"),
        ],
    )
    .await;
    // The rollups that had the names are gone. The detail has that of the key, and nothing has that
    // of the stat.
    delete(&test, "dim#d#0", &cells[0].1).await;
    delete(&test, "dim#gr%C3%B6%C3%9Fe x#0", "a%23b").await;
    let repaired = audit(&test.store, AuditMode::Repair, usize::MAX).await;
    assert_eq!((repaired.audited.wrong, repaired.audited.repaired), (8, 6));
    let left = repaired.findings.iter().find(|finding| matches!(finding, Finding::NotRepaired(..)));
    assert!(matches!(left, Some(Finding::NotRepaired(wrong, _))
        if matches!(&wrong.subject, Subject::Members(hash) if hash.starts_with('~'))));
}

/// Writers that count up under a few keys, until they are stopped.
async fn write_until(
    test: &TestStore,
    stopped: &AtomicBool,
    writers: u32,
    members: bool,
    pause: u32,
) {
    let writers = (0..writers).map(async |writer| {
        let store = test.another();
        let mut random = Rng::with_seed(writer.into());
        let mut count = 0;
        while !stopped.load(Relaxed) {
            count += 1;
            let (key, value) = (random.u8(..3), random.i32(-100..100));
            let member = if members { count } else { count % 3 };
            let body = format!(
                r#"{{"dims":{{"d":"k{key}","e":"k{writer}"}},"counters":{{"x":{value}}},"increments":{{"y":1}},"members":{{"m":"{writer}-{member}"}}}}"#
            );
            post(&store, NOW, &format!("i{writer}"), &body).await.unwrap();
            for _ in 0..pause {
                tokio::task::yield_now().await;
            }
        }
    });
    join_all(writers).await;
}

/// More items than fit into a page of a scan, so that a scan is not of one moment. They have not
/// changed for long.
async fn fill_pages(test: &TestStore) {
    let long_ago = UnixSeconds(NOW.0 - 7_200);
    for i in 0..150 {
        let counters = (0..80).map(|stat| format!(r#""{}{stat}":{i}"#, "v".repeat(250)));
        let counters = counters.collect::<Vec<_>>().join(",");
        let body = format!(r#"{{"dims":{{"f":"k{}"}},"counters":{{{counters}}}}}"#, i % 3);
        post(&test.store, long_ago, &format!("fill{i}"), &body).await.unwrap();
    }
}

#[tokio::test]
async fn a_table_that_is_written_to_all_the_time_shows_what_is_wrong_and_nothing_else() {
    let test = TestStore::new().await;
    fill_pages(&test).await;
    let stopped = AtomicBool::new(false);
    let audits = async {
        let mut suspects = 0;
        for _ in 0..6 {
            let report = audit(&test.another(), AuditMode::Repair, usize::MAX).await;
            assert_eq!(report.audited.wrong, 0, "{:?}", report.findings);
            suspects += report.audited.suspects;
        }
        for _ in 0..3 {
            damage(&test, "dim#d#0", "k1", "ADD #c :five", &[("#c", "c:x")]).await;
            damage(&test, "dim#e#0", "k0", "ADD #c :five", &[("#c", "c:y")]).await;
            damage(&test, "keys#e#0", "keys", "ADD #c :five", &[("#c", "keys")]).await;
            let mut repaired = 0;
            for _ in 0..10 {
                let report = audit(&test.another(), AuditMode::Repair, usize::MAX).await;
                for finding in &report.findings {
                    let Finding::Repaired(Discrepancy { stored, computed, .. }) = finding else {
                        continue;
                    };
                    assert_eq!(stored.checked_sub(*computed).unwrap(), Sum::from(5), "{finding:?}");
                }
                repaired += report.audited.repaired;
                if repaired >= 3 {
                    break;
                }
            }
            assert_eq!(repaired, 3);
        }
        stopped.store(true, Relaxed);
        suspects
    };
    let (suspects, ()) = tokio::join!(audits, write_until(&test, &stopped, 4, false, 1));
    assert!(suspects > 0, "the scans were of one moment each");
    assert_found_and_repaired(&test, &[]).await;
}

#[tokio::test]
async fn repairs_at_the_same_time_add_what_is_missing_once() {
    let test = filled().await;
    damage(&test, "dim#d#0", "x", "ADD #c :five", &[("#c", "c:c")]).await;
    damage(&test, "keys#d#0", "keys", "ADD #k :five", &[("#k", "keys")]).await;
    delete(&test, "dim#e#0", "k").await;
    let stores: Vec<_> = (0..5).map(|_| test.another()).collect();
    let audits = stores.iter().map(|store| audit(store, AuditMode::Repair, usize::MAX));
    join_all(audits).await;
    // A repair that was overtaken has written nothing.
    audit(&test.store, AuditMode::Repair, usize::MAX).await;
    assert_found_and_repaired(&test, &[]).await;
}

#[tokio::test]
async fn a_repair_whose_answer_is_lost_is_not_made_twice() {
    let (proxy, test) = TestStore::behind_a_proxy().await;
    test.post("a", r#"{"dims":{"d":"x"},"counters":{"c":7}}"#).await;
    damage(&test, "dim#d#0", "x", "ADD #c :five", &[("#c", "c:c")]).await;
    let lost = (0..3).map(|at| (Operation::TransactWriteItems, at, Fault::ErrorAfterCommit));
    proxy.set_plan(FaultPlan::script(lost));
    let report = audit(&test.store, AuditMode::Repair, usize::MAX).await;
    proxy.set_plan(FaultPlan::none());
    assert_eq!(report.wrong(), ["repaired the key x of d: counter c: stored 12, computed 7"]);
    assert_found_and_repaired(&test, &[]).await;
}

/// What audits beside such writers leave undecided. They find nothing wrong.
async fn undecided_beside(writers: u32, members: bool, pause: u32, most_audits: u32) -> Vec<Place> {
    let test = TestStore::new().await;
    fill_pages(&test).await;
    let stopped = AtomicBool::new(false);
    let audits = async {
        let mut undecided = Vec::new();
        for _ in 0..most_audits {
            let report = audit(&test.another(), AuditMode::Report, usize::MAX).await;
            for finding in report.findings {
                match finding {
                    Finding::Undecided(place) => undecided.push(place),
                    wrong => panic!("{wrong:?}"),
                }
            }
            if !undecided.is_empty() {
                break;
            }
        }
        stopped.store(true, Relaxed);
        undecided
    };
    let (undecided, ()) =
        tokio::join!(audits, write_until(&test, &stopped, writers, members, pause));
    assert_found_and_repaired(&test, &[]).await;
    undecided
}

#[tokio::test]
async fn what_never_holds_still_is_reported_as_undecided_and_not_as_wrong() {
    // More ids than are looked at one by one.
    assert!(!undecided_beside(48, false, 1, 20).await.is_empty());
}

#[tokio::test]
async fn a_set_that_grows_all_the_time_is_not_reported_as_wrong() {
    let undecided = undecided_beside(2, true, 100, 1).await;
    assert!(undecided.iter().all(|place| matches!(place, Place::Key { .. })), "{undecided:?}");
}
