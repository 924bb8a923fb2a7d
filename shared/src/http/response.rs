//! Responses.

use aws_lambda_events::event::apigw::ApiGatewayV2httpResponse;
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER},
};

/// After how many seconds a client should try again.
pub(super) const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("2");

/// The longest body, in bytes of the event that carries it as a string.
///
/// A function may return 6 MB (source: *Lambda quotas*, AWS Lambda Developer Guide). This leaves
/// some room for the rest of the event.
const MAX_BODY_BYTES: usize = 6_000_000;

/// A response.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: String,
}

impl Response {
    /// A response with a body of JSON, which nobody may cache.
    #[must_use]
    pub fn json(status: StatusCode, body: String) -> Self {
        Self::new(status, "application/json", body)
    }

    /// A response with a body of another type, which nobody may cache.
    #[must_use]
    pub fn new(status: StatusCode, content_type: &'static str, body: String) -> Self {
        let headers = [
            (CONTENT_TYPE, HeaderValue::from_static(content_type)),
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ];
        Self { status, headers: headers.into_iter().collect(), body }
    }

    /// The same with a `Retry-After`: what has failed may succeed a little later.
    #[must_use]
    pub fn retry_later(mut self) -> Self {
        self.headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
        self
    }

    /// Whether a function may return this body.
    #[must_use]
    pub fn fits(body: &str) -> bool {
        length_as_string(body) <= MAX_BODY_BYTES
    }
}

/// The length of a body within a JSON string, where quotes, backslashes and the ends of lines get a
/// backslash.
fn length_as_string(body: &str) -> usize {
    let escaped = body.bytes().filter(|byte| matches!(byte, b'"' | b'\\' | b'\r' | b'\n'));
    body.len() + escaped.count()
}

impl From<Response> for ApiGatewayV2httpResponse {
    fn from(response: Response) -> Self {
        let mut event = Self::default();
        event.status_code = response.status.as_u16().into();
        event.headers = response.headers;
        event.body = Some(response.body.into());
        event
    }
}
