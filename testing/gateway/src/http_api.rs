//! The HTTP API: from a request to the function's event, and from the answer to the response.

use std::{
    convert::Infallible,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use http::{
    HeaderMap, HeaderValue, Method, Request, Response, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
        HeaderName, ORIGIN,
    },
};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;

use crate::{
    deployed_template::{Cors, Template},
    event::{self, Arrival, Refusal},
    exchange_log::ExchangeLog,
    functions::{Functions, InvocationError},
    integration_response,
};

/// How long an HTTP API waits for a function. Source: *Quotas for HTTP APIs* (30 seconds).
pub const LONGEST_INTEGRATION: Duration = Duration::from_secs(30);
/// How long an invocation by Lambda's own API may take: as long as a function may run.
const LONGEST_INVOCATION: Duration = Duration::from_secs(15 * 60);
/// Most bytes of a request's body. Source: *Quotas for HTTP APIs* (10 MB).
const MAX_BODY_BYTES: usize = 10 * 1_024 * 1_024;
/// Where Lambda's own API invokes functions.
const INVOCATIONS: [&str; 2] = ["/2015-03-31/functions/", "/invocations"];

/// An HTTP API with its functions.
#[derive(Debug)]
pub struct HttpApi {
    template: Template,
    cors: Option<Cors>,
    functions: Arc<Functions>,
    longest: Duration,
    log: Option<ExchangeLog>,
}

impl HttpApi {
    /// The API of a template. Pages of these origins may use it (see [`Template::cors`]), and it
    /// waits this long for a function.
    #[must_use]
    pub fn new(template: Template, origins: &str, longest: Duration) -> Self {
        let functions = template.functions.iter().map(|it| (it.binary.clone(), it.timeout));
        let functions = Arc::new(Functions::new(functions));
        Self { cors: template.cors(origins), template, functions, longest, log: None }
    }

    /// The same, which writes all exchanges with clients down.
    #[must_use]
    pub fn with_log(self, log: Option<ExchangeLog>) -> Self {
        Self { log, ..self }
    }

    /// Its functions.
    #[must_use]
    pub fn functions(&self) -> Arc<Functions> {
        self.functions.clone()
    }

    /// Answers a client.
    ///
    /// # Errors
    /// Never.
    pub async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
        peer: SocketAddr,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let (parts, body) = request.into_parts();
        let headers = parts.headers.clone();
        let method = parts.method.clone();
        let mut response = match Limited::new(body, MAX_BODY_BYTES).collect().await {
            Ok(body) => {
                let request = Request::from_parts(parts, body.to_bytes());
                match invoked(request.uri().path()).filter(|_| peer.ip().is_loopback()) {
                    Some(function) => self.invoke(function, request.body()).await,
                    None => {
                        let response = self.integrate(&request, peer.ip()).await;
                        self.note(&request, &response);
                        response
                    }
                }
            }
            Err(error) if error.is::<LengthLimitError>() => {
                integration_response::failure(StatusCode::PAYLOAD_TOO_LARGE)
            }
            Err(_) => integration_response::failure(StatusCode::BAD_REQUEST),
        };
        if let Some(cors) = &self.cors {
            allow(cors, &method, &headers, response.headers_mut());
        }
        Ok(response.map(Full::new))
    }

    fn note(&self, request: &Request<Bytes>, response: &Response<Bytes>) {
        if let Some(Err(error)) = self.log.as_ref().map(|log| log.add(request, response)) {
            eprintln!("an exchange can't be written down: {error}");
        }
    }

    async fn integrate(&self, request: &Request<Bytes>, from: IpAddr) -> Response<Bytes> {
        let arrival = Arrival { id: new_id(), at: SystemTime::now(), from };
        let integration = match event::http_api(&self.template.routes, request, &arrival) {
            Ok(integration) => integration,
            Err(Refusal::Path(_)) => return integration_response::failure(StatusCode::BAD_REQUEST),
            Err(Refusal::NoRoute) => return integration_response::failure(StatusCode::NOT_FOUND),
        };
        let event = Bytes::from(integration.event.to_string());
        let id = arrival.id.clone();
        let answer = self.functions.invoke(integration.function, id, event, self.longest).await;
        let mut response = match answer {
            Ok(answer) => integration_response::response(&answer),
            Err(error) => integration_response::failure(match error {
                InvocationError::TimedOut => StatusCode::SERVICE_UNAVAILABLE,
                _ => StatusCode::INTERNAL_SERVER_ERROR,
            }),
        };
        if let Ok(id) = HeaderValue::try_from(arrival.id) {
            response.headers_mut().insert("apigw-requestid", id);
        }
        response
    }

    /// An invocation by Lambda's own API. As with `cargo lambda watch`, a failure is a 500.
    async fn invoke(&self, function: &str, event: &Bytes) -> Response<Bytes> {
        let event = event.clone();
        match self.functions.invoke(function, new_id(), event, LONGEST_INVOCATION).await {
            Ok(answer) => Response::new(answer),
            Err(InvocationError::Failed(error)) => {
                let mut response = Response::new(error);
                *response.status_mut() = StatusCode::INTERNAL_SERVER_ERROR;
                response
            }
            Err(InvocationError::NoFunction) => {
                integration_response::failure(StatusCode::NOT_FOUND)
            }
            Err(InvocationError::TooLarge) => {
                integration_response::failure(StatusCode::PAYLOAD_TOO_LARGE)
            }
            Err(InvocationError::Gone) => {
                integration_response::failure(StatusCode::INTERNAL_SERVER_ERROR)
            }
            Err(InvocationError::TimedOut) => {
                integration_response::failure(StatusCode::GATEWAY_TIMEOUT)
            }
        }
    }
}

/// The function that a path of Lambda's own API invokes.
fn invoked(path: &str) -> Option<&str> {
    let [prefix, suffix] = INVOCATIONS;
    path.strip_prefix(prefix)?.strip_suffix(suffix)
}

/// 32 hex digits.
fn new_id() -> String {
    format!("{:032x}", fastrand::u128(..))
}

/// Adds the headers that say what a page of the origin may do.
fn allow(cors: &Cors, method: &Method, request: &HeaderMap, response: &mut HeaderMap) {
    let Some(origin) = request.get(ORIGIN) else { return };
    let is_any = cors.origins.iter().any(|known| known == "*");
    if !is_any && !cors.origins.iter().any(|known| known.as_bytes() == origin.as_bytes()) {
        return;
    }
    let mut set = |name: HeaderName, value: String| {
        if let Ok(value) = HeaderValue::try_from(value) {
            response.insert(name, value);
        }
    };
    let origin = if is_any { "*" } else { origin.to_str().unwrap_or_default() };
    set(ACCESS_CONTROL_ALLOW_ORIGIN, origin.to_owned());
    set(ACCESS_CONTROL_EXPOSE_HEADERS, cors.exposed.join(","));
    if method == Method::OPTIONS && request.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
        set(ACCESS_CONTROL_ALLOW_METHODS, cors.methods.join(","));
        set(ACCESS_CONTROL_ALLOW_HEADERS, cors.headers.join(","));
        if let Some(seconds) = cors.max_age {
            set(ACCESS_CONTROL_MAX_AGE, seconds.to_string());
        }
    }
}
