//! Histories on an emulator of BigQuery: what its SQL makes of archived rows.
//!
//! `cargo xtask test bigquery` starts the emulator that `STATSHUB_TEST_BIGQUERY` names.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod history_client;

use bigquery::{BigQuery, Columns, Config, Group, JobId, JobState, Pace, TableId};
use history::{Function, ScanLimit};
use history_client::{NOW, header, json, next, send, soon, text};
use serde_json::json;
use shared::{
    domain::{DimensionName, StatName},
    lambda::Call,
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

const IGNORED: &str = "the test step `bigquery` starts the emulator";

/// A row: the key, the slot, and the value of the counter `x`, if there was one.
type Row<'a> = (&'a str, &'a str, Option<i64>);

struct Test {
    dimension: DimensionName,
    function: Function,
}

impl Test {
    /// With these rows in the archive of a dimension.
    async fn new(dimension: &str, rows: &[Row<'_>]) -> Self {
        let host = std::env::var("STATSHUB_TEST_BIGQUERY").expect(IGNORED);
        let dataset = format!("history_{:x}", fastrand::u64(..));
        let config = Config::from_variables(|name| match name {
            "GOOGLE_PROJECT" => Some("test-project".to_owned()),
            "BIGQUERY_EMULATOR_HOST" => Some(host.clone()),
            "BIGQUERY_DATASET" => Some(dataset.clone()),
            _ => None,
        });
        let config = config.unwrap().unwrap();
        let bigquery = BigQuery::new(&config, Pace::default(), fastrand::Rng::new()).unwrap();
        let dimension = DimensionName::new(dimension).unwrap();
        load(&bigquery, &dimension, rows).await;
        let function = Function::new(Some(bigquery), ScanLimit::default(), fastrand::Rng::new());
        Self { dimension, function }
    }

    /// The lines of a key's CSV, without the header.
    async fn get(&self, key: &str, query: &str) -> Vec<String> {
        let mut lines = Vec::new();
        let mut page = Some(query.to_owned());
        while let Some(query) = page {
            let path = self.path(key);
            let call = Call { now: NOW, deadline: soon() };
            let answer = send(&self.function, &path, &query, "text/csv", call).await;
            assert_eq!(answer.status_code, 200, "{}", text(&answer));
            lines.extend(text(&answer).lines().skip(1).map(str::to_owned));
            page = next(&answer);
        }
        lines
    }

    fn path(&self, key: &str) -> String {
        let [dimension, key] = [self.dimension.as_str(), key]
            .map(|text| form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>())
            .map(|text| text.replace('+', "%20"));
        format!("/history/{dimension}/{key}/counter/x")
    }
}

async fn load(bigquery: &BigQuery, dimension: &DimensionName, rows: &[Row<'_>]) {
    let id = TableId::from(dimension);
    let table = bigquery.table_or_new(&id, soon()).await.unwrap();
    let mut columns = Columns::of(&table.schema).unwrap();
    columns.column(Group::Counter, &StatName::new("x").unwrap()).unwrap();
    let schema = columns.missing_from(&table.schema).unwrap().unwrap();
    assert!(bigquery.change_schema(&id, &table, &schema, soon()).await.unwrap());
    let lines = rows.iter().map(|(key, slot, value)| {
        json!({"_dim": key, "_ts": slot, "counter": {"x": value}}).to_string() + "\n"
    });
    let lines: String = lines.collect();
    let job = JobId::of(&format!("load-{:x}", fastrand::u64(..)));
    let job = bigquery.job_ref(job, table.location.as_deref());
    bigquery.load(&job, &id, lines.as_bytes(), soon()).await.unwrap();
    loop {
        match bigquery.job(&job, soon()).await.unwrap().unwrap().state {
            JobState::Running => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
            JobState::Succeeded => return,
            failed @ JobState::Failed { .. } => panic!("{failed:?}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the test step `bigquery` starts the emulator"]
async fn a_point_sums_up_the_values_in_its_step() {
    let test = Test::new(
        "country",
        &[
            ("es", "2026-11-24T08:59:50Z", Some(1)),
            ("es", "2026-11-24T09:00:00Z", Some(7)),
            ("es", "2026-11-24T09:10:00Z", Some(-9_223_372_036_854_775_808)),
            ("es", "2026-11-24T09:50:00Z", Some(5)),
            ("es", "2026-11-24T10:00:00Z", Some(3)),
            ("es", "2026-11-24T10:10:00Z", None),
            ("es", "2026-11-24T11:00:00Z", None),
            ("es", "2026-11-24T11:30:00Z", Some(9)),
            ("fr", "2026-11-24T10:00:00Z", Some(9_223_372_036_854_775_807)),
            ("total", "2026-11-24T10:00:00Z", Some(4)),
        ],
    )
    .await;
    // `from` is rounded down to 9:00. The row of 11:30 is left out, which is now.
    let from = "from=2026-11-24T09%3A40%3A00Z";
    let hours = |values: &[&str]| {
        let lines = values.iter().zip(["09", "10"]);
        let lines = lines.map(|(value, hour)| format!("es,2026-11-24T{hour}:00:00Z,3600,{value}"));
        lines.collect::<Vec<_>>()
    };
    assert_eq!(test.get("es", from).await, hours(&["5", "3"]));
    assert_eq!(test.get("ES", &format!("{from}&aggregate=last")).await, hours(&["5", "3"]));
    let min = test.get("es", &format!("{from}&aggregate=min")).await;
    assert_eq!(min, hours(&["-9223372036854775808", "3"]));
    assert_eq!(test.get("es", &format!("{from}&aggregate=max")).await, hours(&["7", "3"]));
    let fewer = "from=2026-11-24T09%3A50%3A00Z&to=2026-11-24T10%3A00%3A01Z&step=20m&aggregate=avg";
    assert_eq!(
        test.get("es", fewer).await,
        ["es,2026-11-24T09:40:00Z,1200,5.0", "es,2026-11-24T10:00:00Z,1200,3.0"]
    );
    assert_eq!(test.get("total", "").await, ["total,2026-11-24T10:00:00Z,3600,4"]);
    let all = [
        "es,2026-11-24T10:00:00Z,3600,3",
        "fr,2026-11-24T10:00:00Z,3600,9223372036854775807",
        "total,2026-11-24T10:00:00Z,3600,4",
    ];
    let from = "from=2026-11-24T10%3A00%3A00Z";
    assert_eq!(test.get("*", from).await, all);
    assert_eq!(test.get("*", &format!("{from}&limit=1")).await, all);
    assert_eq!(test.get("*", &format!("{from}&limit=2")).await, all);
    assert_eq!(test.get("*", &format!("{from}&limit=3")).await, all);
    assert!(test.get("nobody", from).await.is_empty());

    let call = Call { now: NOW, deadline: soon() };
    let query = format!("{from}&aggregate=avg");
    let answer = send(&test.function, &test.path("es"), &query, "*/*", call).await;
    assert_eq!(header(&answer, "content-type"), Some("application/json"));
    let point = json!({"ts": "2026-11-24T10:00:00Z", "step": 3_600, "value": 3.0});
    assert_eq!(json(&answer)["series"], json!({"es": [point]}));
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the test step `bigquery` starts the emulator"]
async fn the_usual_tiers_count_each_slot_once() {
    // A slot every 6 hours, from 400 days ago into the future. Its value is its number.
    let first = i64::try_from(NOW.0).unwrap() - 400 * 86_400;
    let first = first - first % 21_600;
    let slots = (0..1_602_i64).map(|number| (number, first + number * 21_600));
    let time =
        |seconds| OffsetDateTime::from_unix_timestamp(seconds).unwrap().format(&Rfc3339).unwrap();
    let slots: Vec<_> = slots.map(|(number, slot)| (number, slot, time(slot))).collect();
    let rows: Vec<_> =
        slots.iter().map(|(number, _, time)| ("es", time.as_str(), Some(*number))).collect();
    let test = Test::new("user-agent", &rows).await;

    // 2025-11-17, 2026-10-19 (Mondays) and 2026-11-17, at midnight.
    let [weeks, days, hours] = [1_763_337_600, 1_792_368_000, 1_794_873_600];
    let mut expected = std::collections::BTreeMap::new();
    for (number, slot, _) in &slots {
        let step = match *slot {
            slot if slot < weeks => continue,
            slot if slot < days => 604_800,
            slot if slot < hours => 86_400,
            _ => 3_600,
        };
        // Weeks are counted from `weeks`, which is a Monday.
        let start = slot - (slot - weeks) % step;
        expected.insert(start, (step, *number));
    }
    let expected: Vec<_> = expected
        .into_iter()
        .filter(|(start, _)| *start < i64::try_from(NOW.0).unwrap())
        .map(|(start, (step, number))| format!("es,{},{step},{number}", time(start)))
        .collect();
    assert_eq!(expected.len(), 48 + 29 + 30);
    assert_eq!(test.get("*", "").await, expected);
    assert_eq!(test.get("es", "limit=7").await, expected);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "the test step `bigquery` starts the emulator"]
async fn any_text_is_a_key_and_nothing_more() {
    let keys =
        ["'; drop table `país y más`; --", "\\' or 1=1 --", "@from", "%60", "`", "日本", "a\"b,c"];
    let slot = "2026-11-24T10:00:00Z";
    let rows: Vec<_> = (1..).zip(keys).map(|(value, key)| (key, slot, Some(value))).collect();
    let test = Test::new("país y más", &rows).await;
    for (value, key) in (1..).zip(keys) {
        let lines = test.get(key, "").await;
        let [line] = &lines[..] else { panic!("{key}: {lines:?}") };
        assert!(line.ends_with(&format!(",{slot},3600,{value}")), "{line}");
    }
    assert_eq!(test.get("*", "").await.len(), keys.len());
}
