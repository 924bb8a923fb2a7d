//! A small HTTP server on a loopback port, for the fakes of tests: a [`RequestHandler`] gets each
//! request as a whole, and answers it or closes the connection.
//!
//! A [`Presence`] makes the server go away: every connection closes without an answer.

use std::{
    fmt, io,
    net::{Ipv4Addr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use http_body_util::BodyExt;
use hyper::{
    Request, Response,
    body::{Body, Bytes, Incoming},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::AbortHandle,
    time::sleep,
};

/// How long accepting pauses when the system has no more files: until there are some again.
const PAUSE: Duration = Duration::from_millis(10);

/// The connection closes without an answer, or without the rest of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

impl fmt::Display for Closed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the server closes the connection")
    }
}

impl std::error::Error for Closed {}

/// What answers requests.
pub trait RequestHandler: Send + Sync + 'static {
    /// The body of its answers.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + 'static;

    /// Answers a request. The future is dropped when the client leaves.
    fn answer(
        self: Arc<Self>,
        request: Request<Bytes>,
    ) -> impl Future<Output = Result<Response<Self::Body>, Closed>> + Send;
}

/// Whether a server is there. Clones are about the same server.
///
/// The number is how often it went away or came back, odd while it is away. With a flag, a
/// connection from before would stay open if the server is back at once.
#[derive(Debug, Clone)]
pub struct Presence(watch::Sender<u64>);

impl Default for Presence {
    fn default() -> Self {
        Self(watch::Sender::new(0))
    }
}

impl Presence {
    /// Makes the server go away, or come back.
    pub fn set_away(&self, is_away: bool) {
        self.0.send_if_modified(|turns| {
            let is_turn = is_odd(*turns) != is_away;
            *turns += u64::from(is_turn);
            is_turn
        });
    }

    /// Whether it is away.
    #[must_use]
    pub fn is_away(&self) -> bool {
        is_odd(*self.0.borrow())
    }

    /// Waits until the server goes away for the first time from now on.
    async fn until_away(&self) {
        let mut turns = self.0.subscribe();
        let at_start = *turns.borrow_and_update();
        if !is_odd(at_start) {
            // It fails only without a sender, and this is one.
            let _ = turns.wait_for(|turns| *turns != at_start).await;
        }
    }
}

fn is_odd(turns: u64) -> bool {
    !turns.is_multiple_of(2)
}

/// A server on a loopback port. It ends, and closes its connections, when it is dropped.
#[derive(Debug)]
pub struct LoopbackServer {
    address: SocketAddr,
    accepting: AbortHandle,
    presence: Presence,
}

impl LoopbackServer {
    /// Starts a server whose requests the handler answers.
    ///
    /// # Errors
    /// No port is left.
    pub async fn start<H: RequestHandler>(handler: Arc<H>, presence: Presence) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let seen = presence.clone();
        let accepting = tokio::spawn(accept(listener, move |stream, _| {
            serve(stream, Arc::clone(&handler), seen.clone())
        }));
        Ok(Self { address, accepting: accepting.abort_handle(), presence })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for LoopbackServer {
    fn drop(&mut self) {
        self.accepting.abort();
        self.presence.set_away(true);
    }
}

/// Accepts connections for as long as this future is polled, and serves each in a task of its own.
pub async fn accept<F: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    serve: impl Fn(TokioIo<TcpStream>, SocketAddr) -> F,
) {
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                // Otherwise small answers could wait for the acknowledgement of earlier ones.
                let _ = stream.set_nodelay(true);
                drop(tokio::spawn(serve(TokioIo::new(stream), peer)));
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
}

async fn serve<H: RequestHandler>(stream: TokioIo<TcpStream>, handler: Arc<H>, presence: Presence) {
    let service = service_fn(async |request| {
        let request = whole(request).await?;
        Arc::clone(&handler).answer(request).await
    });
    let connection = http1::Builder::new().serve_connection(stream, service);
    tokio::select! {
        biased;
        () = presence.until_away() => {}
        // It ends with an error whenever the handler closes it.
        _ = connection => {}
    }
}

async fn whole(request: Request<Incoming>) -> Result<Request<Bytes>, Closed> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Closed)?;
    Ok(Request::from_parts(head, body.to_bytes()))
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    struct Echo;

    impl RequestHandler for Echo {
        type Body = Full<Bytes>;

        async fn answer(
            self: Arc<Self>,
            request: Request<Bytes>,
        ) -> Result<Response<Self::Body>, Closed> {
            match request.uri().path() {
                "/close" => Err(Closed),
                _ => Ok(Response::new(Full::new(request.into_body()))),
            }
        }
    }

    /// Everything that arrives on a new connection until it closes.
    async fn send(server: &LoopbackServer, path: &str) -> String {
        let mut stream = TcpStream::connect(server.address()).await.unwrap();
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 5\r\n\r\nhello"
        );
        let mut answer = String::new();
        let _ = stream.write_all(request.as_bytes()).await;
        let _ = stream.read_to_string(&mut answer).await;
        answer
    }

    #[tokio::test]
    async fn a_handler_answers_or_closes_the_connection() {
        let server = LoopbackServer::start(Arc::new(Echo), Presence::default()).await.unwrap();
        assert!(send(&server, "/").await.ends_with("\r\n\r\nhello"));
        assert_eq!(send(&server, "/close").await, "");
    }

    #[tokio::test]
    async fn a_server_that_is_away_answers_nothing_and_closes_what_was_open() {
        let presence = Presence::default();
        let server = LoopbackServer::start(Arc::new(Echo), presence.clone()).await.unwrap();
        let mut open = TcpStream::connect(server.address()).await.unwrap();
        assert!(send(&server, "/").await.ends_with("hello"));
        presence.set_away(true);
        assert!(presence.is_away());
        assert_eq!(send(&server, "/").await, "");
        presence.set_away(false);
        assert!(send(&server, "/").await.ends_with("hello"));
        let mut rest = Vec::new();
        let _ = open.read_to_end(&mut rest).await;
        assert_eq!(rest, b"");
    }
}
