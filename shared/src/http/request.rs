//! Requests, from the events of an HTTP API of API Gateway (payload format 2.0).

use std::borrow::Cow;

use base64::{Engine, prelude::BASE64_STANDARD};
use http::HeaderMap;

use super::{
    Asked, BodyLimit, HttpEvent, Parameters, RequestError, asked, authorization::authorize, body,
    endpoints::is_private, http_event::malformed_header, request_path::RequestPath,
};
use crate::auth::{Auth, Caller};

/// A request that may pass. There is no other: only [`Request::of`] makes one, after it has checked
/// that.
#[derive(Debug, Clone)]
pub struct Request {
    /// What it asks for. The function that it reached may have no answer to that.
    pub asked: Asked,
    /// The parameters of the query.
    pub parameters: Parameters,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body as it came; empty if there is none.
    body: Vec<u8>,
    /// Who sent it. Private, so that there is no request without a check.
    caller: Caller,
}

impl Request {
    /// The request of an event.
    ///
    /// # Errors
    /// It may not pass; or it may, and is not valid.
    pub fn of(event: impl Into<HttpEvent>, auth: &Auth) -> Result<Self, RequestError> {
        let HttpEvent { request: mut event, malformed_header: malformed } = event.into();
        let path = RequestPath::of(&event);
        let auth = if is_private(&path) { auth.of_private() } else { Cow::Borrowed(auth) };
        let caller = authorize(&auth, &mut event)?;
        if let Some(name) = malformed {
            return Err(malformed_header(&name));
        }
        Ok(Self {
            caller,
            asked: asked::find(&event.request_context.http.method, &path)?,
            parameters: Parameters::parse(event.raw_query_string.as_deref().unwrap_or_default())?,
            body: bytes(event.body, event.is_base64_encoded)?,
            headers: event.headers,
        })
    }

    /// The content of the body, decoded if it is compressed.
    ///
    /// # Errors
    /// The content exceeds the limit, or the body is not what its `Content-Encoding` says.
    pub fn content(&self, limit: BodyLimit) -> Result<Cow<'_, [u8]>, RequestError> {
        body::content(&self.headers, &self.body, limit)
    }

    /// Who sent it.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.caller
    }
}

fn bytes(body: Option<String>, is_base64: bool) -> Result<Vec<u8>, RequestError> {
    let body = body.unwrap_or_default();
    if !is_base64 {
        return Ok(body.into_bytes());
    }
    BASE64_STANDARD
        .decode(body)
        .map_err(|_| RequestError::Malformed("the body is not base64".to_owned()))
}

#[cfg(test)]
mod tests {
    use aws_lambda_events::event::apigw::ApiGatewayV2httpRequest;
    use http::Method;

    use super::*;
    use crate::{
        domain::{DimensionKey, DimensionName, Id},
        http::{KeyChoice, PathName},
    };

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

    fn asked(event: ApiGatewayV2httpRequest) -> Asked {
        Request::of(event, &Auth::Off).unwrap().asked
    }

    fn dimension(name: &str) -> PathName {
        PathName::Dimension(DimensionName::new(name).unwrap())
    }

    /// The dimension and the key of the history that an event asks for.
    fn history(event: ApiGatewayV2httpRequest) -> [PathName; 2] {
        let asked = asked(event);
        let [dimension, keys, ..] = &asked.names[..] else { panic!("{asked:?}") };
        [dimension.clone(), keys.clone()]
    }

    fn key(name: &str) -> PathName {
        PathName::Keys(KeyChoice::One(DimensionKey::new(name).unwrap()))
    }

    #[test]
    fn the_parameters_of_a_route_are_in_their_places_and_not_decoded_again() {
        let id = event("POST /stats/{id+}", "/stats/a", &[("id", "a?b/c%20")]);
        assert_eq!(asked(id).names, [PathName::Id(Id::new("a?b/c%20").unwrap())]);

        let path = [("path", "d/a%2Fb/c/gauge/x")];
        let event_of_history = event("GET /history/{path+}", "/history/a%2Fb/c/gauge/x", &path);
        assert_eq!(history(event_of_history), [dimension("d"), key("a%2fb/c")]);

        assert_eq!(asked(event("GET /stats/", "/stats/", &[])).path, "/stats/");
    }

    #[test]
    fn without_a_route_or_its_parameters_the_path_is_decoded() {
        for route in ["$default", "GET /history/{path+}", "ANY /{proxy+}"] {
            let event = event(route, "/history/d/a%2Fb/c/gauge/x", &[("dim", "y")]);
            assert_eq!(history(event), [dimension("d"), key("a/b/c")], "{route}");
        }
    }

    #[test]
    fn parameters_of_the_query_change_nothing_of_the_path() {
        let mut event = event("$default", "/stats/country", &[]);
        event.raw_query_string = Some("b=1".to_owned());
        let request = Request::of(event, &Auth::Off).unwrap();
        assert_eq!(request.asked.names, [dimension("country")]);
        assert_eq!(request.parameters.iter().collect::<Vec<_>>(), [("b", "1")]);
    }
}
