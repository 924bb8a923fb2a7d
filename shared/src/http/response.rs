//! Responses.

use std::io::{self, Write};

use aws_lambda_events::{encodings::Body, event::apigw::ApiGatewayV2httpResponse};
use flate2::{Compression, write::GzEncoder};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER, VARY},
};

use super::{Request, negotiation::takes_gzip};

/// After how many seconds a client should try again.
pub(super) const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("2");

/// The longest body, in bytes of the event that carries it as a string.
///
/// A function may return 6 MB (source: *Lambda quotas*, AWS Lambda Developer Guide). This leaves
/// some room for the rest of the event.
pub const MAX_BODY_BYTES: usize = 6_000_000;

/// How thoroughly bodies are compressed, from 0 to 9. At this level, 2 MB of JSON become 0.4 MB,
/// and 5 MB of rows 0.4 MB, in 0.02 to 0.03 seconds of a processor.
const GZIP_LEVEL: u32 = 4;

/// A response.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body.
    pub body: String,
    /// The body as it is sent, if it is compressed.
    gzip: Option<Vec<u8>>,
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
        Self { status, headers: headers.into_iter().collect(), body, gzip: None }
    }

    /// A response without content, of which no header says anything.
    #[must_use]
    pub fn empty(status: StatusCode) -> Self {
        Self { status, headers: HeaderMap::new(), body: String::new(), gzip: None }
    }

    /// The same, compressed if the client takes that. A body is left as it is if it would be larger
    /// than a function may return once it is compressed and written as text.
    ///
    /// # Errors
    /// Never: writing to memory does not fail.
    pub fn compressed(mut self, request: &Request) -> io::Result<Self> {
        if self.body.is_empty() || !takes_gzip(&request.headers) {
            return Ok(self);
        }
        let mut encoder = GzEncoder::new(Vec::new(), Compression::new(GZIP_LEVEL));
        encoder.write_all(self.body.as_bytes())?;
        let compressed = encoder.finish()?;
        // Bytes are sent in base64, which has four characters for three of them.
        if compressed.len().div_ceil(3) * 4 <= MAX_BODY_BYTES {
            self.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            self.gzip = Some(compressed);
            self.body = String::new();
        }
        Ok(self)
    }

    /// The same with these bytes, into which the body was compressed before, if the client takes that.
    #[must_use]
    pub fn compressed_before(mut self, request: &Request, gzip: &[u8]) -> Self {
        if !self.body.is_empty() && takes_gzip(&request.headers) {
            self.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            self.gzip = Some(gzip.to_vec());
            self.body = String::new();
        }
        self
    }

    /// The same with a `Retry-After`: what has failed may succeed a little later.
    #[must_use]
    pub fn retry_later(mut self) -> Self {
        self.headers.insert(RETRY_AFTER, RETRY_AFTER_SECONDS);
        self
    }

    /// Keeps the response from caches that several users share: it is for the holder of a token. A
    /// cache of one user must not give it to a request with another token, or with none.
    pub(crate) fn keep_private(&mut self) {
        // In one value: an event has room for one of each name.
        let vary = self.headers.get(VARY).and_then(|value| value.to_str().ok());
        let vary = vary.map(|names| HeaderValue::try_from(format!("{names}, {AUTHORIZATION}")));
        let vary = vary.and_then(Result::ok).unwrap_or_else(|| AUTHORIZATION.into());
        self.headers.insert(VARY, vary);
        let lifetime = self.headers.get(CACHE_CONTROL).and_then(|value| value.to_str().ok());
        let may_be_kept = lifetime.filter(|lifetime| lifetime.starts_with("max-age"));
        let private =
            may_be_kept.map(|lifetime| HeaderValue::try_from(format!("private, {lifetime}")));
        if let Some(Ok(private)) = private {
            self.headers.insert(CACHE_CONTROL, private);
        }
    }

    /// Whether a function may return this body.
    #[must_use]
    pub fn fits(body: &str) -> bool {
        length_as_string(body) <= MAX_BODY_BYTES
    }
}

/// The length of a body within a JSON string, where quotes, backslashes and the ends of lines get a
/// backslash.
#[must_use]
pub fn length_as_string(body: &str) -> usize {
    // As sums of bytes, which processors do for many bytes at once.
    let escaped = |chunk: &[u8]| {
        chunk.iter().map(|byte| u8::from(matches!(byte, b'"' | b'\\' | b'\r' | b'\n'))).sum::<u8>()
    };
    let chunks = body.as_bytes().chunks(usize::from(u8::MAX));
    body.len() + chunks.map(|chunk| usize::from(escaped(chunk))).sum::<usize>()
}

impl From<Response> for ApiGatewayV2httpResponse {
    fn from(response: Response) -> Self {
        let mut event = Self::default();
        event.status_code = response.status.as_u16().into();
        event.headers = response.headers;
        event.is_base64_encoded = response.gzip.is_some();
        event.body = Some(match response.gzip {
            Some(bytes) => Body::Binary(bytes),
            None => response.body.into(),
        });
        event
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_private_names_the_header_that_it_depends_on_and_keeps_its_lifetime() {
        let mut response = Response::json(StatusCode::OK, String::new());
        response.keep_private();
        assert_eq!(response.headers[CACHE_CONTROL], "no-store");
        assert_eq!(response.headers[VARY], "authorization");
        let mut response = Response::json(StatusCode::OK, String::new());
        response.headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=60"));
        response.headers.insert(VARY, HeaderValue::from_static("accept"));
        response.keep_private();
        assert_eq!(response.headers[CACHE_CONTROL], "private, max-age=60");
        assert_eq!(response.headers[VARY], "accept, authorization");
    }
}
