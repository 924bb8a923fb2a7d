//! Histories, from events to responses, as far as they need no BigQuery.

#![allow(missing_docs, clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used)]

use std::time::SystemTime;

use aws_lambda_events::event::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse};
use history::{Function, ScanLimit};
use lambda_runtime::Context;
use serde_json::{Value, json};
use shared::{
    auth::Auth,
    domain::UnixSeconds,
    lambda::{Call, answer_event},
};

/// 2026-11-24T11:30:00Z
const NOW: UnixSeconds = UnixSeconds(1_795_519_800);

/// What a valid request gets if nothing is archived.
const NOT_CONFIGURED: &str = "there is no history: it needs the archive to BigQuery, which is not \
                              configured (GOOGLE_PROJECT)";

async fn send(event: Value) -> ApiGatewayV2httpResponse {
    let function = Function::new(None, ScanLimit::default(), fastrand::Rng::with_seed(1));
    let event: ApiGatewayV2httpRequest = serde_json::from_value(event).unwrap();
    let call = Call { now: NOW, ..Call::of(&Context::default(), SystemTime::now()) };
    answer_event(&function, &Auth::Off, event, call).await
}

/// As an HTTP API makes them.
fn routed() -> Value {
    serde_json::from_str(include_str!("events/get.json")).unwrap()
}

/// As `cargo lambda watch` makes them: no route, nothing decoded.
fn local(method: &str, path: &str, query: &str) -> Value {
    json!({
        "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": query,
        "headers": {},
        "requestContext": {
            "routeKey": "$default", "stage": "$default",
            "http": {"method": method, "path": path, "protocol": "http"}
        },
        "isBase64Encoded": false
    })
}

fn error(response: &ApiGatewayV2httpResponse) -> String {
    let body: Value = serde_json::from_slice(response.body.as_deref().unwrap()).unwrap();
    assert_eq!(body["Succeeded"], false);
    body["Error"].as_str().unwrap().to_owned()
}

async fn refused(event: Value, status: i64) -> String {
    let response = send(event).await;
    assert_eq!(response.status_code, status, "{}", error(&response));
    error(&response)
}

#[tokio::test]
async fn without_an_archive_there_is_a_404_that_says_so() {
    assert_eq!(refused(routed(), 404).await, NOT_CONFIGURED);
    let path = "/history/country/*/gauge/a-b";
    assert_eq!(refused(local("GET", path, ""), 404).await, NOT_CONFIGURED);
    let head = send(local("HEAD", path, "")).await;
    assert_eq!(head.status_code, 404);
    assert_eq!(error(&head), NOT_CONFIGURED);
}

#[tokio::test]
async fn names_are_decoded_once_wherever_the_event_comes_from() {
    // `%60` is a backtick. Encoded once, it is refused as such; encoded twice, as a percent sign.
    for (dimension, decoded) in [("a%60b", "a`b"), ("a%2560b", "a%60b")] {
        let path = format!("/history/{dimension}/*/counter/x");
        let expected = format!("\"{decoded}\" is not a valid dimension name");
        assert!(refused(local("GET", &path, ""), 400).await.starts_with(&expected));
        let mut event = routed();
        event["rawPath"] = format!("/history/{decoded}/*/counter/x").into();
        event["pathParameters"]["path"] = format!("{decoded}/*/counter/x").into();
        assert!(refused(event, 400).await.starts_with(&expected));
    }
    // Any text may be a key.
    for (encoded, key) in [
        ("a%2Fb%3Fc", "a/b?c"),
        ("%27%3B%20DROP%20TABLE%20x%3B--", "'; DROP TABLE x;--"),
        ("%60", "`"),
        ("%E6%97%A5%E6%9C%AC", "日本"),
        ("..", ".."),
        ("TOTAL", "TOTAL"),
        ("%2A", "*"),
    ] {
        let path = format!("/history/country/{encoded}/counter/x");
        assert_eq!(refused(local("GET", &path, ""), 404).await, NOT_CONFIGURED);
        let mut event = routed();
        // Gateways cut and decode this, and the function does not use it.
        event["rawPath"] = format!("/history/country/{key}/counter/x").into();
        event["pathParameters"]["path"] = format!("country/{key}/counter/x").into();
        assert_eq!(refused(event, 404).await, NOT_CONFIGURED);
    }
}

#[tokio::test]
async fn paths_and_methods_that_the_api_does_not_have() {
    for (method, path, status, text) in [
        ("GET", "/history", 404, "there is nothing at this path"),
        ("GET", "/history/country/es/counter", 404, "there is nothing at this path"),
        ("GET", "/history/country/es/counter/x/y", 400, "\"x\" is not a kind of stat"),
        ("GET", "/stats/country", 404, "there is nothing at this path"),
        ("POST", "/stats/id", 404, "there is nothing at this path"),
        ("GET", "/history/country/es/counters/x", 400, "\"counters\" is not a kind of stat"),
        ("GET", "/history/country/es/counter/", 400, "\"\" is not a valid stat name"),
        ("GET", "/history/country//counter/x", 400, "\"\" is not a valid dimension key"),
        ("GET", "/history/country/es/counter/x%60", 400, "\"x`\" is not a valid stat name"),
        ("GET", "/history/country/es/counter/x%27%3B--", 400, "\"x\\';--\" is not a valid stat"),
        ("GET", "/history/country/%FF/counter/x", 400, "the path is not UTF-8"),
        ("POST", "/history/country/es/counter/x", 405, "this path takes GET, HEAD"),
        ("DELETE", "/history/country/es/counter/x", 405, "this path takes GET, HEAD"),
    ] {
        let response = send(local(method, path, "")).await;
        assert_eq!(response.status_code, status, "{method} {path}");
        assert!(error(&response).starts_with(text), "{method} {path}: {}", error(&response));
        let allow = response.headers.get("allow").map(|value| value.to_str().unwrap());
        assert_eq!(allow, (status == 405).then_some("GET, HEAD"));
    }
}

#[tokio::test]
async fn parameters_are_decoded_and_refused_by_name() {
    let path = "/history/country/es/counter/x";
    for (query, text) in [
        ("form=1", "there is no parameter \"form\""),
        ("%66orm=1", "there is no parameter \"form\""),
        ("limit=1&limit=2", "limit is given twice"),
        ("step=1%60", "step: \"1`\" is not a step"),
        ("from=%27%3B+DROP+TABLE+x", "from: \"\\'; DROP TABLE x\" is not a time"),
        ("from=%FF", "the parameter \"%FF\" is not UTF-8"),
        ("from=2026-11-24T12:00:00Z", "from must be before to"),
        ("page=x", "page: it is not the next of an answer"),
        ("limit", "limit: \"\" is not a number"),
    ] {
        let refused = refused(local("GET", path, query), 400).await;
        assert!(refused.starts_with(text), "{query}: {refused}");
    }
    for query in [
        "",
        "&",
        "from=2026-11-24T00:00:00%2B01:00",
        "from=2026-11-24T00:00:00+01:00",
        "from=0&to=86400&step=1s&aggregate=avg&limit=50000",
    ] {
        assert_eq!(refused(local("GET", path, query), 404).await, NOT_CONFIGURED, "{query}");
    }
    let mut event = routed();
    event["rawQueryString"] = "from=2026-11-24T00%3A00%3A00%2B01%3A00&step=10x".into();
    assert!(refused(event, 400).await.starts_with("step: \"10x\""));
}
