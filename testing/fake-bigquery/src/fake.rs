//! The fake itself: what a test sees of it, and the way of a request through it.

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
    error::{ApiError, ApiResult},
    fault::{Fault, Plan, What},
    http::{self, Answer, Closed, Handler, Received, Server},
    job::{JobError, JobRecord, JobRequest, Page, QueryRecord, QueryScript},
    operation::{Call, Operation, Target},
    upload,
    warehouse::{PatchTwist, Table, Twist, Warehouse, body},
};

/// A BigQuery on a loopback port, over plain HTTP. It ends when it is dropped.
#[derive(Debug)]
pub struct FakeBigQuery {
    server: Server,
    state: Arc<Shared>,
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
    /// Its body, if that is JSON; of a multipart upload the job resource.
    pub json: Option<Value>,
    /// How long its body is.
    pub body_length: usize,
    /// What happened to it.
    pub fault: Option<What>,
    /// The status that it was answered with; none if it had no answer.
    pub status: Option<u16>,
}

impl RequestRecord {
    fn of(call: &Call, request: &Received) -> Self {
        let headers = request.headers.iter().map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        });
        let json = match call.operation {
            Operation::UploadMultipart => upload::job_resource(request),
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

    /// The id of the job that it is about, if it says one.
    #[must_use]
    pub fn job_id(&self) -> Option<&str> {
        match self.operation {
            Operation::JobGet | Operation::QueryResults => self.path.rsplit('/').next(),
            _ => self.json.as_ref()?.pointer("/jobReference/jobId")?.as_str(),
        }
    }
}

/// When a [`Signal`] is given, and what becomes of the request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// When the request has arrived; it is never carried out and never answered.
    Before,
    /// When the request has been carried out; it is never answered.
    After,
}

/// Is there when a request has arrived: see [`FakeBigQuery::signal_at_request`]. It is there too when the
/// fake is dropped or the signal replaced by another one.
#[derive(Debug)]
pub struct Signal(oneshot::Receiver<()>);

impl Future for Signal {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.0).poll(context).map(|_| ())
    }
}

impl FakeBigQuery {
    /// Starts an empty BigQuery: without datasets, without faults, and any token will do, or none.
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

    /// Makes a dataset. One that is there already stays as it is.
    pub fn create_dataset(&self, dataset: &str) {
        let given = json!({"datasetReference": {"datasetId": dataset}});
        // It fails only if there is one.
        let _ = self.state().warehouse.insert_dataset("project", &given);
    }

    /// The location of datasets that are made from now on without one; at first `EU`.
    pub fn set_location(&self, location: &str) {
        location.clone_into(&mut self.state().warehouse.location);
    }

    /// From now on, requests need this bearer token; with none, any will do.
    pub fn require_token(&self, token: Option<&str>) {
        self.state().token = token.map(str::to_owned);
    }

    /// Whether rows of loads are kept from now on. If not, they are checked and counted only.
    pub fn keep_rows(&self, keeps_rows: bool) {
        self.state().warehouse.keeps_rows = keeps_rows;
    }

    /// New jobs run only after this many questions about them: `jobs.get` or `jobs.getQueryResults`. With
    /// 0, as at first, they have run when the answer to their insertion goes out.
    pub fn set_job_polls(&self, polls: usize) {
        self.state().warehouse.job_polls = polls;
    }

    /// No job runs, and no question about one counts, until [`Self::release_jobs`].
    pub fn hold_jobs(&self) {
        self.state().warehouse.holds_jobs = true;
    }

    /// Jobs run again; those that were held and have no polls left run now, the oldest first.
    pub fn release_jobs(&self) {
        self.state().warehouse.release_jobs();
    }

    /// What queries result in that run from now on: a schema (`{"fields": [..]}`), and rows with text or
    /// null for each of its fields.
    pub fn set_query_result(&self, schema: Value, rows: Vec<Vec<Option<String>>>) {
        self.state().warehouse.script = QueryScript::Rows(schema, rows);
    }

    /// Queries that run from now on end with this error.
    pub fn set_query_failure(&self, reason: &str, message: &str) {
        let error = JobError { reason: reason.to_owned(), message: message.to_owned() };
        self.state().warehouse.script = QueryScript::Fails(error);
    }

    /// At most this many rows of a query's result are in one answer, however many are asked for.
    pub fn set_page_size(&self, rows: usize) {
        self.state().warehouse.page_size = rows.max(1);
    }

    /// Forgets all resumable uploads that are not complete: they are answered with 404.
    pub fn expire_uploads(&self) {
        self.state().warehouse.expire_uploads();
    }

    /// Replaces the faults that have not happened yet by these.
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

    /// Carries out the requests that are late, in the order of their arrival. They need the token that is
    /// required now, and meet no more faults.
    pub fn deliver_late(&self) {
        let mut state = self.state();
        let late = std::mem::take(&mut state.late);
        for (call, request) in &late {
            // Nobody waits for the answer any more.
            let _ = state.carry_out(call, request, Twist::default());
        }
    }

    /// A signal when the request with this number (from 0 since the start of the fake) arrives, which
    /// then has no answer, nor any fault. Of a request that has arrived already there is no signal.
    #[must_use]
    pub fn signal_at_request(&self, number: usize, moment: Moment) -> Signal {
        let (sender, receiver) = oneshot::channel();
        self.state().signals.insert(number, (moment, sender));
        Signal(receiver)
    }

    /// All requests that arrived, in that order. Their position is their number.
    #[must_use]
    pub fn requests(&self) -> Vec<RequestRecord> {
        self.state().requests.clone()
    }

    /// How many requests arrived: the number of the next one.
    #[must_use]
    pub fn request_count(&self) -> usize {
        self.state().requests.len()
    }

    /// What the requests that arrived asked for, in that order.
    #[must_use]
    pub fn operations(&self) -> Vec<Operation> {
        self.state().requests.iter().map(|request| request.operation).collect()
    }

    /// The dataset and name of each table.
    #[must_use]
    pub fn tables(&self) -> Vec<(String, String)> {
        let state = self.state();
        let datasets = state.warehouse.datasets.iter();
        let tables = datasets.flat_map(|(dataset, of)| {
            of.tables.keys().map(move |table| (dataset.clone(), table.clone()))
        });
        tables.collect()
    }

    /// The schema of a table as it can be seen now: `{"fields": [..]}`. Null if there is no such table.
    #[must_use]
    pub fn schema(&self, dataset: &str, table: &str) -> Value {
        let state = self.state();
        state.warehouse.table(dataset, table).map_or(Value::Null, |table| table.fields.json())
    }

    /// The rows of a table in the order of their loads, their values as they were loaded, with the names
    /// of fields as the table has them. None if there is no such table.
    #[must_use]
    pub fn rows(&self, dataset: &str, table: &str) -> Vec<Value> {
        let state = self.state();
        let table = state.warehouse.table(dataset, table);
        table.map(Table::canonical_rows).unwrap_or_default()
    }

    /// How many rows were loaded into a table, kept or not.
    #[must_use]
    pub fn rows_loaded(&self, dataset: &str, table: &str) -> u64 {
        let state = self.state();
        state.warehouse.table(dataset, table).map_or(0, |table| table.rows_loaded)
    }

    /// All jobs, in the order of their insertion.
    #[must_use]
    pub fn jobs(&self) -> Vec<JobRecord> {
        self.state().warehouse.job_records()
    }

    /// All queries that were accepted as jobs, in the order of their insertion.
    #[must_use]
    pub fn queries(&self) -> Vec<QueryRecord> {
        self.state().warehouse.query_records()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }
}

#[derive(Debug, Default)]
struct Shared(Mutex<State>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handler for Shared {
    async fn answer(&self, request: Received) -> Result<Answer, Closed> {
        let outcome = self.lock().arrive(request);
        match outcome {
            Outcome::Answer(answer) => Ok(answer),
            Outcome::Close => Err(Closed),
            // Until the client or the fake goes away.
            Outcome::Withhold => future::pending().await,
        }
    }
}

/// What the client sees of a request.
#[derive(Debug)]
enum Outcome {
    Answer(Answer),
    Close,
    Withhold,
}

#[derive(Debug, Default)]
struct State {
    warehouse: Warehouse,
    token: Option<String>,
    plan: Plan,
    signals: BTreeMap<usize, (Moment, oneshot::Sender<()>)>,
    late: Vec<(Call, Received)>,
    requests: Vec<RequestRecord>,
}

impl State {
    /// Not asynchronous: a request is carried out as a whole or not at all, whenever its client leaves.
    fn arrive(&mut self, request: Received) -> Outcome {
        let call = Call::of(&request);
        let number = self.requests.len();
        let mut record = RequestRecord::of(&call, &request);
        let signal = self.signals.remove(&number);
        let what = self.plan.next(call.operation, number);
        let outcome = match signal {
            Some((moment, sender)) => {
                if moment == Moment::After {
                    let _ = self.carry_out(&call, &request, Twist::default());
                }
                // Nobody may wait for it.
                let _ = sender.send(());
                Outcome::Withhold
            }
            None => {
                record.fault.clone_from(&what);
                self.outcome(call, request, what)
            }
        };
        record.status = match &outcome {
            Outcome::Answer(answer) => Some(answer.status().as_u16()),
            Outcome::Close | Outcome::Withhold => None,
        };
        self.requests.push(record);
        outcome
    }

    fn outcome(&mut self, call: Call, request: Received, what: Option<What>) -> Outcome {
        let mut twist = Twist::default();
        match what {
            None => {}
            Some(What::LoseRequest) => return Outcome::Close,
            Some(What::LoseAnswer) => {
                let _ = self.carry_out(&call, &request, twist);
                return Outcome::Close;
            }
            Some(What::LateRequest) => {
                self.late.push((call, request));
                return Outcome::Close;
            }
            Some(What::Answer { status, body, content_type, headers }) => {
                let status = StatusCode::from_u16(status);
                let status = status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                let mut answer = http::text(status, &content_type, body);
                for (name, value) in headers {
                    http::set_header(&mut answer, &name, &value);
                }
                return Outcome::Answer(answer);
            }
            Some(What::JobFails { reason, message }) => {
                twist.job_fails = Some(JobError { reason, message });
            }
            Some(What::PatchLost) => twist.patch = PatchTwist::Lost,
            Some(What::PatchLate(left)) => twist.patch = PatchTwist::Late(left),
            Some(What::SessionGone) => twist.is_session_gone = true,
            Some(What::Truncated) => {
                let answer = self.carry_out(&call, &request, twist);
                return Outcome::Answer(http::truncated(answer));
            }
        }
        Outcome::Answer(self.carry_out(&call, &request, twist))
    }

    fn carry_out(&mut self, call: &Call, request: &Received, twist: Twist) -> Answer {
        self.result(call, request, twist).unwrap_or_else(|error| error.answer())
    }

    fn result(&mut self, call: &Call, request: &Received, twist: Twist) -> ApiResult<Answer> {
        if self.token.as_deref().is_some_and(|token| request.token() != Some(token)) {
            return Err(ApiError::unauthenticated());
        }
        let warehouse = &mut self.warehouse;
        let project = call.project.as_str();
        let parameters = request.parameters();
        let parameter = |name| parameters.get(name).map(String::as_str);
        let resource = match (call.operation, &call.target) {
            (Operation::DatasetGet, Target::Dataset(id)) => warehouse.get_dataset(project, id),
            (Operation::DatasetInsert, _) => warehouse.insert_dataset(project, &body(request)?),
            (Operation::TableGet, Target::Table(dataset, id)) => {
                warehouse.get_table(project, dataset, id)
            }
            (Operation::TableInsert, Target::Dataset(dataset)) => {
                warehouse.insert_table(project, dataset, &body(request)?)
            }
            (Operation::TablePatch, Target::Table(dataset, id)) => {
                warehouse.patch_table(project, (dataset, id), request, twist.patch)
            }
            (Operation::UploadMultipart, _) => warehouse.upload_multipart(project, request, twist),
            (Operation::UploadStart, _) => return warehouse.start_upload(project, request, twist),
            (Operation::UploadChunk | Operation::UploadStatus, Target::Upload(id)) => {
                return warehouse.continue_upload(project, id, request, twist);
            }
            (Operation::JobGet, Target::Job(id)) => {
                warehouse.get_job(project, id, parameter("location"))
            }
            (Operation::JobInsert, _) => {
                let query = JobRequest::query(project, &body(request)?)?;
                let id = warehouse.insert_query(query, twist.job_fails)?;
                warehouse.job_json(project, &id)
            }
            (Operation::QueryResults, Target::Job(id)) => {
                let page = Page {
                    location: parameter("location"),
                    max_results: parameter("maxResults"),
                    token: parameter("pageToken"),
                    start_index: parameter("startIndex"),
                };
                warehouse.query_results(project, id, page)
            }
            _ => Err(ApiError::not_found("the URL")),
        };
        Ok(http::json(StatusCode::OK, &resource?))
    }
}
