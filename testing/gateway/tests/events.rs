//! Events are those of AWS. `gateway::event` and `gateway::read_path` name the sources of the
//! values.

#![allow(missing_docs, clippy::unwrap_used, clippy::indexing_slicing)]

use bytes::Bytes;
use gateway::{
    event::{Arrival, Refusal, function_url, http_api},
    routes::Routes,
};
use http::{Request, request::Builder};
use serde_json::{Value, json};

fn routes() -> Routes {
    let keys = [
        ("POST /stats/{id+}", "update"),
        ("GET /stats/{dim+}", "query"),
        ("GET /stats/", "query"),
        ("$default", "other"),
    ];
    Routes::new(keys).unwrap()
}

fn with_body(request: Builder, body: impl Into<Bytes>) -> Request<Bytes> {
    request.body(body.into()).unwrap()
}

fn event(request: &Request<Bytes>) -> Value {
    http_api(&routes(), request, &Arrival::default()).unwrap().event
}

fn post(path: &str) -> Request<Bytes> {
    with_body(Request::post(path), "")
}

/// A path as it is sent, and the event's path and id behind an HTTP API. A function's URL passes
/// the path on unchanged.
#[test]
fn odd_paths_are_decoded_by_an_http_api_and_left_by_a_function_url() {
    for (sent, raw, id) in [
        ("/stats/a", "/stats/a", "a"),
        ("/stats/a%2Fb", "/stats/a/b", "a/b"),
        ("/stats/a/b", "/stats/a/b", "a/b"),
        ("/stats/a%3Fb", "/stats/a", "a?b"),
        ("/stats/a%23b", "/stats/a#b", "a#b"),
        ("/stats/..", "/stats/..", ".."),
        ("/stats/%2E%2E", "/stats/..", ".."),
        ("/stats/a+b", "/stats/a+b", "a+b"),
        ("/stats/a%2Bb", "/stats/a+b", "a+b"),
        ("/stats/a%20b", "/stats/a b", "a b"),
        ("/stats/%C3%A9", "/stats/é", "é"),
        ("/stats//a", "/stats//a", "/a"),
        ("//stats/a", "//stats/a", "a"),
        ("/stats/a/", "/stats/a/", "a/"),
        ("/stats/a%2520b", "/stats/a b", "a%20b"),
    ] {
        let request = post(sent);
        let event = event(&request);
        assert_eq!(event["rawPath"], raw, "{sent}");
        assert_eq!(event["requestContext"]["http"]["path"], raw, "{sent}");
        assert_eq!(event["pathParameters"], json!({"id": id}), "{sent}");
        assert_eq!(event["routeKey"], "POST /stats/{id+}", "{sent}");

        let event = function_url(&request, &Arrival::default());
        assert_eq!(event["rawPath"], sent, "{sent}");
        assert_eq!(event["routeKey"], "$default", "{sent}");
        assert_eq!(event.get("pathParameters"), None, "{sent}");
    }
}

/// As captured on AWS: `gateway::event` names the sources.
#[test]
fn the_event_of_a_function_url_is_that_of_an_http_api_but_for_what_was_captured() {
    let request = Request::post("/capture/space%20value?redirect=https%3A%2F%2Fa.example&plus=a+b")
        .header("content-type", "application/json")
        .header("cookie", "session=abc123; theme=dark");
    let event = function_url(&with_body(request, "{}"), &Arrival::default());
    assert_eq!(event["rawPath"], "/capture/space%20value");
    assert_eq!(event["rawQueryString"], "redirect=https%3A%2F%2Fa.example&plus=a+b");
    let parameters = json!({"redirect": "https://a.example", "plus": "a b"});
    assert_eq!(event["queryStringParameters"], parameters);
    assert_eq!((&event["body"], &event["isBase64Encoded"]), (&json!("{}"), &json!(false)));
    assert_eq!(event["cookies"], json!(["session=abc123", "theme=dark"]));
    assert_eq!(event["headers"]["cookie"], "session=abc123; theme=dark");
    let context = &event["requestContext"];
    assert_eq!(context["accountId"], "anonymous");
    assert_eq!(context["http"]["path"], "/capture/space value");
    assert_eq!((&context["routeKey"], &context["stage"]), (&json!("$default"), &json!("$default")));
}

#[test]
fn requests_go_to_the_function_of_their_route() {
    for (request, function) in [
        (Request::post("/stats/a"), "update"),
        (Request::get("/stats/a"), "query"),
        (Request::get("/stats/"), "query"),
        (Request::get("/stats"), "other"),
        (Request::delete("/stats/a"), "other"),
    ] {
        let request = with_body(request, "");
        let routes = routes();
        let integration = http_api(&routes, &request, &Arrival::default()).unwrap();
        assert_eq!(integration.function, function, "{} {}", request.method(), request.uri());
    }
}

#[test]
fn what_reaches_no_function_is_refused() {
    let all = routes();
    let malformed = http_api(&all, &post("/stats/100%25"), &Arrival::default());
    assert!(matches!(malformed, Err(Refusal::Path(_))), "{malformed:?}");
    let routes = Routes::new([("GET /a", "f")]).unwrap();
    let nowhere = http_api(&routes, &post("/a"), &Arrival::default());
    assert_eq!(nowhere, Err(Refusal::NoRoute));
}

#[test]
fn repeated_headers_are_one_value_and_cookies_are_apart() {
    let request = Request::post("/stats/a")
        .header("Accept", "text/csv")
        .header("Accept", "application/json")
        .header("Idempotency-Key", "k")
        .header("Idempotency-Key", "k")
        .header("X-Latin", &b"caf\xe9"[..])
        .header("Cookie", "a=1; b=2")
        .header("Cookie", "c=3")
        .header("Connection", "keep-alive")
        .header("X-Forwarded-For", "10.0.0.1");
    let event = event(&with_body(request, ""));
    let headers = &event["headers"];
    assert_eq!(headers["accept"], "text/csv,application/json");
    assert_eq!(headers["idempotency-key"], "k,k");
    assert_eq!(headers["x-latin"], "café");
    assert_eq!(headers["x-forwarded-for"], "10.0.0.1, 127.0.0.1");
    assert_eq!(headers.get("cookie"), None);
    assert_eq!(headers.get("connection"), None);
    assert_eq!(event["cookies"], json!(["a=1", "b=2", "c=3"]));
}

#[test]
fn queries_stay_as_they_were_sent_beside_their_decoded_parameters() {
    let query = "repeat=one&repeat=two&plus=a+b&encoded=a%2Bb&empty=";
    let event = event(&with_body(Request::get(format!("/stats/a?{query}")), ""));
    assert_eq!(event["rawQueryString"], query);
    let parameters = json!({"repeat": "one,two", "plus": "a b", "encoded": "a+b", "empty": ""});
    assert_eq!(event["queryStringParameters"], parameters);
}

#[test]
fn only_text_is_sent_as_text() {
    let json = "application/json; charset=utf-8";
    for (headers, body, expected) in [
        (vec![("content-type", json)], &b"{\"a\":1}"[..], ("{\"a\":1}", false)),
        (vec![("content-type", "TEXT/csv")], b"a,b", ("a,b", false)),
        (vec![("content-type", "application/x-ndjson")], b"{}", ("e30=", true)),
        (vec![("content-type", "application/x-www-form-urlencoded")], b"{}", ("e30=", true)),
        (vec![], b"{}", ("e30=", true)),
        (vec![("content-type", json)], b"\xe9", ("6Q==", true)),
        (vec![("content-type", json), ("content-encoding", "gzip")], b"{}", ("e30=", true)),
    ] {
        let mut request = Request::post("/stats/a");
        for (name, value) in &headers {
            request = request.header(*name, *value);
        }
        let event = event(&with_body(request, body));
        let sent = (event["body"].as_str().unwrap(), event["isBase64Encoded"].as_bool().unwrap());
        assert_eq!(sent, expected, "{headers:?}");
        assert_eq!(event["headers"]["content-length"], body.len().to_string(), "{headers:?}");
    }
}

#[test]
fn what_is_empty_is_left_out() {
    let event = event(&with_body(Request::get("/"), ""));
    for absent in ["body", "cookies", "queryStringParameters", "pathParameters"] {
        assert_eq!(event.get(absent), None, "{absent}");
    }
    assert_eq!(event["rawQueryString"], "");
    assert_eq!(event["isBase64Encoded"], false);
}

#[test]
fn the_context_says_who_asked_when_and_how() {
    let arrival = Arrival {
        at: std::time::UNIX_EPOCH + std::time::Duration::from_millis(1_583_348_638_390),
        from: "192.0.2.1".parse().unwrap(),
        id: "x".to_owned(),
    };
    let request = with_body(Request::head("/stats/a").header("User-Agent", "agent"), "");
    let context = function_url(&request, &arrival)["requestContext"].clone();
    assert_eq!(context["time"], "04/Mar/2020:19:03:58 +0000");
    assert_eq!(context["timeEpoch"], 1_583_348_638_390_u64);
    assert_eq!(context["stage"], "$default");
    assert_eq!(context["requestId"], "x");
    assert_eq!(context["http"]["method"], "HEAD");
    assert_eq!(context["http"]["sourceIp"], "192.0.2.1");
    assert_eq!(context["http"]["userAgent"], "agent");
}
