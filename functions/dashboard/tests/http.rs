//! The page over HTTP, as API Gateway asks for it.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::time::SystemTime;

use aws_lambda_events::{
    encodings::Body,
    event::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse},
};
use lambda_runtime::Context;
use shared::{
    auth::Auth,
    lambda::{Call, answer_event},
};

async fn get(path: &str, headers: &[(&'static str, &str)]) -> ApiGatewayV2httpResponse {
    let mut event = ApiGatewayV2httpRequest::default();
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    event.raw_path = Some(path.to_owned());
    event.raw_query_string = Some(query.to_owned());
    for (name, value) in headers {
        event.headers.insert(*name, value.parse().unwrap());
    }
    let call = Call::of(&Context::default(), SystemTime::now());
    answer_event(&dashboard::Function::new().unwrap(), &Auth::Off, event, call).await
}

fn text(response: &ApiGatewayV2httpResponse) -> &str {
    match response.body.as_ref().unwrap() {
        Body::Text(text) => text,
        other => panic!("{other:?}"),
    }
}

/// The names of the files that the page names.
async fn files() -> Vec<String> {
    let page = get("/", &[]).await;
    let names = text(&page).split("\"page/").skip(1).map(|rest| rest.split('"').next().unwrap());
    names.map(str::to_owned).collect()
}

#[tokio::test]
async fn the_page_is_asked_for_again_and_its_files_are_kept() {
    let page = get("/", &[]).await;
    assert_eq!(page.status_code, 200);
    assert!(text(&page).starts_with("<!doctype html>"), "{}", text(&page));
    assert_eq!(page.headers["content-type"], "text/html; charset=utf-8");
    assert_eq!(page.headers["cache-control"], "no-cache");
    for (file, media_type) in files().await.iter().filter_map(|name| {
        let media_type = match name.rsplit_once('.')?.1 {
            "js" => "text/javascript; charset=utf-8",
            "css" => "text/css; charset=utf-8",
            "svg" => "image/svg+xml",
            _ => "text/plain; charset=utf-8",
        };
        Some((name, media_type))
    }) {
        let answer = get(&format!("/page/{file}"), &[]).await;
        assert_eq!(answer.status_code, 200, "{file}");
        assert_eq!(answer.headers["content-type"], media_type, "{file}");
        assert_eq!(answer.headers["cache-control"], "public, max-age=31536000, immutable");
    }
}

#[tokio::test]
async fn browsers_get_it_compressed_and_once() {
    let plain = get("/", &[]).await;
    let gzip = get("/", &[("accept-encoding", "gzip, br")]).await;
    assert_eq!(gzip.headers["content-encoding"], "gzip");
    assert!(gzip.is_base64_encoded && !plain.is_base64_encoded);
    assert_eq!(&gzip.body.as_ref().unwrap()[..2], b"\x1f\x8b");
    assert_eq!(gzip.headers["vary"], "accept-encoding");
    let tag = gzip.headers["etag"].to_str().unwrap();
    assert_ne!(tag, plain.headers["etag"].to_str().unwrap());
    let again = get("/", &[("accept-encoding", "gzip"), ("if-none-match", tag)]).await;
    assert_eq!((again.status_code, text(&again)), (304, ""));
    assert!(!again.headers.contains_key("content-encoding"));
}

#[tokio::test]
async fn every_file_comes_with_the_headers_that_keep_others_out() {
    let mut paths = vec!["/".to_owned()];
    paths.extend(files().await.iter().map(|name| format!("/page/{name}")));
    assert!(paths.len() > 3, "{paths:?}");
    for path in paths {
        let headers = get(&path, &[]).await.headers;
        let policy = headers["content-security-policy"].to_str().unwrap();
        let directives: Vec<_> = policy.split("; ").collect();
        for directive in [
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "connect-src 'self'",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        ] {
            assert!(directives.contains(&directive), "{path}: {directive}");
        }
        assert!(!policy.contains("unsafe") && !policy.contains('*'), "{policy}");
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("x-frame-options", "DENY"),
            ("referrer-policy", "no-referrer"),
            ("cross-origin-opener-policy", "same-origin"),
            ("cross-origin-resource-policy", "same-origin"),
            ("strict-transport-security", "max-age=31536000"),
        ] {
            assert_eq!(headers[name], value, "{path}");
        }
        assert!(headers["permissions-policy"].to_str().unwrap().contains("camera=()"));
    }
}

#[tokio::test]
async fn what_the_page_does_not_have_is_refused() {
    for (path, status, error) in [
        ("/page/main-00000000.js", 404, "load the page again"),
        // It has no hash, so it must not be kept for a year.
        ("/page/index.html", 404, "load the page again"),
        ("/page/a%2Fb", 400, "is not the name of a file"),
        ("/page/", 400, "is not the name of a file"),
        ("/?dim=country", 400, "there is no parameter \\\"dim\\\": this path takes none"),
        ("/stats/country", 404, "there is nothing at this path"),
    ] {
        let answer = get(path, &[]).await;
        assert_eq!(answer.status_code, status, "{path}");
        assert!(text(&answer).contains(error), "{path}: {}", text(&answer));
        assert_eq!(answer.headers["content-type"], "application/json");
    }
}
