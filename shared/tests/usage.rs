//! What an update met, and what it did about it, is counted.

#![allow(missing_docs, clippy::panic, clippy::unwrap_used)]

mod support;

use std::time::Duration;

use fault_proxy::{Fault, FaultPlan, Operation, Throttle, Which};
use shared::{
    store::StoreError,
    usage::{Usage, measured},
};
use support::{NOW, TestStore, post};

fn body(value: u8) -> String {
    format!(r#"{{"dims":{{"d":"k"}},"counters":{{"x":{value}}}}}"#)
}

/// What an update uses of which the first transaction meets a fault.
async fn usage(fault: Fault) -> Usage {
    let (proxy, test) = TestStore::behind_a_proxy().await;
    test.post("i", &body(1)).await;
    proxy.set_plan(FaultPlan::script([(Operation::TransactWriteItems, 0, fault)]));
    let (result, usage) = measured(post(&test.store, NOW, "i", &body(2))).await;
    assert!(result.is_ok(), "{result:?}");
    assert_eq!(test.shown("d").await, "k: c.x=2\ntotal: c.x=2");
    usage
}

fn on(pk: &'static str) -> Which {
    Which::items(move |of_item, _| of_item.starts_with(pk))
}

#[tokio::test]
async fn a_conflict_on_a_rollup_is_one_and_opens_a_cell() {
    let Usage { conflicts, cells_opened, retries, .. } = usage(Fault::Conflict(on("dim#"))).await;
    assert_eq!((conflicts, cells_opened, retries), (1, 1, 1));
}

#[tokio::test]
async fn a_conflict_on_the_detail_is_one_and_opens_no_cell() {
    let Usage { conflicts, cells_opened, .. } = usage(Fault::Conflict(on("id#"))).await;
    assert_eq!((conflicts, cells_opened), (1, 0));
}

#[tokio::test]
async fn a_full_partition_is_no_conflict_and_opens_a_cell() {
    for throttle in [Throttle::Cancelled(on("dim#")), Throttle::PartitionFull] {
        let Usage { conflicts, cells_opened, .. } = usage(Fault::Throttle(throttle)).await;
        assert_eq!((conflicts, cells_opened), (0, 1));
    }
}

#[tokio::test]
async fn a_throttled_table_is_a_retry_and_no_more() {
    let throttle = Fault::Throttle(Throttle::ThroughputExceeded);
    let Usage { conflicts, cells_opened, retries, .. } = usage(throttle).await;
    assert_eq!((conflicts, cells_opened, retries), (0, 0, 1));
}

/// The same token is sent again, and DynamoDB answers how the first request went.
#[tokio::test]
async fn a_lost_answer_is_a_retry_and_no_conflict() {
    for fault in [Fault::DropAnswer, Fault::ErrorAfterCommit] {
        let Usage { conflicts, cells_opened, retries, .. } = usage(fault).await;
        assert_eq!((conflicts, cells_opened, retries), (0, 0, 1));
    }
}

#[tokio::test]
async fn whoever_avoids_a_conflict_does_not_wait() {
    let (proxy, mut test) = TestStore::behind_a_proxy().await;
    // Whoever waits does so beyond the deadline.
    test.settings.pace.first_wait = Duration::from_secs(1_000_000);
    test.settings.pace.longest_wait = Duration::from_secs(1_000_000);
    let store = test.another();
    post(&store, NOW, "i", &body(1)).await.unwrap();
    let conflict = Fault::Conflict(on("dim#"));
    proxy.set_plan(FaultPlan::script([(Operation::TransactWriteItems, 0, conflict)]));
    post(&store, NOW, "i", &body(2)).await.unwrap();
}

#[tokio::test]
async fn whoever_has_no_other_cell_waits() {
    let (proxy, mut test) = TestStore::behind_a_proxy().await;
    test.settings.max_cells = 1;
    test.settings.pace.first_wait = Duration::from_secs(1_000_000);
    test.settings.pace.longest_wait = Duration::from_secs(1_000_000);
    let store = test.another();
    post(&store, NOW, "i", &body(1)).await.unwrap();
    let conflict = Fault::Conflict(on("dim#"));
    proxy.set_plan(FaultPlan::script([(Operation::TransactWriteItems, 0, conflict)]));
    let waited = post(&store, NOW, "i", &body(2)).await;
    assert!(matches!(waited, Err(StoreError::Unavailable(_))), "{waited:?}");
}

/// The first attempt reads sets at half the price, since what it reads may be old.
#[tokio::test]
async fn every_further_attempt_at_an_update_costs_the_same() {
    let mut units = Vec::new();
    for conflicts in 0..6 {
        let (proxy, mut test) = TestStore::behind_a_proxy().await;
        test.settings.pace.first_wait = Duration::from_millis(1);
        let store = test.another();
        let body = |value: u8| {
            format!(
                r#"{{"dims":{{"d":"k"}},"counters":{{"x":{value}}},"members":{{"s":"m{value}"}}}}"#
            )
        };
        post(&store, NOW, "i", &body(1)).await.unwrap();
        let on_detail = Fault::Conflict(on("id#"));
        let faults =
            (0..conflicts).map(|at| (Operation::TransactWriteItems, at, on_detail.clone()));
        proxy.set_plan(FaultPlan::script(faults));
        let (result, usage) = measured(post(&store, NOW, "i", &body(2))).await;
        result.unwrap();
        units.push(usage.read_units);
    }
    assert_eq!(units, [1.5, 3.5, 5.5, 7.5, 9.5, 11.5]);
}

#[tokio::test]
async fn what_a_batch_read_leaves_out_is_read_again() {
    let (proxy, test) = TestStore::behind_a_proxy().await;
    test.post("i", &body(1)).await;
    // The batch has the marker of the idempotency key, too.
    let left_out = Fault::Throttle(Throttle::Unprocessed(on("id#")));
    proxy.set_plan(FaultPlan::script([(Operation::BatchGetItem, 0, left_out)]));
    let (result, usage) = measured(test.post_with_key(NOW, "key", &body(2))).await;
    result.unwrap();
    assert_eq!((usage.retries, usage.conflicts), (1, 0));
    assert_eq!(test.shown("d").await, "k: c.x=2\ntotal: c.x=2");
}
