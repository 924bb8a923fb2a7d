//! Why the functions read the events of an HTTP API themselves: `lambda_http` makes a URI of each.
//!
//! An HTTP API decodes `rawPath` before a function sees it. `lambda_http` takes the decoded text
//! for a URL and normalizes it, which changes names. What can't be a URI makes it panic.

#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::panic::catch_unwind;

use serde_json::json;

/// The event of `POST /stats/{id+}` as an HTTP API makes it.
fn event(id: &str, query: &str) -> String {
    let path = format!("/stats/{id}");
    let event = json!({
        "version": "2.0",
        "routeKey": "POST /stats/{id+}",
        "rawPath": path,
        "rawQueryString": query,
        "headers": {"host": "a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com"},
        "requestContext": {
            "accountId": "123456789012",
            "apiId": "a1b2c3d4e5",
            "domainName": "a1b2c3d4e5.execute-api.eu-west-1.amazonaws.com",
            "domainPrefix": "a1b2c3d4e5",
            "http": {
                "method": "POST",
                "path": path,
                "protocol": "HTTP/1.1",
                "sourceIp": "203.0.113.7",
                "userAgent": "curl/8.5.0",
            },
            "requestId": "JKJaXmPLvHcESHA=",
            "routeKey": "POST /stats/{id+}",
            "stage": "$default",
            "time": "14/Mar/2024:07:04:16 +0000",
            "timeEpoch": 1_710_399_856_000_i64,
        },
        "pathParameters": {"id": id},
        "body": "{}",
        "isBase64Encoded": false,
    });
    event.to_string()
}

/// The path of the URI that `lambda_http` builds.
fn path(id: &str) -> String {
    let request = lambda_http::request::from_str(&event(id, "")).unwrap();
    request.uri().path().to_owned()
}

#[test]
fn names_change_on_their_way_through_a_uri() {
    assert_eq!(path("myid1"), "/stats/myid1");
    for (id, path_of_another) in [
        ("..", "/"),
        (".", "/stats/"),
        ("a/../b", "/stats/b"),
        ("a?b", "/stats/a"),
        ("a#b", "/stats/a"),
        ("a\\b", "/stats/a/b"),
        // The id `a%20b`, which a client sends as `a%2520b`, can't be told from the id `a b`.
        ("a%20b", "/stats/a%20b"),
        ("a b", "/stats/a%20b"),
    ] {
        assert_eq!(path(id), path_of_another, "{id:?}");
    }
}

#[test]
fn a_query_that_is_no_uri_ends_the_request_in_a_panic() {
    let event = event("myid1", "token=<");
    let request = catch_unwind(|| lambda_http::request::from_str(&event).map(drop));
    assert!(request.is_err(), "{request:?}");
}
