//! The archive on an emulator of BigQuery: what is in the tables is what was counted.
//!
//! `cargo xtask test bigquery` starts the emulator that `STATSHUB_TEST_BIGQUERY` names.

#![allow(
    missing_docs,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use bigquery::{JobId, Query};
use futures_util::future::join_all;
use support::{NOW, Test, later, line, run, soon};

const IGNORED: &str = "the test step `bigquery` starts the emulator";

async fn on_emulator(more: &[(&'static str, &str)]) -> Test {
    let host = std::env::var("STATSHUB_TEST_BIGQUERY").expect(IGNORED);
    let dataset = format!("test_{:x}", fastrand::u64(..));
    let mut variables = vec![
        ("GOOGLE_PROJECT", "test-project"),
        ("BIGQUERY_EMULATOR_HOST", host.as_str()),
        ("BIGQUERY_DATASET", dataset.as_str()),
    ];
    variables.extend(more);
    Test::new(&variables).await
}

/// The rows of a query, one per line.
async fn sql(test: &Test, sql: &str) -> String {
    let bigquery = test.bigquery().unwrap();
    let sql = sql.replace("DATASET", bigquery.dataset());
    let id = JobId::of(&format!("test-{:x}", fastrand::u64(..)));
    let job = bigquery.job_ref(id, None);
    let query = Query { sql, parameters: Vec::new(), max_bytes_billed: 1 << 30 };
    bigquery.start_query(&job, &query, soon()).await.unwrap();
    let page = bigquery.page(&job, 1_000, None, soon()).await.unwrap();
    let rows = page.rows.into_iter().map(|row| {
        let cells = row.into_iter().map(|cell| cell.unwrap_or_else(|| "-".to_owned()));
        cells.collect::<Vec<_>>().join(" ")
    });
    rows.collect::<Vec<_>>().join("\n")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the test step `bigquery` starts the emulator"]
async fn every_slot_has_the_stats_of_its_time_exactly_once() {
    let test = on_emulator(&[]).await;
    let body = r#"{"dims":{"country":"es","user":"bob"},"counters":{"a":50},
        "gauges":{"g":7},"members":{"m":"x"}}"#;
    test.post(NOW, "i", body).await;
    test.post(NOW, "j", r#"{"dims":{"country":"fr"},"counters":{"a":3}}"#).await;
    // The gauge's period is not over yet.
    assert_eq!(line(&test.run(NOW).await.unwrap()), "country=written:3 user=written:2");

    // New stats appear. One differs from another only in case.
    let body = r#"{"dims":{"country":"es","user":"bob"},"counters":{"a":60,"A":1,"b":2}}"#;
    test.post(later(360), "i", body).await;
    test.post(later(599), "k", r#"{"dims":{"country":"de"},"increments":{"b":5}}"#).await;
    let at_600 = run(&test.function(), later(600), later(610)).await.unwrap();
    assert_eq!(line(&at_600), "country=written:4 user=written:2");

    test.post(later(800), "i", r#"{"dims":{"country":"es"},"gauges":{"h":9}}"#).await;
    test.post(later(1_100), "j", r#"{"dims":{"country":"fr"},"counters":{"a":-4,"zero":0}}"#).await;
    assert_eq!(line(&test.run(later(1_200)).await.unwrap()), "country=written:4 user=written:2");

    let shown = async || {
        let country = "SELECT UNIX_SECONDS(_ts) - 1728000000 AS t, _dim, counter.a, counter.b, \
            counter.zero, gauge.m, gauge.g, gauge.h FROM `DATASET.country` ORDER BY t, _dim";
        let user = "SELECT UNIX_SECONDS(_ts) - 1728000000 AS t, _dim, counter.a, counter.b, gauge.m \
            FROM `DATASET.user` ORDER BY t, _dim";
        (sql(&test, country).await, sql(&test, user).await)
    };
    let country = "0 es 50 - - 1 - -\n0 fr 3 - - - - -\n0 total 53 - - 1 - -\n\
        600 de - 5 - - - -\n600 es 60 2 - 1 7 -\n600 fr 3 - - - - -\n600 total 63 7 - 1 7 -\n\
        1200 de - 5 - - - -\n1200 es 60 2 - 1 - 9\n1200 fr -4 - 0 - - -\n1200 total 56 7 0 1 - 9";
    let user = "0 bob 50 - 1\n0 total 50 - 1\n600 bob 60 2 1\n600 total 60 2 1\n\
        1200 bob 60 2 1\n1200 total 60 2 1";
    assert_eq!(shown().await, (country.to_owned(), user.to_owned()));
    let other_case = "SELECT UNIX_SECONDS(_ts) - 1728000000, counter.A__559aead08264d579 \
        FROM `DATASET.country` WHERE _dim = 'total' ORDER BY 1";
    assert_eq!(sql(&test, other_case).await, "0 -\n600 1\n1200 1");

    // Archiving the slot again, later or several times at once, adds nothing, whatever has changed.
    test.post(later(1_300), "j", r#"{"dims":{"country":"fr"},"counters":{"a":1000}}"#).await;
    let again = run(&test.function(), later(1_200), later(1_310)).await.unwrap();
    assert_eq!(line(&again), "country=writtenBefore:- user=writtenBefore:-".replace(":-", ""));
    let functions: Vec<_> = (0..4).map(|_| test.function()).collect();
    let runs = functions.iter().map(|function| run(function, later(1_800), later(1_810)));
    for report in join_all(runs).await {
        report.unwrap();
    }
    let count = "SELECT COUNT(*), COUNT(DISTINCT _dim), COUNT(DISTINCT _ts) FROM `DATASET.country`";
    assert_eq!(sql(&test, count).await, "15 4 4");
    assert!(shown().await.0.starts_with(country));

    // By the list of tables, a run knows which dimensions were archived before.
    let made = test.bigquery().unwrap().tables(soon()).await.unwrap();
    assert_eq!(made.keys().collect::<Vec<_>>(), ["country", "user"]);
    assert!(made["country"].0 > NOW.0, "{made:?}");
}

/// The statement of docs/bigquery.md that makes room in a table.
fn replacement() -> String {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/bigquery.md");
    let page = std::fs::read_to_string(path).unwrap();
    let from = page.find("CREATE OR REPLACE TABLE statshub.country").unwrap();
    let statement = page[from..].split(';').next().unwrap();
    statement.replace("statshub.country", "`DATASET.country`")
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the test step `bigquery` starts the emulator"]
async fn a_table_that_was_replaced_to_make_room_keeps_its_rows_and_is_archived_as_before() {
    let test = on_emulator(&[]).await;
    let body = r#"{"dims":{"country":"es"},"counters":{"counterA":1,"counterB":2,"flood":3}}"#;
    test.post(NOW, "i", body).await;
    test.post(NOW, "i", r#"{"dims":{"country":"es"},"members":{"gaugeA":"m"}}"#).await;
    test.run(NOW).await.unwrap();
    sql(&test, &replacement()).await;

    test.post(NOW, "i", r#"{"dims":{"country":"es"},"counters":{"counterNew":4}}"#).await;
    assert_eq!(line(&test.run(later(600)).await.unwrap()), "country=written:2");
    let rows = "SELECT UNIX_SECONDS(_ts) - 1728000000, counter.counterA, counter.counterB, \
        counter.counterNew, counter.flood, gauge.gaugeA FROM `DATASET.country` \
        WHERE _dim = 'total' ORDER BY _ts";
    assert_eq!(sql(&test, rows).await, "0 1 2 - - 1\n600 1 2 4 3 1");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the test step `bigquery` starts the emulator"]
async fn odd_names_and_the_largest_values_arrive_as_they_are() {
    let test = on_emulator(&[]).await;
    let (max, long) = (i64::MAX, "k".repeat(1_024));
    let key = "q\\\"'`;--\u{1f600} ü";
    let json = |key: &str| serde_json::Value::from(key).to_string();
    for (id, key) in [("i", key), ("j", &long)] {
        let body = format!(
            r#"{{"dims":{{"größe x-1":{}}},"counters":{{"max":{max},"_TABLE_x":1,"select":2,"min":{}}}}}"#,
            json(key),
            i64::MIN
        );
        test.post(NOW, id, &body).await;
    }
    let report = test.run(NOW).await.unwrap();
    assert_eq!(line(&report), "größe x-1=written:3");
    assert_eq!(report.dimensions["größe x-1"].left_out, 2);
    let rows = "SELECT _dim, counter.max, counter.min, counter.`select`, counter.s_TABLE_x__2b57b1e760ffe7d1 \
        FROM `DATASET.größe x-1` ORDER BY _dim";
    let expected =
        format!("{long} {max} {min} 2 1\n{key} {max} {min} 2 1\ntotal - - 4 2", min = i64::MIN);
    assert_eq!(sql(&test, rows).await, expected);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the test step `bigquery` starts the emulator"]
async fn dimensions_have_intervals_of_their_own() {
    let test = on_emulator(&[("ARCHIVE_DIMS", "country=1h,user=20m,absent=10m")]).await;
    let body = r#"{"dims":{"country":"es","user":"bob","other":"x"},"counters":{"a":1}}"#;
    test.post(NOW, "i", body).await;
    let mut lines = Vec::new();
    for step in 1..8 {
        lines.push(line(&test.run(later(step * 600)).await.unwrap()));
    }
    // The first run comes after the slots began.
    let both = "country=written:2 user=written:2";
    let neither = "country=writtenBefore user=writtenBefore";
    let user = "country=writtenBefore user=written:2";
    assert_eq!(lines, [both, user, neither, user, neither, both, neither]);
    // Late but still within the interval of `country`, and after that of `user`.
    let late = run(&test.function(), later(7_200), later(7_200 + 1_500)).await.unwrap();
    assert_eq!(line(&late), "country=written:2 user=missed");
    let slots = "SELECT STRING_AGG(CAST(UNIX_SECONDS(_ts) - 1728000000 AS STRING) ORDER BY _ts) \
        FROM `DATASET.TABLE` WHERE _dim = 'total'";
    assert_eq!(sql(&test, &slots.replace("TABLE", "user")).await, "0,1200,2400,3600");
    assert_eq!(sql(&test, &slots.replace("TABLE", "country")).await, "0,3600,7200");
}
