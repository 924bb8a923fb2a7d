//! The proxy: connections, and the way of a request through it.

use std::{
    collections::HashMap,
    convert::identity,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, ensure};
use http_body_util::{BodyExt, Full};
use hyper::{
    Response, Uri,
    body::{Body, Bytes, Incoming},
    header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING},
    http::uri::{Authority, Scheme},
    server::conn::http1,
    service::service_fn,
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::{TokioExecutor, TokioIo},
};
use tokio::{
    net::{TcpListener, TcpStream},
    sync::watch,
    task::AbortHandle,
    time::sleep,
};

use crate::{
    answer::{self, Answer, AnswerBody, CHECKSUM, Closed, Reason},
    counts::Counts,
    fault::{Fault, FaultClass, Seen, Throttle, Which},
    hold::{Admission, Hold},
    operation::Operation,
    plan::FaultPlan,
    request::{Batch, LeftOut, Request, with_unprocessed},
};

/// A connection to DynamoDB is not used again after this long: the other end may be about to close it,
/// and that would look like a fault that nobody asked for.
const IDLE: Duration = Duration::from_secs(5);

/// A proxy on a loopback port. It ends when it is dropped: connections are closed, and requests that are
/// to arrive later never do.
#[derive(Debug)]
pub struct Proxy {
    endpoint: String,
    accepting: AbortHandle,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Starts a proxy, without any faults, in front of the DynamoDB at an endpoint such as
    /// `http://localhost:8000`.
    ///
    /// # Errors
    /// The endpoint is not one of plain HTTP, or there is no port left.
    pub async fn start(upstream_endpoint: &str) -> anyhow::Result<Self> {
        let upstream = authority(upstream_endpoint)
            .with_context(|| format!("{upstream_endpoint} is not a DynamoDB of plain HTTP"))?;
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let shared = Arc::new(Shared::new(upstream));
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared))).abort_handle();
        Ok(Self { endpoint, accepting, shared })
    }

    /// Where clients find it.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// Changes the plan. Positions count from here on.
    pub fn set_plan(&self, plan: FaultPlan) {
        let mut state = self.shared.state();
        state.plan = plan;
        state.positions.clear();
    }

    /// Whether DynamoDB is as if it were gone: every connection is closed without an answer. What was
    /// forwarded before is carried out, but not answered; delayed and late requests that are due while
    /// it is away are lost. Requests are neither counted nor do they have a position.
    pub fn set_away(&self, is_away: bool) {
        self.shared.turns.send_if_modified(|turns| {
            let is_turn = is_odd(*turns) != is_away;
            *turns += u64::from(is_turn);
            is_turn
        });
    }

    /// Whether transactions hold their items (by `pk` and `sk`): from their arrival, for at least this
    /// long and until DynamoDB has answered; then the answer goes out. Meanwhile, other transactions with
    /// any of those items are cancelled with `TransactionConflict` at just those, and hold nothing; single
    /// writes to them get a `TransactionConflictException`. Timers tick in milliseconds.
    ///
    /// This comes after the plan's faults: what does not reach DynamoDB holds nothing, and what arrives
    /// late holds its items then.
    pub fn set_hold(&self, at_least: Option<Duration>) {
        self.shared.hold.set_length(at_least);
    }

    /// What it has seen and done since its start.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.state().counts.clone()
    }

    /// Waits until no request is under way: none to be delivered late, none that a client gave up on,
    /// and none that a client still waits for.
    pub async fn settle(&self) {
        let mut under_way = self.shared.under_way.subscribe();
        // It fails only without a sender, and `shared` has it.
        let _ = under_way.wait_for(|count| *count == 0).await;
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.accepting.abort();
        self.set_away(true);
    }
}

fn authority(endpoint: &str) -> anyhow::Result<Authority> {
    let uri: Uri = endpoint.parse()?;
    ensure!(uri.scheme() == Some(&Scheme::HTTP), "its scheme is not http");
    uri.authority().cloned().context("it has no host")
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => drop(tokio::spawn(serve(stream, Arc::clone(&shared)))),
            // No more files: it takes time until there are some again.
            Err(_) => sleep(Duration::from_millis(10)).await,
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let mut turns = shared.turns.subscribe();
    let at_start = *turns.borrow_and_update();
    if is_odd(at_start) {
        return;
    }
    // Else small answers could wait for the acknowledgement of earlier ones.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| Arc::clone(&shared).answer(request));
    let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
    tokio::select! {
        biased;
        _ = turns.wait_for(|turns| *turns != at_start) => {}
        // It ends with an error whenever a fault closes it.
        _ = connection => {}
    }
}

fn is_odd(turns: u64) -> bool {
    !turns.is_multiple_of(2)
}

/// What connections share.
#[derive(Debug)]
struct Shared {
    upstream: Authority,
    client: Client<HttpConnector, Full<Bytes>>,
    state: Mutex<State>,
    hold: Arc<Hold>,
    /// How often DynamoDB went away or came back; odd while it is away. A number, so that a connection
    /// that was open before closes even if it is back at once.
    turns: watch::Sender<u64>,
    under_way: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct State {
    plan: FaultPlan,
    /// How many requests of each operation came since the plan was set.
    positions: HashMap<Operation, u64>,
    counts: Counts,
}

impl State {
    fn next_fault(&mut self, operation: Operation) -> Option<Fault> {
        *self.counts.requests.entry(operation).or_default() += 1;
        let position = self.positions.entry(operation).or_default();
        let fault = self.plan.fault(operation, *position);
        *position += 1;
        fault
    }
}

impl Shared {
    fn new(upstream: Authority) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).pool_idle_timeout(IDLE).build(connector);
        Self {
            upstream,
            client,
            state: Mutex::default(),
            hold: Arc::default(),
            turns: watch::Sender::new(0),
            under_way: watch::Sender::new(0),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_away(&self) -> bool {
        is_odd(*self.turns.borrow())
    }

    fn count_fault(&self, class: FaultClass) {
        *self.state().counts.faults.entry(class).or_default() += 1;
    }

    async fn answer(self: Arc<Self>, request: hyper::Request<Incoming>) -> Result<Answer, Closed> {
        let (head, body) = request.into_parts();
        let body = whole(body).await?;
        if self.is_away() {
            return Err(Closed);
        }
        let operation = Operation::of(&head.headers);
        let request = Request { operation, head, body };
        let fault = self.state().next_fault(operation);
        let under_way = UnderWay::new(&self);
        // A task of its own, since a request goes on when its client gives up.
        let exchange = tokio::spawn(async move { exchange(under_way, request, fault).await });
        exchange.await.map_err(|_| Closed).and_then(identity)
    }

    /// Lets the request arrive at DynamoDB, unless it is away or an item is held.
    async fn deliver(&self, request: Request) -> Result<Answer, Closed> {
        if self.is_away() {
            return Err(Closed);
        }
        match self.hold.admit(&request) {
            Admission::Free => self.forward(request).await,
            Admission::Holding(holding) => {
                let answer = self.forward(request).await;
                holding.release().await;
                answer
            }
            Admission::Conflict(answer) => {
                self.state().counts.hold_conflicts += 1;
                Ok(answer)
            }
        }
    }

    async fn forward(&self, request: Request) -> Result<Answer, Closed> {
        let Request { mut head, body, .. } = request;
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let uri = Uri::builder().scheme(Scheme::HTTP).authority(self.upstream.clone());
        head.uri = uri.path_and_query(path).build().map_err(|_| Closed)?;
        // These are about the connection to the proxy.
        head.headers.remove(CONNECTION);
        head.headers.remove(TRANSFER_ENCODING);
        let request = hyper::Request::from_parts(head, Full::new(body));
        let answer = self.client.request(request).await.map_err(|_| Closed)?;
        let (mut head, body) = answer.into_parts();
        head.headers.remove(CONNECTION);
        head.headers.remove(TRANSFER_ENCODING);
        let body = whole(body).await?;
        Ok(Response::from_parts(head, AnswerBody::whole(body)))
    }

    async fn conflict(&self, request: Request, which: &Which) -> Result<Answer, Closed> {
        match conflict(&request, which) {
            Some(answer) => {
                self.count_fault(FaultClass::Conflict);
                Ok(answer)
            }
            None => self.deliver(request).await,
        }
    }

    async fn throttle(&self, mut request: Request, throttle: &Throttle) -> Result<Answer, Closed> {
        let throttled = throttled(&request, throttle);
        if !matches!(throttled, Throttled::Not) {
            self.count_fault(FaultClass::Throttle);
        }
        match throttled {
            Throttled::Not => self.deliver(request).await,
            Throttled::Refused(answer) => Ok(answer),
            Throttled::Partly(batch, at) => {
                let (body, left_out) = batch.without(&at);
                request.replace_body(&body);
                unprocessed(self.deliver(request).await?, left_out).await
            }
        }
    }
}

async fn whole<B: Body<Data = Bytes>>(body: B) -> Result<Bytes, Closed> {
    Ok(body.collect().await.map_err(|_| Closed)?.to_bytes())
}

/// A request that is under way while this lives.
#[derive(Debug)]
struct UnderWay(Arc<Shared>);

impl UnderWay {
    fn new(shared: &Arc<Shared>) -> Self {
        shared.under_way.send_modify(|count| *count += 1);
        Self(Arc::clone(shared))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.send_modify(|count| *count -= 1);
    }
}

/// The way of a request: what becomes of it, and what its client sees.
async fn exchange(
    under_way: UnderWay,
    request: Request,
    fault: Option<Fault>,
) -> Result<Answer, Closed> {
    let shared = &under_way.0;
    match &fault {
        // They count when they apply.
        None | Some(Fault::Throttle(_) | Fault::Conflict(_)) => {}
        Some(fault) => shared.count_fault(fault.class()),
    }
    match fault {
        None => shared.deliver(request).await,
        Some(Fault::DropRequest) => Err(Closed),
        Some(Fault::DropAnswer) => shared.deliver(request).await.and(Err(Closed)),
        Some(Fault::Delay(delay)) => {
            sleep(delay).await;
            shared.deliver(request).await
        }
        Some(Fault::Throttle(how)) => shared.throttle(request, &how).await,
        Some(Fault::Conflict(which)) => shared.conflict(request, &which).await,
        Some(Fault::ServerError) => Ok(answer::server_error()),
        Some(Fault::ErrorAfterCommit) => {
            shared.deliver(request).await.map(|_| answer::server_error())
        }
        Some(Fault::Cut) => shared.deliver(request).await.map(answer::cut),
        Some(Fault::Late { after, seen }) => {
            tokio::spawn(deliver_late(under_way, request, after));
            match seen {
                Seen::ServerError => Ok(answer::server_error()),
                Seen::Closed => Err(Closed),
            }
        }
    }
}

async fn deliver_late(under_way: UnderWay, request: Request, after: Duration) {
    sleep(after).await;
    // Nobody waits for the answer any more.
    let _ = under_way.0.deliver(request).await;
}

fn conflict(request: &Request, which: &Which) -> Option<Answer> {
    if request.operation == Operation::TransactWriteItems {
        return cancelled(request, Reason::Conflict, which);
    }
    let is_conflict = request.operation.is_single_write() && which.is_meant(request.written());
    is_conflict.then(answer::conflict)
}

/// The answer to a transaction that is cancelled, if any of its actions is chosen.
fn cancelled(request: &Request, reason: Reason, which: &Which) -> Option<Answer> {
    let at = which.choose(&request.transaction()?);
    at.contains(&true).then(|| answer::cancelled(reason, &at))
}

/// What throttling does to a request.
enum Throttled {
    Not,
    Refused(Answer),
    Partly(Batch, Vec<bool>),
}

fn throttled(request: &Request, throttle: &Throttle) -> Throttled {
    match (throttle, request.operation) {
        (Throttle::Throttling, _) => Throttled::Refused(answer::throttling()),
        (Throttle::Cancelled(which), Operation::TransactWriteItems) => {
            cancelled(request, Reason::Throttled, which).map_or(Throttled::Not, Throttled::Refused)
        }
        (Throttle::Unprocessed(which), Operation::BatchGetItem) => {
            Batch::of(request).map_or(Throttled::Not, |batch| partly(batch, which))
        }
        _ => Throttled::Refused(answer::throughput_exceeded()),
    }
}

fn partly(batch: Batch, which: &Which) -> Throttled {
    let at = which.choose(&batch.items());
    match (at.contains(&true), at.contains(&false)) {
        (false, _) => Throttled::Not,
        (true, false) => Throttled::Refused(answer::throughput_exceeded()),
        (true, true) => Throttled::Partly(batch, at),
    }
}

async fn unprocessed(answer: Answer, left_out: LeftOut) -> Result<Answer, Closed> {
    if !answer.status().is_success() {
        return Ok(answer);
    }
    let (mut head, body) = answer.into_parts();
    let body = with_unprocessed(&whole(body).await?, left_out).ok_or(Closed)?;
    head.headers.remove(CHECKSUM);
    head.headers.remove(CONTENT_LENGTH);
    Ok(Response::from_parts(head, AnswerBody::whole(body)))
}
