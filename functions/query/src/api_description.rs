//! The description of the API, for programs: `docs/openapi.yaml`, as it was when this was built.

use http::{
    HeaderValue, StatusCode,
    header::{CACHE_CONTROL, VARY},
};
use shared::http::{Request, Response};

const DESCRIPTION: &str = include_str!("../../../docs/openapi.yaml");
/// How long an answer may be kept. Only a deployment changes it.
const LIFETIME: HeaderValue = HeaderValue::from_static("max-age=300");

/// The answer with the description, which is not compressed yet.
pub(crate) fn response(request: &Request) -> Response {
    // The media type is that of RFC 9512.
    let mut response =
        Response::new(StatusCode::OK, "application/yaml; charset=utf-8", DESCRIPTION.to_owned());
    response.headers.insert(CACHE_CONTROL, LIFETIME);
    response.headers.insert(VARY, HeaderValue::from_static("accept-encoding"));
    response.validated(request)
}
