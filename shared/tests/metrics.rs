//! The lines of metrics, and those in docs/operations.md, have CloudWatch's embedded metric format.

#![allow(
    missing_docs,
    clippy::doc_markdown,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::{collections::BTreeSet, fs, path::Path, time::SystemTime};

use aws_lambda_events::event::apigw::ApiGatewayV2httpRequest;
use http::StatusCode;
use lambda_runtime::Context;
use serde_json::Value;
use shared::{
    auth::Auth,
    http::{Problem, Request, Response},
    lambda::{Call, HttpFunction, answer_event, metrics::Metrics},
    usage,
};

/// The units of CloudWatch that are used.
const UNITS: [&str; 2] = ["Count", "Milliseconds"];
/// The most metrics of a line. Source: *Embedded metric format specification*, CloudWatch User
/// Guide.
const MAX_METRICS: usize = 100;

/// A function that uses something of everything.
struct Busy;

impl HttpFunction for Busy {
    const NAME: &'static str = "busy";

    async fn answer(&self, _request: Request, _call: Call) -> Result<Response, Problem> {
        usage::note(|usage| {
            usage.read_units += 1.5;
            usage.write_units += 10.0;
            usage.conflicts += 1;
        });
        Ok(Response::json(StatusCode::OK, String::new()))
    }
}

/// Checks a line against the specification of the format. Returns the names of its metrics.
///
/// Source: *Embedded metric format specification*, CloudWatch User Guide.
fn check(line: &Value) -> BTreeSet<String> {
    let aws = &line["_aws"];
    assert!(aws["Timestamp"].as_u64().unwrap() > 1_600_000_000_000, "milliseconds: {aws}");
    let mut names = BTreeSet::new();
    for directive in aws["CloudWatchMetrics"].as_array().unwrap() {
        let namespace = directive["Namespace"].as_str().unwrap();
        assert!((1..=1_024).contains(&namespace.len()));
        for dimensions in directive["Dimensions"].as_array().unwrap() {
            let dimensions = dimensions.as_array().unwrap();
            assert!(dimensions.len() <= 30);
            for dimension in dimensions {
                let value = line[dimension.as_str().unwrap()].as_str().unwrap();
                assert!((1..=1_024).contains(&value.len()), "{dimension}");
            }
        }
        let metrics = directive["Metrics"].as_array().unwrap();
        assert!(metrics.len() <= MAX_METRICS);
        for metric in metrics {
            let name = metric["Name"].as_str().unwrap();
            let unit = metric["Unit"].as_str().unwrap_or_else(|| panic!("{name} has no unit"));
            assert!(UNITS.contains(&unit), "{name}: {unit}");
            let value = &line[name];
            let is_number = |value: &Value| value.as_f64().is_some_and(f64::is_finite);
            let numbers = value.as_array().is_some_and(|values| values.iter().all(is_number));
            assert!(is_number(value) || numbers, "{name}: {value}");
            assert!(names.insert(name.to_owned()), "{name} comes twice");
        }
    }
    assert!(!names.is_empty(), "{line}");
    names
}

/// The lines of JSON in docs/operations.md, one value each.
fn shown() -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let text = fs::read_to_string(path).unwrap();
    let blocks = text.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.flat_map(str::lines).map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn a_request_is_a_line_of_metrics_as_the_documentation_shows_it() {
    let metrics = Metrics::of("statshub".to_owned(), Busy::NAME).unwrap();
    let call = Call::of(&Context::default(), SystemTime::now());
    let answer = answer_event(&Busy, &Auth::Off, ApiGatewayV2httpRequest::default(), call).await;
    // There is nothing at this path, so the function was not asked.
    assert_eq!(answer.headers["x-statshub-units"], "read=0; write=0");
    let mut written = Vec::new();
    metrics.write(&[], &mut written).unwrap();
    let line: Value = serde_json::from_slice(&written).unwrap();
    let names = check(&line);
    assert_eq!(line["Function"], "busy");
    assert_eq!(line["Requests"], 1);

    let mut event = ApiGatewayV2httpRequest::default();
    event.raw_path = Some("/stats/".to_owned());
    let answer = answer_event(&Busy, &Auth::Off, event, call).await;
    assert_eq!(answer.headers["x-statshub-units"], "read=1.5; write=10");
    let mut written = Vec::new();
    metrics.write(&[], &mut written).unwrap();
    let line: Value = serde_json::from_slice(&written).unwrap();
    assert_eq!((&line["Requests"], &line["Conflicts"]), (&1.into(), &1.into()));
    assert_eq!(line["WriteUnits"], serde_json::json!([10.0]));

    let shown = shown().into_iter().find(|line| line["Function"] == "update").unwrap();
    assert_eq!(check(&shown), names, "docs/operations.md shows what is written");
}

#[test]
fn what_the_documentation_shows_is_metrics_and_logs() {
    let (metrics, logs): (Vec<_>, Vec<_>) =
        shown().into_iter().partition(|line| line.get("_aws").is_some());
    let functions: BTreeSet<_> =
        metrics.iter().map(|line| line["Function"].as_str().unwrap().to_owned()).collect();
    assert_eq!(functions, ["archive", "history", "query", "update"].map(str::to_owned).into());
    for line in &metrics {
        check(line);
    }
    assert!(logs.len() >= 3, "{logs:?}");
    for line in &logs {
        assert!(line["level"].is_string(), "{line}");
        assert!(line["fields"]["message"].is_string(), "{line}");
        let spans = line["spans"].as_array().unwrap();
        assert!(spans.iter().any(|span| span["requestId"].is_string()), "{line}");
    }
}
