//! What an export has becomes another table that means the same: exactly, once, and beside live
//! traffic.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use std::{
    num::NonZeroU32,
    sync::atomic::{AtomicBool, Ordering::Relaxed},
    time::Duration,
};

use fastrand::Rng;
use fault_proxy::{Fault, FaultPlan, Operation};
use futures_util::future::join_all;
use shared::{
    domain::{DeletionOfAllIds, Record, StatPattern, UnixSeconds},
    store::{
        Deleted, DeletionMode, DeletionRun, ExportRun, ExportedCounts, Imported, Pacer, Store,
        Workspace,
    },
};
use support::{NOW, TestStore, id, post, soon};

async fn export(store: &Store, memory: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut pacer = Pacer::new(NonZeroU32::MAX);
    let mut run = ExportRun {
        clock: || NOW,
        pacer: &mut pacer,
        patience: Duration::from_secs(60),
        workspace: Workspace { directory: std::env::temp_dir(), memory },
        progress: &mut |_| {},
        write: &mut |line| {
            lines.push(line.to_owned());
            Ok(())
        },
        counts: ExportedCounts::default(),
    };
    Box::pin(store.export(&mut run)).await.unwrap();
    assert_eq!(run.counts.nameless, 0);
    lines
}

async fn import(store: &Store, lines: &[String]) -> Vec<Imported> {
    let records: Vec<_> = lines.iter().map(|line| Record::from_json(line).unwrap()).collect();
    let mut imported = Vec::new();
    for chunk in records.chunks(7) {
        imported.extend(store.import(chunk, || NOW, soon).await.unwrap());
    }
    imported
}

async fn assert_exact(test: &TestStore) {
    let found = local_dynamodb::audit(&test.client, &test.settings.table).await.unwrap();
    assert!(found.is_empty(), "{found:?}");
}

fn random_update(random: &mut Rng) -> String {
    let dims = ["d", "größe x", "f"].map(|dimension| (dimension, random.u8(..3)));
    let named = dims.into_iter().filter(|_| random.bool());
    let long = "k#".repeat(150);
    let named = named.map(|(dim, key)| match key {
        0 => format!(r#""{dim}":"{long}{dim}""#),
        _ => format!(r#""{dim}":"key {key}""#),
    });
    let named: Vec<_> = named.collect();
    let stats = |name: &str, random: &mut Rng| {
        let stats = (0..3).filter(|_| random.u8(..4) > 0).collect::<Vec<_>>();
        let stats = stats.into_iter().map(|stat| format!(r#""{name}{stat}":{}"#, random.i64(..)));
        stats.collect::<Vec<_>>().join(",")
    };
    let (counters, increments, gauges) =
        (stats("c", random), stats("i", random), stats("g", random));
    format!(
        r#"{{"dims":{{{}}},"counters":{{{counters}}},"increments":{{{increments}}},"gauges":{{{gauges}}},
        "multiMembers":{{"m":["one","Two#{}"],"{}":["{}"]}}}}"#,
        named.join(","),
        random.u8(..),
        "s".repeat(280),
        random.u32(..)
    )
}

/// Ids that have moved about, at several times; deleted stats and a deleted id; long names.
async fn filled(seed: u64) -> TestStore {
    let test = TestStore::new().await;
    let mut random = Rng::with_seed(seed);
    for step in 0..80 {
        let name =
            format!("i/{}{}", random.u8(..6), "#".repeat(if step % 9 == 0 { 120 } else { 0 }));
        let now = UnixSeconds(NOW.0 - 720 + 9 * step);
        test.post_at(now, &name, &random_update(&mut random)).await;
    }
    let mut pacer = Pacer::new(NonZeroU32::MAX);
    let mut run = DeletionRun {
        mode: DeletionMode::Delete,
        clock: || NOW,
        pacer: &mut pacer,
        patience: Duration::from_secs(60),
        deleted: Deleted::default(),
        watch: &mut |_, _| {},
    };
    test.store.delete_id(&id("i/0"), &mut run).await.unwrap();
    let stats = DeletionOfAllIds::Stats(StatPattern::new("c1").unwrap());
    test.store.delete_of_all_ids(&stats, &mut run).await.unwrap();
    test
}

/// What queries show of all dimensions.
async fn shown(test: &TestStore) -> Vec<String> {
    let mut shown = Vec::new();
    for dimension in test.dimensions().await {
        shown.push(test.shown(&dimension).await);
    }
    shown
}

#[tokio::test]
async fn an_imported_table_shows_the_same_and_exports_the_same_bytes() {
    for seed in 0..3 {
        let test = filled(seed).await;
        let exported = export(&test.store, usize::MAX).await;
        assert_eq!(exported, export(&test.another(), 0).await, "with temporary files");
        assert!(exported.len() > 20, "{exported:#?}");
        let other = TestStore::new().await;
        import(&other.store, &exported).await;
        assert_eq!(shown(&other).await, shown(&test).await, "seed {seed}");
        assert_exact(&other).await;
        assert_eq!(export(&other.store, 4_000).await, exported, "seed {seed}");

        let again = import(&other.another(), &exported).await;
        assert!(again.iter().all(|imported| *imported == Imported::Unchanged), "{again:?}");
        assert_eq!(export(&other.store, usize::MAX).await, exported);
        // Both go on alike.
        let mut random = Rng::with_seed(seed + 100);
        for _ in 0..20 {
            let (name, body) = (format!("i/{}", random.u8(..6)), random_update(&mut random));
            test.post(&name, &body).await;
            other.post(&name, &body).await;
        }
        assert_eq!(shown(&other).await, shown(&test).await, "seed {seed}");
        assert_exact(&other).await;
    }
}

/// An id under so many keys, and with so many that it has left, that no transaction has room.
async fn post_widely(test: &TestStore) {
    for key in 0..40 {
        let dims: Vec<_> = (0..20).map(|dim| format!(r#""a{dim}":"k{key}""#)).collect();
        let dims = if key % 10 == 0 { dims.join(",") } else { format!(r#""d":"k{key}""#) };
        test.post("wide", &format!(r#"{{"dims":{{{dims}}},"counters":{{"x":{key}}}}}"#)).await;
    }
    for of in 0..3 {
        let dims: Vec<_> = (0..20).map(|dim| format!(r#""b{of}x{dim}":"k""#)).collect();
        let dims = dims.join(",");
        test.post("wide", &format!(r#"{{"dims":{{{dims}}},"counters":{{"x":{of}}}}}"#)).await;
    }
}

#[tokio::test]
async fn an_import_that_is_killed_after_any_transaction_is_completed_by_another() {
    let source = TestStore::new().await;
    post_widely(&source).await;
    let exported = export(&source.store, usize::MAX).await;
    // The ids alone, so that names are new with them.
    let ids: Vec<_> =
        exported.iter().filter(|line| line.starts_with(r#"{"id""#)).cloned().collect();
    let (proxy, test) = TestStore::behind_a_proxy().await;
    let faults = [Fault::DropAnswer, Fault::Cut, Fault::ErrorAfterCommit, Fault::DropRequest];
    let some = (0..90).step_by(3).map(|at| {
        let fault = faults[usize::try_from(at / 3).unwrap() % faults.len()].clone();
        (Operation::TransactWriteItems, at, fault)
    });
    proxy.set_plan(FaultPlan::script(some));
    let transactions = || proxy.counts().requests_of(Operation::TransactWriteItems);
    let mut kills = 0;
    loop {
        let before = transactions();
        let killed = async {
            while transactions() < before + 2 {
                tokio::task::yield_now().await;
            }
        };
        let store = test.another();
        tokio::select! {
            biased;
            () = killed => kills += 1,
            imported = import(&store, &ids) => {
                assert!(!imported.contains(&Imported::Different));
                break;
            }
        }
        proxy.settle().await;
        assert_exact(&test).await;
    }
    proxy.set_plan(FaultPlan::none());
    proxy.settle().await;
    assert!(kills >= 3, "{kills}");
    assert_exact(&test).await;
    import(&test.another(), &exported).await;
    assert_eq!(export(&test.another(), usize::MAX).await, exported);
}

#[tokio::test]
async fn an_id_that_has_reported_something_else_stays_as_it_is_and_is_reported() {
    let (source, test) = (TestStore::new().await, TestStore::new().await);
    let body = |value: u8| format!(r#"{{"dims":{{"d":"k"}},"counters":{{"x":{value}}}}}"#);
    for name in ["a", "b", "c"] {
        source.post(name, &body(5)).await;
    }
    let exported = export(&source.store, usize::MAX).await;
    test.post("b", &body(7)).await;
    test.post("c", &body(5)).await;
    let imported = import(&test.store, &exported).await;
    let of_ids: Vec<_> = exported
        .iter()
        .zip(&imported)
        .filter(|(line, _)| line.starts_with(r#"{"id""#))
        .map(|(_, imported)| *imported)
        .collect();
    assert_eq!(of_ids, [Imported::Written, Imported::Different, Imported::Unchanged]);
    assert_eq!(test.shown("d").await, "k: c.x=17\ntotal: c.x=17");
    assert_exact(&test).await;
}

#[tokio::test]
async fn an_import_beside_reports_counts_each_once() {
    let source = TestStore::new().await;
    for i in 0..60 {
        let body = format!(
            r#"{{"dims":{{"d":"k{}","e":"k"}},"counters":{{"x":{i}}},"members":{{"m":"{i}"}}}}"#,
            i % 5
        );
        source.post(&format!("old{i}"), &body).await;
    }
    let exported = export(&source.store, usize::MAX).await;
    let test = TestStore::new().await;
    let stopped = AtomicBool::new(false);
    let writers = (0..4).map(async |writer| {
        let store = test.another();
        let mut count = 0_i64;
        while !stopped.load(Relaxed) {
            count += 1;
            let body = format!(
                r#"{{"dims":{{"d":"k{}","e":"k"}},"increments":{{"x":1}},"members":{{"m":"{}"}}}}"#,
                count % 5,
                count % 60
            );
            post(&store, NOW, &format!("new{writer}"), &body).await.unwrap();
        }
        count
    });
    let imports = async {
        let (first, second) = (test.another(), test.another());
        tokio::join!(import(&first, &exported), import(&second, &exported));
        stopped.store(true, Relaxed);
    };
    let (counts, ()) = tokio::join!(join_all(writers), imports);
    let expected: i64 = counts.iter().sum::<i64>() + (0..60).sum::<i64>();
    assert_eq!(
        test.shown("e").await,
        format!("k: c.x={expected} m.m=60\ntotal: c.x={expected} m.m=60")
    );
    assert_exact(&test).await;
}

#[tokio::test]
async fn an_export_beside_reports_has_each_id_as_it_was_at_one_moment() {
    let test = TestStore::new().await;
    for i in 0..40 {
        let counters = (0..60).map(|stat| format!(r#""{}{stat}":{i}"#, "v".repeat(200)));
        let counters = counters.collect::<Vec<_>>().join(",");
        let body = format!(r#"{{"dims":{{"f":"k{i}"}},"counters":{{{counters}}}}}"#);
        test.post(&format!("fill{i}"), &body).await;
    }
    let stopped = AtomicBool::new(false);
    let writers = (0..6).map(async |writer| {
        let store = test.another();
        let mut count = 0;
        while !stopped.load(Relaxed) {
            count += 1;
            // It moves with each report, and so leaves something behind each time.
            let body = format!(r#"{{"dims":{{"d":"k{}"}},"increments":{{"x":1}}}}"#, count % 4);
            post(&store, NOW, &format!("i{writer}"), &body).await.unwrap();
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        }
    });
    let exports = async {
        let mut exports = Vec::new();
        for _ in 0..4 {
            exports.push(export(&test.another(), usize::MAX).await);
        }
        stopped.store(true, Relaxed);
        exports
    };
    let (_, exports) = tokio::join!(join_all(writers), exports);
    for exported in exports {
        for record in exported.iter().map(|line| Record::from_json(line).unwrap()) {
            let Record::Id(record) = record else { continue };
            if record.id.as_str().starts_with("fill") {
                continue;
            }
            // Each report counted one, somewhere.
            let x = &record.detail.counters.values().next().unwrap();
            let placement = record.detail.placements.values().next().unwrap();
            let held = placement.counters.of(&record.detail.counters).unwrap();
            let sums = held.values().chain(record.left.values().flat_map(|left| left.values()));
            let sum: i64 = sums.map(|sum| i64::try_from(*sum).unwrap()).sum();
            assert_eq!(sum.to_string(), x.to_string(), "{record:?}");
        }
        let other = TestStore::new().await;
        import(&other.store, &exported).await;
        assert_exact(&other).await;
    }
}
