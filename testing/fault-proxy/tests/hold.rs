//! Items that transactions hold.
#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod support;

use std::time::{Duration, Instant};

use fault_proxy::{Fault, FaultPlan, Operation, Seen};
use support::{Test, reasons};

/// Longer than the tests' other requests take together, even on a slow machine.
const HOLD: Duration = Duration::from_secs(2);

/// Waits until DynamoDB has the item: the transaction that put it holds its items by then.
async fn committed(test: &Test, pk: &str) {
    while !test.has(pk).await {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn the_second_of_two_overlapping_transactions_is_cancelled() {
    let test = Test::start().await;
    test.proxy.set_hold(Some(HOLD));
    let start = Instant::now();
    let others = async {
        committed(&test, "held").await;
        let codes = reasons(test.transact(&["a", "b", "held"]).await);
        assert_eq!(codes, ["None", "TransactionConflict", "TransactionConflict"]);
        assert!(!test.has("a").await);
        let error = test.put("b").await.unwrap_err().into_service_error();
        assert!(error.is_transaction_conflict_exception(), "{error:?}");

        test.put("a").await.unwrap();
        test.batch(&["held"]).await.unwrap();
        assert!(start.elapsed() < HOLD, "too slow a machine for this test");
        // A cancelled transaction holds nothing: this one does not conflict on `a`.
        test.transact(&["a", "c"]).await.unwrap();
    };
    let first = async {
        test.transact(&["b", "held"]).await.unwrap();
        assert!(start.elapsed() >= HOLD);
        // Its answer came once the items were released.
        test.put("b").await.unwrap();
    };
    tokio::join!(first, others);
    let counts = test.proxy.counts();
    assert_eq!(counts.hold_conflicts, 2);
    assert_eq!(counts.total_faults(), 0);
}

#[tokio::test]
async fn without_hold_nothing_is_held() {
    let test = Test::start().await;
    test.proxy.set_hold(Some(HOLD));
    test.proxy.set_hold(None);
    let start = Instant::now();
    test.transact(&["a"]).await.unwrap();
    assert!(start.elapsed() < HOLD);
    test.transact(&["a"]).await.unwrap();
}

#[tokio::test]
async fn one_after_the_other_they_do_not_conflict() {
    let test = Test::start().await;
    test.proxy.set_hold(Some(Duration::from_millis(1)));
    for _ in 0..20 {
        test.transact(&["a", "b"]).await.unwrap();
        test.put("a").await.unwrap();
    }
    assert_eq!(test.proxy.counts().hold_conflicts, 0);
}

#[tokio::test]
async fn a_transaction_that_fails_releases_its_items() {
    let test = Test::start().await;
    test.proxy.set_hold(Some(Duration::from_millis(1)));
    let error = test.transact(&["a", "a"]).await.unwrap_err();
    assert_eq!(error.raw_response().unwrap().status().as_u16(), 400);
    test.transact(&["a"]).await.unwrap();
}

#[tokio::test]
async fn a_late_transaction_is_cancelled_when_it_arrives_at_held_items() {
    let test = Test::start().await;
    let late = Fault::Late { after: Duration::from_secs(1), seen: Seen::ServerError };
    test.proxy.set_plan(FaultPlan::script([(Operation::TransactWriteItems, 0, late)]));
    test.proxy.set_hold(Some(HOLD));
    test.transact(&["late", "held"]).await.unwrap_err();
    test.transact(&["held"]).await.unwrap();
    test.proxy.settle().await;
    assert!(!test.has("late").await);
    assert_eq!(test.proxy.counts().hold_conflicts, 1);
}
