//! Events of an HTTP API (payload format 2.0), read from their JSON.
//!
//! The Lambda runtime could read them as well. But it logs the value of a header that no HTTP
//! message may have, which may be a token, and counts the call as a crash of the function. Whoever
//! sends such a header could then fill the log and raise alarms.

use aws_lambda_events::event::apigw::ApiGatewayV2httpRequest;
use http::{HeaderName, HeaderValue, header::AUTHORIZATION};
use serde_json::{Map, Value, value::RawValue};

use super::RequestError;
use crate::domain::excerpt;

/// What stands for an `Authorization` that can't be read: it is there, and no token.
const UNREADABLE_AUTHORIZATION: &str = "Bearer";

/// A request as it came, with nothing checked.
#[derive(Debug, Clone)]
pub struct HttpEvent {
    pub(crate) request: ApiGatewayV2httpRequest,
    /// The name of a header that no request may have. It is not among those of the request.
    pub(super) malformed_header: Option<String>,
}

/// Why something is not an event of an HTTP API. It shows nothing of the event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what the function got is not an event of an HTTP API in payload format 2.0")]
pub struct NotAnHttpEvent;

impl HttpEvent {
    /// Reads an event.
    ///
    /// # Errors
    /// It is not one of an HTTP API.
    pub fn read(json: &RawValue) -> Result<Self, NotAnHttpEvent> {
        match serde_json::from_str::<ApiGatewayV2httpRequest>(json.get()) {
            Ok(request) => Ok(request.into()),
            Err(_) => Self::read_without_malformed_headers(json),
        }
    }

    /// Slower, and hardly ever needed.
    fn read_without_malformed_headers(json: &RawValue) -> Result<Self, NotAnHttpEvent> {
        let mut event: Value = serde_json::from_str(json.get()).map_err(|_| NotAnHttpEvent)?;
        let headers = event.get_mut("headers").and_then(Value::as_object_mut);
        let malformed_header = headers.and_then(take_malformed);
        let request = serde_json::from_value(event).map_err(|_| NotAnHttpEvent)?;
        Ok(Self { request, malformed_header })
    }
}

impl From<ApiGatewayV2httpRequest> for HttpEvent {
    fn from(request: ApiGatewayV2httpRequest) -> Self {
        Self { request, malformed_header: None }
    }
}

/// Takes all malformed headers out, and returns the name of one of them.
fn take_malformed(headers: &mut Map<String, Value>) -> Option<String> {
    let is_malformed = |(name, value): &(&String, &Value)| {
        name.parse::<HeaderName>().is_err()
            || value.as_str().is_none_or(|value| value.parse::<HeaderValue>().is_err())
    };
    let malformed: Vec<_> =
        headers.iter().filter(is_malformed).map(|(name, _)| name.clone()).collect();
    for name in &malformed {
        headers.remove(name);
        if name.eq_ignore_ascii_case(AUTHORIZATION.as_str()) {
            headers.insert(name.clone(), UNREADABLE_AUTHORIZATION.into());
        }
    }
    malformed.into_iter().next()
}

/// What the client gets that sent a malformed header. Its value may be a secret.
pub(super) fn malformed_header(name: &str) -> RequestError {
    let name = excerpt(name);
    RequestError::Malformed(format!(
        "the header \"{name}\" is malformed: its name or its value has a character that no header \
         may have"
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(event: &Value) -> Result<HttpEvent, NotAnHttpEvent> {
        HttpEvent::read(&serde_json::value::to_raw_value(event).unwrap())
    }

    fn event(headers: &Value) -> Value {
        json!({
            "version": "2.0",
            "rawPath": "/stats/a",
            "headers": headers,
            "requestContext": {"http": {"method": "POST"}},
            "body": "{}",
            "isBase64Encoded": false,
        })
    }

    #[test]
    fn an_event_without_malformed_headers_is_read_as_the_runtime_would_read_it() {
        let event = event(&json!({"x-a": "\u{e9}\tb", "x-b": ""}));
        let found = read(&event).unwrap();
        assert_eq!(found.request, serde_json::from_value(event).unwrap());
        assert_eq!(found.malformed_header, None);
    }

    #[test]
    fn a_malformed_header_is_named_and_left_out_and_all_else_is_kept() {
        for (name, value) in [
            ("x-bad", json!("a\u{1}b")),
            ("x-bad", json!("a\u{7f}")),
            ("x-bad", json!("a\r\nx-c: d")),
            ("x-bad", json!("\0")),
            ("x-bad", json!(5)),
            ("x bad", json!("a")),
            ("", json!("a")),
        ] {
            let found = read(&event(&json!({"x-a": "b", name: value}))).unwrap();
            assert_eq!(found.malformed_header.as_deref(), Some(name), "{value}");
            assert_eq!(found.request, read(&event(&json!({"x-a": "b"}))).unwrap().request);
        }
    }

    #[test]
    fn an_authorization_that_cannot_be_read_is_still_there() {
        let found = read(&event(&json!({"Authorization": "Bearer a\u{1}"}))).unwrap();
        assert_eq!(found.malformed_header.as_deref(), Some("Authorization"));
        assert_eq!(found.request.headers[AUTHORIZATION], UNREADABLE_AUTHORIZATION);
    }

    #[test]
    fn what_is_no_event_is_refused_and_not_shown() {
        for wrong in [
            json!("secret"),
            json!([1]),
            json!({"headers": {}, "requestContext": "secret"}),
            json!({"headers": "secret"}),
        ] {
            let error = read(&wrong).unwrap_err();
            assert!(!error.to_string().contains("secret"), "{wrong}");
        }
    }
}
