//! Partitions that take so much a second and no more.
#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod support;

use std::time::Instant;

use aws_sdk_dynamodb::{error::ProvideErrorMetadata, types::AttributeValue};
use fault_proxy::{Direction, Throughput};
use support::{TABLE, Test, reasons};

const UNITS: f64 = 10.0;

async fn limited() -> Test {
    let test = Test::start().await;
    let throughput = Throughput { write_units: UNITS, read_units: UNITS, partitions: None };
    test.proxy.set_throughput(Some(throughput));
    test
}

/// What has passed is what a partition takes in that time, and a second's worth at once.
fn assert_limited(units: f64, began: Instant) {
    let most = UNITS * began.elapsed().as_secs_f64() + UNITS;
    assert!(units <= most, "{units} of {most}");
}

#[tokio::test]
async fn a_transaction_names_the_actions_whose_partition_is_full() {
    let test = limited().await;
    let began = Instant::now();
    let (mut passed, mut throttled) = (0.0, 0);
    while throttled < 3 {
        match test.transact(&["hot"]).await {
            Ok(_) => passed += 2.0,
            refused => {
                assert_eq!(reasons(refused), ["ThrottlingError"]);
                throttled += 1;
            }
        }
    }
    assert_limited(passed, began);
    // Another key has a partition of its own, and nothing of a refused transaction is written.
    let codes = loop {
        match test.transact(&["cold", "hot"]).await {
            Ok(_) => {}
            refused => break reasons(refused),
        }
    };
    assert!(codes.contains(&"ThrottlingError".to_owned()), "{codes:?}");
    let used = test.proxy.partition_use(Direction::Write);
    let (fullest, of_hot) = &used[0];
    assert_eq!(fullest, "hot");
    assert!(of_hot.throttled >= 4 && of_hot.units >= passed, "{of_hot:?}");
    assert!(test.proxy.counts().throttled >= 4);
}

#[tokio::test]
async fn single_requests_are_refused_and_batches_answered_in_part() {
    let test = limited().await;
    let began = Instant::now();
    let mut passed = 0.0;
    let error = loop {
        match test.put("hot").await {
            Ok(_) => passed += 1.0,
            Err(error) => break error.into_service_error(),
        }
    };
    assert_limited(passed, began);
    assert_eq!(error.code(), Some("ProvisionedThroughputExceededException"));

    // The first key is read twice as often, so its partition is full before the other's.
    let unprocessed = loop {
        let _ = test.batch(&["hot"]).await;
        let Ok(answer) = test.batch(&["hot", "other"]).await else {
            continue;
        };
        if let Some(left_out) = answer.unprocessed_keys.unwrap_or_default().remove(TABLE) {
            break left_out;
        }
    };
    assert_eq!(unprocessed.keys(), [support::key("hot")]);
}

#[tokio::test]
async fn a_batch_of_which_nothing_can_be_read_is_refused() {
    let test = limited().await;
    let error = loop {
        if let Err(error) = test.batch(&["hot"]).await {
            break error.into_service_error();
        }
    };
    assert_eq!(error.code(), Some("ProvisionedThroughputExceededException"));
}

#[tokio::test]
async fn a_query_pays_for_what_it_has_read() {
    let test = limited().await;
    let query = || {
        test.client
            .query()
            .table_name(TABLE)
            .key_condition_expression("pk = :p")
            .expression_attribute_values(":p", AttributeValue::S("hot".to_owned()))
            .return_consumed_capacity(aws_sdk_dynamodb::types::ReturnConsumedCapacity::Total)
            .consistent_read(true)
            .send()
    };
    let error = loop {
        if let Err(error) = query().await {
            break error.into_service_error();
        }
    };
    assert_eq!(error.code(), Some("ProvisionedThroughputExceededException"));
    let used = test.proxy.partition_use(Direction::Read);
    assert!(used[0].1.units >= UNITS, "a unit each: {used:?}");
}

#[tokio::test]
async fn without_a_limit_nothing_is_refused_or_metered() {
    let test = limited().await;
    test.proxy.set_throughput(None);
    for _ in 0..50 {
        test.transact(&["hot"]).await.unwrap();
    }
    assert_eq!(test.proxy.partition_use(Direction::Write), []);
    assert_eq!(test.proxy.counts().throttled, 0);
}
