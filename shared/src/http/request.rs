//! Requests, from the events of an HTTP API of API Gateway (payload format 2.0).

use aws_lambda_events::event::apigw::ApiGatewayV2httpRequest;
use base64::{Engine, prelude::BASE64_STANDARD};
use http::HeaderMap;

use super::{ApiError, Route};

/// The route key of events that came by no route of their own.
const NO_ROUTE: &str = "$default";

/// A request.
#[derive(Debug, Clone)]
pub struct Request {
    /// What is asked for.
    pub route: Route,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body; empty when there is none.
    pub body: Vec<u8>,
}

impl TryFrom<ApiGatewayV2httpRequest> for Request {
    type Error = ApiError;

    fn try_from(event: ApiGatewayV2httpRequest) -> Result<Self, ApiError> {
        Ok(Self {
            route: Route::find(&event.request_context.http.method, &path(&event)?)?,
            body: body(event.body, event.is_base64_encoded)?,
            headers: event.headers,
        })
    }
}

/// The path, percent-decoded, split at its slashes.
///
/// An HTTP API decodes `rawPath` before a function sees it, and cuts it at a decoded `?`. The path
/// parameter of its route is decoded too, but whole. Where there was no route (`cargo lambda`, a
/// function URL), `rawPath` is as the client sent it.
fn path(event: &ApiGatewayV2httpRequest) -> Result<Vec<String>, ApiError> {
    let routed = event.route_key.as_deref().is_some_and(|route| route != NO_ROUTE);
    let parameter = event.path_parameters.values().next();
    if let (true, Some(parameter)) = (routed, parameter) {
        return Ok(vec![Route::STATS.to_owned(), parameter.clone()]);
    }
    let path = event.raw_path.as_deref().unwrap_or("/");
    let stage = event.request_context.stage.as_deref().unwrap_or_default();
    let in_stage = path.strip_prefix('/').and_then(|path| path.strip_prefix(stage));
    let path = in_stage.filter(|rest| !stage.is_empty() && rest.starts_with('/')).unwrap_or(path);
    let segments = path.strip_prefix('/').unwrap_or(path).split('/');
    segments.map(decoded).collect()
}

fn decoded(segment: &str) -> Result<String, ApiError> {
    let decoded = percent_encoding::percent_decode_str(segment).decode_utf8();
    decoded
        .map(std::borrow::Cow::into_owned)
        .map_err(|_| ApiError::Malformed("the path is not UTF-8".to_owned()))
}

fn body(body: Option<String>, is_base64: bool) -> Result<Vec<u8>, ApiError> {
    let body = body.unwrap_or_default();
    if !is_base64 {
        return Ok(body.into_bytes());
    }
    BASE64_STANDARD
        .decode(body)
        .map_err(|_| ApiError::Malformed("the body is not base64".to_owned()))
}
