//! Responses.

use aws_lambda_events::event::apigw::ApiGatewayV2httpResponse;
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{CACHE_CONTROL, CONTENT_TYPE},
};

/// A response.
#[derive(Debug, Clone)]
pub struct Response {
    /// The status.
    pub status: StatusCode,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body, in JSON.
    pub body: String,
}

impl Response {
    /// A response with a body of JSON, which nobody may cache.
    #[must_use]
    pub fn json(status: StatusCode, body: String) -> Self {
        let headers = [
            (CONTENT_TYPE, HeaderValue::from_static("application/json")),
            (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        ];
        Self { status, headers: headers.into_iter().collect(), body }
    }

    /// The answer to an update that was counted.
    #[must_use]
    pub fn succeeded() -> Self {
        Self::json(StatusCode::OK, r#"{"Succeeded":true,"Error":""}"#.to_owned())
    }
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
