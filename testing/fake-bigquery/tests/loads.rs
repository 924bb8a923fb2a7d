//! Load jobs: uploads, rows, and when jobs run.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use fake_bigquery::{JobState, Operation};
use hyper::{Method, StatusCode};
use serde_json::{Value, json};
use support::{Answer, DATASET, TABLE, Test, field, job, ndjson, record, row, schema, schema_of};

const CHUNK: usize = 256 * 1024;

/// The reason of the error with which a job ended.
fn reason(job: &Value) -> &str {
    assert_eq!(job["status"]["state"], "DONE", "{job}");
    assert_eq!(job["status"]["errors"][0], job["status"]["errorResult"]);
    job["status"]["errorResult"]["reason"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn a_load_appends_all_rows() {
    let test = Test::start().await;
    let rows = [row("es", 1), row("de", -2)];
    let job = test.load("job-1", &rows).await.unwrap().ok();
    assert_eq!(job["status"], json!({"state": "DONE"}));
    assert_eq!(job["jobReference"]["jobId"], "job-1");
    assert_eq!(job["jobReference"]["location"], "EU");
    assert_eq!(job["statistics"]["load"]["outputRows"], "2");
    test.load("job-2", &[row("fr", 3)]).await.unwrap().ok();
    assert_eq!(test.rows(), [row("es", 1), row("de", -2), row("fr", 3)]);
    assert_eq!(test.fake.rows_loaded(DATASET, TABLE), 3);
    let jobs = test.fake.jobs();
    assert_eq!(jobs.len(), 2);
    assert_eq!(jobs[0].id, "job-1");
    assert_eq!(jobs[0].state, JobState::Done);
    assert_eq!(jobs[0].error, None);
    assert_eq!(jobs[0].rows, 2);
    assert_eq!(jobs[0].table, Some((DATASET.to_owned(), TABLE.to_owned())));
}

#[tokio::test]
async fn an_id_is_taken_for_ever_even_by_a_job_that_failed() {
    let test = Test::start().await;
    let job = test.load("job-1", &[json!({"unknown": 1})]).await.unwrap().ok();
    assert_eq!(reason(&job), "invalid");
    let again = test.load("job-1", &[row("es", 1)]).await.unwrap();
    assert_eq!(again.error(), (409, "duplicate".to_owned()));
    assert!(test.rows().is_empty());
    test.load("job-2", &[row("es", 1)]).await.unwrap().ok();
    assert_eq!(test.load("job-2", &[row("es", 1)]).await.unwrap().error().0, 409);
    assert_eq!(test.rows(), [row("es", 1)]);
}

#[tokio::test]
async fn a_job_without_an_id_gets_one() {
    let test = Test::start().await;
    let mut resource = job("");
    resource["jobReference"].as_object_mut().unwrap().remove("jobId");
    for _ in 0..2 {
        test.upload(resource.clone(), &ndjson(&[row("es", 1)])).await.unwrap().ok();
    }
    assert_eq!(test.rows().len(), 2);
    let invalid = test.load("a/b", &[]).await.unwrap();
    assert_eq!(invalid.error(), (400, "invalid".to_owned()));
}

#[tokio::test]
async fn a_load_into_no_table_ends_as_not_found() {
    let test = Test::start().await;
    for name in ["tableId", "datasetId"] {
        let mut resource = job(name);
        resource["configuration"]["load"]["destinationTable"][name] = "other".into();
        let job = test.upload(resource, &ndjson(&[row("es", 1)])).await.unwrap().ok();
        assert_eq!(reason(&job), "notFound");
    }
    // The job exists, but in another location.
    let mut resource = job("location");
    resource["jobReference"]["location"] = "US".into();
    let job = test.upload(resource.clone(), &ndjson(&[row("es", 1)])).await.unwrap().ok();
    assert_eq!(reason(&job), "notFound");
    resource["jobReference"] = json!({"jobId": "same", "location": "eu"});
    let job = test.upload(resource, &ndjson(&[row("es", 1)])).await.unwrap().ok();
    assert_eq!(reason(&job), "");
    let errors = test.fake.jobs().into_iter().map(|job| job.error.map(|error| error.reason));
    let not_found = Some("notFound".to_owned());
    assert_eq!(errors.collect::<Vec<_>>(), [not_found.clone(), not_found.clone(), not_found, None]);
}

/// Whether this value of `v` is loaded if `v` is of this type.
async fn loads(kind: Value, values: &[Value]) -> Vec<bool> {
    let mut field = field("v", "");
    field.as_object_mut().unwrap().extend(kind.as_object().unwrap().clone());
    let test = Test::with_schema(schema_of(&[field])).await;
    let mut loaded = Vec::new();
    for (i, value) in values.iter().enumerate() {
        let line = format!("{{\"v\": {value}}}\n");
        let job = test.upload(job(&format!("job-{i}")), &line).await.unwrap().ok();
        loaded.push(reason(&job).is_empty());
    }
    let expected = values.iter().zip(&loaded).filter(|(_, is_loaded)| **is_loaded);
    let expected: Vec<_> = expected.map(|(value, _)| json!({"v": value})).collect();
    assert_eq!(test.rows(), expected);
    loaded
}

async fn all_load(kind: Value, values: &[Value]) {
    let loaded = loads(kind, values).await;
    assert!(loaded.iter().all(|is_loaded| *is_loaded), "{values:?} {loaded:?}");
}

async fn none_loads(kind: Value, values: &[Value]) {
    let loaded = loads(kind, values).await;
    assert!(!loaded.contains(&true), "{values:?} {loaded:?}");
}

#[tokio::test]
async fn integers() {
    let integer = json!({"type": "INTEGER"});
    let (max, min) = (i64::MAX.to_string(), i64::MIN.to_string());
    all_load(integer.clone(), &[json!(0), json!(i64::MAX), json!(i64::MIN), json!(null)]).await;
    all_load(integer.clone(), &[json!("-7"), json!("007"), json!(max), json!(min)]).await;
    let above = [json!(9_223_372_036_854_775_808_u64), json!("9223372036854775808")];
    none_loads(integer.clone(), &above).await;
    none_loads(integer.clone(), &[json!("-9223372036854775809"), json!(1e30)]).await;
    none_loads(integer.clone(), &[json!(1.5), json!("1.5"), json!("+1"), json!(" 1")]).await;
    none_loads(integer, &[json!(""), json!("a"), json!(true), json!([1]), json!({"a": 1})]).await;
}

#[tokio::test]
async fn texts_and_times() {
    let string = json!({"type": "STRING"});
    all_load(string.clone(), &[json!(""), json!("a\nb \"c\" ü"), json!(null)]).await;
    none_loads(string, &[json!(1), json!(true), json!(["a"]), json!({})]).await;
    let timestamp = json!({"type": "TIMESTAMP"});
    let valid = ["2026-01-02T03:04:05Z", "2026-01-02T03:04:05.123456Z"];
    all_load(timestamp.clone(), &valid.map(|text| json!(text))).await;
    all_load(timestamp.clone(), &[json!(null)]).await;
    let invalid = [
        "2026-01-02T03:04:05",
        "2026-01-02T03:04:05+00:00",
        "2026-01-02 03:04:05 UTC",
        "2026-02-30T03:04:05Z",
        "2026-01-02T03:04:05.1234567Z",
        "2026-01-02",
        "Z",
        "",
    ];
    none_loads(timestamp.clone(), &invalid.map(|text| json!(text))).await;
    none_loads(timestamp, &[json!(1_700_000_000)]).await;
}

#[tokio::test]
async fn other_types_and_modes() {
    all_load(json!({"type": "FLOAT"}), &[json!(1), json!(1.5), json!("1.5"), json!(null)]).await;
    none_loads(json!({"type": "FLOAT"}), &[json!("a"), json!(true)]).await;
    all_load(json!({"type": "BOOLEAN"}), &[json!(true), json!("False")]).await;
    none_loads(json!({"type": "BOOL"}), &[json!(1), json!("yes")]).await;
    all_load(json!({"type": "DATE"}), &[json!("2026-01-02")]).await;
    let required = json!({"type": "INTEGER", "mode": "REQUIRED"});
    all_load(required.clone(), &[json!(1)]).await;
    none_loads(required, &[json!(null)]).await;
    let repeated = json!({"type": "INTEGER", "mode": "REPEATED"});
    all_load(repeated.clone(), &[json!([]), json!([1, "2"]), json!(null)]).await;
    none_loads(repeated, &[json!(1), json!([null]), json!(["a"]), json!([[1]])]).await;
    let record = json!({"type": "RECORD", "fields": [field("a", "INTEGER")]});
    all_load(record.clone(), &[json!({}), json!({"a": 1}), json!({"a": null}), json!(null)]).await;
    none_loads(record, &[json!(1), json!("a"), json!([{"a": 1}]), json!({"b": 1})]).await;
}

#[tokio::test]
async fn one_invalid_row_and_nothing_is_loaded() {
    let test = Test::start().await;
    let bad = json!({"_ts": "2026-01-02T03:04:05Z", "counter": {"a": 1, "b": 2}});
    let job = test.load("job-1", &[row("es", 1), bad, row("es", 2)]).await.unwrap().ok();
    assert_eq!(reason(&job), "invalid");
    let detail = job["status"]["errors"][1]["message"].as_str().unwrap();
    assert!(detail.contains("row 2"), "{detail}");
    assert!(detail.contains("No such field: counter.b."), "{detail}");
    assert!(test.rows().is_empty());
    assert_eq!(test.fake.rows_loaded(DATASET, TABLE), 0);
}

#[tokio::test]
async fn lines_have_to_be_rows() {
    let test = Test::start().await;
    let lines = ["[]", "1", "null", "{", "{} {}", "{\"_dim\":\n\"es\"}", "{\"_dim\": \"a\u{0}\"}"];
    for (i, line) in lines.into_iter().enumerate() {
        let job = test.upload(job(&format!("job-{i}")), line).await.unwrap().ok();
        assert_eq!(reason(&job), "invalid", "{line:?}");
    }
    let twice = "{\"counter\": {\"a\": 1, \"A\": 2}}";
    let failed = test.upload(job("twice"), twice).await.unwrap().ok();
    assert_eq!(reason(&failed), "invalid");
    // No line, empty lines, and a last line without its end.
    test.upload(job("empty"), "").await.unwrap().ok();
    test.upload(job("lines"), "\n{}\r\n\n{\"_dim\": null}").await.unwrap().ok();
    assert_eq!(test.rows(), [json!({}), json!({"_dim": null})]);
}

#[tokio::test]
async fn names_match_whatever_their_case() {
    let test = Test::start().await;
    let line = "{\"_DIM\": \"es\", \"Counter\": {\"A\": \"1\"}}";
    test.upload(job("job-1"), line).await.unwrap().ok();
    assert_eq!(test.rows(), [json!({"_dim": "es", "counter": {"a": "1"}})]);
}

#[tokio::test]
async fn rows_need_not_be_kept() {
    let test = Test::start().await;
    test.fake.keep_rows(false);
    test.load("job-1", &[row("es", 1), row("de", 2)]).await.unwrap().ok();
    assert_eq!(reason(&test.load("job-2", &[json!({"x": 1})]).await.unwrap().ok()), "invalid");
    assert!(test.rows().is_empty());
    assert_eq!(test.fake.rows_loaded(DATASET, TABLE), 2);
}

#[tokio::test]
async fn what_the_fake_does_not_do_it_refuses() {
    let test = Test::start().await;
    for (name, value) in [
        ("sourceFormat", json!("CSV")),
        ("writeDisposition", json!("WRITE_TRUNCATE")),
        ("createDisposition", json!("CREATE_IF_NEEDED")),
        ("autodetect", json!(true)),
        ("ignoreUnknownValues", json!(true)),
        ("maxBadRecords", json!(1)),
        ("schemaUpdateOptions", json!(["ALLOW_FIELD_ADDITION"])),
    ] {
        let mut resource = job("job-1");
        resource["configuration"]["load"][name] = value;
        let refused = test.upload(resource.clone(), "").await.unwrap();
        assert_eq!(refused.error(), (400, "invalid".to_owned()), "{name}");
        let url = test.upload_url("resumable");
        let body = resource.to_string();
        let refused = test.http.send(Method::POST, &url, &[], body).await.unwrap();
        assert_eq!(refused.error(), (400, "invalid".to_owned()), "{name}");
    }
    let load = Some(job("job-1"));
    let refused = test.send(Method::POST, "/jobs", load).await.unwrap();
    assert_eq!(refused.error(), (400, "invalid".to_owned()));
    assert!(test.fake.jobs().is_empty());
}

#[tokio::test]
async fn multipart_bodies_are_checked() {
    let test = Test::start().await;
    let url = test.upload_url("multipart");
    let job = job("job-1");
    let head = "Content-Type: application/json\r\n\r\n";
    let good = format!("--b\r\n{head}{job}\r\n--b\r\nContent-Type: x/y\r\n\r\n{{}}\r\n--b--");
    let kind = "multipart/related; boundary=\"b\"";
    let send = |kind: &'static str, body: String| {
        let (http, url) = (test.http.clone(), url.clone());
        async move { http.send(Method::POST, &url, &[("content-type", kind)], body).await.unwrap() }
    };
    for (kind, body) in [
        ("multipart/form-data; boundary=b", good.clone()),
        ("multipart/related", good.clone()),
        ("multipart/related; boundary=c", good.clone()),
        (kind, good.replace("--b--", "--b")),
        (kind, good.replace(head, "\r\n")),
        (kind, format!("--b\r\n{head}{job}\r\n--b--")),
    ] {
        let answer = send(kind, body).await;
        assert_eq!(answer.error(), (400, "invalid".to_owned()), "{kind}");
    }
    send(kind, good).await.ok();
    assert_eq!(test.rows(), [json!({})]);
    let media = test.upload_url("media");
    let answer = test.http.send(Method::POST, &media, &[], "").await.unwrap();
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_job_is_only_found_at_its_location() {
    let test = Test::start().await;
    test.load("job-1", &[]).await.unwrap().ok();
    for path in ["/jobs/job-1", "/jobs/job-1?location=US", "/jobs/job-2?location=EU"] {
        let answer = test.get(path).await.unwrap();
        assert_eq!(answer.error(), (404, "notFound".to_owned()), "{path}");
    }
    test.get("/jobs/job-1?location=eu").await.unwrap().ok();
    assert_eq!(test.fake.requests().last().unwrap().job_id(), Some("job-1"));
}

#[tokio::test]
async fn a_job_runs_after_its_polls() {
    let test = Test::start().await;
    test.fake.set_job_polls(2);
    let new = json!({"counter": {"b": 1}});
    let state = |answer: Answer| answer.ok()["status"]["state"].as_str().unwrap().to_owned();
    let inserted = test.load("job-1", std::slice::from_ref(&new)).await.unwrap();
    assert_eq!(state(inserted), "PENDING");
    assert_eq!(test.fake.jobs()[0].state, JobState::Pending);
    assert_eq!(state(test.get_job("job-1").await.unwrap()), "RUNNING");
    assert_eq!(state(test.get_job("job-1").await.unwrap()), "RUNNING");
    assert!(test.rows().is_empty());
    // The table's schema at the time when the job runs counts.
    let mut patch = schema();
    patch["fields"][2] = record("counter", &[field("a", "INTEGER"), field("b", "INTEGER")]);
    test.patch(patch).await.unwrap().ok();
    let done = test.get_job("job-1").await.unwrap().ok();
    assert_eq!(done["status"], json!({"state": "DONE"}));
    assert_eq!(test.rows(), [new]);
    assert_eq!(state(test.get_job("job-1").await.unwrap()), "DONE");
    assert_eq!(test.rows().len(), 1);
}

#[tokio::test]
async fn held_jobs_run_when_they_are_released() {
    let test = Test::start().await;
    test.fake.hold_jobs();
    for (i, dim) in ["a", "b"].into_iter().enumerate() {
        test.load(dim, &[row(dim, i64::try_from(i).unwrap())]).await.unwrap().ok();
    }
    for _ in 0..3 {
        let job = test.get_job("b").await.unwrap().ok();
        assert_eq!(job["status"]["state"], "PENDING");
    }
    assert_eq!(test.load("a", &[]).await.unwrap().error().0, 409);
    assert!(test.rows().is_empty());
    test.fake.release_jobs();
    assert_eq!(test.rows(), [row("a", 0), row("b", 1)]);
    assert_eq!(test.get_job("b").await.unwrap().ok()["status"]["state"], "DONE");
}

#[tokio::test]
async fn a_resumable_upload_comes_in_chunks() {
    let test = Test::start().await;
    let rows: Vec<_> = (0..12_000).map(|i| row("es", i)).collect();
    let data = ndjson(&rows).into_bytes();
    assert!(data.len() > 2 * CHUNK);
    let url = test.start_upload("job-1").await;
    assert!(url.starts_with(&test.fake.upload_url()), "{url}");

    let status = test.put(&url, "bytes */*", "").await.unwrap();
    assert_eq!(status.status, StatusCode::PERMANENT_REDIRECT);
    assert_eq!(status.header("range"), None);

    let range = format!("bytes 0-{}/*", CHUNK - 1);
    let resumed = test.put(&url, &range, data[..CHUNK].to_vec()).await.unwrap();
    assert_eq!(resumed.status, StatusCode::PERMANENT_REDIRECT);
    let received = format!("bytes=0-{}", CHUNK - 1);
    assert_eq!(resumed.header("range"), Some(received.as_str()));
    let status = test.put(&url, &format!("bytes */{}", data.len()), "").await.unwrap();
    assert_eq!(status.header("range"), Some(received.as_str()));
    assert!(test.fake.jobs().is_empty());

    // The first chunk again, together with the next.
    let range = format!("bytes 0-{}/*", 2 * CHUNK - 1);
    test.put(&url, &range, data[..2 * CHUNK].to_vec()).await.unwrap();
    let total = data.len();
    let range = format!("bytes {}-{}/{total}", 2 * CHUNK, total - 1);
    let job = test.put(&url, &range, data[2 * CHUNK..].to_vec()).await.unwrap().ok();
    assert_eq!(job["status"], json!({"state": "DONE"}));
    assert_eq!(job["jobReference"]["jobId"], "job-1");
    assert_eq!(test.rows(), rows);

    // The upload is complete: the answer is the job, and nothing is loaded again.
    for range in ["bytes */*", &format!("bytes */{total}"), &range] {
        let body =
            if range.starts_with("bytes */") { Vec::new() } else { data[2 * CHUNK..].to_vec() };
        let job = test.put(&url, range, body).await.unwrap().ok();
        assert_eq!(job["jobReference"]["jobId"], "job-1");
    }
    assert_eq!(test.rows().len(), rows.len());
    let operations = test.fake.operations();
    let count = |of| operations.iter().filter(|operation| **operation == of).count();
    assert_eq!(count(Operation::UploadStart), 1);
    assert_eq!(count(Operation::UploadChunk), 4);
    assert_eq!(count(Operation::UploadStatus), 4);
}

#[tokio::test]
async fn the_end_of_an_upload_can_be_told_later_or_by_no_range() {
    let test = Test::start().await;
    let rows = ndjson(&[row("es", 1)]);
    let data = rows.clone() + &" ".repeat(CHUNK - rows.len());
    let url = test.start_upload("job-1").await;
    let range = format!("bytes 0-{}/*", CHUNK - 1);
    assert_eq!(test.put(&url, &range, data).await.unwrap().status, 308);
    assert_eq!(test.put(&url, &format!("bytes */{}", CHUNK + 1), "").await.unwrap().status, 308);
    test.put(&url, &format!("bytes */{CHUNK}"), "").await.unwrap().ok();
    assert_eq!(test.rows(), [row("es", 1)]);

    let url = test.start_upload("job-2").await;
    test.http.send(Method::PUT, &url, &[], rows).await.unwrap().ok();
    assert_eq!(test.rows().len(), 2);
    let url = test.start_upload("job-3").await;
    test.put(&url, "bytes */0", "").await.unwrap().ok();
    assert_eq!(test.fake.jobs()[2].rows, 0);
}

#[tokio::test]
async fn chunks_are_checked() {
    let test = Test::start().await;
    let url = test.start_upload("job-1").await;
    for (range, length) in [
        ("bytes 0-9/*", 10),
        ("bytes 0-9/20", 10),
        ("bytes 0-9/10", 9),
        ("bytes 0-9/5", 10),
        ("bytes 5-9/10", 5),
        ("bytes 9-0/10", 10),
        ("bytes */*", 1),
        ("0-9/10", 10),
        ("bytes 0-9", 10),
    ] {
        let answer = test.put(&url, range, " ".repeat(length)).await.unwrap();
        assert_eq!(answer.error(), (400, "invalid".to_owned()), "{range}");
    }
    test.put(&url, "bytes 0-9/10", " ".repeat(10)).await.unwrap().ok();
}

#[tokio::test]
async fn an_upload_of_a_taken_id_fails_at_its_end() {
    let test = Test::start().await;
    let url = test.start_upload("job-1").await;
    test.load("job-1", &[row("es", 1)]).await.unwrap().ok();
    for range in ["bytes 0-1/2", "bytes */*"] {
        let body = if range == "bytes */*" { "" } else { "{}" };
        let answer = test.put(&url, range, body).await.unwrap();
        assert_eq!(answer.error(), (409, "duplicate".to_owned()));
    }
    assert_eq!(test.rows(), [row("es", 1)]);
}

#[tokio::test]
async fn uploads_expire() {
    let test = Test::start().await;
    let done = test.start_upload("done").await;
    test.put(&done, "bytes */0", "").await.unwrap().ok();
    let url = test.start_upload("job-1").await;
    test.fake.expire_uploads();
    for range in ["bytes 0-1/2", "bytes */*"] {
        let body = if range == "bytes */*" { "" } else { "{}" };
        assert_eq!(test.put(&url, range, body).await.unwrap().error().0, 404);
    }
    test.put(&done, "bytes */*", "").await.unwrap().ok();
    assert_eq!(test.fake.jobs().len(), 1);
}

/// As many rows as an archive may load at once.
#[tokio::test]
async fn sixty_megabytes_are_loaded() {
    const ROWS: usize = 100_000;
    let mut line = json!({"_ts": "2026-01-02T03:04:05Z", "_dim": "country"});
    let mut fields = vec![];
    for i in 0..18 {
        let name = format!("a_rather_long_name_of_a_stat_{i}");
        line["counter"][&name] = 1_000_000_007.into();
        fields.push(field(&name, "INTEGER"));
    }
    let test = Test::with_schema(schema_of(&[
        field("_ts", "TIMESTAMP"),
        field("_dim", "STRING"),
        record("counter", &fields),
    ]))
    .await;
    test.fake.keep_rows(false);
    let data = format!("{line}\n").repeat(ROWS);
    assert!(data.len() > 60_000_000, "{}", data.len());
    let job = test.upload(job("job-1"), &data).await.unwrap().ok();
    assert_eq!(job["status"], json!({"state": "DONE"}));
    assert_eq!(test.fake.rows_loaded(DATASET, TABLE), 100_000);
}
