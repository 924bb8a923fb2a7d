//! Requests as they arrived, and answers.

use std::{collections::BTreeMap, io, net::SocketAddr, sync::Arc};

use http_body_util::Full;
use hyper::{
    HeaderMap, Method, Request, Response, StatusCode,
    body::Bytes,
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
};
use loopback::Presence;
use percent_encoding::percent_decode_str;
use serde_json::Value;

pub(crate) use loopback::Closed;

pub(crate) type Answer = Response<Bytes>;

/// A request that has arrived as a whole.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    pub(crate) method: Method,
    /// As it was sent, percent-encoded.
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl From<Request<Bytes>> for Received {
    fn from(request: Request<Bytes>) -> Self {
        let (head, body) = request.into_parts();
        Self {
            method: head.method,
            path: head.uri.path().to_owned(),
            query: head.uri.query().unwrap_or_default().to_owned(),
            headers: head.headers,
            body,
        }
    }
}

impl Received {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// The token of `Authorization: Bearer`.
    pub(crate) fn token(&self) -> Option<&str> {
        self.header("authorization")?.strip_prefix("Bearer ")
    }

    pub(crate) fn json(&self) -> Option<Value> {
        serde_json::from_slice(&self.body).ok()
    }

    pub(crate) fn parameters(&self) -> BTreeMap<String, String> {
        form(&self.query)
    }
}

/// The names and values of an HTML form or a query string.
pub(crate) fn form(text: &str) -> BTreeMap<String, String> {
    let pairs = text.split('&').filter(|pair| !pair.is_empty());
    let pairs = pairs.map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decoded(&name.replace('+', " ")), decoded(&value.replace('+', " ")))
    });
    pairs.collect()
}

pub(crate) fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

pub(crate) fn json(status: StatusCode, body: &Value) -> Answer {
    text(status, "application/json; charset=UTF-8", body.to_string())
}

pub(crate) fn text(status: StatusCode, content_type: &str, body: String) -> Answer {
    let mut answer = Response::new(Bytes::from(body));
    *answer.status_mut() = status;
    set_header(&mut answer, CONTENT_TYPE.as_str(), content_type);
    answer
}

/// The answer with the first half of its body.
pub(crate) fn truncated(answer: Answer) -> Answer {
    answer.map(|body| body.slice(..body.len() / 2))
}

/// Does nothing if the name or the value is not one of a header.
pub(crate) fn set_header(answer: &mut Answer, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
        answer.headers_mut().insert(name, value);
    }
}

/// What answers requests.
pub(crate) trait Handler: Send + Sync + 'static {
    fn answer(&self, request: Received) -> impl Future<Output = Result<Answer, Closed>> + Send;
}

/// A server on a loopback port. It ends, and closes its connections, when it is dropped.
#[derive(Debug)]
pub(crate) struct Server(loopback::LoopbackServer);

impl Server {
    pub(crate) async fn start<H: Handler>(handler: &Arc<H>) -> io::Result<Self> {
        let handler = Arc::new(Whole(Arc::clone(handler)));
        Ok(Self(loopback::LoopbackServer::start(handler, Presence::default()).await?))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.address()
    }
}

/// A handler of whole requests, behind the server.
struct Whole<H>(Arc<H>);

impl<H: Handler> loopback::RequestHandler for Whole<H> {
    type Body = Full<Bytes>;

    async fn answer(
        self: Arc<Self>,
        request: Request<Bytes>,
    ) -> Result<Response<Full<Bytes>>, Closed> {
        let answer = self.0.answer(request.into()).await?;
        Ok(answer.map(Full::new))
    }
}
