//! A run of the scheduled job.

#![allow(
    missing_docs,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

use std::time::{Duration, SystemTime};

use archive::{Function, Schedule, ScheduleEvent};
use shared::{
    domain::{Id, PeriodLength, Update},
    lambda::Call,
    store::{Deadline, Settings, Store},
};

fn call() -> Call {
    Call { now: SystemTime::now().into(), deadline: Deadline::after(Duration::from_secs(60)) }
}

#[tokio::test]
async fn a_run_finds_the_dimensions_that_are_due_at_the_events_time() {
    let client = local_dynamodb::in_memory_with_table("statshub").await.unwrap();
    let store = || Store::new(client.clone(), settings(), fastrand::Rng::new());
    let update = br#"{"dims":{"country":"es","user":"bob"},"counters":{"x":1}}"#;
    let update = Update::from_json(update).unwrap();
    store()
        .update(&Id::new("i").unwrap(), &update, None, call().now, call().deadline)
        .await
        .unwrap();

    let due = async |schedule, time: &str| {
        let function = Function::new(store(), Schedule::parse(schedule).unwrap());
        let event = ScheduleEvent { time: time.to_owned() };
        let due = function.run(&event, call()).await.unwrap();
        due.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(due(None, "2024-03-14T07:10:00Z").await, ["country", "user"]);
    let hourly = Some("country=1h,user=24h,absent=10m");
    assert_eq!(due(hourly, "2024-03-14T07:10:00Z").await, [""; 0]);
    assert_eq!(due(hourly, "2024-03-14T07:00:12Z").await, ["country"]);
    assert_eq!(due(hourly, "2024-03-14T00:00:00Z").await, ["country", "user"]);
}

fn settings() -> Settings {
    Settings::new("statshub", PeriodLength::DEFAULT)
}
