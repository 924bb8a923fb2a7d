//! Updates that are counted together: exact, in order, each with its own result, and for less.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::float_cmp,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use std::time::Duration;

use fastrand::Rng;
use fault_proxy::{Fault, FaultPlan, Operation, Seen, Throttle, Which};
use shared::{
    domain::{Detail, Fingerprint, Id, IdempotencyKey, StatName, Sum, Update},
    store::{Deadline, Outcome, Store, StoreError, Submission},
    table::{Revision, UpdateToken, put_detail},
    usage::{Usage, measured},
};
use support::{NOW, TestStore, id, soon};

/// An entry of a batch: an id, its update, and its idempotency key if it has one.
struct Entry {
    id: Id,
    update: Update,
    key: Option<(IdempotencyKey, Fingerprint)>,
}

impl Entry {
    fn new(id: &str, body: &str) -> Self {
        let update = Update::from_json(body.as_bytes()).unwrap();
        Self { id: Id::new(id).unwrap(), update, key: None }
    }

    fn with_key(id: &str, body: &str, key: &str) -> Self {
        let key = (IdempotencyKey::new(key).unwrap(), Fingerprint::of(body.as_bytes()));
        Self { key: Some(key), ..Self::new(id, body) }
    }
}

async fn send_before(
    store: &Store,
    entries: &[Entry],
    deadline: Deadline,
) -> Vec<Result<Outcome, StoreError>> {
    let submissions = entries.iter().map(|entry| Submission {
        id: &entry.id,
        update: &entry.update,
        idempotency: entry.key.as_ref().map(|(key, fingerprint)| (key, *fingerprint)),
    });
    store.update_all(&submissions.collect::<Vec<_>>(), NOW, deadline).await
}

async fn send(store: &Store, entries: &[Entry]) -> Vec<Result<Outcome, StoreError>> {
    send_before(store, entries, soon()).await
}

/// The outcome of each entry.
fn outcomes(results: Vec<Result<Outcome, StoreError>>) -> Vec<Outcome> {
    results.into_iter().map(Result::unwrap).collect()
}

/// An update of one counter and one gauge under `country=es` and a second dimension.
fn report(i: usize) -> String {
    format!(r#"{{"dims":{{"country":"es"}},"counters":{{"a":{i}}},"gauges":{{"g":{i}}}}}"#)
}

async fn audit(test: &TestStore) {
    let found = local_dynamodb::audit(&test.client, &test.settings.table).await.unwrap();
    assert!(found.is_empty(), "{found:?}");
}

#[tokio::test]
async fn a_hundred_updates_of_one_country_share_the_writes_of_its_rollup() {
    let (alone, together) = (TestStore::new().await, TestStore::new().await);
    let mut units = Usage::default();
    for test in [&alone, &together] {
        test.post("first", &report(0)).await;
    }
    alone.requests.take();
    for i in 1..=100 {
        let (_, usage) = measured(alone.post(&format!("i{i}"), &report(i))).await;
        units.write_units += usage.write_units;
    }
    assert_eq!(units.write_units, 400.0, "two for each detail, and two for the rollup each time");
    assert_eq!(alone.requests.take().1, 200, "round trips");

    together.requests.take();
    let entries: Vec<_> = (1..=100).map(|i| Entry::new(&format!("i{i}"), &report(i))).collect();
    let (results, usage) = measured(send(&together.store, &entries)).await;
    assert_eq!(outcomes(results), vec![Outcome::Counted; 100]);
    assert_eq!(usage.write_units, 204.0, "two for each detail, and two for the rollup twice");
    assert_eq!(usage.read_units, 100.0);
    assert_eq!(together.requests.take().1, 4, "round trips");
    assert_eq!(together.shown("country").await, alone.shown("country").await);
    audit(&together).await;
}

#[tokio::test]
async fn updates_of_one_id_are_counted_in_their_order_even_if_it_moves() {
    let body = |key: &str, value: i64| {
        format!(
            r#"{{"dims":{{"d":"{key}"}},"counters":{{"c":{value}}},"gauges":{{"g":{value}}},"increments":{{"n":1}}}}"#
        )
    };
    let moves = [("a", 5), ("b", 7), ("a", 4), ("c", 9), ("c", 9)];
    let (alone, together) = (TestStore::new().await, TestStore::new().await);
    for (key, value) in moves {
        alone.post("i", &body(key, value)).await;
    }
    let entries: Vec<_> =
        moves.iter().map(|(key, value)| Entry::new("i", &body(key, *value))).collect();
    let (results, usage) = measured(send(&together.store, &entries)).await;
    assert_eq!(outcomes(results), vec![Outcome::Counted; 5]);
    assert_eq!(together.shown("d").await, alone.shown("d").await);
    // One detail, three rollups that are new, what it left behind under two of them, the dimension,
    // and its number of keys.
    assert_eq!(usage.write_units, 2.0 * (1.0 + 3.0 + 2.0 + 1.0 + 1.0));
    audit(&together).await;
}

#[tokio::test]
async fn what_changes_nothing_costs_nothing_and_the_rest_is_written() {
    let test = TestStore::new().await;
    test.post("same", &report(1)).await;
    let entries = [Entry::new("same", &report(1)), Entry::new("new", &report(2))];
    let (results, usage) = measured(send(&test.store, &entries)).await;
    assert_eq!(outcomes(results), [Outcome::Unchanged, Outcome::Counted]);
    assert_eq!((usage.write_units, usage.updates_unchanged), (4.0, 1));
    assert!(send(&test.store, &[]).await.is_empty());
}

#[tokio::test]
async fn each_entry_has_the_result_that_it_would_have_alone() {
    let test = TestStore::with(|settings| settings.max_keys = 2).await;
    let of_key = |key: &str| format!(r#"{{"dims":{{"d":"{key}"}},"increments":{{"n":1}}}}"#);
    let known = of_key("k");
    test.post("i", &known).await;
    put_counter(&test, "full", Sum::MAX).await;
    let entries = [
        Entry::with_key("a", &known, "1"),
        Entry::new("full", &known),
        Entry::with_key("a", &known, "1"),
        Entry::with_key("a", &of_key("other"), "1"),
        Entry::new("b", &of_key("second")),
        Entry::new("c", &of_key("third")),
        Entry::new("b", &of_key("second")),
    ];
    let results = send(&test.store, &entries).await;
    let counted = |place: usize| matches!(results[place], Ok(Outcome::Counted));
    assert!(counted(0) && counted(4) && counted(6), "{results:?}");
    assert!(matches!(results[1], Err(StoreError::Overflow(_))), "{results:?}");
    assert!(matches!(results[2], Ok(Outcome::Repeated)), "{results:?}");
    assert!(matches!(results[3], Err(StoreError::KeyReused)), "{results:?}");
    assert!(matches!(results[5], Err(StoreError::TooManyKeys { .. })), "{results:?}");
    assert_eq!(test.shown("d").await, "k: c.n=2\nsecond: c.n=2\ntotal: c.n=4");
}

/// Gives an id the counter `n` without counting it.
async fn put_counter(test: &TestStore, name: &str, value: Sum) {
    let detail =
        Detail { counters: [(StatName::new("n").unwrap(), value)].into(), ..Detail::default() };
    let (table, revision) = (&test.settings.table, Revision::default());
    let put = put_detail(table, &id(name), &detail, &revision, UpdateToken(1), NOW).unwrap();
    let request = test.client.put_item().table_name(table).set_item(Some(put.item().clone()));
    request.send().await.unwrap();
}

/// 1,000 entries over 200 ids and 50 keys of two dimensions.
fn large_batch(seed: u64) -> Vec<Entry> {
    let mut random = Rng::with_seed(seed);
    let entries = (0..1_000).map(|i| {
        let body = format!(
            r#"{{"dims":{{"country":"c{}","user":"u{}"}},"counters":{{"a":{}}},"increments":{{"n":1}},"gauges":{{"g":{}}},"members":{{"m":"m{}"}}}}"#,
            random.u8(..50),
            random.u8(..50),
            random.i64(-1_000..1_000),
            random.i64(..1_000),
            random.u8(..40),
        );
        Entry::with_key(&format!("i{}", random.u8(..200)), &body, &format!("{seed}-{i}"))
    });
    entries.collect()
}

/// What both dimensions show if the entries come one by one, and what that costs.
async fn one_by_one(entries: &[Entry]) -> ([String; 2], Usage) {
    let test = TestStore::new().await;
    let ((), usage) = measured(async {
        for Entry { id, update, key } in entries {
            let idempotency = key.as_ref().map(|(key, fingerprint)| (key, *fingerprint));
            test.store.update(id, update, idempotency, NOW, soon()).await.unwrap();
        }
    })
    .await;
    ([test.shown("country").await, test.shown("user").await], usage)
}

#[tokio::test]
async fn a_thousand_entries_are_exact_and_sent_again_they_change_nothing() {
    let entries = large_batch(1);
    let test = TestStore::new().await;
    let (results, usage) = measured(send(&test.store, &entries)).await;
    assert_eq!(outcomes(results), vec![Outcome::Counted; 1_000]);
    let shown = [test.shown("country").await, test.shown("user").await];
    let (expected, alone) = one_by_one(&entries).await;
    assert_eq!(shown, expected);
    audit(&test).await;
    assert!(usage.write_units < alone.write_units, "{usage}, and {alone} one by one");

    let (again, usage) = measured(send(&test.store, &entries)).await;
    assert_eq!(outcomes(again), vec![Outcome::Repeated; 1_000]);
    assert_eq!(usage.write_units, 0.0);
    assert_eq!(shown, [test.shown("country").await, test.shown("user").await]);
}

#[tokio::test]
async fn a_batch_that_is_killed_in_between_and_met_by_faults_is_exact_once_it_is_repeated() {
    let entries = large_batch(2);
    let (proxy, test) = TestStore::behind_a_proxy().await;
    let faults = (0..2_000).filter(|at| at % 7 == 0).map(|at| {
        let fault = match at % 5 {
            0 => Fault::DropAnswer,
            1 => Fault::Late { after: Duration::from_millis(20), seen: Seen::Closed },
            2 => Fault::Conflict(Which::RandomOne(at)),
            3 => Fault::ErrorAfterCommit,
            _ => Fault::DropRequest,
        };
        (Operation::TransactWriteItems, at, fault)
    });
    proxy.set_plan(FaultPlan::script(faults));
    for killed_after in [20, 60, 150, 300] {
        // What is dropped sends nothing more, like a process that is killed.
        let killed = Duration::from_millis(killed_after);
        drop(tokio::time::timeout(killed, send(&test.another(), &entries)).await);
    }
    for _ in 0..50 {
        let results = send(&test.another(), &entries).await;
        if results.iter().all(Result::is_ok) {
            break;
        }
    }
    proxy.set_plan(FaultPlan::none());
    proxy.settle().await;
    let results = send(&test.store, &entries).await;
    assert_eq!(outcomes(results), vec![Outcome::Repeated; 1_000]);
    let shown = [test.shown("country").await, test.shown("user").await];
    assert_eq!(shown, one_by_one(&entries).await.0);
    audit(&test).await;
}

#[tokio::test]
async fn batches_that_meet_on_the_same_ids_are_all_counted() {
    let test = TestStore::new().await;
    let batch = |_| -> Vec<_> {
        let body = r#"{"dims":{"d":"k"},"increments":{"n":1}}"#;
        (0..40).map(|i| Entry::new(&format!("i{i}"), body)).collect()
    };
    let batches: Vec<Vec<Entry>> = (0..4).map(batch).collect();
    let stores: Vec<_> = batches.iter().map(|_| test.another()).collect();
    let sent = batches.iter().zip(&stores).map(|(batch, store)| send(store, batch));
    for results in futures_util::future::join_all(sent).await {
        assert_eq!(outcomes(results), vec![Outcome::Counted; 40]);
    }
    assert_eq!(test.shown("d").await, "k: c.n=160\ntotal: c.n=160");
    audit(&test).await;
}

#[tokio::test]
async fn members_that_fill_a_transaction_leave_room_for_the_others() {
    let test = TestStore::new().await;
    let members: Vec<_> = (0..400).map(|i| format!(r#""m{i}""#)).collect();
    let large = format!(r#"{{"dims":{{"d":"k"}},"multiMembers":{{"s":[{}]}}}}"#, members.join(","));
    let small = r#"{"dims":{"d":"k"},"members":{"s":"m1"},"increments":{"n":1}}"#;
    let entries = [Entry::new("a", small), Entry::new("b", &large), Entry::new("c", small)];
    outcomes(send(&test.store, &entries).await);
    assert_eq!(test.shown("d").await, "k: c.n=2 m.s=400\ntotal: c.n=2 m.s=400");
    audit(&test).await;
}

#[tokio::test]
async fn once_a_group_is_throttled_the_rest_is_not_tried() {
    let (proxy, mut test) = TestStore::behind_a_proxy().await;
    test.settings.pace.throttled = Duration::from_millis(50);
    let store = test.another();
    let throttle = Fault::Throttle(Throttle::ThroughputExceeded);
    let all = (0..1_000).map(|at| (Operation::TransactWriteItems, at, throttle.clone()));
    proxy.set_plan(FaultPlan::script(all));
    let entries: Vec<_> = (0..300).map(|i| Entry::new(&format!("i{i}"), &report(i))).collect();
    let sent = proxy.counts();
    let results = send(&store, &entries).await;
    assert!(results.iter().all(|result| matches!(result, Err(StoreError::Throttled(_)))));
    let batches = proxy.counts().requests_of(Operation::BatchGetItem)
        - sent.requests_of(Operation::BatchGetItem);
    assert_eq!(batches, 3, "the details of one group, its names, and its room");
}

#[tokio::test]
async fn after_an_update_of_an_id_fails_its_later_ones_wait_for_it() {
    let (proxy, mut test) = TestStore::behind_a_proxy().await;
    test.settings.pace.settling = Duration::from_millis(50);
    let store = test.another();
    // So many stats that no two of these share a transaction.
    let body = |i: usize| {
        let counters: Vec<_> = (0..300).map(|j| format!(r#""c{i}_{j}":1"#)).collect();
        format!(r#"{{"dims":{{"d":"k"}},"counters":{{{}}}}}"#, counters.join(","))
    };
    let entries = [Entry::new("a", &body(0)), Entry::new("a", &body(1)), Entry::new("b", &body(2))];
    let lost = (0..1_000).map(|at| (Operation::TransactWriteItems, at, Fault::DropRequest));
    proxy.set_plan(FaultPlan::script(lost.take(1_000)));
    let deadline = Deadline::after(Duration::from_millis(400));
    let (results, ()) = tokio::join!(send_before(&store, &entries, deadline), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
    });
    assert!(matches!(results[0], Err(StoreError::Unavailable(_))), "{results:?}");
    assert!(matches!(results[1], Err(StoreError::Unavailable(_))), "{results:?}");
    proxy.set_plan(FaultPlan::none());
    proxy.settle().await;
    assert_eq!(test.shown("d").await, "total:");
}

#[tokio::test]
async fn an_update_that_is_always_overtaken_holds_up_no_other() {
    let (proxy, mut test) = TestStore::behind_a_proxy().await;
    test.settings.pace.first_wait = Duration::from_millis(1);
    test.settings.pace.longest_wait = Duration::from_millis(10);
    let store = test.another();
    let on_a = Fault::Conflict(Which::items(|pk, _| pk == "id#a"));
    let faults = (0..10_000).map(|at| (Operation::TransactWriteItems, at, on_a.clone()));
    proxy.set_plan(FaultPlan::script(faults));
    let entries = ["a", "b"].map(|id| Entry::new(id, &report(1)));
    let deadline = Deadline::after(Duration::from_secs(4));
    let results = send_before(&store, &entries, deadline).await;
    assert!(
        matches!(results[..], [Err(StoreError::Unavailable(_)), Ok(Outcome::Counted)]),
        "{results:?}"
    );
}
