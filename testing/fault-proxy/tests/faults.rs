//! Each class of faults: what the client sees, and what DynamoDB has afterwards.
#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod support;

use std::{
    io::{Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use aws_sdk_dynamodb::{
    error::SdkError,
    operation::{
        batch_get_item::BatchGetItemError, put_item::PutItemError, query::QueryError,
        transact_write_items::TransactWriteItemsError,
    },
    types::AttributeValue,
};
use fault_proxy::{Fault, FaultClass, FaultPlan, Operation, Proxy, Seen, Throttle, Which};
use support::{TABLE, Test, answered, key, reasons};

const TRANSACT: Operation = Operation::TransactWriteItems;

/// A delay that no test waits out.
const FOREVER: Duration = Duration::from_secs(1_000_000);

/// Waits until a request has arrived.
async fn arrival(proxy: &Proxy) {
    while proxy.counts().total_requests() == 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn without_faults_the_proxy_is_not_noticed() {
    let test = Test::start().await;
    test.transact(&["a", "b"]).await.unwrap();
    test.put("c").await.unwrap();
    let items = test.batch(&["a", "b", "c"]).await.unwrap();
    assert_eq!(items.responses().unwrap()[TABLE].len(), 3);
    assert!(items.unprocessed_keys().unwrap().is_empty());
    let tables = test.client.list_tables().send().await.unwrap();
    assert_eq!(tables.table_names(), [TABLE]);
    assert_eq!(test.proxy.counts().total_faults(), 0);
}

#[tokio::test]
async fn errors_of_dynamodb_pass_through() {
    let test = Test::start().await;
    let put = test.client.put_item().table_name("other").set_item(Some(key("a"))).send().await;
    let error = put.unwrap_err().into_service_error();
    assert!(error.is_resource_not_found_exception(), "{error:?}");
}

#[tokio::test]
async fn a_dropped_request_does_not_arrive() {
    let test = Test::with(TRANSACT, Fault::DropRequest).await;
    let error = test.transact(&["a"]).await.unwrap_err();
    assert!(matches!(error, SdkError::DispatchFailure(_)), "{error:?}");
    assert!(!test.has("a").await);
    test.transact(&["a"]).await.unwrap();
    assert_eq!(test.proxy.counts().faults_of(FaultClass::DropRequest), 1);
}

#[tokio::test]
async fn a_request_whose_answer_is_dropped_is_carried_out() {
    let test = Test::with(TRANSACT, Fault::DropAnswer).await;
    let error = test.transact(&["a"]).await.unwrap_err();
    assert!(matches!(error, SdkError::DispatchFailure(_)), "{error:?}");
    assert!(test.has("a").await);
}

#[tokio::test]
async fn a_delayed_request_is_carried_out() {
    let delay = Duration::from_millis(30);
    let test = Test::with(Operation::PutItem, Fault::Delay(delay)).await;
    let start = Instant::now();
    test.put("a").await.unwrap();
    assert!(start.elapsed() >= delay);
    assert!(test.has("a").await);
}

#[tokio::test]
async fn a_server_error_does_nothing() {
    let test = Test::with(TRANSACT, Fault::ServerError).await;
    let error = test.transact(&["a"]).await.unwrap_err();
    assert_eq!(error.raw_response().unwrap().status().as_u16(), 500);
    let headers = error.raw_response().unwrap().headers();
    assert_eq!(headers.get("content-type"), Some("application/x-amz-json-1.0"));
    assert_eq!(headers.get("x-amzn-requestid").unwrap().len(), 52);
    let error = error.into_service_error();
    assert!(matches!(error, TransactWriteItemsError::InternalServerError(_)), "{error:?}");
    assert!(!test.has("a").await);
}

#[tokio::test]
async fn an_error_after_the_commit_hides_it() {
    let test = Test::with(TRANSACT, Fault::ErrorAfterCommit).await;
    let error = test.transact(&["a"]).await;
    assert_eq!(answered(error), (500, "InternalServerError".to_owned()));
    assert!(test.has("a").await);
}

#[tokio::test]
async fn a_cut_answer_cannot_be_read() {
    let test = Test::with(TRANSACT, Fault::Cut).await;
    let error = test.transact(&["a"]).await.unwrap_err();
    // The head did arrive, with a successful status.
    assert!(matches!(error, SdkError::ResponseError(_)), "{error:?}");
    assert_eq!(error.raw_response().unwrap().status().as_u16(), 200);
    assert!(test.has("a").await);
    test.transact(&["b"]).await.unwrap();
}

#[tokio::test]
async fn of_a_cut_answer_half_arrives() {
    let test = Test::with(Operation::Other, Fault::Cut).await;
    let address = test.proxy.endpoint().strip_prefix("http://").unwrap().to_owned();
    let read = tokio::task::spawn_blocking(move || {
        let mut stream = TcpStream::connect(address).unwrap();
        let head = "POST / HTTP/1.1\r\nhost: local\r\nx-amz-target: DynamoDB_20120810.ListTables";
        let more = "content-type: application/x-amz-json-1.0\r\ncontent-length: 2";
        write!(stream, "{head}\r\n{more}\r\n\r\n{{}}").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    });
    let answer = read.await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let lengths = head.lines().filter_map(|line| line.strip_prefix("content-length: "));
    let lengths: Vec<usize> = lengths.map(|length| length.parse().unwrap()).collect();
    assert!(body.len() > 1 && lengths.iter().all(|length| length / 2 == body.len()), "{answer}");
    assert_eq!(lengths.len(), 1, "{answer}");
}

#[tokio::test]
async fn a_transaction_conflicts_at_chosen_positions() {
    let test = Test::with(TRANSACT, Fault::Conflict(Which::At(vec![1]))).await;
    let result = test.transact(&["a", "b", "c"]).await;
    assert_eq!(reasons(result), ["None", "TransactionConflict", "None"]);
    assert!(!test.has("a").await);
    assert_eq!(test.proxy.counts().faults_of(FaultClass::Conflict), 1);
}

#[tokio::test]
async fn a_transaction_conflicts_on_chosen_items() {
    let which = Which::items(|pk, sk| pk != "a" && sk == "s");
    let test = Test::with(TRANSACT, Fault::Conflict(which)).await;
    let result = test.transact(&["a", "b", "c"]).await;
    assert_eq!(reasons(result), ["None", "TransactionConflict", "TransactionConflict"]);
}

#[tokio::test]
async fn all_kinds_of_actions_have_items() {
    use aws_sdk_dynamodb::types::{ConditionCheck, Delete, TransactWriteItem, Update};
    let which = Which::items(|pk, _| pk == "a");
    let test = Test::with(TRANSACT, Fault::Conflict(which)).await;
    let key = || Some(key("a"));
    let update = Update::builder().table_name(TABLE).set_key(key()).update_expression("SET x = :x");
    let check = ConditionCheck::builder().table_name(TABLE).set_key(key());
    let delete = Delete::builder().table_name(TABLE).set_key(key());
    let action = TransactWriteItem::builder;
    let result = test.client.transact_write_items().set_transact_items(Some(vec![
        action().update(update.build().unwrap()).build(),
        action().delete(delete.build().unwrap()).build(),
        action().condition_check(check.condition_expression("x").build().unwrap()).build(),
    ]));
    assert_eq!(reasons(result.send().await), ["TransactionConflict"; 3]);
}

#[tokio::test]
async fn random_conflicts_are_at_least_one_and_always_the_same() {
    for seed in 0..20 {
        let test = Test::start().await;
        let fault = Fault::Conflict(Which::Random(seed));
        test.proxy.set_plan(FaultPlan::script((0..2).map(|n| (TRANSACT, n, fault.clone()))));
        let first = reasons(test.transact(&["a", "b"]).await);
        assert!(first.contains(&"TransactionConflict".to_owned()));
        assert_eq!(reasons(test.transact(&["a", "b"]).await), first);
    }
}

#[tokio::test]
async fn a_single_write_conflicts() {
    let test = Test::with(Operation::PutItem, Fault::Conflict(Which::All)).await;
    let error = test.put("a").await.unwrap_err();
    assert_eq!(error.raw_response().unwrap().status().as_u16(), 400);
    let error = error.into_service_error();
    assert!(matches!(error, PutItemError::TransactionConflictException(_)), "{error:?}");
    assert!(!test.has("a").await);

    let script = [Operation::UpdateItem, Operation::DeleteItem]
        .map(|operation| (operation, 0, Fault::Conflict(Which::items(|pk, _| pk == "a"))));
    test.proxy.set_plan(FaultPlan::script(script));
    let update = test.client.update_item().table_name(TABLE).set_key(Some(key("a"))).send().await;
    assert!(update.unwrap_err().into_service_error().is_transaction_conflict_exception());
    let delete = test.client.delete_item().table_name(TABLE).set_key(Some(key("a"))).send().await;
    assert!(delete.unwrap_err().into_service_error().is_transaction_conflict_exception());
}

#[tokio::test]
async fn where_a_conflict_does_not_apply_the_request_goes_through_uncounted() {
    let test = Test::start().await;
    test.proxy.set_plan(FaultPlan::script([
        (Operation::BatchGetItem, 0, Fault::Conflict(Which::All)),
        (Operation::PutItem, 0, Fault::Conflict(Which::items(|_, _| false))),
        (TRANSACT, 0, Fault::Conflict(Which::At(vec![2]))),
        (TRANSACT, 1, Fault::Throttle(Throttle::Cancelled(Which::At(vec![2])))),
    ]));
    test.batch(&["a"]).await.unwrap();
    test.put("a").await.unwrap();
    test.transact(&["a", "b"]).await.unwrap();
    test.transact(&["a", "b"]).await.unwrap();
    assert_eq!(test.proxy.counts().total_faults(), 0);
}

#[tokio::test]
async fn throttled_requests_are_refused() {
    let test = Test::start().await;
    test.proxy.set_plan(FaultPlan::script([
        (TRANSACT, 0, Fault::Throttle(Throttle::ThroughputExceeded)),
        (TRANSACT, 1, Fault::Throttle(Throttle::Throttling)),
        (Operation::Query, 0, Fault::Throttle(Throttle::ThroughputExceeded)),
        (Operation::BatchGetItem, 0, Fault::Throttle(Throttle::Throttling)),
    ]));
    let error = test.transact(&["a"]).await.unwrap_err().into_service_error();
    assert!(error.is_provisioned_throughput_exceeded_exception(), "{error:?}");
    let error = test.transact(&["a"]).await.unwrap_err().into_service_error();
    assert!(matches!(error, TransactWriteItemsError::ThrottlingException(_)), "{error:?}");
    assert!(!test.has("a").await);

    let query = test.client.query().table_name(TABLE).key_condition_expression("pk = :p");
    let query = query.expression_attribute_values(":p", AttributeValue::S("a".to_owned()));
    let error = query.send().await.unwrap_err().into_service_error();
    assert!(matches!(error, QueryError::ProvisionedThroughputExceededException(_)), "{error:?}");
    let error = test.batch(&["a"]).await.unwrap_err().into_service_error();
    assert!(matches!(error, BatchGetItemError::ThrottlingException(_)), "{error:?}");
    assert_eq!(test.proxy.counts().faults_of(FaultClass::Throttle), 4);
}

#[tokio::test]
async fn a_transaction_is_throttled_at_one_action() {
    let fault = Fault::Throttle(Throttle::Cancelled(Which::At(vec![0])));
    let test = Test::with(TRANSACT, fault).await;
    assert_eq!(reasons(test.transact(&["a", "b"]).await), ["ThrottlingError", "None"]);
    assert!(!test.has("b").await);

    let fault = Fault::Throttle(Throttle::Cancelled(Which::RandomOne(7)));
    test.proxy.set_plan(FaultPlan::script([(TRANSACT, 0, fault)]));
    let codes = reasons(test.transact(&["a", "b", "c", "d"]).await);
    assert_eq!(codes.iter().filter(|code| *code == "ThrottlingError").count(), 1, "{codes:?}");
}

#[tokio::test]
async fn unprocessed_keys_are_left_out_and_returned_with_all_that_was_said() {
    let fault = Fault::Throttle(Throttle::Unprocessed(Which::items(|pk, _| pk == "b")));
    let test = Test::with(Operation::BatchGetItem, fault).await;
    test.transact(&["a", "b", "c"]).await.unwrap();
    let answer = test.batch(&["a", "b", "c"]).await.unwrap();
    let mut items = answer.responses().unwrap()[TABLE].clone();
    items.sort_by_key(|item| item["pk"].as_s().unwrap().clone());
    assert_eq!(items, [key("a"), key("c")]);

    let unprocessed = &answer.unprocessed_keys().unwrap()[TABLE];
    assert_eq!(unprocessed.keys(), [key("b")]);
    assert_eq!(unprocessed.consistent_read(), Some(true));
    assert_eq!(unprocessed.projection_expression(), Some("#p, sk"));
    let again = test.client.batch_get_item().request_items(TABLE, unprocessed.clone());
    let answer = again.send().await.unwrap();
    assert_eq!(answer.responses().unwrap()[TABLE], [key("b")]);
}

#[tokio::test]
async fn a_batch_of_which_nothing_would_be_read_is_refused() {
    let fault = Fault::Throttle(Throttle::Unprocessed(Which::Random(1)));
    let test = Test::with(Operation::BatchGetItem, fault).await;
    let error = test.batch(&["a"]).await.unwrap_err().into_service_error();
    assert!(error.is_provisioned_throughput_exceeded_exception(), "{error:?}");
}

#[tokio::test]
async fn a_late_request_arrives_after_its_error() {
    for seen in [Seen::ServerError, Seen::Closed] {
        let after = Duration::from_secs(1);
        let test = Test::with(TRANSACT, Fault::Late { after, seen }).await;
        let start = Instant::now();
        let error = test.transact(&["a"]).await.unwrap_err();
        match seen {
            Seen::ServerError => assert!(matches!(error, SdkError::ServiceError(_)), "{error:?}"),
            Seen::Closed => assert!(matches!(error, SdkError::DispatchFailure(_)), "{error:?}"),
        }
        assert!(!test.has("a").await);
        test.proxy.settle().await;
        assert!(start.elapsed() >= after);
        assert!(test.has("a").await);
    }
}

#[tokio::test]
async fn a_request_goes_on_when_its_client_gives_up() {
    let test = Test::with(TRANSACT, Fault::Delay(Duration::from_millis(300))).await;
    tokio::select! {
        result = test.transact(&["a"]) => panic!("{result:?}"),
        () = arrival(&test.proxy) => {}
    }
    test.proxy.settle().await;
    assert!(test.has("a").await);
}

#[tokio::test]
async fn away_and_back() {
    let test = Test::start().await;
    test.put("a").await.unwrap();
    test.proxy.set_away(true);
    for _ in 0..3 {
        let error = test.put("b").await.unwrap_err();
        assert!(matches!(error, SdkError::DispatchFailure(_)), "{error:?}");
    }
    assert!(!test.has("b").await);
    assert_eq!(test.proxy.counts().total_requests(), 1, "nothing arrives while it is away");
    test.proxy.set_away(false);
    test.put("b").await.unwrap();
    assert!(test.has("b").await);
}

#[tokio::test]
async fn going_away_closes_connections_that_wait_even_if_it_is_back_at_once() {
    let test = Test::with(Operation::PutItem, Fault::Delay(FOREVER)).await;
    let leave = async {
        arrival(&test.proxy).await;
        test.proxy.set_away(true);
        test.proxy.set_away(false);
    };
    let (put, ()) = tokio::join!(test.put("a"), leave);
    assert!(matches!(put.unwrap_err(), SdkError::DispatchFailure(_)));
}

#[tokio::test]
async fn requests_that_are_due_while_it_is_away_are_lost() {
    let fault = Fault::Late { after: Duration::from_millis(500), seen: Seen::ServerError };
    let test = Test::with(TRANSACT, fault).await;
    test.transact(&["a"]).await.unwrap_err();
    test.proxy.set_away(true);
    test.proxy.settle().await;
    assert!(!test.has("a").await);
}

#[tokio::test]
async fn a_dropped_proxy_is_gone() {
    let Test { proxy, client, .. } = Test::start().await;
    client.list_tables().send().await.unwrap();
    drop(proxy);
    let error = client.list_tables().send().await.unwrap_err();
    assert!(matches!(error, SdkError::DispatchFailure(_)), "{error:?}");
}

#[tokio::test]
async fn only_plain_http_is_proxied() {
    let error = Proxy::start("https://localhost:8000").await.unwrap_err();
    assert!(error.to_string().contains("not a DynamoDB of plain HTTP"), "{error:#}");
}
