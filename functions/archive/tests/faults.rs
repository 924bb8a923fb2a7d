//! Whatever goes wrong between the archive and BigQuery, each slot has its rows exactly once.

#![allow(
    missing_docs,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use std::{collections::BTreeMap, time::Duration};

use archive::{ArchiveError, Report};
use bigquery::{JobId, Pace, TableId};
use fake_bigquery::{FakeBigQuery, Fault, Moment, Operation, RequestRecord, What};
use futures_util::future::join_all;
use serde_json::{Value, json};
use shared::{lambda::Call, store::Deadline};
use support::{NOW, Test, later, line, run, soon};

/// As short as a test wants it.
const PACE: Pace = Pace {
    connect: Duration::from_secs(5),
    attempt: Duration::from_secs(10),
    upload: Duration::from_secs(10),
    request: Duration::from_secs(20),
    first_wait: Duration::from_millis(1),
    longest_wait: Duration::from_millis(5),
};

/// The requests of a run for one dimension whose table exists.
const USUAL: [Operation; 5] = [
    Operation::TableGet,
    Operation::JobGet,
    Operation::TablePatch,
    Operation::UploadMultipart,
    Operation::TableInsert,
];

async fn on(fake: &FakeBigQuery, more: &[(&'static str, &str)]) -> Test {
    let host = fake.address().to_string();
    let mut variables = vec![("GOOGLE_PROJECT", "p"), ("BIGQUERY_EMULATOR_HOST", host.as_str())];
    variables.extend(more);
    Test { pace: PACE, ..Test::new(&variables).await }
}

/// A dimension of two keys with `a=1` and `a=2`, not archived yet.
async fn with_two_keys() -> (FakeBigQuery, Test) {
    let fake = FakeBigQuery::start().await.unwrap();
    let test = on(&fake, &[]).await;
    test.post(NOW, "i", r#"{"dims":{"country":"es"},"counters":{"a":1}}"#).await;
    test.post(NOW, "j", r#"{"dims":{"country":"fr"},"counters":{"a":2}}"#).await;
    (fake, test)
}

/// Changes what a later reader finds.
async fn change(test: &Test) {
    test.post(NOW, "j", r#"{"dims":{"country":"fr"},"counters":{"a":20},"increments":{"b":1}}"#)
        .await;
}

const EARLY: [&str; 3] = [r#"es {"a":1}"#, r#"fr {"a":2}"#, r#"total {"a":3}"#];
const CHANGED: [&str; 3] = [r#"es {"a":1}"#, r#"fr {"a":20,"b":1}"#, r#"total {"a":21,"b":1}"#];

/// The keys of a slot and their counters, a line each.
fn rows(fake: &FakeBigQuery, slot: &str) -> Vec<String> {
    let rows = fake.rows("statshub", "country").into_iter();
    let mut lines: Vec<_> = rows
        .filter(|row| row["_ts"].as_str().unwrap().contains(slot))
        .map(|row| format!("{} {}", row["_dim"].as_str().unwrap(), row["counter"]))
        .collect();
    lines.sort();
    lines
}

/// The slot at `NOW`.
fn first_slot(fake: &FakeBigQuery) -> Vec<String> {
    rows(fake, "2024-10-04T00:00:00")
}

/// The ids of the jobs without their common beginning, and how the jobs ended.
fn jobs(fake: &FakeBigQuery) -> Vec<String> {
    let jobs = fake.jobs().into_iter().map(|job| {
        let end = job.error.map_or("ok".to_owned(), |error| error.reason);
        format!("{} {end}", job.id.strip_prefix("statshub_statshub-country-").unwrap())
    });
    jobs.collect()
}

/// Runs the slot at `NOW` until a run succeeds, as the schedule's retries do.
async fn run_until_done(test: &Test) -> Report {
    for _ in 0..10 {
        if let Ok(report) = test.run(NOW).await {
            return report;
        }
    }
    panic!("ten runs failed");
}

#[tokio::test]
async fn a_slot_is_one_job_and_a_repetition_reads_nothing() {
    let (fake, test) = with_two_keys().await;
    assert_eq!(line(&test.run(NOW).await.unwrap()), "country=written:3");
    let before = fake.request_count();
    change(&test).await;
    assert_eq!(line(&test.run(NOW).await.unwrap()), "country=writtenBefore");
    let again = &fake.operations()[before..];
    assert_eq!(again, [Operation::TableGet, Operation::JobGet]);
    assert_eq!(first_slot(&fake), EARLY);
    assert_eq!(jobs(&fake), ["20241004T000000Z-0 ok"]);
    let table = fake.requests().into_iter().find(|r| r.operation == Operation::TableInsert);
    let table = table.unwrap().json.unwrap();
    assert_eq!(table["timePartitioning"], json!({"type": "DAY", "field": "_ts"}));
    assert_eq!(table["clustering"], json!({"fields": ["_dim"]}));
}

/// Each fault at each request of a run.
#[tokio::test(flavor = "multi_thread")]
async fn a_fault_at_any_request_leaves_each_row_exactly_once() {
    let faults = [
        What::LoseRequest,
        What::LoseAnswer,
        What::LateRequest,
        What::Truncated,
        What::html(502),
        What::error(500, "backendError", "try again"),
        What::error(503, "backendError", "try again"),
        What::error(429, "rateLimitExceeded", "slower"),
        What::error(403, "rateLimitExceeded", "slower"),
        What::error(403, "accessDenied", "no"),
        What::error(401, "authError", "expired"),
        What::html(403),
    ];
    let cases = faults.iter().flat_map(|what| USUAL.map(|operation| (operation, what.clone())));
    join_all(cases.map(|(operation, what)| async move {
        let (fake, test) = with_two_keys().await;
        fake.plan(vec![Fault::new(operation, 0, what.clone())]);
        let first = test.run(NOW).await;
        let is_refused = matches!(&what, What::Answer { status: 403, body, .. }
            if !body.contains("rateLimit"));
        assert_eq!(first.is_err(), is_refused, "{operation:?} {what:?}: {first:?}");
        assert_eq!(fake.faults_left(), [], "{operation:?} {what:?}");
        if first.is_err() {
            change(&test).await;
        }
        run_until_done(&test).await;
        fake.deliver_late();
        run_until_done(&test).await;
        let expected = if is_refused { CHANGED } else { EARLY };
        assert_eq!(first_slot(&fake), expected, "{operation:?} {what:?}");
    }))
    .await;
}

#[tokio::test]
async fn a_failed_job_is_followed_by_the_next_number_until_the_run_gives_up() {
    let (fake, test) = with_two_keys().await;
    let fails = |nth| {
        let what = What::JobFails { reason: "invalid".to_owned(), message: "why".to_owned() };
        Fault::new(Operation::UploadMultipart, nth, what)
    };
    fake.plan(vec![fails(0), fails(1), fails(2), fails(3)]);
    let error = test.run(NOW).await.unwrap_err();
    assert!(matches!(&error, ArchiveError::Dimensions(names) if names == "country"), "{error}");
    assert_eq!(fake.jobs().len(), 3);
    change(&test).await;
    assert_eq!(line(&test.run(NOW).await.unwrap()), "country=written:3");
    let ends = ["0 invalid", "1 invalid", "2 invalid", "3 invalid", "4 ok"];
    assert_eq!(jobs(&fake), ends.map(|end| format!("20241004T000000Z-{end}")));
    assert_eq!(first_slot(&fake), CHANGED);
}

#[tokio::test]
async fn a_job_that_may_still_succeed_is_waited_for_and_never_overtaken() {
    let (fake, test) = with_two_keys().await;
    fake.hold_jobs();
    let function = test.function();
    let scheduled = archive::ScheduleEvent { time: "2024-10-04T00:03:00Z".to_owned() };
    let call = Call { now: NOW, deadline: Deadline::after(Duration::from_secs(2)) };
    let error = function.run(&scheduled, call).await.unwrap_err();
    assert!(error.to_string().contains("country"), "{error}");
    assert_eq!((fake.jobs().len(), first_slot(&fake).len()), (1, 0));

    // The next run finds the job, waits for it, and sees that it is over.
    change(&test).await;
    let before = fake.request_count();
    let (report, ()) = tokio::join!(test.run(NOW), async {
        while fake.request_count() < before + 5 {
            tokio::task::yield_now().await;
        }
        fake.release_jobs();
    });
    assert_eq!(line(&report.unwrap()), "country=writtenBefore:3".replace(":3", ""));
    assert_eq!((fake.jobs().len(), first_slot(&fake)), (1, EARLY.map(str::to_owned).to_vec()));
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_at_once_write_a_slot_once() {
    let (fake, test) = with_two_keys().await;
    let functions: Vec<_> = (0..8).map(|_| test.function()).collect();
    let runs = functions.iter().map(|function| run(function, NOW, NOW));
    let (reports, ()) = tokio::join!(join_all(runs), change(&test));
    let written = reports.iter().filter(|report| {
        report.as_ref().unwrap().dimensions["country"].outcome == archive::SlotOutcome::Written
    });
    assert_eq!(written.count(), 1);
    let rows = first_slot(&fake);
    // One moment of each key: that of the job that came first.
    assert_eq!(rows.len(), 3, "{rows:?}");
    assert_eq!(fake.jobs().len(), 1);
}

/// A process ends before or after any of its requests is carried out.
#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_is_killed_anywhere_is_completed_by_the_next_one() {
    let (fake, test) = with_two_keys().await;
    test.run(NOW).await.unwrap();
    let requests = fake.request_count();
    assert!(requests >= 8, "{requests}");
    let kills = (0..requests).flat_map(|at| [(at, Moment::Before), (at, Moment::After)]);
    join_all(kills.map(|(at, moment)| async move {
        let (fake, test) = with_two_keys().await;
        let killed = fake.signal_at_request(at, moment);
        let function = test.function();
        tokio::select! {
            () = killed => {}
            report = run(&function, NOW, NOW) => panic!("request {at}: {report:?}"),
        }
        let was_accepted = !fake.jobs().is_empty();
        change(&test).await;
        let report = test.run(NOW).await.unwrap();
        let word = if was_accepted { "country=writtenBefore" } else { "country=written:3" };
        assert_eq!(line(&report), word, "killed at request {at}");
        let expected = if was_accepted { EARLY } else { CHANGED };
        assert_eq!(first_slot(&fake), expected, "killed at request {at}");
    }))
    .await;
}

/// The upload of a killed run arrives after the next run, or before it.
#[tokio::test]
async fn an_upload_that_comes_late_adds_nothing() {
    let (fake, test) = with_two_keys().await;
    let (at, function) = (fake.request_count(), test.function());
    fake.plan(vec![Fault::new(Operation::UploadMultipart, 0, What::LateRequest)]);
    // Table, dataset and table anew, job, table, columns, upload; then the second attempt.
    let killed = fake.signal_at_request(at + 11, Moment::Before);
    tokio::select! {
        () = killed => {}
        report = run(&function, NOW, NOW) => panic!("{report:?} {:?}", fake.operations()),
    }
    assert_eq!((fake.late_count(), fake.jobs().len()), (1, 0));
    change(&test).await;
    assert_eq!(line(&test.run(NOW).await.unwrap()), "country=written:3");
    fake.deliver_late();
    assert_eq!(first_slot(&fake), CHANGED);

    // The other way round: the late upload is the slot.
    let (fake, test) = with_two_keys().await;
    test.run(NOW).await.unwrap();
    fake.plan(vec![Fault::new(Operation::UploadMultipart, 0, What::LateRequest)]);
    let (second, slot) = (later(600), "2024-10-04T00:10:00");
    let killed = fake.signal_at_request(fake.request_count() + 4, Moment::Before);
    let function = test.function();
    tokio::select! {
        () = killed => {}
        report = run(&function, second, second) => panic!("{report:?} {:?}", fake.operations()),
    }
    change(&test).await;
    fake.deliver_late();
    let report = run(&test.function(), second, later(900)).await.unwrap();
    assert_eq!(line(&report), "country=writtenBefore");
    assert_eq!(rows(&fake, slot), EARLY);
}

#[tokio::test]
async fn columns_whose_addition_is_lost_or_late_are_waited_for() {
    for what in [What::PatchLost, What::PatchLate(1), What::PatchLate(2), What::LoseAnswer] {
        let (fake, test) = with_two_keys().await;
        test.run(NOW).await.unwrap();
        change(&test).await;
        fake.plan(vec![Fault::new(Operation::TablePatch, 0, what.clone())]);
        let report = test.run(later(600)).await.unwrap();
        assert_eq!(line(&report), "country=written:3", "{what:?}");
        assert_eq!(rows(&fake, "T00:10:00"), CHANGED, "{what:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_of_different_slots_that_add_columns_at_once_lose_none() {
    let (fake, test) = with_two_keys().await;
    test.run(NOW).await.unwrap();
    let functions: Vec<_> = (0..6).map(|_| test.function()).collect();
    let runs = functions.iter().enumerate().map(|(i, function)| {
        let test = &test;
        async move {
            let body = format!(r#"{{"dims":{{"country":"es"}},"counters":{{"new{i}":1}}}}"#);
            test.post(NOW, &format!("new{i}"), &body).await;
            let slot = later(600 * (i as u64 + 1));
            run(function, slot, slot).await
        }
    });
    for report in join_all(runs).await {
        report.unwrap();
    }
    assert_eq!(fake.rows_loaded("statshub", "country"), 7 * 3);
}

#[tokio::test]
async fn a_run_that_comes_after_its_slot_is_over_writes_nothing() {
    let (fake, test) = with_two_keys().await;
    let report = run(&test.function(), NOW, later(600)).await.unwrap();
    assert_eq!(line(&report), "country=missed");
    assert_eq!(fake.jobs().len(), 0);
    // But a slot that was written in time is known to be.
    run(&test.function(), later(600), later(1_199)).await.unwrap();
    let report = run(&test.function(), later(600), later(86_400)).await.unwrap();
    assert_eq!(line(&report), "country=writtenBefore");
    assert_eq!(fake.rows_loaded("statshub", "country"), 3);
}

#[tokio::test]
async fn a_dimension_that_fails_does_not_stop_the_others_and_is_named() {
    let fake = FakeBigQuery::start().await.unwrap();
    let test = on(&fake, &[]).await;
    let body = r#"{"dims":{"a":"x","b":"x","c":"x","d":"x"},"counters":{"n":1}}"#;
    test.post(NOW, "i", body).await;
    test.run(NOW).await.unwrap();
    // Somebody has given `b` a column of another type, for a stat that does not exist yet.
    let bigquery = test.bigquery().unwrap();
    let id = TableId::from(&shared::domain::DimensionName::new("b").unwrap());
    let table = bigquery.table(&id, soon()).await.unwrap().unwrap();
    let mut schema = table.schema.clone();
    schema.fields[2].fields.push(bigquery::Field::new("m", "STRING"));
    assert!(bigquery.change_schema(&id, &table, &schema, soon()).await.unwrap());
    let body = r#"{"dims":{"a":"x","b":"x","c":"x","d":"x"},"counters":{"m":1}}"#;
    test.post(NOW, "i", body).await;
    let error = test.run(later(600)).await.unwrap_err();
    assert_eq!(error.to_string(), "failed for the dimensions b; all others are done");
    for (table, rows) in [("a", 4), ("b", 2), ("c", 4), ("d", 4)] {
        assert_eq!(fake.rows_loaded("statshub", table), rows, "{table}");
    }
}

/// What a holder of a token can send in a minute: 20 updates of 500 stats each, which nobody has
/// seen before.
async fn flood_with_stats(test: &Test) {
    let posts = (0..20).map(|id| async move {
        let stats: BTreeMap<_, _> = (0..500).map(|i| (format!("s{id}_{i}"), 1)).collect();
        let body = json!({"dims": {"country": format!("0{id}")}, "counters": stats}).to_string();
        test.post(NOW, &format!("flood{id}"), &body).await;
    });
    join_all(posts).await;
}

/// Before there was a bound, such a flood made each run of the dimension fail.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_stats_keeps_no_stat_out_of_the_archive_that_was_there_before() {
    let (fake, test) = with_two_keys().await;
    test.run(NOW).await.unwrap();
    flood_with_stats(&test).await;
    change(&test).await;
    for (slot, time) in [(600, "T00:10:00"), (1_200, "T00:20:00")] {
        let report = test.run(later(slot)).await.unwrap();
        assert_eq!(line(&report), "country=written:23");
        // The table had room for 9,996 columns. The keys of the flood come first, so the honest `b`
        // is left out as well.
        assert_eq!(report.dimensions["country"].without_column, 5);
        assert_eq!(report.dimensions["country"].left_out, 0);
        let rows = rows(&fake, time);
        let honest: Vec<_> = rows.iter().filter(|row| !row.starts_with('0')).collect();
        assert_eq!(honest[..2], [r#"es {"a":1}"#, r#"fr {"a":20}"#]);
        let total: Value = serde_json::from_str(&honest[2]["total ".len()..]).unwrap();
        assert_eq!((&total["a"], total.as_object().unwrap().len()), (&json!(21), 9_997));
    }
    let schema = fake.schema("statshub", "country");
    assert_eq!(schema["fields"][2]["fields"].as_array().unwrap().len(), 9_997);
}

/// In the order of names, which was that of a run before, the flood came first.
#[tokio::test(flavor = "multi_thread")]
async fn a_flood_of_dimensions_is_archived_after_those_that_were_there_before() {
    let fake = FakeBigQuery::start().await.unwrap();
    let test = on(&fake, &[]).await;
    let body = r#"{"dims":{"country":"es","device":"x","user":"bob"},"counters":{"a":1}}"#;
    test.post(NOW, "honest", body).await;
    fake.set_time(NOW.0 - 30 * 86_400);
    test.run(NOW).await.unwrap();

    fake.set_time(NOW.0 + 600);
    let flood: BTreeMap<_, _> = (10..50).map(|i| (format!("0aaa{i}"), "x")).collect();
    // An update has 10 dimensions at most.
    for dims in flood.iter().collect::<Vec<_>>().chunks(10) {
        let dims: BTreeMap<_, _> = dims.iter().copied().collect();
        let body = json!({"dims": dims, "counters": {"a": 1}}).to_string();
        test.post(NOW, "flood", &body).await;
    }
    fake.set_page_size(20);
    // At first the flood has no tables, then it has young ones.
    for (slot, pages_of_the_list) in [(600, 1), (1_200, 3), (86_400 * 20, 3)] {
        // Three dimensions at once are archived. Their first requests get no answer, so that no
        // other dimension begins.
        let held = fake.request_count() + pages_of_the_list;
        let held = held..held + 3;
        let arrived = held.clone().map(|number| fake.signal_at_request(number, Moment::Before));
        tokio::select! {
            _ = join_all(arrived.collect::<Vec<_>>()) => {}
            report = test.run(later(slot)) => panic!("{report:?}"),
        }
        let mut first: Vec<_> = fake.requests()[held].iter().map(asks_for_the_table).collect();
        first.sort();
        assert_eq!(first, ["country", "device", "user"], "{slot}");

        let report = test.run(later(slot)).await.unwrap();
        assert_eq!(report.dimensions.len(), 43);
    }
}

fn asks_for_the_table(request: &RequestRecord) -> String {
    assert_eq!(request.operation, Operation::TableGet, "{}", request.path);
    request.path.rsplit('/').next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_dimension_that_takes_long_does_not_hold_up_those_after_it() {
    let fake = FakeBigQuery::start().await.unwrap();
    let test = on(&fake, &[]).await;
    let dims: BTreeMap<_, _> = (0..9).map(|i| (format!("d{i}"), "x")).collect();
    let body = json!({"dims": dims, "counters": {"a": 1}}).to_string();
    test.post(NOW, "i", &body).await;
    test.run(NOW).await.unwrap();

    // After the list of tables, one of those that come first gets no answer.
    let withheld = fake.request_count() + 1;
    let _signal = fake.signal_at_request(withheld, Moment::Before);
    let is_missing = |dimension: &&String| fake.rows_loaded("statshub", dimension) < 4;
    let one_is_missing = async {
        while dims.keys().filter(is_missing).count() > 1 {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = one_is_missing => {}
        report = test.run(later(600)) => panic!("{report:?}"),
    }
    let missing = dims.keys().find(is_missing).unwrap();
    let path = &fake.requests()[withheld].path;
    assert!(path.ends_with(missing.as_str()), "{missing} is missing, and {path} had no answer");
}

#[tokio::test]
async fn without_the_list_of_tables_all_dimensions_are_archived_all_the_same() {
    let fake = FakeBigQuery::start().await.unwrap();
    let test = on(&fake, &[]).await;
    let body = r#"{"dims":{"a":"x","b":"x","c":"x","d":"x"},"counters":{"n":1}}"#;
    test.post(NOW, "i", body).await;
    let denied = What::error(403, "accessDenied", "Permission bigquery.tables.list denied");
    fake.plan(vec![Fault::new(Operation::TableList, 0, denied)]);
    let report = test.run(NOW).await.unwrap();
    assert_eq!(line(&report), "a=written:2 b=written:2 c=written:2 d=written:2");
    assert_eq!(fake.faults_left(), []);
}

#[tokio::test]
async fn an_error_names_some_of_the_dimensions_that_failed_however_many_there_are() {
    let fake = FakeBigQuery::start().await.unwrap();
    fake.create_dataset("statshub");
    let test = on(&fake, &[]).await;
    for tens in 1..4 {
        let dims: BTreeMap<_, _> = (0..10).map(|i| (format!("d{tens}{i}"), "x")).collect();
        let body = json!({"dims": dims, "counters": {"a": 1}}).to_string();
        test.post(NOW, "i", &body).await;
    }
    let denied = What::error(403, "accessDenied", "no");
    let faults = (0..30).map(|nth| Fault::new(Operation::TableGet, nth, denied.clone()));
    fake.plan(faults.collect());
    let error = test.run(NOW).await.unwrap_err().to_string();
    assert!(error.starts_with("failed for the dimensions d10, d11, "), "{error}");
    assert!(error.ends_with(", d29 and 10 more; all others are done"), "{error}");
}

/// BigQuery has less room than the schema shows while deleted columns still count.
#[tokio::test]
async fn new_columns_that_bigquery_refuses_are_left_out_and_all_else_is_archived() {
    let (fake, test) = with_two_keys().await;
    test.run(NOW).await.unwrap();
    change(&test).await;
    let message = "Too many total leaf fields: 10001, max allowed field count: 10000";
    let refused =
        |nth| Fault::new(Operation::TablePatch, nth, What::error(400, "invalid", message));
    fake.plan((0..5).map(refused).collect());
    let report = test.run(later(600)).await.unwrap();
    assert_eq!(line(&report), "country=written:3");
    assert_eq!(report.dimensions["country"].without_column, 1);
    let expected = [r#"es {"a":1}"#, r#"fr {"a":20}"#, r#"total {"a":21}"#];
    assert_eq!(rows(&fake, "T00:10:00"), expected);
    // The next run finds room, and makes up for it.
    assert_eq!(line(&test.run(later(1_200)).await.unwrap()), "country=written:3");
    assert_eq!(rows(&fake, "T00:20:00"), CHANGED);
}

#[tokio::test]
async fn a_job_of_the_slots_id_for_another_table_is_an_error() {
    let (fake, test) = with_two_keys().await;
    test.post(NOW, "k", r#"{"dims":{"user":"u"},"counters":{"a":1}}"#).await;
    test.run(NOW).await.unwrap();
    let bigquery = test.bigquery().unwrap();
    let user = TableId::from(&shared::domain::DimensionName::new("user").unwrap());
    let id = JobId::of("statshub_statshub-country-20241004T001000Z-0");
    let row = br#"{"_dim":"x","_ts":"2024-10-04T00:10:00Z"}"#;
    bigquery.load(&bigquery.job_ref(id, Some("EU")), &user, row, soon()).await.unwrap();
    let error = test.run(later(600)).await.unwrap_err();
    assert!(error.to_string().contains("country"), "{error}");
    assert_eq!(fake.rows_loaded("statshub", "country"), 3);
}

/// 36 keys of 500 stats with long names: more rows than one request takes.
async fn large() -> (FakeBigQuery, Test) {
    let fake = FakeBigQuery::start().await.unwrap();
    let test = on(&fake, &[]).await;
    let stat = |i| format!("{}{i}", "long".repeat(60));
    let stats: BTreeMap<_, _> = (0..500).map(|i| (stat(i), i)).collect();
    let posts = (0..36).map(|id| {
        let body = json!({"dims": {"country": format!("k{id}")}, "counters": stats}).to_string();
        let test = &test;
        async move { test.post(NOW, &id.to_string(), &body).await }
    });
    join_all(posts).await;
    (fake, test)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_large_dimension_is_uploaded_in_chunks_whatever_happens_to_them() {
    let (fake, test) = large().await;
    test.run(NOW).await.unwrap();
    let chunks =
        fake.operations().into_iter().filter(|operation| *operation == Operation::UploadChunk);
    let chunks = chunks.count();
    assert!(chunks >= 2, "{chunks}");
    let mut slot = 0;
    for what in [
        What::LoseRequest,
        What::LoseAnswer,
        What::LateRequest,
        What::Truncated,
        What::SessionGone,
        What::html(502),
        What::error(503, "backendError", "try again"),
        What::error(404, "notFound", "gone"),
        What::JobFails { reason: "backendError".to_owned(), message: String::new() },
    ] {
        for operation in [Operation::UploadStart, Operation::UploadChunk] {
            for nth in 0..chunks {
                if operation == Operation::UploadStart && nth > 0 {
                    continue;
                }
                slot += 600;
                fake.plan(vec![Fault::new(operation, nth, what.clone())]);
                let result = test.run(later(slot)).await;
                let is_refused = operation == Operation::UploadStart
                    && matches!(what, What::Answer { status: 404, .. });
                assert_eq!(result.is_err(), is_refused, "{operation:?} {nth} {what:?} {result:?}");
                fake.deliver_late();
                if is_refused {
                    test.run(later(slot)).await.unwrap();
                }
                let expected = (slot / 600 + 1) * 37;
                let loaded = fake.rows_loaded("statshub", "country");
                assert_eq!(loaded, expected, "{operation:?} {nth} {what:?}");
            }
        }
    }
    let rows = fake.rows("statshub", "country");
    let total = rows.iter().find(|row| row["_dim"] == "total").unwrap();
    let sum: i64 = total["counter"].as_object().unwrap().values().filter_map(Value::as_i64).sum();
    assert_eq!(sum, 36 * (0..500).sum::<i64>());
}

/// Faults of all kinds strike at random, and runs are killed at random. In the end each slot is
/// there once, with numbers that were true at some moment.
#[tokio::test(flavor = "multi_thread")]
async fn random_faults_and_kills_leave_each_row_exactly_once() {
    join_all((0..24).map(|seed| async move {
        let mut random = fastrand::Rng::with_seed(seed);
        let (fake, mut test) = with_two_keys().await;
        // If a process ends before its signal, some later request waits for this long.
        test.pace.attempt = Duration::from_secs(1);
        test.pace.upload = Duration::from_secs(1);
        for slot in 0..6 {
            let faults = (0..random.usize(0..6)).map(|_| {
                let what = match random.u8(0..9) {
                    0 => What::LoseRequest,
                    1 | 2 => What::LoseAnswer,
                    3 => What::LateRequest,
                    4 => {
                        What::JobFails { reason: "backendError".to_owned(), message: String::new() }
                    }
                    5 => What::PatchLate(1),
                    6 => What::html(500),
                    7 => What::error(403, "accessDenied", "no"),
                    _ => What::Truncated,
                };
                Fault::at_request(fake.request_count() + random.usize(0..10), what)
            });
            fake.plan(faults.collect());
            fake.set_job_polls(random.usize(0..3));
            let scheduled = later(600 * slot);
            for attempt in 0..20 {
                let body = format!(
                    r#"{{"dims":{{"country":"es"}},"increments":{{"a":1,"n{slot}_{attempt}":1}}}}"#
                );
                test.post(scheduled, "n", &body).await;
                let function = test.function();
                let is_done = if random.u8(0..3) == 0 {
                    let at = fake.request_count() + random.usize(0..8);
                    let moment = if random.bool() { Moment::Before } else { Moment::After };
                    let killed = fake.signal_at_request(at, moment);
                    tokio::select! {
                        () = killed => false,
                        report = run(&function, scheduled, scheduled) => report.is_ok(),
                    }
                } else {
                    run(&function, scheduled, scheduled).await.is_ok()
                };
                if random.bool() {
                    fake.deliver_late();
                }
                if is_done {
                    break;
                }
                assert!(attempt < 19, "seed {seed}, slot {slot}: twenty runs failed");
            }
        }
        fake.deliver_late();
        let mut rows = fake.rows("statshub", "country");
        rows.sort_by_key(|row| (row["_ts"].to_string(), row["_dim"].to_string()));
        let keys: Vec<_> = rows.iter().map(|row| row["_dim"].as_str().unwrap()).collect();
        assert_eq!(keys, ["es", "fr", "total"].repeat(6), "seed {seed}");
        let a = |row: &Value| row["counter"]["a"].as_i64().unwrap();
        let mut last = 0;
        for slot in rows.chunks(3) {
            assert_eq!(a(&slot[0]) + a(&slot[1]), a(&slot[2]), "seed {seed}");
            assert!(a(&slot[2]) > last, "seed {seed}: counters grow from slot to slot");
            last = a(&slot[2]);
        }
    }))
    .await;
}
