//! Faults that a test asks for, and what they leave behind.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use fake_bigquery::{Fault, JobState, Moment, Operation, What};
use hyper::Method;
use serde_json::{Value, json};
use support::{DATASET, Test, field, record, row, schema};

fn fails(reason: &str) -> What {
    What::JobFails { reason: reason.to_owned(), message: "told to".to_owned() }
}

/// The usual schema with one more field.
fn larger() -> Value {
    let mut larger = schema();
    larger["fields"][2] = record("counter", &[field("a", "INTEGER"), field("b", "INTEGER")]);
    larger
}

fn larger_row() -> Value {
    json!({"counter": {"b": 1}})
}

#[tokio::test]
async fn a_lost_request_is_not_carried_out() {
    let test = Test::start().await;
    test.fake.add_fault(Fault::new(Operation::UploadMultipart, 0, What::LoseRequest));
    test.load("job-1", &[row("es", 1)]).await.unwrap_err();
    assert!(test.fake.jobs().is_empty());
    let lost = test.fake.requests().pop().unwrap();
    assert_eq!((lost.status, lost.fault.clone()), (None, Some(What::LoseRequest)));
    assert_eq!(lost.job_id(), Some("job-1"));
    test.load("job-1", &[row("es", 1)]).await.unwrap().ok();
    assert_eq!(test.fake.requests().pop().unwrap().status, Some(200));
}

#[tokio::test]
async fn a_request_whose_answer_is_lost_is_carried_out() {
    let test = Test::start().await;
    test.fake.add_fault(Fault::new(Operation::UploadMultipart, 0, What::LoseAnswer));
    test.load("job-1", &[row("es", 1)]).await.unwrap_err();
    assert_eq!(test.rows(), [row("es", 1)]);
    assert_eq!(test.load("job-1", &[row("es", 1)]).await.unwrap().error().0, 409);
    assert_eq!(test.get_job("job-1").await.unwrap().ok()["status"]["state"], "DONE");
}

#[tokio::test]
async fn a_late_request_is_carried_out_when_it_is_delivered() {
    let test = Test::start().await;
    let late = |operation| Fault::new(operation, 0, What::LateRequest);
    test.fake.plan(vec![late(Operation::UploadMultipart), late(Operation::TablePatch)]);
    test.load("job-1", &[row("es", 1)]).await.unwrap_err();
    test.patch(larger()).await.unwrap_err();
    assert_eq!(test.fake.late_count(), 2);
    assert!(test.fake.jobs().is_empty());
    // The client tried again with other rows, which count.
    test.load("job-1", &[row("es", 2)]).await.unwrap().ok();
    test.fake.deliver_late();
    assert_eq!(test.fake.late_count(), 0);
    assert_eq!(test.rows(), [row("es", 2)]);
    assert_eq!(test.schema(), larger());
    test.fake.deliver_late();
    assert_eq!(test.fake.jobs().len(), 1);
}

#[tokio::test]
async fn a_given_answer_is_all_that_happens() {
    let test = Test::start().await;
    let upload = Operation::UploadMultipart;
    test.fake.plan(vec![
        Fault::new(upload, 0, What::error(403, "quotaExceeded", "too much")),
        Fault::new(upload, 1, What::error_retry_after(429, "rateLimitExceeded", "slower", 7)),
        Fault::new(upload, 2, What::html(502)),
    ]);
    let answer = test.load("job-1", &[]).await.unwrap();
    assert_eq!(answer.error(), (403, "quotaExceeded".to_owned()));
    assert_eq!(answer.json()["error"]["status"], "PERMISSION_DENIED");
    let answer = test.load("job-1", &[]).await.unwrap();
    assert_eq!(answer.error(), (429, "rateLimitExceeded".to_owned()));
    assert_eq!(answer.header("retry-after"), Some("7"));
    let answer = test.load("job-1", &[]).await.unwrap();
    assert_eq!(answer.status, 502);
    assert!(answer.header("content-type").unwrap().starts_with("text/html"));
    assert!(answer.body.starts_with(b"<html>"));
    assert!(test.fake.jobs().is_empty());
    assert!(test.fake.faults_left().is_empty());
    test.load("job-1", &[]).await.unwrap().ok();
}

#[tokio::test]
async fn a_truncated_answer_is_no_json() {
    let test = Test::start().await;
    test.fake.add_fault(Fault::new(Operation::UploadMultipart, 0, What::Truncated));
    let answer = test.load("job-1", &[row("es", 1)]).await.unwrap();
    assert_eq!(answer.status, 200);
    assert!(answer.body.starts_with(b"{"));
    assert_eq!(answer.json(), Value::Null);
    assert_eq!(test.rows(), [row("es", 1)]);
}

#[tokio::test]
async fn a_job_can_fail_and_load_nothing() {
    let test = Test::start().await;
    test.fake.add_fault(Fault::new(Operation::UploadMultipart, 0, fails("backendError")));
    test.fake.set_job_polls(1);
    let job = test.load("job-1", &[row("es", 1)]).await.unwrap().ok();
    assert_eq!(job["status"], json!({"state": "PENDING"}));
    test.get_job("job-1").await.unwrap().ok();
    let job = test.get_job("job-1").await.unwrap().ok();
    let error = json!({"reason": "backendError", "message": "told to"});
    assert_eq!(job["status"]["errorResult"], error);
    assert!(test.rows().is_empty());
    let jobs = test.fake.jobs();
    assert_eq!(jobs[0].state, JobState::Done);
    assert_eq!(jobs[0].error.as_ref().unwrap().reason, "backendError");
    assert_eq!(test.load("job-1", &[]).await.unwrap().error().0, 409);
}

#[tokio::test]
async fn the_job_of_a_resumable_upload_can_fail() {
    let test = Test::start().await;
    for (i, operation) in [Operation::UploadStart, Operation::UploadChunk, Operation::UploadStatus]
        .into_iter()
        .enumerate()
    {
        test.fake.add_fault(Fault::new(operation, 0, fails("backendError")));
        let url = test.start_upload(&format!("job-{i}")).await;
        test.put(&url, "bytes */*", "").await.unwrap();
        let job = test.put(&url, "bytes 0-1/2", "{}").await.unwrap().ok();
        assert_eq!(job["status"]["errorResult"]["reason"], "backendError", "{operation}");
    }
    assert!(test.rows().is_empty());
    let url = test.start_upload("job-3").await;
    test.put(&url, "bytes 0-1/2", "{}").await.unwrap().ok();
    assert_eq!(test.rows().len(), 1);
}

#[tokio::test]
async fn a_lost_patch_looks_as_if() {
    let test = Test::start().await;
    test.fake.add_fault(Fault::new(Operation::TablePatch, 0, What::PatchLost));
    let before = test.get_table().await.unwrap().ok();
    let answer = test.patch(larger()).await.unwrap().ok();
    assert_eq!(answer["schema"], larger());
    assert_ne!(answer["etag"], before["etag"]);
    for _ in 0..3 {
        assert_eq!(test.get_table().await.unwrap().ok(), before);
    }
    let job = test.load("job-1", &[larger_row()]).await.unwrap().ok();
    assert_eq!(job["status"]["errorResult"]["reason"], "invalid");
    test.patch(larger()).await.unwrap().ok();
    test.load("job-2", &[larger_row()]).await.unwrap().ok();
    assert_eq!(test.rows(), [larger_row()]);
}

#[tokio::test]
async fn a_late_patch_shows_after_a_while() {
    let test = Test::start().await;
    test.fake.add_fault(Fault::new(Operation::TablePatch, 0, What::PatchLate(2)));
    assert_eq!(test.patch(larger()).await.unwrap().ok()["schema"], larger());
    assert_eq!(test.get_table().await.unwrap().ok()["schema"], schema());
    let job = test.load("job-1", &[larger_row()]).await.unwrap().ok();
    assert_eq!(job["status"]["errorResult"]["reason"], "invalid");
    assert_eq!(test.schema(), schema());
    let job = test.load("job-2", &[larger_row()]).await.unwrap().ok();
    assert_eq!(job["status"], json!({"state": "DONE"}));
    assert_eq!(test.get_table().await.unwrap().ok()["schema"], larger());
}

#[tokio::test]
async fn a_patch_in_between_does_not_undo_a_late_one() {
    let test = Test::start().await;
    test.fake.add_fault(Fault::new(Operation::TablePatch, 0, What::PatchLate(1)));
    test.patch(larger()).await.unwrap().ok();
    let mut other = schema();
    other["fields"].as_array_mut().unwrap().push(field("x", "STRING"));
    assert_eq!(test.patch(other).await.unwrap().ok()["schema"]["fields"][3]["name"], "x");
    test.get_table().await.unwrap().ok();
    let mut both = larger();
    both["fields"].as_array_mut().unwrap().push(field("x", "STRING"));
    assert_eq!(test.get_table().await.unwrap().ok()["schema"], both);
}

#[tokio::test]
async fn a_patch_that_is_not_valid_is_refused_even_if_it_were_lost() {
    let test = Test::start().await;
    let faults = [What::PatchLost, What::PatchLate(0)];
    for what in faults {
        test.fake.add_fault(Fault::new(Operation::TablePatch, 0, what));
        assert_eq!(test.patch(json!({"fields": []})).await.unwrap().error().0, 400);
    }
    test.get_table().await.unwrap().ok();
    assert_eq!(test.schema(), schema());
}

#[tokio::test]
async fn an_upload_that_is_gone_stays_gone() {
    let test = Test::start().await;
    let url = test.start_upload("job-1").await;
    test.fake.add_fault(Fault::new(Operation::UploadChunk, 0, What::SessionGone));
    for range in ["bytes 0-1/2", "bytes 0-1/2", "bytes */*"] {
        let body = if range == "bytes */*" { "" } else { "{}" };
        assert_eq!(test.put(&url, range, body).await.unwrap().error().0, 410);
    }
    assert!(test.fake.jobs().is_empty());
    let url = test.start_upload("job-1").await;
    test.put(&url, "bytes 0-1/2", "{}").await.unwrap().ok();
}

#[tokio::test]
async fn the_answer_to_the_last_chunk_can_be_asked_for_again() {
    let test = Test::start().await;
    let url = test.start_upload("job-1").await;
    test.fake.add_fault(Fault::new(Operation::UploadChunk, 0, What::LoseAnswer));
    test.put(&url, "bytes 0-1/2", "{}").await.unwrap_err();
    let job = test.put(&url, "bytes */2", "").await.unwrap().ok();
    assert_eq!(job["jobReference"]["jobId"], "job-1");
    assert_eq!(test.rows().len(), 1);
}

#[tokio::test]
async fn faults_count_requests_of_their_operation_since_they_were_added() {
    let test = Test::start().await;
    let error = |status| What::error(status, "backendError", "told to");
    let status = async || test.get_table().await.unwrap().status.as_u16();
    assert_eq!(status().await, 200);
    test.fake.plan(vec![
        Fault::new(Operation::TableGet, 1, error(500)),
        Fault::new(Operation::TableGet, 3, error(503)),
        Fault::new(Operation::JobGet, 0, error(500)),
    ]);
    assert_eq!(status().await, 200);
    test.fake.add_fault(Fault::new(Operation::TableGet, 1, error(502)));
    let statuses = [status().await, status().await, status().await, status().await];
    assert_eq!(statuses, [500, 502, 503, 200]);
    assert_eq!(test.fake.faults_left().len(), 1);
    test.fake.plan(vec![]);
    assert_eq!(test.get_job("job-1").await.unwrap().status, 404);

    let number = test.fake.request_count();
    test.fake.add_fault(Fault::at_request(number + 1, error(500)));
    assert_eq!([status().await, status().await, status().await], [200, 500, 200]);
}

/// A client stops before or after any of its requests is carried out.
#[tokio::test]
async fn a_client_can_be_stopped_at_any_request() {
    for moment in [Moment::Before, Moment::After] {
        for stop in 0..3 {
            let test = Test::start().await;
            let first = test.fake.request_count();
            let signal = test.fake.signal_at_request(first + stop, moment);
            let work = async {
                test.get_table().await.unwrap();
                test.patch(larger()).await.unwrap();
                test.load("job-1", &[larger_row()]).await.unwrap();
            };
            tokio::select! {
                () = work => panic!("it was not stopped"),
                () = signal => {}
            }
            let requests = test.fake.requests();
            assert_eq!(requests.len(), first + stop + 1);
            assert_eq!(requests.last().unwrap().status, None);
            let done = stop + usize::from(moment == Moment::After);
            assert_eq!(test.schema() == larger(), done >= 2, "{moment:?} {stop}");
            assert_eq!(test.fake.jobs().len(), usize::from(done >= 3), "{moment:?} {stop}");
            // The fault is over, and another client is served.
            test.get_table().await.unwrap().ok();
        }
    }
}

#[tokio::test]
async fn a_fake_that_is_dropped_closes_its_connections() {
    let test = Test::start().await;
    let signal = test.fake.signal_at_request(test.fake.request_count(), Moment::Before);
    let url = format!("{}/projects/p/datasets/{DATASET}", test.fake.base_url());
    let (http, fake) = (test.http, test.fake);
    let request = tokio::spawn(async move { http.send(Method::GET, &url, &[], "").await });
    signal.await;
    let address = fake.address();
    drop(fake);
    request.await.unwrap().unwrap_err();
    while tokio::net::TcpStream::connect(address).await.is_ok() {
        tokio::task::yield_now().await;
    }
}
