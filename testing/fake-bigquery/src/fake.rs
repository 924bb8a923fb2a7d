//! The fake: what a test sees of it, and what happens to a request.

use std::{
    collections::BTreeMap,
    future, io,
    net::SocketAddr,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use hyper::StatusCode;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::{
    datasets::{PatchTwist, Table},
    engine::QueryScript,
    fault::{Fault, FaultPlan, What},
    google_error::GoogleError,
    http::{self, Answer, Closed, Handler, Received, Server},
    job_record::{JobError, JobRecord, QueryRecord},
    multipart,
    operation::{ApiCall, Operation},
    query_result::QueryResult,
    warehouse::{Twist, Warehouse},
};

/// A BigQuery on a loopback port, over plain HTTP. It ends when it is dropped.
#[derive(Debug)]
pub struct FakeBigQuery {
    server: Server,
    state: Arc<SharedFake>,
}

/// A request that arrived.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestRecord {
    /// What it asked for.
    pub operation: Operation,
    /// Its method.
    pub method: String,
    /// Its path, as it was sent.
    pub path: String,
    /// The parameters of its query string.
    pub parameters: BTreeMap<String, String>,
    /// Its headers, with names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Its bearer token.
    pub token: Option<String>,
    /// Its body, if that is JSON; for a multipart upload, the job.
    pub json: Option<Value>,
    /// How long its body is.
    pub body_length: usize,
    /// What happened to it.
    pub fault: Option<What>,
    /// The status of the answer; none if there was no answer.
    pub status: Option<u16>,
}

impl RequestRecord {
    fn of(call: &ApiCall, request: &Received) -> Self {
        let headers = request.headers.iter().map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        });
        let json = match call.operation {
            Operation::UploadMultipart => multipart::job_resource(request),
            Operation::UploadChunk => None,
            _ => request.json(),
        };
        Self {
            operation: call.operation,
            method: request.method.as_str().to_owned(),
            path: request.path.clone(),
            parameters: request.parameters(),
            headers: headers.collect(),
            token: request.token().map(str::to_owned),
            json,
            body_length: request.body.len(),
            fault: None,
            status: None,
        }
    }

    /// The id of the job that it is about, if it names one.
    #[must_use]
    pub fn job_id(&self) -> Option<&str> {
        match self.operation {
            Operation::JobGet | Operation::QueryResults => self.path.rsplit('/').next(),
            _ => self.json.as_ref()?.pointer("/jobReference/jobId")?.as_str(),
        }
    }
}

/// When a [`Signal`] comes, and what becomes of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// When the request has arrived. It is never carried out or answered.
    Before,
    /// When the request has been carried out. It is never answered.
    After,
}

/// Completes when a request has arrived: see [`FakeBigQuery::signal_at_request`]. It completes too
/// when the fake is dropped, or another signal replaces it.
#[derive(Debug)]
pub struct Signal(oneshot::Receiver<()>);

impl Future for Signal {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(context).map(|_| ())
    }
}

impl FakeBigQuery {
    /// Starts an empty BigQuery without faults. It needs no token, and accepts any.
    ///
    /// # Errors
    /// There is no port left.
    pub async fn start() -> io::Result<Self> {
        let state = Arc::default();
        Ok(Self { server: Server::start(&state).await?, state })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The base URL for clients: `http://ADDRESS/bigquery/v2`.
    #[must_use]
    pub fn base_url(&self) -> String {
        format!("http://{}/bigquery/v2", self.address())
    }

    /// The base URL for uploads: `http://ADDRESS/upload/bigquery/v2`.
    #[must_use]
    pub fn upload_url(&self) -> String {
        format!("http://{}/upload/bigquery/v2", self.address())
    }

    /// Creates a dataset. One that exists stays as it is.
    pub fn create_dataset(&self, dataset: &str) {
        let given = json!({"datasetReference": {"datasetId": dataset}});
        // This fails only if the dataset exists.
        let _ = self.state().warehouse.datasets.insert_dataset("project", &given);
    }

    /// Sets the location of new datasets that don't name one; at first `EU`.
    pub fn set_location(&self, location: &str) {
        location.clone_into(&mut self.state().warehouse.datasets.location);
    }

    /// From now on, requests need this bearer token. With `None` they need none, and any will do.
    pub fn require_token(&self, token: Option<&str>) {
        self.state().token = token.map(str::to_owned);
    }

    /// Whether the fake keeps the rows of loads from now on. If not, it only checks and counts
    /// them.
    pub fn keep_rows(&self, keeps_rows: bool) {
        self.state().warehouse.datasets.keeps_rows = keeps_rows;
    }

    /// New jobs run only after this many questions about them: `jobs.get` or
    /// `jobs.getQueryResults`. With 0, as at first, they run before their insertion is answered.
    pub fn set_job_polls(&self, polls: usize) {
        self.state().warehouse.engine.job_polls = polls;
    }

    /// No job runs, and no question about one counts, until [`Self::release_jobs`].
    pub fn hold_jobs(&self) {
        self.state().warehouse.engine.holds_jobs = true;
    }

    /// Jobs run again. Those that were held and have no polls left run now, the oldest first.
    pub fn release_jobs(&self) {
        let mut state = self.state();
        let Warehouse { engine, datasets, .. } = &mut state.warehouse;
        engine.release_jobs(datasets);
    }

    /// Sets the result of queries that run from now on: a schema (`{"fields": [..]}`), and rows
    /// with text or null for each of its fields.
    pub fn set_query_result(&self, schema: Value, rows: Vec<Vec<Option<String>>>) {
        self.state().warehouse.engine.script = QueryScript::Rows(QueryResult { schema, rows });
    }

    /// Queries that run from now on end with this error.
    pub fn set_query_failure(&self, reason: &str, message: &str) {
        let error = JobError { reason: reason.to_owned(), message: message.to_owned() };
        self.state().warehouse.engine.script = QueryScript::Fails(error);
    }

    /// Puts at most this many rows of a query's result, or tables of a list, in one answer, however
    /// many a client asks for.
    pub fn set_page_size(&self, items: usize) {
        self.state().warehouse.engine.page_size = items.max(1);
    }

    /// Tables that are made from now on say that they were made at this moment, in seconds since
    /// 1970.
    pub fn set_time(&self, seconds: u64) {
        self.state().warehouse.datasets.set_time(seconds.saturating_mul(1_000));
    }

    /// Forgets all resumable uploads that are not complete. Requests for them are answered with
    /// 404.
    pub fn expire_uploads(&self) {
        self.state().warehouse.sessions.expire();
    }

    /// Replaces the faults that have not happened yet.
    pub fn plan(&self, faults: Vec<Fault>) {
        let plan = &mut self.state().plan;
        plan.clear();
        for fault in faults {
            plan.add(fault);
        }
    }

    /// Adds a fault. It happens once.
    pub fn add_fault(&self, fault: Fault) {
        self.state().plan.add(fault);
    }

    /// The faults that have not happened yet.
    #[must_use]
    pub fn faults_left(&self) -> Vec<Fault> {
        self.state().plan.left()
    }

    /// How many requests are late.
    #[must_use]
    pub fn late_count(&self) -> usize {
        self.state().late.len()
    }

    /// Carries out the requests that are late, in the order of their arrival. They need the token
    /// that is required now. No fault strikes them.
    pub fn deliver_late(&self) {
        let mut state = self.state();
        let late = std::mem::take(&mut state.late);
        for (call, request) in &late {
            // Nobody waits for the answer anymore.
            let _ = state.carry_out(call, request, Twist::default());
        }
    }

    /// A signal when the request with this number arrives, counted from 0 since the start of the
    /// fake. The request gets no answer, and no fault strikes it. A request that has already
    /// arrived gives no signal.
    #[must_use]
    pub fn signal_at_request(&self, number: usize, moment: Moment) -> Signal {
        let (sender, receiver) = oneshot::channel();
        self.state().signals.insert(number, (moment, sender));
        Signal(receiver)
    }

    /// All requests, in the order of their arrival. Their position is their number.
    #[must_use]
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.state().requests.clone()
    }

    /// How many requests have arrived, which is the number of the next one.
    #[must_use]
    pub fn request_count(&self) -> usize {
        self.state().requests.len()
    }

    /// What the requests asked for, in the order of their arrival.
    #[must_use]
    pub fn operations(&self) -> Vec<Operation> {
        self.state().requests.iter().map(|request| request.operation).collect()
    }

    /// The dataset and name of each table.
    #[must_use]
    pub fn tables(&self) -> Vec<(String, String)> {
        self.state().warehouse.datasets.tables()
    }

    /// The schema of a table as clients see it: `{"fields": [..]}`. Null if there is no such table.
    #[must_use]
    pub fn schema(&self, dataset: &str, table: &str) -> Value {
        let state = self.state();
        state
            .warehouse
            .datasets
            .table(dataset, table)
            .map_or(Value::Null, |table| table.fields.json())
    }

    /// The rows of a table in the order of their loads, with the values that were loaded and the
    /// field names of the table. Empty if there is no such table.
    #[must_use]
    pub fn rows(&self, dataset: &str, table: &str) -> Vec<Value> {
        let state = self.state();
        let table = state.warehouse.datasets.table(dataset, table);
        table.map(Table::canonical_rows).unwrap_or_default()
    }

    /// How many rows were loaded into a table, kept or not.
    #[must_use]
    pub fn rows_loaded(&self, dataset: &str, table: &str) -> u64 {
        let state = self.state();
        state.warehouse.datasets.table(dataset, table).map_or(0, |table| table.rows_loaded)
    }

    /// All jobs, in the order of their insertion.
    #[must_use]
    pub fn jobs(&self) -> Vec<JobRecord> {
        self.state().warehouse.engine.job_records()
    }

    /// All queries that were accepted as jobs, in the order of their insertion.
    #[must_use]
    pub fn queries(&self) -> Vec<QueryRecord> {
        self.state().warehouse.engine.query_records()
    }

    fn state(&self) -> MutexGuard<'_, FakeState> {
        self.state.lock()
    }
}

#[derive(Debug, Default)]
struct SharedFake(Mutex<FakeState>);

impl SharedFake {
    fn lock(&self) -> MutexGuard<'_, FakeState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handler for SharedFake {
    async fn answer(&self, request: Received) -> Result<Answer, Closed> {
        let fate = self.lock().arrive(request);
        match fate {
            Fate::Answer(answer) => Ok(answer),
            Fate::Close => Err(Closed),
            // Wait until the client or the fake goes away.
            Fate::Withhold => future::pending().await,
        }
    }
}

/// What the client sees of a request.
#[derive(Debug)]
enum Fate {
    Answer(Answer),
    Close,
    Withhold,
}

#[derive(Debug, Default)]
struct FakeState {
    warehouse: Warehouse,
    token: Option<String>,
    plan: FaultPlan,
    signals: BTreeMap<usize, (Moment, oneshot::Sender<()>)>,
    late: Vec<(ApiCall, Received)>,
    requests: Vec<RequestRecord>,
}

impl FakeState {
    /// Not asynchronous: a request is carried out as a whole or not at all, even if its client
    /// leaves.
    fn arrive(&mut self, request: Received) -> Fate {
        let call = ApiCall::of(&request);
        let number = self.requests.len();
        let mut record = RequestRecord::of(&call, &request);
        let signal = self.signals.remove(&number);
        let what = self.plan.next(call.operation, number);
        let fate = match signal {
            Some((moment, sender)) => {
                if moment == Moment::After {
                    let _ = self.carry_out(&call, &request, Twist::default());
                }
                // Perhaps nobody waits for it.
                let _ = sender.send(());
                Fate::Withhold
            }
            None => {
                record.fault.clone_from(&what);
                self.fate(call, request, what)
            }
        };
        record.status = match &fate {
            Fate::Answer(answer) => Some(answer.status().as_u16()),
            Fate::Close | Fate::Withhold => None,
        };
        self.requests.push(record);
        fate
    }

    fn fate(&mut self, call: ApiCall, request: Received, what: Option<What>) -> Fate {
        let mut twist = Twist::default();
        match what {
            None => {}
            Some(What::LoseRequest) => return Fate::Close,
            Some(What::LoseAnswer) => {
                let _ = self.carry_out(&call, &request, twist);
                return Fate::Close;
            }
            Some(What::LateRequest) => {
                self.late.push((call, request));
                return Fate::Close;
            }
            Some(What::Answer { status, body, content_type, headers }) => {
                let status = StatusCode::from_u16(status);
                let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                let mut answer = http::text(status, &content_type, body);
                for (name, value) in headers {
                    http::set_header(&mut answer, &name, &value);
                }
                return Fate::Answer(answer);
            }
            Some(What::JobFails { reason, message }) => {
                twist.job_fails = Some(JobError { reason, message });
            }
            Some(What::PatchLost) => twist.patch = PatchTwist::Lost,
            Some(What::PatchLate(left)) => twist.patch = PatchTwist::Late(left),
            Some(What::SessionGone) => twist.is_session_gone = true,
            Some(What::Truncated) => {
                let answer = self.carry_out(&call, &request, twist);
                return Fate::Answer(http::truncated(answer));
            }
        }
        Fate::Answer(self.carry_out(&call, &request, twist))
    }

    fn carry_out(&mut self, call: &ApiCall, request: &Received, twist: Twist) -> Answer {
        if self.token.as_deref().is_some_and(|token| request.token() != Some(token)) {
            return GoogleError::unauthenticated().answer();
        }
        let carried_out = self.warehouse.carry_out(call, request, twist);
        carried_out.unwrap_or_else(|error| error.answer())
    }
}
