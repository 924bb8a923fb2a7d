//! Plain HTTP on a loopback port: connections, requests as they arrived, and answers.

use std::{
    collections::BTreeMap,
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use http_body_util::{BodyExt, Full};
use hyper::{
    HeaderMap, Method, Response, StatusCode,
    body::{Bytes, Incoming},
    header::{CONTENT_TYPE, HeaderName, HeaderValue},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use percent_encoding::percent_decode_str;
use serde_json::Value;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::AbortHandle,
    time::sleep,
};

pub(crate) type Answer = Response<Bytes>;

/// The connection is closed without an answer.
#[derive(Debug)]
pub(crate) struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the fake closes the connection")
    }
}

impl std::error::Error for Closed {}

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

/// Names and values as HTML forms and query strings have them.
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

/// Nothing happens if this can be no header.
pub(crate) fn set_header(answer: &mut Answer, name: &str, value: &str) {
    if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::try_from(value)) {
        answer.headers_mut().insert(name, value);
    }
}

/// What answers requests.
pub(crate) trait Handler: Send + Sync + 'static {
    fn answer(&self, request: Received) -> impl Future<Output = Result<Answer, Closed>> + Send;
}

/// A server on a loopback port; dropped, it closes its connections.
#[derive(Debug)]
pub(crate) struct Server {
    address: SocketAddr,
    accepting: AbortHandle,
    closing: watch::Sender<bool>,
}

impl Server {
    pub(crate) async fn start<H: Handler>(handler: &Arc<H>) -> io::Result<Self> {
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        let address = listener.local_addr()?;
        let closing = watch::Sender::new(false);
        let accepting = tokio::spawn(accept(listener, Arc::clone(handler), closing.subscribe()));
        Ok(Self { address, accepting: accepting.abort_handle(), closing })
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
        self.closing.send_replace(true);
    }
}

async fn accept<H: Handler>(
    listener: TcpListener,
    handler: Arc<H>,
    closing: watch::Receiver<bool>,
) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                drop(tokio::spawn(serve(stream, Arc::clone(&handler), closing.clone())));
            }
            // No more files: it takes time until there are some again.
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn serve<H: Handler>(stream: TcpStream, handler: Arc<H>, mut closing: watch::Receiver<bool>) {
    // Else small answers could wait for the acknowledgement of earlier ones.
    let _ = stream.set_nodelay(true);
    let handler = &handler;
    let service = service_fn(async |request| {
        let answer = handler.answer(whole(request).await?).await?;
        Ok::<_, Closed>(answer.map(Full::new))
    });
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        biased;
        _ = closing.wait_for(|is_closing| *is_closing) => {}
        // It ends with an error whenever a fault closes it.
        _ = connection => {}
    }
}

async fn whole(request: hyper::Request<Incoming>) -> Result<Received, Closed> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Closed)?.to_bytes();
    Ok(Received {
        method: head.method,
        path: head.uri.path().to_owned(),
        query: head.uri.query().unwrap_or_default().to_owned(),
        headers: head.headers,
        body,
    })
}
