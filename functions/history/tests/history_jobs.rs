//! Histories on a fake of BigQuery: which requests the function sends, and how it handles failures.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod history_client;

use std::time::Duration;

use aws_lambda_events::event::apigw::ApiGatewayV2httpResponse;
use bigquery::{BigQuery, Columns, Config, Group, JobId, Pace, TableId};
use fake_bigquery::{FakeBigQuery, Fault, Operation, What};
use history::{Function, ScanLimit};
use history_client::{header, json, next, send, soon, text};
use serde_json::json;
use shared::{
    deadline::Deadline,
    domain::{DimensionName, StatName, UnixSeconds},
    lambda::Call,
};

const NOW: u64 = history_client::NOW.0;
const PATH: &str = "/history/country/*/counter/counterA";

struct Test {
    fake: FakeBigQuery,
    function: Function,
}

impl Test {
    /// A test with a table of the dimension `country`, which has the counters `counterA` and
    /// `COUNTERA`.
    async fn new() -> Self {
        let fake = FakeBigQuery::start().await.unwrap();
        fake.create_dataset("statshub");
        let bigquery = bigquery(&fake);
        let id = TableId::from(&DimensionName::new("country").unwrap());
        let table = bigquery.table_or_new(&id, soon()).await.unwrap();
        let mut columns = Columns::of(&table.schema).unwrap();
        for stat in ["counterA", "COUNTERA"] {
            columns.column(Group::Counter, &StatName::new(stat).unwrap()).unwrap();
        }
        let schema = columns.missing_from(&table.schema).unwrap().unwrap();
        assert!(bigquery.change_schema(&id, &table, &schema, soon()).await.unwrap());
        let random = fastrand::Rng::with_seed(1);
        Self { function: Function::new(Some(bigquery), ScanLimit::default(), random), fake }
    }

    fn set_rows(&self, rows: &[[&str; 3]]) {
        let schema = json!({"fields": [
            {"name": "key", "type": "STRING"},
            {"name": "ts", "type": "INTEGER"},
            {"name": "value", "type": "INTEGER"},
        ]});
        let rows = rows.iter().map(|row| row.map(|cell| Some(cell.to_owned())).to_vec());
        self.fake.set_query_result(schema, rows.collect());
    }

    /// Loads a row into the table.
    async fn load_row(&self) {
        let bigquery = bigquery(&self.fake);
        let id = TableId::from(&DimensionName::new("country").unwrap());
        let job = bigquery.job_ref(JobId::of("load"), Some("EU"));
        let row = br#"{"_dim":"es","_ts":"2026-11-24T11:00:00Z"}"#;
        bigquery.load(&job, &id, row, soon()).await.unwrap();
        bigquery.job_when_over(&job, soon()).await.unwrap();
    }

    async fn get(&self, path: &str, query: &str) -> ApiGatewayV2httpResponse {
        self.send(path, query, NOW, "*/*", soon()).await
    }

    async fn send(
        &self,
        path: &str,
        query: &str,
        now: u64,
        accept: &str,
        deadline: Deadline,
    ) -> ApiGatewayV2httpResponse {
        let call = Call { now: UnixSeconds(now), deadline };
        send(&self.function, path, query, accept, call).await
    }

    /// The requests after the first `since`.
    fn operations(&self, since: usize) -> Vec<Operation> {
        self.fake.operations()[since..].to_vec()
    }
}

fn bigquery(fake: &FakeBigQuery) -> BigQuery {
    let host = fake.address().to_string();
    let config = Config::from_variables(|name| match name {
        "GOOGLE_PROJECT" => Some("project".to_owned()),
        "BIGQUERY_EMULATOR_HOST" => Some(host.clone()),
        _ => None,
    });
    let milliseconds = Duration::from_millis;
    let pace =
        Pace { first_wait: milliseconds(10), longest_wait: milliseconds(40), ..Pace::default() };
    BigQuery::new(&config.unwrap().unwrap(), pace, fastrand::Rng::with_seed(1)).unwrap()
}

#[tokio::test]
async fn a_question_is_one_job_whose_pages_are_read_later() {
    let test = Test::new().await;
    test.set_rows(&[
        ["es", "1795510800", "50"],
        ["es", "1795514400", "60"],
        ["total", "1795510800", "9223372036854775807"],
    ]);
    let before = test.fake.request_count();
    let first = test.get(PATH, "limit=2").await;
    assert_eq!(
        test.operations(before),
        [Operation::TableGet, Operation::JobInsert, Operation::QueryResults]
    );
    let body = json(&first);
    let step = 3_600;
    assert_eq!(
        body["series"],
        json!({"es": [
            {"ts": "2026-11-24T09:00:00Z", "step": step, "value": 50},
            {"ts": "2026-11-24T10:00:00Z", "step": step, "value": 60},
        ]})
    );
    assert_eq!(header(&first, "vary"), Some("accept"));
    assert_eq!(header(&first, "cache-control"), Some("no-store"));
    let [query] = &test.fake.queries()[..] else { panic!("not one job") };
    assert!(query.sql.contains("FROM `statshub`.`country` WHERE"), "{}", query.sql);
    assert_eq!(query.maximum_bytes_billed.as_deref(), Some("10737418240"));
    let id = query.job_id.strip_prefix("statshub-history-").unwrap();
    assert_eq!(id.len(), 32 + 1 + 32);

    // Some time later, with the same parameters. The header and the body have the same token.
    let link = next(&first).unwrap();
    let token = body["next"].as_str().unwrap();
    assert_eq!(link, format!("limit=2&page={token}"));
    let before = test.fake.request_count();
    let second = test.send(PATH, &link, NOW + 7_000, "*/*", soon()).await;
    assert_eq!(test.operations(before), [Operation::QueryResults]);
    let body = json(&second);
    assert_eq!(
        body["series"],
        json!({"total": [
            {"ts": "2026-11-24T09:00:00Z", "step": step, "value": 9_223_372_036_854_775_807_i64},
        ]})
    );
    assert_eq!((&body["next"], next(&second)), (&json!(""), None));
    let last = test.fake.requests().pop().unwrap();
    assert_eq!(last.parameters["location"], "EU");
    assert_eq!(last.parameters["maxResults"], "2");
}

#[tokio::test]
async fn who_asks_the_same_again_gets_the_answer_of_the_same_job_until_there_are_other_rows() {
    let test = Test::new().await;
    test.set_rows(&[["es", "1795510800", "50"]]);
    let ask = async |query: &'static str, now| {
        json(&test.send(PATH, query, now, "*/*", soon()).await);
        test.fake.queries().len()
    };
    assert_eq!(ask("", NOW + 1).await, 1);
    let before = test.fake.request_count();
    assert_eq!(ask("", NOW + 600).await, 1);
    assert_eq!(
        test.operations(before),
        [Operation::TableGet, Operation::JobInsert, Operation::JobGet, Operation::QueryResults]
    );
    // Another question, and another hour.
    assert_eq!(ask("aggregate=max", NOW).await, 2);
    assert_eq!(ask("", NOW + 3_600).await, 3);
    test.load_row().await;
    assert_eq!(ask("", NOW + 60).await, 4);
    assert_eq!(ask("", NOW + 120).await, 4);
}

#[tokio::test]
async fn a_job_that_failed_is_not_the_answer_to_whoever_asks_next() {
    let test = Test::new().await;
    test.fake.set_query_failure("backendError", "try again");
    let deadline = Deadline::after(Duration::from_secs(1));
    assert_eq!(test.send(PATH, "", NOW, "*/*", deadline).await.status_code, 503);
    test.set_rows(&[["es", "1795510800", "50"]]);
    assert_eq!(json(&test.get(PATH, "").await)["series"]["es"][0]["value"], 50);
}

#[tokio::test]
async fn csv_has_its_next_page_in_the_header() {
    let test = Test::new().await;
    test.set_rows(&[["a,b", "1795510800", "50"], ["es", "1795510800", "1"]]);
    let parameters = "from=2026-11-24T00%3A00%3A00Z&limit=1";
    let first = test.send(PATH, parameters, NOW, "text/csv", soon()).await;
    assert_eq!(header(&first, "content-type"), Some("text/csv; charset=utf-8"));
    assert_eq!(text(&first), "key,ts,step,value\r\n\"a,b\",2026-11-24T09:00:00Z,3600,50\r\n");
    let link = next(&first).unwrap();
    assert!(link.starts_with(&format!("{parameters}&page=")), "{link}");
    let second = test.send(PATH, &link, NOW, "text/csv", soon()).await;
    assert_eq!(text(&second), "key,ts,step,value\r\nes,2026-11-24T09:00:00Z,3600,1\r\n");
    assert_eq!(next(&second), None);
}

#[tokio::test]
async fn what_was_never_archived_is_an_empty_series_and_no_job() {
    let test = Test::new().await;
    for path in [
        "/history/nowhere/*/counter/counterA",
        "/history/country/*/counter/other",
        "/history/country/*/gauge/counterA",
        // Names that differ in case are different stats.
        "/history/country/*/counter/countera",
    ] {
        let answer = json(&test.get(path, "").await);
        assert_eq!((&answer["series"], &answer["next"]), (&json!({}), &json!("")), "{path}");
    }
    assert!(test.fake.queries().is_empty());
    // Only BigQuery knows that a key has no rows.
    test.set_rows(&[]);
    let answer = json(&test.get("/history/country/nobody/counter/counterA", "").await);
    assert_eq!(answer["series"], json!({}));
}

#[tokio::test]
async fn a_stat_is_read_from_its_column_whatever_the_column_is_called() {
    let test = Test::new().await;
    test.set_rows(&[]);
    json(&test.get("/history/country/*/counter/COUNTERA", "aggregate=max").await);
    let sql = &test.fake.queries()[0].sql;
    assert!(sql.contains("MAX(`value`)") && sql.contains("`counter`.`COUNTERA__"), "{sql}");
}

#[tokio::test]
async fn the_text_of_a_client_never_becomes_sql() {
    let test = Test::new().await;
    test.set_rows(&[]);
    let path = "/history/country/%27%3B%20DROP%20TABLE%20%60x%60%3B--/counter/counterA";
    json(&test.get(path, "").await);
    let query = &test.fake.queries()[0];
    assert!(!query.sql.to_lowercase().contains("drop"), "{}", query.sql);
    let key = json!({
        "name": "key",
        "parameterType": {"type": "STRING"},
        "parameterValue": {"value": "'; drop table `x`;--"},
    });
    assert!(query.parameters.as_array().unwrap().contains(&key), "{}", query.parameters);
}

#[tokio::test]
async fn a_page_token_opens_no_other_answer() {
    let test = Test::new().await;
    test.set_rows(&[["es", "1795510800", "50"], ["fr", "1795510800", "60"]]);
    let page = next(&test.get(PATH, "limit=1").await).unwrap();
    let before = test.fake.request_count();
    for (path, more) in [
        ("/history/country/es/counter/counterA", ""),
        ("/history/country/*/gauge/counterA", ""),
        ("/history/user/*/counter/counterA", ""),
        (PATH, "&step=1d"),
        (PATH, "&aggregate=max"),
        (PATH, "&from=2026-11-24T00:00:00Z"),
    ] {
        let refused = test.get(path, &format!("{page}{more}")).await;
        assert_eq!(refused.status_code, 400, "{path} {more}");
        assert!(text(&refused).contains("page: it belongs to another path"), "{}", text(&refused));
    }
    assert_eq!(test.fake.request_count(), before);
}

#[tokio::test]
async fn a_page_that_is_gone_is_a_404_that_says_so() {
    let test = Test::new().await;
    test.set_rows(&[["es", "1795510800", "50"], ["fr", "1795510800", "60"]]);
    let page = next(&test.get(PATH, "limit=1").await).unwrap();
    for (status, reason) in [(404, "notFound"), (400, "invalid")] {
        let gone = What::error(status, reason, "Not found: Job project:statshub");
        test.fake.add_fault(Fault::new(Operation::QueryResults, 0, gone));
        let answer = test.get(PATH, &page).await;
        assert_eq!(answer.status_code, 404);
        assert!(text(&answer).contains("ask for the first page again"), "{}", text(&answer));
    }
    assert_eq!(test.get(PATH, &page).await.status_code, 200);
}

#[tokio::test]
async fn lost_answers_start_no_second_job() {
    let test = Test::new().await;
    test.set_rows(&[["es", "1795510800", "50"]]);
    test.fake.plan(vec![
        Fault::new(Operation::TableGet, 0, What::LoseAnswer),
        Fault::new(Operation::JobInsert, 0, What::LoseAnswer),
        Fault::new(Operation::QueryResults, 0, What::Truncated),
    ]);
    assert_eq!(json(&test.get(PATH, "").await)["series"]["es"][0]["value"], 50);
    assert!(test.fake.faults_left().is_empty());
    assert_eq!(test.fake.queries().len(), 1);
}

#[tokio::test]
async fn failures_have_their_status_and_show_nothing_of_bigquery() {
    let test = Test::new().await;
    for (reason, status, expected) in [
        ("bytesBilledLimitExceeded", 400, "more than 10737418240 bytes"),
        ("rateLimitExceeded", 429, "too many requests to the archive"),
        ("backendError", 503, "the archive did not answer in time"),
        ("accessDenied", 500, "an internal error, which has been logged"),
        ("invalidQuery", 500, "an internal error, which has been logged"),
        ("notFound", 500, "an internal error, which has been logged"),
    ] {
        test.fake.set_query_failure(reason, "secret: Table project:statshub.country");
        // Some are tried again until the deadline.
        let deadline = Deadline::after(Duration::from_secs(3));
        let answer = test.send(PATH, "", NOW, "*/*", deadline).await;
        assert_eq!(answer.status_code, status, "{reason}: {}", text(&answer));
        assert!(text(&answer).contains(expected), "{}", text(&answer));
        assert!(!text(&answer).contains("secret") && !text(&answer).contains("project:"));
        let again = header(&answer, "retry-after");
        assert_eq!(again.is_some(), matches!(status, 429 | 503), "{reason}");
    }
    test.set_rows(&[["es", "1795510800", "secret"]]);
    let answer = test.get(PATH, "").await;
    assert_eq!(answer.status_code, 500);
    assert!(!text(&answer).contains("secret"), "{}", text(&answer));
}

#[tokio::test]
async fn a_query_that_takes_too_long_is_a_503_before_the_deadline() {
    let test = Test::new().await;
    test.fake.hold_jobs();
    let deadline = Deadline::after(Duration::from_millis(300));
    let answer = test.send(PATH, "", NOW, "*/*", deadline).await;
    assert_eq!(answer.status_code, 503);
    assert!(header(&answer, "retry-after").is_some());
}

#[tokio::test]
async fn a_page_that_lambda_would_refuse_says_what_to_do() {
    let test = Test::new().await;
    let key = "k".repeat(1_000);
    let rows: Vec<_> = (0..7_000)
        .map(|row| [key.clone(), (1_795_000_000 + row).to_string(), "1".to_owned()])
        .collect();
    let rows: Vec<_> = rows.iter().map(|row| row.each_ref().map(String::as_str)).collect();
    test.set_rows(&rows);
    let csv = test.send(PATH, "", NOW, "text/csv", soon()).await;
    assert_eq!(csv.status_code, 413);
    assert!(text(&csv).contains("a smaller limit"), "{}", text(&csv));
    // In JSON the key comes once.
    assert_eq!(test.get(PATH, "").await.status_code, 200);
}
