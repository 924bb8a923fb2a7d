//! The proxy, and the way of a request through it.

use std::{
    collections::HashMap,
    convert::identity,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context, ensure};
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response, Uri,
    body::{Body, Bytes},
    header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING},
    http::uri::{Authority, Scheme},
};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use loopback::{Closed, LoopbackServer, Presence, RequestHandler};
use tokio::{
    sync::watch,
    time::{Instant, sleep},
};

use crate::{
    counts::Counts,
    dynamodb_answer::{self, AnswerBody, CHECKSUM, ProxyAnswer, Reason},
    dynamodb_operation::Operation,
    dynamodb_request::{Batch, DynamoDbRequest, KeysLeftOut, with_unprocessed},
    fault_plan::FaultPlan,
    hold::{Hold, HoldAdmission},
    metering::Metering,
    request_fault::{Fault, FaultClass, Seen, Throttle, Which},
    throughput::{Direction, Meter, PartitionUse, Throughput},
};

/// How long a connection to DynamoDB may be idle before the proxy opens a new one. The other end
/// may be about to close it, and that would look like a fault that nobody asked for.
const IDLE: Duration = Duration::from_secs(5);

/// A proxy on a loopback port. It ends when it is dropped: connections close, and late requests
/// never arrive.
#[derive(Debug)]
pub struct Proxy {
    endpoint: String,
    shared: Arc<ProxyShared>,
    /// Ends when it is dropped.
    _server: LoopbackServer,
}

impl Proxy {
    /// Starts a proxy, without any faults, in front of the DynamoDB at an endpoint such as
    /// `http://localhost:8000`.
    ///
    /// # Errors
    /// The endpoint is not one of plain HTTP, or no port is left.
    pub async fn start(upstream_endpoint: &str) -> anyhow::Result<Self> {
        let upstream = authority(upstream_endpoint)
            .with_context(|| format!("{upstream_endpoint} is not a DynamoDB of plain HTTP"))?;
        let shared = Arc::new(ProxyShared::new(upstream));
        let server = LoopbackServer::start(Arc::clone(&shared), shared.presence.clone()).await?;
        Ok(Self { endpoint: format!("http://{}", server.address()), shared, _server: server })
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

    /// Makes DynamoDB disappear, or come back. While it is away, every connection closes without an
    /// answer. What was forwarded before is carried out, but not answered; delayed and late
    /// requests that come due are lost. Requests are not counted, and have no position.
    pub fn set_away(&self, is_away: bool) {
        self.shared.presence.set_away(is_away);
    }

    /// Makes transactions hold their items (by `pk` and `sk`) from their arrival, for at least this
    /// long and until DynamoDB has answered; then the answer goes out. Meanwhile, other
    /// transactions on any of those items are cancelled with `TransactionConflict` at just those,
    /// and hold nothing; single writes to them get a `TransactionConflictException`. Timers tick in
    /// milliseconds. With none, nothing is held.
    ///
    /// The plan's faults come first: a request that does not reach DynamoDB holds nothing, and one
    /// that arrives late holds its items then.
    pub fn set_hold(&self, at_least: Option<Duration>) {
        self.shared.hold.set_length(at_least);
    }

    /// Limits the throughput of partitions, as the real service does: what exceeds it is refused
    /// and consumes nothing. Meters start anew. The limit applies after the plan's faults and
    /// before [`Self::set_hold`].
    pub fn set_throughput(&self, throughput: Option<Throughput>) {
        self.shared.state().meter = throughput.map(Meter::new);
    }

    /// What each partition key has used since [`Self::set_throughput`], the fullest first; nothing
    /// without a limit.
    #[must_use]
    pub fn partition_use(&self, direction: Direction) -> Vec<(String, PartitionUse)> {
        self.shared.state().meter.as_ref().map(|meter| meter.used(direction)).unwrap_or_default()
    }

    /// What the proxy has seen and done since its start.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.shared.state().counts.clone()
    }

    /// Waits until no request is under way: neither late ones, nor those that a client gave up on
    /// or still waits for.
    pub async fn settle(&self) {
        let mut under_way = self.shared.under_way.subscribe();
        // This fails only without a sender, and `shared` has it.
        let _ = under_way.wait_for(|count| *count == 0).await;
    }
}

fn authority(endpoint: &str) -> anyhow::Result<Authority> {
    let uri: Uri = endpoint.parse()?;
    ensure!(uri.scheme() == Some(&Scheme::HTTP), "its scheme is not http");
    uri.authority().cloned().context("it has no host")
}

/// What connections share.
#[derive(Debug)]
struct ProxyShared {
    upstream: Authority,
    client: Client<HttpConnector, Full<Bytes>>,
    state: Mutex<ProxyState>,
    hold: Arc<Hold>,
    presence: Presence,
    under_way: watch::Sender<usize>,
    /// Meters count time from here.
    began: Instant,
}

#[derive(Debug, Default)]
struct ProxyState {
    plan: FaultPlan,
    /// How many requests of each operation came since the plan was set.
    positions: HashMap<Operation, u64>,
    counts: Counts,
    /// Of partitions, if their throughput is limited.
    meter: Option<Meter>,
}

impl ProxyState {
    fn next_fault(&mut self, operation: Operation) -> Option<Fault> {
        *self.counts.requests.entry(operation).or_default() += 1;
        let position = self.positions.entry(operation).or_default();
        let fault = self.plan.fault(operation, *position);
        *position += 1;
        fault
    }
}

impl ProxyShared {
    fn new(upstream: Authority) -> Self {
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new()).pool_idle_timeout(IDLE).build(connector);
        Self {
            upstream,
            client,
            state: Mutex::default(),
            hold: Arc::default(),
            presence: Presence::default(),
            under_way: watch::Sender::new(0),
            began: Instant::now(),
        }
    }

    fn state(&self) -> MutexGuard<'_, ProxyState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count_fault(&self, class: FaultClass) {
        *self.state().counts.faults.entry(class).or_default() += 1;
    }

    /// Lets the request arrive at DynamoDB, unless it is away or an item is held.
    async fn deliver(&self, request: DynamoDbRequest) -> Result<ProxyAnswer, Closed> {
        if self.presence.is_away() {
            return Err(Closed);
        }
        let Some(metering) = Metering::of(&request) else {
            return self.deliver_unless_held(request).await;
        };
        match self.take(&metering) {
            Ok(()) => self.deliver_metered(request, &metering).await,
            Err(refused) => self.refuse(request, metering, &refused).await,
        }
    }

    fn take(&self, metering: &Metering) -> Result<(), Vec<bool>> {
        match &mut self.state().meter {
            Some(meter) => metering.take(meter, self.began),
            None => Ok(()),
        }
    }

    async fn deliver_metered(
        &self,
        request: DynamoDbRequest,
        metering: &Metering,
    ) -> Result<ProxyAnswer, Closed> {
        let (head, body) = self.deliver_unless_held(request).await?.into_parts();
        let body = whole(body).await?;
        if let Some(meter) = &mut self.state().meter {
            metering.settle(meter, self.began, &body);
        }
        Ok(Response::from_parts(head, AnswerBody::whole(body)))
    }

    /// What becomes of a request some of whose actions are refused for lack of throughput.
    async fn refuse(
        &self,
        mut request: DynamoDbRequest,
        metering: Metering,
        refused: &[bool],
    ) -> Result<ProxyAnswer, Closed> {
        self.state().counts.throttled += 1;
        match (request.operation, request.batch()) {
            (Operation::TransactWriteItems, _) => {
                Ok(dynamodb_answer::cancelled(Reason::Throttled, refused))
            }
            (Operation::BatchGetItem, Some(batch)) if refused.contains(&false) => {
                let (body, left_out) = batch.without(refused);
                request.replace_body(&body);
                let metering = metering.without(refused);
                // Nothing was taken, since nothing is unless all of it is there.
                let _ = self.take(&metering);
                unprocessed(self.deliver_metered(request, &metering).await?, left_out).await
            }
            (operation, _) => Ok(dynamodb_answer::partition_full(operation.is_read())),
        }
    }

    /// Lets the request arrive at DynamoDB, unless an item is held.
    async fn deliver_unless_held(&self, request: DynamoDbRequest) -> Result<ProxyAnswer, Closed> {
        match self.hold.admit(&request) {
            HoldAdmission::Free => self.forward(request).await,
            HoldAdmission::Holding(holding) => {
                let answer = self.forward(request).await;
                holding.release().await;
                answer
            }
            HoldAdmission::Conflict(answer) => {
                self.state().counts.hold_conflicts += 1;
                Ok(answer)
            }
        }
    }

    async fn forward(&self, request: DynamoDbRequest) -> Result<ProxyAnswer, Closed> {
        let DynamoDbRequest { mut head, body, .. } = request;
        let path = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let uri = Uri::builder().scheme(Scheme::HTTP).authority(self.upstream.clone());
        head.uri = uri.path_and_query(path).build().map_err(|_| Closed)?;
        // These headers are about the connection to the proxy.
        head.headers.remove(CONNECTION);
        head.headers.remove(TRANSFER_ENCODING);
        let request = Request::from_parts(head, Full::new(body));
        let answer = self.client.request(request).await.map_err(|_| Closed)?;
        let (mut head, body) = answer.into_parts();
        head.headers.remove(CONNECTION);
        head.headers.remove(TRANSFER_ENCODING);
        let body = whole(body).await?;
        Ok(Response::from_parts(head, AnswerBody::whole(body)))
    }

    async fn conflict(
        &self,
        request: DynamoDbRequest,
        which: &Which,
    ) -> Result<ProxyAnswer, Closed> {
        match conflict(&request, which) {
            Some(answer) => {
                self.count_fault(FaultClass::Conflict);
                Ok(answer)
            }
            None => self.deliver(request).await,
        }
    }

    async fn throttle(
        &self,
        mut request: DynamoDbRequest,
        throttle: &Throttle,
    ) -> Result<ProxyAnswer, Closed> {
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

impl RequestHandler for ProxyShared {
    type Body = AnswerBody;

    async fn answer(self: Arc<Self>, request: Request<Bytes>) -> Result<ProxyAnswer, Closed> {
        if self.presence.is_away() {
            return Err(Closed);
        }
        let (head, body) = request.into_parts();
        let operation = Operation::of(&head.headers);
        let request = DynamoDbRequest { operation, head, body };
        let fault = self.state().next_fault(operation);
        let under_way = UnderWay::new(&self);
        // In a task of its own: a request goes on when its client gives up.
        let exchange = tokio::spawn(async move { exchange(under_way, request, fault).await });
        exchange.await.map_err(|_| Closed).and_then(identity)
    }
}

/// Counts a request as under way until it is dropped.
#[derive(Debug)]
struct UnderWay(Arc<ProxyShared>);

impl UnderWay {
    fn new(shared: &Arc<ProxyShared>) -> Self {
        shared.under_way.send_modify(|count| *count += 1);
        Self(Arc::clone(shared))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.send_modify(|count| *count -= 1);
    }
}

/// The way of a request: what happens to it, and what its client sees.
async fn exchange(
    under_way: UnderWay,
    request: DynamoDbRequest,
    fault: Option<Fault>,
) -> Result<ProxyAnswer, Closed> {
    let shared = &under_way.0;
    match &fault {
        // These count once they apply.
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
        Some(Fault::ServerError) => Ok(dynamodb_answer::server_error()),
        Some(Fault::ErrorAfterCommit) => {
            shared.deliver(request).await.map(|_| dynamodb_answer::server_error())
        }
        Some(Fault::Cut) => shared.deliver(request).await.map(dynamodb_answer::cut),
        Some(Fault::Late { after, seen }) => {
            tokio::spawn(deliver_late(under_way, request, after));
            match seen {
                Seen::ServerError => Ok(dynamodb_answer::server_error()),
                Seen::Closed => Err(Closed),
            }
        }
    }
}

async fn deliver_late(under_way: UnderWay, request: DynamoDbRequest, after: Duration) {
    sleep(after).await;
    // Nobody waits for its answer any more.
    let _ = under_way.0.deliver(request).await;
}

fn conflict(request: &DynamoDbRequest, which: &Which) -> Option<ProxyAnswer> {
    if request.operation == Operation::TransactWriteItems {
        return cancelled(request, Reason::Conflict, which);
    }
    let is_conflict = request.operation.is_single_write() && which.is_meant(request.written());
    is_conflict.then(dynamodb_answer::conflict)
}

/// The answer to a transaction that is cancelled, if any of its actions is chosen.
fn cancelled(request: &DynamoDbRequest, reason: Reason, which: &Which) -> Option<ProxyAnswer> {
    let at = which.choose(&request.transaction()?);
    at.contains(&true).then(|| dynamodb_answer::cancelled(reason, &at))
}

/// What throttling does to a request.
enum Throttled {
    Not,
    Refused(ProxyAnswer),
    Partly(Batch, Vec<bool>),
}

fn throttled(request: &DynamoDbRequest, throttle: &Throttle) -> Throttled {
    match (throttle, request.operation) {
        (Throttle::PartitionFull, operation) => {
            Throttled::Refused(dynamodb_answer::partition_full(operation.is_read()))
        }
        (Throttle::Throttling, _) => Throttled::Refused(dynamodb_answer::throttling()),
        (Throttle::Cancelled(which), Operation::TransactWriteItems) => {
            cancelled(request, Reason::Throttled, which).map_or(Throttled::Not, Throttled::Refused)
        }
        (Throttle::Unprocessed(which), Operation::BatchGetItem) => {
            Batch::of(request).map_or(Throttled::Not, |batch| partly(batch, which))
        }
        _ => Throttled::Refused(dynamodb_answer::throughput_exceeded()),
    }
}

fn partly(batch: Batch, which: &Which) -> Throttled {
    let at = which.choose(&batch.items());
    match (at.contains(&true), at.contains(&false)) {
        (false, _) => Throttled::Not,
        (true, false) => Throttled::Refused(dynamodb_answer::throughput_exceeded()),
        (true, true) => Throttled::Partly(batch, at),
    }
}

async fn unprocessed(answer: ProxyAnswer, left_out: KeysLeftOut) -> Result<ProxyAnswer, Closed> {
    if !answer.status().is_success() {
        return Ok(answer);
    }
    let (mut head, body) = answer.into_parts();
    let body = with_unprocessed(&whole(body).await?, left_out).ok_or(Closed)?;
    head.headers.remove(CHECKSUM);
    head.headers.remove(CONTENT_LENGTH);
    Ok(Response::from_parts(head, AnswerBody::whole(body)))
}
