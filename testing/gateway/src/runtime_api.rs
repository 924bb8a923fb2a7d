//! Lambda's runtime API, from which the processes of functions get their events.
//!
//! *Documented* (Using the Lambda runtime API for custom runtimes; Using the Lambda Extensions API):
//! the paths, the headers and the statuses. Here each function has its own below `/.rt/<function>`,
//! so that one port serves all of them.
//!
//! Extensions may register, and wait for events that never come: there is no one who would freeze or
//! end their process.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use serde_json::json;

use crate::{
    event::{ACCOUNT, Arrival, trace_id},
    functions::{Functions, MAX_PAYLOAD_BYTES},
};

const PREFIX: &str = "/.rt/";
const RUNTIME: &str = "2018-06-01";
const EXTENSIONS: &str = "2020-01-01";

/// The variable `AWS_LAMBDA_RUNTIME_API` of a function's process, if this API listens at `address`.
#[must_use]
pub fn endpoint(address: &str, function: &str) -> String {
    format!("http://{address}{PREFIX}{function}")
}

/// The function whose process sent a request, and the rest of its path.
#[must_use]
pub fn function(path: &str) -> Option<(&str, &str)> {
    path.strip_prefix(PREFIX)?.split_once('/')
}

/// Answers a request of a function's process.
///
/// # Errors
/// Never.
pub async fn answer(
    functions: Arc<Functions>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let path = request.uri().path().to_owned();
    let Some((function, rest)) = function(&path) else {
        return Ok(plain(StatusCode::NOT_FOUND));
    };
    let Some(found) = functions.get(function) else {
        return Ok(plain(StatusCode::NOT_FOUND));
    };
    let parts: Vec<_> = rest.split('/').collect();
    Ok(match (request.method(), &parts[..]) {
        (&Method::GET, [RUNTIME, "runtime", "invocation", "next"]) => {
            let (id, event, deadline) = found.next().await;
            next(function, &id, event, deadline)
        }
        (&Method::POST, [RUNTIME, "runtime", "invocation", id, kind @ ("response" | "error")]) => {
            // An answer that breaks off is no answer, as if the process had ended.
            let Ok(body) = request.into_body().collect().await else {
                return Ok(plain(StatusCode::BAD_REQUEST));
            };
            let body = body.to_bytes();
            let is_too_large = body.len() > MAX_PAYLOAD_BYTES;
            let is_known = match *kind {
                "response" => found.answer(id, body),
                _ => found.fail(id, body),
            };
            plain(match (is_known, is_too_large) {
                (false, _) => StatusCode::BAD_REQUEST,
                (true, true) => StatusCode::PAYLOAD_TOO_LARGE,
                (true, false) => StatusCode::ACCEPTED,
            })
        }
        (&Method::POST, [RUNTIME, "runtime", "init", "error"]) => plain(StatusCode::ACCEPTED),
        (&Method::POST, [EXTENSIONS, "extension", "register"]) => {
            found.register_extension();
            registered(function)
        }
        (&Method::GET, [EXTENSIONS, "extension", "event", "next"]) => std::future::pending().await,
        _ => plain(StatusCode::NOT_FOUND),
    })
}

fn next(function: &str, id: &str, event: Bytes, deadline: SystemTime) -> Response<Full<Bytes>> {
    let arrival = Arrival { id: id.to_owned(), at: SystemTime::now(), ..Arrival::default() };
    let deadline = deadline.duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
    let response = Response::builder()
        .header("content-type", "application/json")
        .header("lambda-runtime-aws-request-id", id)
        .header("lambda-runtime-deadline-ms", deadline.to_string())
        .header(
            "lambda-runtime-invoked-function-arn",
            format!("arn:aws:lambda:us-east-1:{ACCOUNT}:function:{function}"),
        )
        .header("lambda-runtime-trace-id", trace_id(&arrival));
    response.body(Full::new(event)).unwrap_or_else(|_| plain(StatusCode::INTERNAL_SERVER_ERROR))
}

fn registered(function: &str) -> Response<Full<Bytes>> {
    let about =
        json!({"functionName": function, "functionVersion": "$LATEST", "handler": "bootstrap"});
    let mut response = Response::new(Full::new(Bytes::from(about.to_string())));
    let id = HeaderValue::from_static("00000000-0000-0000-0000-000000000001");
    response.headers_mut().insert("lambda-extension-identifier", id);
    response
}

fn plain(status: StatusCode) -> Response<Full<Bytes>> {
    let body = match status.is_success() {
        true => r#"{"status":"OK"}"#,
        false => r#"{"errorType":"InvalidRequest"}"#,
    };
    let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
    *response.status_mut() = status;
    response
}
