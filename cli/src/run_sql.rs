//! `statshub sql`: runs a query on the emulator of BigQuery, and prints its rows as lines of JSON.

use std::{
    io::{self, Write},
    time::Duration,
};

use anyhow::{Context, bail};
use clap::Args;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::{HttpClient, timestamp};

/// The port of the emulator, unless the operator names another.
pub const DEFAULT_PORT: u16 = 9050;
/// The project of the emulator, unless the operator names another.
pub const DEFAULT_PROJECT: &str = "test-project";
/// The variable that points clients of BigQuery at an emulator.
pub const HOST_VARIABLE: &str = "BIGQUERY_EMULATOR_HOST";
/// The variable with the project, of the emulator and of BigQuery.
pub const PROJECT_VARIABLE: &str = "GOOGLE_PROJECT";

/// How long, in milliseconds, the emulator may hold a request while the query runs. Then the next
/// request asks for the result.
const WAIT: &str = "10000";

/// Which query to run, and where.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  statshub sql 'SELECT _dim, counter FROM statshub.country ORDER BY _dim'
  statshub sql 'SELECT * FROM statshub.country' | jq -c .counter")]
pub struct SqlOptions {
    /// The query
    query: String,
    /// The emulator
    #[arg(
        long,
        env = HOST_VARIABLE,
        default_value_t = format!("127.0.0.1:{DEFAULT_PORT}")
    )]
    host: String,
    /// The project
    #[arg(long, env = PROJECT_VARIABLE, default_value = DEFAULT_PROJECT)]
    project: String,
    /// Print JSON, as it does anyway: an object a line
    #[arg(long)]
    json: bool,
}

/// Runs the query, and prints each row as a line of JSON.
///
/// # Errors
/// The emulator does not answer, or the query fails.
pub fn run(options: &SqlOptions) -> anyhow::Result<()> {
    let client =
        HttpClient::with_timeout(&format!("http://{}", options.host), Duration::from_secs(60));
    let path = format!("/bigquery/v2/projects/{}/queries", options.project);
    let request = json!({
        "query": options.query,
        "useLegacySql": false,
        "timeoutMs": WAIT,
        // By default they are floats, which are not exact.
        "formatOptions": { "useInt64Timestamp": true },
    });
    let mut page = page(options, client.post_json(&path, &request))?;
    loop {
        print(&page)?;
        let Some((job, parameters)) = page.next() else {
            return Ok(());
        };
        page = self::page(options, client.get_with(&format!("{path}/{job}"), &parameters))?;
    }
}

/// A page of a query's result. While the query runs, it has no rows.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct ResultPage {
    job_complete: bool,
    job_reference: QueryJob,
    schema: ResultSchema,
    rows: Vec<Value>,
    #[serde(rename = "pageToken")]
    token: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct QueryJob {
    job_id: String,
    location: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ResultSchema {
    fields: Vec<Column>,
}

/// A column, or a field of a RECORD.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Column {
    name: String,
    #[serde(rename = "type")]
    kind: String,
    mode: String,
    fields: Vec<Column>,
}

impl ResultPage {
    /// How to ask for the next page: the job, and the parameters.
    fn next(&self) -> Option<(&str, Vec<(&str, &str)>)> {
        let mut parameters = vec![("timeoutMs", WAIT), ("formatOptions.useInt64Timestamp", "true")];
        match (&self.token, self.job_complete) {
            (Some(token), _) => parameters.push(("pageToken", token)),
            (None, false) => {}
            (None, true) => return None,
        }
        parameters
            .extend(self.job_reference.location.iter().map(|place| ("location", place.as_str())));
        Some((&self.job_reference.job_id, parameters))
    }
}

fn page(options: &SqlOptions, answer: anyhow::Result<(u16, String)>) -> anyhow::Result<ResultPage> {
    let (status, body) = answer.with_context(|| {
        format!(
            "the BigQuery emulator at {} does not answer; `cargo xtask dev --bigquery` runs one",
            options.host
        )
    })?;
    let answer: Value = serde_json::from_str(&body)
        .with_context(|| format!("the BigQuery emulator answers {status} {body}"))?;
    if status != 200 {
        let message = answer.pointer("/error/message").and_then(Value::as_str);
        bail!("the query failed: {}", message.unwrap_or(&body));
    }
    serde_json::from_value(answer).with_context(|| format!("not an answer to a query: {body}"))
}

fn print(page: &ResultPage) -> anyhow::Result<()> {
    let mut output = io::stdout().lock();
    for row in &page.rows {
        writeln!(output, "{}", record(&page.schema.fields, row)?)?;
    }
    Ok(())
}

/// A row, or a RECORD, as a JSON object whose fields keep their order.
fn record(fields: &[Column], row: &Value) -> anyhow::Result<String> {
    let cells = row.get("f").and_then(Value::as_array).context("a row without cells")?;
    let members = fields.iter().zip(cells).map(|(field, cell)| {
        let value = cell.get("v").context("a cell without a value")?;
        Ok(format!("{}:{}", Value::from(field.name.as_str()), values(field, value)?))
    });
    Ok(format!("{{{}}}", members.collect::<anyhow::Result<Vec<_>>>()?.join(",")))
}

/// The content of a cell: one value, or all values of a REPEATED field.
fn values(field: &Column, value: &Value) -> anyhow::Result<String> {
    match value {
        Value::Array(elements) if field.mode == "REPEATED" => {
            let elements = elements.iter().map(|element| {
                self::value(field, element.get("v").context("an element without a value")?)
            });
            Ok(format!("[{}]", elements.collect::<anyhow::Result<Vec<_>>>()?.join(",")))
        }
        value => self::value(field, value),
    }
}

fn value(field: &Column, value: &Value) -> anyhow::Result<String> {
    let text = match value {
        Value::Null => return Ok("null".to_owned()),
        Value::Object(_) => return record(&field.fields, value),
        Value::String(text) => text,
        other => bail!("the field {} holds {other}", field.name),
    };
    let context = || format!("the {} {} is {text}", field.kind, field.name);
    Ok(match field.kind.as_str() {
        "INTEGER" | "INT64" => text.parse::<i64>().with_context(context)?.to_string(),
        "BOOLEAN" | "BOOL" => text.parse::<bool>().with_context(context)?.to_string(),
        "TIMESTAMP" => Value::from(time(text).with_context(context)?).to_string(),
        // As text, a decimal number keeps all its digits. JSON has neither NaN nor infinities.
        "FLOAT" | "FLOAT64" | "NUMERIC" | "BIGNUMERIC" if is_json_number(text) => text.clone(),
        _ => value.to_string(),
    })
}

fn is_json_number(text: &str) -> bool {
    matches!(serde_json::from_str(text), Ok(Value::Number(_)))
}

/// A TIMESTAMP in the format of RFC 3339, from whole microseconds or from seconds as a float.
fn time(text: &str) -> anyhow::Result<String> {
    let micros = match text.parse::<i64>() {
        Ok(micros) => micros,
        Err(_) => micros_of_seconds(text.parse()?),
    };
    Ok(timestamp::from_micros(micros))
}

/// A float cannot hold today's microseconds exactly; the nearest are meant.
#[expect(clippy::cast_possible_truncation, reason = "of a rounded number; TIMESTAMPs end in 9999")]
fn micros_of_seconds(seconds: f64) -> i64 {
    (seconds * 1e6).round() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(page: &str) -> Vec<String> {
        let page: ResultPage = serde_json::from_str(page).unwrap();
        page.rows.iter().map(|row| record(&page.schema.fields, row).unwrap()).collect()
    }

    #[test]
    fn rows_are_objects_with_the_columns_in_their_order() {
        let page = r#"{"jobComplete": true, "schema": {"fields": [
            {"name": "_ts", "type": "TIMESTAMP"}, {"name": "_dim", "type": "STRING"},
            {"name": "counter", "type": "RECORD", "fields": [
                {"name": "b", "type": "INTEGER"}, {"name": "a", "type": "INTEGER"}]},
            {"name": "gauge", "type": "RECORD", "fields": [{"name": "c", "type": "INTEGER"}]}]},
          "rows": [{"f": [{"v": "1795516800000000"}, {"v": "a\"b"},
            {"v": {"f": [{"v": "-9223372036854775808"}, {"v": null}]}}, {"v": null}]}]}"#;
        assert_eq!(
            lines(page),
            [concat!(
                r#"{"_ts":"2026-11-24T10:40:00Z","_dim":"a\"b","#,
                r#""counter":{"b":-9223372036854775808,"a":null},"gauge":null}"#
            )]
        );
    }

    #[test]
    fn each_type_is_as_json_has_it() {
        let field = |kind: &str| Column { kind: kind.to_owned(), ..Column::default() };
        let json = |kind: &str, text: &str| value(&field(kind), &Value::from(text)).unwrap();
        assert_eq!(json("INTEGER", "9223372036854775807"), "9223372036854775807");
        assert_eq!(json("STRING", "12"), "\"12\"");
        assert_eq!(json("BOOLEAN", "true"), "true");
        assert_eq!(json("FLOAT", "1.5E10"), "1.5E10");
        assert_eq!(json("FLOAT", "NaN"), "\"NaN\"");
        assert_eq!(json("NUMERIC", "0.1234567890123456789"), "0.1234567890123456789");
        assert_eq!(json("DATE", "2026-11-24"), "\"2026-11-24\"");
        assert!(value(&field("INTEGER"), &Value::from("9223372036854775808")).is_err());
        let list: Value = serde_json::from_str(r#"[{"v": "1"}, {"v": "2"}]"#).unwrap();
        let repeated = Column { mode: "REPEATED".to_owned(), ..field("INTEGER") };
        assert_eq!(values(&repeated, &list).unwrap(), "[1,2]");
    }

    #[test]
    fn timestamps_are_microseconds_or_float_seconds() {
        for text in ["1795516800000000", "1795516800.0", "1.7955168E9"] {
            assert_eq!(time(text).unwrap(), "2026-11-24T10:40:00Z", "{text}");
        }
        assert_eq!(time("1795516800.123456").unwrap(), "2026-11-24T10:40:00.123456Z");
        assert_eq!(time("-1000000").unwrap(), "1969-12-31T23:59:59Z");
        assert!(time("now").is_err());
    }

    #[test]
    fn a_query_is_asked_for_until_its_last_page() {
        let next = |page: &str| {
            let page: ResultPage = serde_json::from_str(page).unwrap();
            page.next()
                .map(|(job, parameters)| (job.to_owned(), parameters.contains(&("pageToken", "t"))))
        };
        let job = r#""jobReference": {"jobId": "j", "location": "US"}"#;
        assert_eq!(
            next(&format!(r#"{{"jobComplete": false, {job}}}"#)),
            Some(("j".to_owned(), false))
        );
        assert_eq!(
            next(&format!(r#"{{"jobComplete": true, "pageToken": "t", {job}}}"#)),
            Some(("j".to_owned(), true))
        );
        assert_eq!(next(&format!(r#"{{"jobComplete": true, {job}}}"#)), None);
    }
}
