//! Lambda's runtime API, from which the processes of functions get their events.
//!
//! *Documented* (Using the Lambda runtime API for custom runtimes): the paths, the headers and the
//! statuses. Here each function has its own below `/.rt/<function>`, so that one port serves all of
//! them.

use std::{
    convert::Infallible,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;

use crate::{
    event::{ACCOUNT, Arrival, trace_id},
    functions::{Functions, MAX_PAYLOAD_BYTES},
};

const PREFIX: &str = "/.rt/";
const VERSION: &str = "2018-06-01/runtime";

/// The variable `AWS_LAMBDA_RUNTIME_API` of a function's process, if this API listens at `address`.
#[must_use]
pub fn endpoint(address: &str, function: &str) -> String {
    format!("http://{address}{PREFIX}{function}")
}

/// The function whose process sent a request, and the rest of its path.
#[must_use]
pub fn function(path: &str) -> Option<(&str, &str)> {
    let (function, rest) = path.strip_prefix(PREFIX)?.split_once('/')?;
    Some((function, rest.strip_prefix(VERSION)?.strip_prefix('/')?))
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
        (&Method::GET, ["invocation", "next"]) => {
            let (id, event, deadline) = found.next().await;
            next(function, &id, event, deadline)
        }
        (&Method::POST, ["invocation", id, kind @ ("response" | "error")]) => {
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
        (&Method::POST, ["init", "error"]) => plain(StatusCode::ACCEPTED),
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

fn plain(status: StatusCode) -> Response<Full<Bytes>> {
    let body = match status.is_success() {
        true => r#"{"status":"OK"}"#,
        false => r#"{"errorType":"InvalidRequest"}"#,
    };
    let mut response = Response::new(Full::new(Bytes::from_static(body.as_bytes())));
    *response.status_mut() = status;
    response
}
