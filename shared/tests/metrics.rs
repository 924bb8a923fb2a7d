//! The lines of metrics, and those in docs/operations.md, have CloudWatch's embedded metric format.

#![allow(
    missing_docs,
    clippy::doc_markdown,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    time::{Duration, SystemTime},
};

use aws_lambda_events::event::apigw::ApiGatewayV2httpRequest;
use http::StatusCode;
use lambda_runtime::Context;
use serde_json::Value;
use shared::{
    auth::{Auth, Caller, PublicRead},
    domain::UnixSeconds,
    http::{Problem, Request, Response},
    lambda::{
        Call, HttpFunction, answer_and_record,
        call_metrics::{CallMetrics, LinesPer},
        emf::MAX_VALUES,
        metrics::Metrics,
    },
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
            let numbers = value.as_array().is_some_and(|values| {
                (1..=MAX_VALUES).contains(&values.len()) && values.iter().all(is_number)
            });
            assert!(is_number(value) || numbers, "{name}: {value}");
            assert!(names.insert(name.to_owned()), "{name} comes twice");
        }
    }
    assert!(!names.is_empty(), "{line}");
    names
}

/// The lines of logs and metrics in docs/operations.md, one value each.
fn shown() -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operations.md");
    let text = fs::read_to_string(path).unwrap();
    let blocks = text.split("```json\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    let lines = blocks.flat_map(str::lines).map(|line| serde_json::from_str(line).unwrap());
    let is_logged = |line: &Value| line.get("_aws").is_some() || line.get("timestamp").is_some();
    lines.filter(is_logged).collect()
}

/// A request, as its metrics and the header of its answer say it.
async fn request(metrics: &CallMetrics, path: &str) -> (Vec<Value>, String) {
    let mut event = ApiGatewayV2httpRequest::default();
    event.raw_path = Some(path.to_owned());
    // Of one minute, whenever the test runs.
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
    let call = Call::of(&Context::default(), now);
    let (answer, record) = answer_and_record(&Busy, &Auth::Off, event, call).await;
    let lines = metrics.record(&record.unwrap());
    let lines = lines.iter().map(|line| serde_json::from_str(&line.to_string()).unwrap());
    (lines.collect(), answer.headers["x-statshub-units"].to_str().unwrap().to_owned())
}

#[tokio::test]
async fn a_request_is_in_a_line_of_metrics_as_the_documentation_shows_it() {
    for lines_per in [LinesPer::Call, LinesPer::Minute] {
        let metrics = CallMetrics::new(Metrics::of("statshub", Busy::NAME), lines_per);
        // There is nothing at this path, so the function is not asked.
        let (mut lines, units) = request(&metrics, "/nothing").await;
        assert_eq!(units, "read=0; write=0");
        let (more, units) = request(&metrics, "/stats/").await;
        assert_eq!(units, "read=1.5; write=10");
        lines.extend(more);
        let rest = metrics.rest().map(|line| serde_json::from_str(&line.to_string()).unwrap());
        lines.extend(rest);
        let expected = match lines_per {
            LinesPer::Call => vec![(1, 0, vec![0.0]), (1, 1, vec![10.0])],
            LinesPer::Minute => vec![(2, 1, vec![0.0, 10.0])],
        };
        let shown = shown().into_iter().find(|line| line["Function"] == "update").unwrap();
        assert_eq!(lines.len(), expected.len());
        for (line, (requests, conflicts, written)) in lines.iter().zip(expected) {
            assert_eq!(line["Function"], "busy");
            assert_eq!(
                (&line["Requests"], &line["Conflicts"]),
                (&requests.into(), &conflicts.into())
            );
            assert_eq!(line["WriteUnits"], serde_json::json!(written));
            assert_eq!(check(line), check(&shown), "docs/operations.md shows what is written");
        }
    }
}

/// Answers that there is no service.
struct Broken;

impl HttpFunction for Broken {
    const NAME: &'static str = "broken";

    async fn answer(&self, _request: Request, _call: Call) -> Result<Response, Problem> {
        Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, "away"))
    }
}

#[tokio::test]
async fn who_asked_and_whether_it_failed_is_recorded() {
    // The hash is that of the token `a`.
    let hash = "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb";
    let auth = Auth::parse(&format!("reader:read:{hash}"), PublicRead::Nothing).unwrap();
    for (authorization, caller, has_failed) in [
        ("Bearer a", Caller::Token { name: "reader".into(), may_read: true }, true),
        ("Bearer b", Caller::Anyone, false),
    ] {
        let mut event = ApiGatewayV2httpRequest::default();
        event.raw_path = Some("/stats/".to_owned());
        event.headers.insert("authorization", authorization.parse().unwrap());
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(600);
        let call = Call::of(&Context::default(), now);
        let (_, record) = answer_and_record(&Broken, &auth, event, call).await;
        let record = record.unwrap();
        assert_eq!((record.caller, record.has_failed), (caller, has_failed), "{authorization}");
        assert_eq!(record.at, UnixSeconds(600));
    }
}

#[tokio::test]
async fn preflights_of_browsers_are_no_calls() {
    let mut event = ApiGatewayV2httpRequest::default();
    event.request_context.http.method = http::Method::OPTIONS;
    event.headers.insert("origin", "https://a.example".parse().unwrap());
    event.headers.insert("access-control-request-method", "POST".parse().unwrap());
    let call = Call::of(&Context::default(), SystemTime::now());
    let (answer, record) = answer_and_record(&Busy, &Auth::Off, event, call).await;
    assert_eq!((answer.status_code, record.is_none()), (204, true));
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
