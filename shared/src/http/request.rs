//! Requests, from the events of an HTTP API of API Gateway (payload format 2.0).

use aws_lambda_events::event::apigw::ApiGatewayV2httpRequest;
use base64::{Engine, prelude::BASE64_STANDARD};
use http::HeaderMap;

use super::{ApiError, Route, authorization::authorize};
use crate::auth::{Auth, Caller};

/// A request that may pass. There is no other: [`Request::of`] makes it, and checks that first.
#[derive(Debug, Clone)]
pub struct Request {
    /// What is asked for.
    pub route: Route,
    /// The parameters of the query, decoded, in their order.
    pub parameters: Vec<(String, String)>,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body; empty when there is none.
    pub body: Vec<u8>,
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
            route: Route::find(&event.request_context.http.method, &path(&event)?)?,
            parameters: parameters(event.raw_query_string.as_deref().unwrap_or_default()),
            body: body(event.body, event.is_base64_encoded)?,
            headers: event.headers,
        })
    }

    /// Whose it is.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.caller
    }
}

/// The path, percent-decoded, split at its slashes.
///
/// An HTTP API decodes `rawPath` before a function sees it, and cuts it at a decoded `?`. The path
/// parameters of its route are decoded too, but whole. Where there was no route (`cargo lambda`, a
/// function URL), `rawPath` is as the client sent it.
fn path(event: &ApiGatewayV2httpRequest) -> Result<Vec<String>, ApiError> {
    if let Some(path) = routed_path(event) {
        return Ok(path);
    }
    let path = event.raw_path.as_deref().unwrap_or("/");
    let stage = event.request_context.stage.as_deref().unwrap_or_default();
    let in_stage = path.strip_prefix('/').and_then(|path| path.strip_prefix(stage));
    let path = in_stage.filter(|rest| !stage.is_empty() && rest.starts_with('/')).unwrap_or(path);
    let segments = path.strip_prefix('/').unwrap_or(path).split('/');
    segments.map(decoded).collect()
}

/// The path of an event that came by a route, such as `GET /stats/{dim}`: the route's own, with each
/// parameter in its place.
fn routed_path(event: &ApiGatewayV2httpRequest) -> Option<Vec<String>> {
    // What came by no route of its own has the key `$default`.
    let (_, template) = event.route_key.as_deref()?.split_once(' ')?;
    let segments = template.strip_prefix('/')?.split('/').map(|segment| {
        let name = segment.strip_prefix('{').and_then(|segment| segment.strip_suffix('}'));
        name.map_or(Some(segment), |name| event.path_parameters.get(name).map(String::as_str))
    });
    segments.map(|segment| segment.map(str::to_owned)).collect()
}

fn parameters(query: &str) -> Vec<(String, String)> {
    form_urlencoded::parse(query.as_bytes()).into_owned().collect()
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

    #[test]
    fn the_parameters_of_a_route_are_in_their_places() {
        let id = event("POST /stats/{id}", "/stats/a", &[("id", "a?b/c%20")]);
        let route = Route::Update(Id::new("a?b/c%20").unwrap());
        assert_eq!(Request::of(id, &Auth::Off).unwrap().route, route);

        // In another order than in the path, and one of them called as a segment is.
        let parameters = [("dim", "stats"), ("key", "a/b"), ("kind", "gauge"), ("stat", "x")];
        let history = "GET /history/{dim}/{key}/{kind}/{stat}";
        let path = path(&event(history, "/history/stats/a", &parameters)).unwrap();
        assert_eq!(path, ["history", "stats", "a/b", "gauge", "x"]);

        let all = event("GET /stats/", "/stats/", &[]);
        assert_eq!(Request::of(all, &Auth::Off).unwrap().route, Route::AllDimensions);
    }

    #[test]
    fn without_a_route_or_its_parameters_the_path_is_decoded() {
        for route in ["$default", "GET /history/{dim}/{key}/{kind}/{stat}", "ANY /{proxy+}"] {
            let path = path(&event(route, "/history/a%2Fb/*/gauge/x", &[("dim", "y")])).unwrap();
            assert_eq!(path, ["history", "a/b", "*", "gauge", "x"], "{route}");
        }
    }

    #[test]
    fn parameters_of_the_query_are_decoded_in_their_order_and_change_no_route() {
        let mut event = event("$default", "/stats/country", &[]);
        event.raw_query_string = Some("b=1%2B1+x&a&b=%FF&&c=d=e".to_owned());
        let request = Request::of(event, &Auth::Off).unwrap();
        assert_eq!(request.route, Route::Dimension(DimensionName::new("country").unwrap()));
        let parameters = request.parameters.iter().map(|(name, value)| format!("{name}={value}"));
        let parameters: Vec<_> = parameters.collect();
        assert_eq!(parameters, ["b=1+1 x", "a=", "b=\u{fffd}", "c=d=e"]);
    }
}
