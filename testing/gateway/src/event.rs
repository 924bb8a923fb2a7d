//! The events that requests become.
//!
//! *Documented* (Create AWS Lambda proxy integrations for HTTP APIs, payload format 2.0; Lambda
//! function URLs): the fields; names of headers in lower case; repeated headers and repeated query
//! parameters joined with commas; cookies apart; `isBase64Encoded` for binary bodies.
//!
//! *Observed*: the path (see [`crate::read_path`]); a body is text under the content types
//! `text/*`, `application/json`, `application/xml` and `application/javascript` only, and base64
//! under every other one and without one (`MiniStack`, pull request 766, against AWS); empty fields
//! are left out instead of null, the values of `queryStringParameters` are decoded with `+` as a
//! blank, and `rawQueryString` is as it was sent (hotsock/voker, `apigwv2-request.json`). By a
//! function's URL, `rawPath` is as it was sent and `http.path` is decoded, and cookies are among the
//! headers too (`functionurl-request.json` there). The account is `anonymous`, and there are no path
//! parameters and no authorizer (events that others have logged; in the file of voker they are
//! null, as after a round trip through a structure of Go).
//!
//! *Assumed*: text that is not UTF-8, or has a `Content-Encoding`, is base64 too, since JSON could
//! not hold it; a header that is not UTF-8 is Latin-1.

use std::{
    net::{IpAddr, Ipv4Addr},
    time::SystemTime,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{
    HeaderMap, HeaderName, HeaderValue, Request,
    header::{
        CONNECTION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, COOKIE, TE, TRANSFER_ENCODING,
        UPGRADE, USER_AGENT,
    },
};
use serde_json::{Map, Value, json};
use time::OffsetDateTime;

use crate::{
    read_path::{self, MalformedPath, ReadPath},
    routes::{self, Routes},
};

/// The number of the account: that of AWS's examples.
pub const ACCOUNT: &str = "123456789012";
/// Whose request comes to the URL of a function that asks nobody who they are.
const ANONYMOUS: &str = "anonymous";
/// Headers of a connection, not of a request (RFC 9110, 7.6.1).
const HOP_BY_HOP: [HeaderName; 4] = [CONNECTION, TE, TRANSFER_ENCODING, UPGRADE];

/// The circumstances of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// The request's id.
    pub id: String,
    /// When it arrived.
    pub at: SystemTime,
    /// Who sent it.
    pub from: IpAddr,
}

impl Default for Arrival {
    /// From this machine, at the Unix epoch.
    fn default() -> Self {
        Self {
            id: "JKJaXmPLvHcESHA=".to_owned(),
            at: SystemTime::UNIX_EPOCH,
            from: IpAddr::V4(Ipv4Addr::LOCALHOST),
        }
    }
}

/// What an HTTP API makes of a request.
#[derive(Debug, Clone, PartialEq)]
pub struct Integration<'a> {
    /// The function that answers.
    pub function: &'a str,
    /// The event that it gets.
    pub event: Value,
}

/// Why an HTTP API answers by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// 400.
    #[error(transparent)]
    Path(#[from] MalformedPath),
    /// 404.
    #[error("the request has no route")]
    NoRoute,
}

/// The event of a request to an HTTP API, and the function that gets it.
///
/// # Errors
/// No function sees the request.
pub fn http_api<'a>(
    routes: &'a Routes,
    request: &Request<Bytes>,
    arrival: &Arrival,
) -> Result<Integration<'a>, Refusal> {
    let path = ReadPath::of(request.uri().path())?;
    let (route, parameters) =
        routes.find(request.method(), &path.routed).ok_or(Refusal::NoRoute)?;
    let mut event = event(&route.key, &path.raw, request, arrival);
    if !parameters.is_empty() {
        let parameters = parameters.into_iter().map(|(name, value)| (name, value.into()));
        event.insert("pathParameters".to_owned(), Value::Object(parameters.collect()));
    }
    Ok(Integration { function: &route.function, event: event.into() })
}

/// The event of a request to the URL of a function: its path stays encoded, and there are no
/// routes.
#[must_use]
pub fn function_url(request: &Request<Bytes>, arrival: &Arrival) -> Value {
    let path = request.uri().path();
    let mut event = Value::from(event(routes::DEFAULT, path, request, arrival));
    let mut set = |object: &str, name: &str, value: Value| {
        if let Some(object) = event.pointer_mut(object).and_then(Value::as_object_mut) {
            object.insert(name.to_owned(), value);
        }
    };
    set("/requestContext", "accountId", ANONYMOUS.into());
    set("/requestContext/http", "path", read_path::decoded(path).into());
    let cookies: Vec<_> = request.headers().get_all(COOKIE).iter().map(text).collect();
    if !cookies.is_empty() {
        set("/headers", COOKIE.as_str(), cookies.join("; ").into());
    }
    event
}

fn event(
    route: &str,
    path: &str,
    request: &Request<Bytes>,
    arrival: &Arrival,
) -> Map<String, Value> {
    let query = request.uri().query().unwrap_or_default();
    let (body, is_base64) = body(request.headers(), request.body());
    let mut event = Map::from_iter([
        ("version".to_owned(), "2.0".into()),
        ("routeKey".to_owned(), route.into()),
        ("rawPath".to_owned(), path.into()),
        ("rawQueryString".to_owned(), query.into()),
        ("headers".to_owned(), headers(request, arrival)),
        ("requestContext".to_owned(), context(route, path, request, arrival)),
        ("isBase64Encoded".to_owned(), is_base64.into()),
    ]);
    let optional = [
        ("cookies", cookies(request.headers())),
        ("queryStringParameters", query_parameters(query)),
        ("body", body.map(Value::from)),
    ];
    for (name, value) in optional {
        event.extend(value.map(|value| (name.to_owned(), value)));
    }
    event
}

fn context(route: &str, path: &str, request: &Request<Bytes>, arrival: &Arrival) -> Value {
    let at = OffsetDateTime::from(arrival.at);
    let user_agent = request.headers().get(USER_AGENT).map(text).unwrap_or_default();
    json!({
        "accountId": ACCOUNT,
        "apiId": "local",
        "domainName": "localhost",
        "domainPrefix": "localhost",
        "http": {
            "method": request.method().as_str(),
            "path": path,
            "protocol": "HTTP/1.1",
            "sourceIp": arrival.from.to_string(),
            "userAgent": user_agent,
        },
        "requestId": arrival.id,
        "routeKey": route,
        "stage": routes::DEFAULT,
        "time": common_log_time(at),
        "timeEpoch": at.unix_timestamp() * 1_000 + i64::from(at.millisecond()),
    })
}

/// As in `12/Mar/2020:19:03:58 +0000`.
fn common_log_time(at: OffsetDateTime) -> String {
    let (hour, minute, second) = at.to_hms();
    let (year, month, day) = at.to_calendar_date();
    let month = month.to_string();
    format!("{day:02}/{month:.3}/{year:04}:{hour:02}:{minute:02}:{second:02} +0000")
}

/// The headers, each name with one value, without cookies and without those of the connection; and
/// those that the gateway adds.
fn headers(request: &Request<Bytes>, arrival: &Arrival) -> Value {
    let sent = request.headers();
    let names = sent.keys().filter(|name| **name != COOKIE && !HOP_BY_HOP.contains(name));
    let mut joined: Map<_, _> =
        names.map(|name| (name.as_str().to_owned(), joined(sent, name).into())).collect();
    if !request.body().is_empty() {
        // Once it is whole, a chunked body has a length.
        joined.insert(CONTENT_LENGTH.to_string(), request.body().len().to_string().into());
    }
    let before = joined.get("x-forwarded-for").and_then(Value::as_str);
    let from = arrival.from.to_string();
    let from = before.map_or(from.clone(), |before| format!("{before}, {from}"));
    for (name, value) in [
        ("x-amzn-trace-id", trace_id(arrival)),
        ("x-forwarded-for", from),
        ("x-forwarded-port", "9000".to_owned()),
        ("x-forwarded-proto", "http".to_owned()),
    ] {
        joined.insert(name.to_owned(), value.into());
    }
    joined.into()
}

/// `Root=1-<seconds in hex>-<24 hex digits>`, here the first digits of the request's id.
#[must_use]
pub fn trace_id(arrival: &Arrival) -> String {
    let seconds = OffsetDateTime::from(arrival.at).unix_timestamp();
    let id: String = arrival.id.bytes().map(|byte| format!("{byte:02x}")).take(12).collect();
    format!("Root=1-{seconds:08x}-{id:0>24}")
}

fn joined(headers: &HeaderMap, name: &HeaderName) -> String {
    headers.get_all(name).iter().map(text).collect::<Vec<_>>().join(",")
}

fn text(value: &HeaderValue) -> String {
    let latin_1 = || value.as_bytes().iter().map(|byte| char::from(*byte)).collect();
    std::str::from_utf8(value.as_bytes()).map_or_else(|_| latin_1(), str::to_owned)
}

fn cookies(headers: &HeaderMap) -> Option<Value> {
    let cookies: Vec<_> = headers.get_all(COOKIE).iter().map(text).collect();
    let cookies: Vec<_> = cookies.iter().flat_map(|cookies| cookies.split("; ")).collect();
    (!cookies.is_empty()).then(|| cookies.into())
}

fn query_parameters(query: &str) -> Option<Value> {
    let mut parameters: Map<String, Value> = Map::new();
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        let before = parameters.get(&*name).and_then(Value::as_str);
        let value = before.map_or_else(|| value.to_string(), |before| format!("{before},{value}"));
        parameters.insert(name.into_owned(), value.into());
    }
    (!parameters.is_empty()).then_some(Value::Object(parameters))
}

/// The body in the form of an event, and whether that is base64. None if it is empty.
fn body(headers: &HeaderMap, body: &[u8]) -> (Option<String>, bool) {
    if body.is_empty() {
        return (None, false);
    }
    let is_text = !headers.contains_key(CONTENT_ENCODING)
        && headers.get(CONTENT_TYPE).is_some_and(|kind| is_text(&text(kind)));
    match std::str::from_utf8(body).ok().filter(|_| is_text) {
        Some(text) => (Some(text.to_owned()), false),
        None => (Some(BASE64_STANDARD.encode(body)), true),
    }
}

fn is_text(content_type: &str) -> bool {
    let kind = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    kind.starts_with("text/")
        || ["application/json", "application/xml", "application/javascript"].contains(&&*kind)
}
