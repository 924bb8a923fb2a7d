//! Queries, whose results a test sets.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use fake_bigquery::{Fault, Operation, What};
use hyper::Method;
use serde_json::{Value, json};
use support::{Answer, DATASET, PROJECT, Test, field, schema_of};

fn query(id: &str) -> Value {
    json!({
        "jobReference": {"projectId": PROJECT, "jobId": id, "location": "EU"},
        "configuration": {"query": {
            "query": "SELECT @a",
            "useLegacySql": false,
            "maximumBytesBilled": "1000",
            "queryParameters": [{"name": "a"}],
        }},
    })
}

async fn insert(test: &Test, job: Value) -> Answer {
    test.send(Method::POST, "/jobs", Some(job)).await.unwrap()
}

async fn results(test: &Test, id: &str, more: &str) -> Answer {
    test.get(&format!("/queries/{id}?location=EU{more}")).await.unwrap()
}

fn five_rows(test: &Test) -> Value {
    let schema = schema_of(&[field("n", "INTEGER"), field("t", "STRING")]);
    let rows = (0..5).map(|i| vec![Some(i.to_string()), (i != 1).then(|| "x".to_owned())]);
    test.fake.set_query_result(schema.clone(), rows.collect());
    schema
}

fn numbers(answer: &Value) -> Vec<&str> {
    let rows = answer["rows"].as_array().unwrap();
    rows.iter().map(|row| row["f"][0]["v"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_query_results_in_what_was_set() {
    let test = Test::empty().await;
    let schema = five_rows(&test);
    let job = insert(&test, query("q")).await.ok();
    assert_eq!(job["status"], json!({"state": "DONE"}));
    // A result that is set later is for later queries.
    test.fake.set_query_result(schema_of(&[]), vec![]);
    let answer = results(&test, "q", "").await.ok();
    assert_eq!(answer["jobComplete"], true);
    assert_eq!(answer["schema"], schema);
    assert_eq!(answer["totalRows"], "5");
    assert_eq!(numbers(&answer), ["0", "1", "2", "3", "4"]);
    assert_eq!(answer["rows"][1], json!({"f": [{"v": "1"}, {"v": null}]}));
    assert_eq!(answer["pageToken"], Value::Null);
    let queries = test.fake.queries();
    assert_eq!(queries.len(), 1);
    assert_eq!(queries[0].job_id, "q");
    assert_eq!(queries[0].sql, "SELECT @a");
    assert_eq!(queries[0].parameters, json!([{"name": "a"}]));
    assert_eq!(queries[0].maximum_bytes_billed.as_deref(), Some("1000"));
    assert_eq!(queries[0].configuration["query"]["useLegacySql"], false);
    assert_eq!(insert(&test, query("q")).await.error(), (409, "duplicate".to_owned()));
}

#[tokio::test]
async fn results_come_in_pages() {
    let test = Test::empty().await;
    five_rows(&test);
    insert(&test, query("q")).await.ok();
    let mut all = Vec::new();
    let mut more = "&maxResults=2".to_owned();
    loop {
        let page = results(&test, "q", &more).await.ok();
        all.extend(numbers(&page).into_iter().map(str::to_owned));
        assert_eq!(page["totalRows"], "5");
        match page["pageToken"].as_str() {
            Some(token) => more = format!("&maxResults=2&pageToken={token}"),
            None => break,
        }
    }
    assert_eq!(all, ["0", "1", "2", "3", "4"]);
    let page = results(&test, "q", "&startIndex=3").await.ok();
    assert_eq!(numbers(&page), ["3", "4"]);
    test.fake.set_page_size(1);
    let page = results(&test, "q", "&maxResults=4").await.ok();
    assert_eq!(numbers(&page), ["0"]);
    assert!(page["pageToken"].is_string());
    for more in ["&pageToken=x", "&maxResults=x", "&startIndex=-1"] {
        assert_eq!(results(&test, "q", more).await.error(), (400, "invalid".to_owned()));
    }
}

#[tokio::test]
async fn a_query_can_take_its_time() {
    let test = Test::empty().await;
    five_rows(&test);
    test.fake.set_job_polls(1);
    insert(&test, query("q")).await.ok();
    let answer = results(&test, "q", "").await.ok();
    assert_eq!(answer["jobComplete"], false);
    assert_eq!(answer["rows"], Value::Null);
    assert_eq!(results(&test, "q", "").await.ok()["jobComplete"], true);
}

#[tokio::test]
async fn a_query_can_fail() {
    let test = Test::empty().await;
    test.fake.set_query_failure("bytesBilledLimitExceeded", "too much");
    let job = insert(&test, query("a")).await.ok();
    let error = json!({"reason": "bytesBilledLimitExceeded", "message": "too much"});
    assert_eq!(job["status"]["errorResult"], error);
    let answer = results(&test, "a", "").await;
    assert_eq!(answer.error(), (400, "bytesBilledLimitExceeded".to_owned()));

    five_rows(&test);
    let what = What::JobFails { reason: "accessDenied".to_owned(), message: "no".to_owned() };
    test.fake.add_fault(Fault::new(Operation::JobInsert, 0, what));
    insert(&test, query("b")).await.ok();
    assert_eq!(results(&test, "b", "").await.error(), (403, "accessDenied".to_owned()));
    insert(&test, query("c")).await.ok();
    results(&test, "c", "").await.ok();
}

#[tokio::test]
async fn a_query_is_found_where_it_runs() {
    let test = Test::empty().await;
    insert(&test, query("q")).await.ok();
    for path in ["/queries/q", "/queries/q?location=US", "/queries/other?location=EU"] {
        assert_eq!(test.get(path).await.unwrap().error(), (404, "notFound".to_owned()), "{path}");
    }
    // The location is that of the dataset that the query names; else there is none.
    test.fake.create_dataset(DATASET);
    let mut job = query("dataset");
    job["jobReference"].as_object_mut().unwrap().remove("location");
    job["configuration"]["query"]["defaultDataset"] = json!({"datasetId": DATASET});
    assert_eq!(insert(&test, job.clone()).await.ok()["jobReference"]["location"], "EU");
    assert_eq!(test.get("/queries/dataset").await.unwrap().error().0, 404);
    job["jobReference"]["jobId"] = "nowhere".into();
    job["configuration"]["query"].as_object_mut().unwrap().remove("defaultDataset");
    insert(&test, job).await.ok();
    test.get("/queries/nowhere").await.unwrap().ok();
}

#[tokio::test]
async fn only_queries_have_results() {
    let test = Test::start().await;
    test.load("load", &[]).await.unwrap().ok();
    assert_eq!(results(&test, "load", "").await.error(), (400, "invalid".to_owned()));
    let mut dry = query("dry");
    dry["configuration"]["dryRun"] = true.into();
    assert_eq!(insert(&test, dry).await.error(), (400, "invalid".to_owned()));
    let mut empty = query("empty");
    empty["configuration"] = json!({"query": {}});
    assert_eq!(insert(&test, empty).await.error(), (400, "required".to_owned()));
    let mut other = query("other");
    other["jobReference"]["projectId"] = "other".into();
    assert_eq!(insert(&test, other).await.error(), (400, "invalid".to_owned()));
    assert!(test.fake.queries().is_empty());
}
