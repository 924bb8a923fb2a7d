//! Requests, from the events of an HTTP API of API Gateway (payload format 2.0).

use std::borrow::Cow;

use aws_lambda_events::event::apigw::ApiGatewayV2httpRequest;
use base64::{Engine, prelude::BASE64_STANDARD};
use http::HeaderMap;

use super::{ApiError, Parameters, Route, authorization::authorize, body, path::Path};
use crate::auth::{Auth, Caller};

/// A request that may pass. There is no other: [`Request::of`] makes it, and checks that first.
#[derive(Debug, Clone)]
pub struct Request {
    /// What is asked for.
    pub route: Route,
    /// The parameters of the query.
    pub parameters: Parameters,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body as it came; empty when there is none.
    body: Vec<u8>,
    /// Whose it is. Private, so that no request is made without a check.
    caller: Caller,
}

impl Request {
    /// The request of an event.
    ///
    /// # Errors
    /// It may not pass; or, and only then, it is not valid.
    pub fn of(mut event: ApiGatewayV2httpRequest, auth: &Auth) -> Result<Self, ApiError> {
        let caller = authorize(auth, &event.request_context.http.method, &mut event.headers)?;
        Ok(Self {
            caller,
            route: Route::find(&event.request_context.http.method, &path(&event))?,
            parameters: Parameters::parse(event.raw_query_string.as_deref().unwrap_or_default())?,
            body: bytes(event.body, event.is_base64_encoded)?,
            headers: event.headers,
        })
    }

    /// The content of the body, decoded if it is compressed, of which `most` bytes are read at most.
    ///
    /// # Errors
    /// The content is larger than that, or the body is not what its `Content-Encoding` says.
    pub fn content(&self, most: usize) -> Result<Cow<'_, [u8]>, ApiError> {
        body::content(&self.headers, &self.body, most)
    }

    /// Whose it is.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.caller
    }
}

/// The path of an event.
///
/// An HTTP API decodes `rawPath` before a function sees it, and cuts it at a decoded `?`. The path
/// parameters of its route are decoded too, but whole. Where there was no route (`cargo lambda`, a
/// function URL), `rawPath` is as the client sent it.
fn path(event: &ApiGatewayV2httpRequest) -> Path {
    if let Some(path) = routed_path(event) {
        return Path::decoded(path);
    }
    let path = event.raw_path.as_deref().unwrap_or("/");
    let stage = event.request_context.stage.as_deref().unwrap_or_default();
    let in_stage = path.strip_prefix('/').and_then(|path| path.strip_prefix(stage));
    let path = in_stage.filter(|rest| !stage.is_empty() && rest.starts_with('/')).unwrap_or(path);
    Path::encoded(path.strip_prefix('/').unwrap_or(path))
}

/// The path of an event that came by a route, such as `GET /stats/{dim+}`: the route's own, with each
/// parameter in its place.
fn routed_path(event: &ApiGatewayV2httpRequest) -> Option<String> {
    // What came by no route of its own has the key `$default`.
    let (_, template) = event.route_key.as_deref()?.split_once(' ')?;
    let segments = template.strip_prefix('/')?.split('/').map(|segment| {
        let name = segment.strip_prefix('{').and_then(|segment| segment.strip_suffix('}'));
        let name = name.map(|name| name.strip_suffix('+').unwrap_or(name));
        name.map_or(Some(segment), |name| event.path_parameters.get(name).map(String::as_str))
    });
    Some(segments.collect::<Option<Vec<_>>>()?.join("/"))
}

fn bytes(body: Option<String>, is_base64: bool) -> Result<Vec<u8>, ApiError> {
    let body = body.unwrap_or_default();
    if !is_base64 {
        return Ok(body.into_bytes());
    }
    BASE64_STANDARD
        .decode(body)
        .map_err(|_| ApiError::Malformed("the body is not base64".to_owned()))
}

#[cfg(test)]
mod tests {
    use http::Method;

    use super::*;
    use crate::domain::{DimensionName, Id};

    fn event(route: &str, path: &str, parameters: &[(&str, &str)]) -> ApiGatewayV2httpRequest {
        let mut event = ApiGatewayV2httpRequest::default();
        event.route_key = Some(route.to_owned());
        event.raw_path = Some(path.to_owned());
        event.request_context.http.method = match route.split_once(' ') {
            Some(("POST", _)) => Method::POST,
            _ => Method::GET,
        };
        let parameters = parameters.iter().map(|(name, value)| (*name, *value));
        event.path_parameters =
            parameters.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        event
    }

    fn route(event: ApiGatewayV2httpRequest) -> Route {
        Request::of(event, &Auth::Off).unwrap().route
    }

    #[test]
    fn the_parameters_of_a_route_are_in_their_places_and_not_decoded_again() {
        let id = event("POST /stats/{id+}", "/stats/a", &[("id", "a?b/c%20")]);
        assert_eq!(route(id), Route::Update(Id::new("a?b/c%20").unwrap()));

        let path = "history/a%2Fb/c/gauge/x";
        let history =
            event("GET /history/{path+}", &format!("/{path}"), &[("path", "d/a%2Fb/c/gauge/x")]);
        let Route::History { dimension, key, .. } = route(history) else { panic!("{path}") };
        assert_eq!((dimension.as_str(), key.as_str()), ("d", "a%2fb/c"));

        assert_eq!(route(event("GET /stats/", "/stats/", &[])), Route::AllDimensions);
    }

    #[test]
    fn without_a_route_or_its_parameters_the_path_is_decoded() {
        for key in ["$default", "GET /history/{path+}", "ANY /{proxy+}"] {
            let history = event(key, "/history/d/a%2Fb/c/gauge/x", &[("dim", "y")]);
            let Route::History { dimension, key, .. } = route(history) else { panic!("{key}") };
            assert_eq!((dimension.as_str(), key.as_str()), ("d", "a/b/c"));
        }
    }

    #[test]
    fn parameters_of_the_query_change_no_route() {
        let mut event = event("$default", "/stats/country", &[]);
        event.raw_query_string = Some("b=1".to_owned());
        let request = Request::of(event, &Auth::Off).unwrap();
        assert_eq!(request.route, Route::Dimension(DimensionName::new("country").unwrap()));
        assert_eq!(request.parameters.iter().collect::<Vec<_>>(), [("b", "1")]);
    }
}
