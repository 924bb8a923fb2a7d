//! The largest updates that are permitted: each is done in one request, and one that was
//! interrupted goes on from there when it is sent again.

#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod support;

use std::time::Duration;

use fault_proxy::{Fault, FaultPlan, Operation, Proxy};
use shared::{
    domain::{Fingerprint, IdempotencyKey, Update},
    store::{Deadline, Outcome, Store, StoreError},
    usage::{Usage, measured},
};
use support::{NOW, TestStore, id, soon};

/// Both have as many members times dimensions as an update may have.
const SHAPES: [(usize, usize); 2] = [(20, 500), (1, 10_000)];
/// What interrupts an update: this many further transactions never arrive.
const LOST_REQUESTS: u64 = 10_000;

/// An update with this many new members under each of this many dimensions, and an increment.
fn body(dimensions: usize, members: usize) -> String {
    let dims: Vec<_> = (0..dimensions).map(|i| format!(r#""d{i}":"k""#)).collect();
    let members: Vec<_> = (0..members).map(|i| format!(r#""member-{i}""#)).collect();
    format!(
        r#"{{"dims":{{{}}},"increments":{{"x":1}},"multiMembers":{{"m":[{}]}}}}"#,
        dims.join(","),
        members.join(",")
    )
}

async fn send(
    store: &Store,
    key: Option<&IdempotencyKey>,
    body: &str,
    deadline: Deadline,
) -> (Result<Outcome, StoreError>, Usage) {
    let update = Update::from_json(body.as_bytes()).unwrap();
    let key = key.map(|key| (key, Fingerprint::of(body.as_bytes())));
    measured(store.update(&id("i"), &update, key, NOW, deadline)).await
}

async fn assert_counted(test: &TestStore, dimensions: usize, members: usize) {
    for dimension in 0..dimensions {
        let stats = format!("c.x=1 m.m={members}");
        assert_eq!(
            test.shown(&format!("d{dimension}")).await,
            format!("k: {stats}\ntotal: {stats}")
        );
    }
}

#[tokio::test]
async fn the_largest_updates_are_done_in_one_request() {
    for (dimensions, members) in SHAPES {
        let test = TestStore::new().await;
        let body = body(dimensions, members);
        let (outcome, usage) = send(&test.store, None, &body, soon()).await;
        assert_eq!(outcome.unwrap(), Outcome::Counted);
        assert_counted(&test, dimensions, members).await;
        println!("{dimensions} dimensions, {members} members: {usage}");
        // Sent again, with another increment: each member costs half a unit to look for, and
        // nothing more.
        let (outcome, again) = send(&test.store, None, &body, soon()).await;
        assert_eq!(outcome.unwrap(), Outcome::Counted);
        assert_eq!(again.members_new, 0);
        println!("sent again: {again}");
    }
}

#[tokio::test]
async fn an_update_that_runs_out_of_time_says_so_and_counts_nothing_but_members() {
    let (proxy, test) = TestStore::behind_a_proxy().await;
    let body = body(1, 10_000);
    let lost =
        (30..LOST_REQUESTS).map(|at| (Operation::TransactWriteItems, at, Fault::DropRequest));
    proxy.set_plan(FaultPlan::script(lost));
    let deadline = Deadline::after(Duration::from_secs(8));
    let (error, _) = send(&test.store, None, &body, deadline).await;
    assert!(matches!(error, Err(StoreError::Unfinished(_))), "{error:?}");
    assert!(count_members(&test, 1).await > 0);
    assert!(test.summary_at(NOW, "d0").await.total().counters.is_empty());
}

#[tokio::test]
async fn an_update_whose_process_is_killed_goes_on_when_it_is_sent_again() {
    for key in [None, Some(IdempotencyKey::new("k").unwrap())] {
        for (dimensions, members) in SHAPES {
            let (proxy, test) = TestStore::behind_a_proxy().await;
            let body = body(dimensions, members);
            let total = u64::try_from(dimensions * members).unwrap();
            let mut counted = 0;
            for attempt in 1..=3 {
                proxy.set_plan(FaultPlan::none());
                // A process of its own: nothing is remembered from one attempt to the next.
                let store = test.another();
                let killed = async {
                    let before = transactions(&proxy);
                    while transactions(&proxy) < before + 30 {
                        tokio::task::yield_now().await;
                    }
                };
                tokio::select! {
                    _ = send(&store, key.as_ref(), &body, soon()) => panic!("it is killed before"),
                    () = killed => {}
                }
                let counters = test.summary_at(NOW, "d0").await.total().counters.clone();
                assert!(counters.is_empty(), "the increment is not counted yet");
                let now_counted = count_members(&test, dimensions).await;
                assert!(now_counted > counted, "attempt {attempt} made progress");
                counted = now_counted;
            }
            let (outcome, usage) = send(&test.another(), key.as_ref(), &body, soon()).await;
            assert_eq!(outcome.unwrap(), Outcome::Counted);
            assert!(usage.members_known >= counted, "{usage:?}");
            println!("{dimensions} × {members}, {counted} of {total} before: {usage}");
            assert_counted(&test, dimensions, members).await;
        }
    }
}

fn transactions(proxy: &Proxy) -> u64 {
    proxy.counts().requests_of(Operation::TransactWriteItems)
}

/// Members that are counted, once for each dimension.
async fn count_members(test: &TestStore, dimensions: usize) -> u64 {
    let mut count = 0;
    for dimension in 0..dimensions {
        let summary = test.summary_at(NOW, &format!("d{dimension}")).await;
        let members = summary.total().members.values().map(ToString::to_string);
        count += members.map(|count| count.parse::<u64>().unwrap()).sum::<u64>();
    }
    count
}

#[tokio::test]
async fn sixty_new_members_go_with_their_numbers_in_one_transaction() {
    let (proxy, test) = TestStore::behind_a_proxy().await;
    let body = |from: u32| {
        let members: Vec<_> = (from..from + 60).map(|i| format!(r#""m{i}""#)).collect();
        let members = members.join(",");
        format!(
            r#"{{"dims":{{"d":"k"}},"counters":{{"x":{from}}},"multiMembers":{{"s":[{members}]}}}}"#
        )
    };
    test.post("i", &body(0)).await;
    let sent = proxy.counts().requests_of(Operation::TransactWriteItems);
    test.post("i", &body(60)).await;
    assert_eq!(proxy.counts().requests_of(Operation::TransactWriteItems) - sent, 1);
    assert_eq!(test.shown("d").await, "k: c.x=60 m.s=120\ntotal: c.x=60 m.s=120");
}
