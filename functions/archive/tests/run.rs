//! A run of the scheduled job, where archiving is not configured.

#![allow(
    missing_docs,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use archive::{Function, Schedule, ScheduleEvent};
use shared::lambda::Call;
use support::{NOW, Test, soon};

#[tokio::test]
async fn without_bigquery_a_run_succeeds_and_says_that_nothing_is_archived() {
    let test = Test::new(&[]).await;
    test.post(NOW, "i", r#"{"dims":{"country":"es"},"counters":{"x":1}}"#).await;
    let report = test.run(NOW).await.unwrap();
    let report = serde_json::to_value(report).unwrap();
    assert_eq!(
        report,
        serde_json::json!({"slot":"2024-10-04T00:00:00Z","archiving":false,"dimensions":{}})
    );
}

#[tokio::test]
async fn an_event_without_a_time_fails_and_says_so() {
    let test = Test::new(&[]).await;
    let schedule = Schedule::from_variables(|_| None).unwrap();
    let function = Function::new(test.store(), schedule, None);
    let event = ScheduleEvent { time: "yesterday".to_owned() };
    let error = function.run(&event, Call { now: NOW, deadline: soon() }).await.unwrap_err();
    assert!(error.to_string().contains("yesterday"), "{error}");
}
