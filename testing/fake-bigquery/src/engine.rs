//! Jobs: loads and queries.

use std::str;

use hyper::{StatusCode, body::Bytes};
use serde_json::{Map, Value, json};

use crate::{
    error::{ApiError, ApiResult},
    rows,
    schema::Fields,
    warehouse::Warehouse,
};

const MAX_ID: usize = 1024;

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// It has been accepted, and nobody has asked about it.
    Pending,
    /// It has been asked about, but nothing of it is done.
    Running,
    /// It has ended, well or with an error.
    Done,
}

/// Why a job failed: its `errorResult`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobError {
    /// Such as `invalid` or `notFound`.
    pub reason: String,
    /// What it says.
    pub message: String,
}

/// A job as a test sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRecord {
    /// Its id.
    pub id: String,
    /// The dataset and table that it loads into; none of a query.
    pub table: Option<(String, String)>,
    /// How far it is.
    pub state: JobState,
    /// Why it failed.
    pub error: Option<JobError>,
    /// How many rows it loaded.
    pub rows: u64,
}

/// A query that was asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryRecord {
    /// The id of its job.
    pub job_id: String,
    /// `query`
    pub sql: String,
    /// `queryParameters`; null if there were none.
    pub parameters: Value,
    /// `maximumBytesBilled`
    pub maximum_bytes_billed: Option<String>,
    /// The whole `configuration` of the job.
    pub configuration: Value,
}

/// A row of a query's result: text or null for each column.
pub(crate) type ResultRow = Vec<Option<String>>;

/// What queries result in.
#[derive(Debug, Clone)]
pub(crate) enum QueryScript {
    Rows(Value, Vec<ResultRow>),
    Fails(JobError),
}

impl Default for QueryScript {
    fn default() -> Self {
        Self::Rows(json!({"fields": []}), Vec::new())
    }
}

#[derive(Debug)]
pub(crate) struct Job {
    id: String,
    location: Option<String>,
    configuration: Value,
    work: Work,
    state: JobState,
    polls_left: usize,
    /// What it is to fail with.
    fails: Option<JobError>,
    error: Option<JobError>,
    /// What led to the error.
    details: Vec<String>,
    rows: u64,
    created: u64,
    ended: Option<u64>,
    input_bytes: usize,
}

#[derive(Debug)]
enum Work {
    /// Data for a table; none when it has run.
    Load {
        dataset: String,
        table: String,
        data: Bytes,
    },
    Query(Option<(Value, Vec<ResultRow>)>),
}

/// A job that was asked for, and found to be one that the fake can run.
#[derive(Debug, Clone)]
pub(crate) struct JobRequest {
    project: String,
    id: Option<String>,
    location: Option<String>,
    configuration: Value,
}

impl JobRequest {
    pub(crate) fn load(project: &str, given: &Value) -> ApiResult<Self> {
        let request = Self::parse(project, given)?;
        let load = request.configuration.get("load");
        check_load(load.ok_or_else(|| ApiError::required("configuration.load"))?)?;
        Ok(request)
    }

    pub(crate) fn query(project: &str, given: &Value) -> ApiResult<Self> {
        let request = Self::parse(project, given)?;
        if request.configuration.get("load").is_some() {
            return Err(ApiError::not_in_fake("loads of sourceUris"));
        }
        if request.configuration.get("dryRun") == Some(&Value::Bool(true)) {
            return Err(ApiError::not_in_fake("dry runs"));
        }
        match request.configuration.pointer("/query/query").is_some_and(Value::is_string) {
            true => Ok(request),
            false => Err(ApiError::required("configuration.query.query")),
        }
    }

    fn parse(project: &str, given: &Value) -> ApiResult<Self> {
        let text = |name: &str| {
            let reference = given.get("jobReference")?;
            reference.get(name).and_then(Value::as_str).map(str::to_owned)
        };
        if text("projectId").is_some_and(|of| of != project) {
            return Err(ApiError::invalid("jobReference is of another project than the path"));
        }
        let id = text("jobId");
        let is_valid = |c: char| c == '_' || c == '-' || c.is_ascii_alphanumeric();
        let is_id = |id: &String| !id.is_empty() && id.len() <= MAX_ID && id.chars().all(is_valid);
        if let Some(id) = id.as_ref().filter(|id| !is_id(id)) {
            return Err(ApiError::invalid(format!("Invalid job ID \"{id}\"")));
        }
        let configuration = given.get("configuration").filter(|value| value.is_object());
        let configuration = configuration.ok_or_else(|| ApiError::required("configuration"))?;
        Ok(Self {
            project: project.to_owned(),
            id,
            location: text("location"),
            configuration: configuration.clone(),
        })
    }

    fn destination(&self) -> Option<(String, String)> {
        let table = self.configuration.pointer("/load/destinationTable")?;
        let text = |name| table.get(name).and_then(Value::as_str).map(str::to_owned);
        Some((text("datasetId")?, text("tableId")?))
    }
}

/// Only what the fake does as BigQuery does it.
fn check_load(load: &Value) -> ApiResult<()> {
    let table = load.get("destinationTable");
    let table = table.ok_or_else(|| ApiError::required("configuration.load.destinationTable"))?;
    for name in ["projectId", "datasetId", "tableId"] {
        if !table.get(name).is_some_and(Value::is_string) {
            return Err(ApiError::required(&format!("destinationTable.{name}")));
        }
    }
    let text = |name| load.get(name).and_then(Value::as_str);
    if text("sourceFormat") != Some("NEWLINE_DELIMITED_JSON") {
        return Err(ApiError::not_in_fake("sourceFormat but NEWLINE_DELIMITED_JSON"));
    }
    if !matches!(text("writeDisposition"), None | Some("WRITE_APPEND")) {
        return Err(ApiError::not_in_fake("writeDisposition but WRITE_APPEND"));
    }
    if text("createDisposition") != Some("CREATE_NEVER") {
        return Err(ApiError::not_in_fake("createDisposition but CREATE_NEVER"));
    }
    let is_set = |name: &str| match load.get(name) {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::Array(values)) => !values.is_empty(),
        Some(value) => *value != 0,
    };
    let others = ["autodetect", "ignoreUnknownValues", "maxBadRecords", "schema"];
    let others = others.into_iter().chain(["schemaUpdateOptions", "sourceUris"]);
    match others.into_iter().find(|name| is_set(name)) {
        Some(name) => Err(ApiError::not_in_fake(name)),
        None => Ok(()),
    }
}

impl Job {
    fn reference(&self, project: &str) -> Value {
        let mut reference = json!({"projectId": project, "jobId": self.id});
        if let (Some(reference), Some(location)) = (reference.as_object_mut(), &self.location) {
            reference.insert("location".to_owned(), location.clone().into());
        }
        reference
    }

    fn json(&self, project: &str) -> Value {
        let location = self.location.as_deref().unwrap_or("unknown");
        json!({
            "kind": "bigquery#job",
            "etag": format!("\"job-{:?}\"", self.state),
            "id": format!("{project}:{location}.{}", self.id),
            "user_email": "fake@example.com",
            "jobReference": self.reference(project),
            "configuration": self.configuration,
            "status": self.status(),
            "statistics": self.statistics(),
        })
    }

    fn status(&self) -> Value {
        let state = match self.state {
            JobState::Pending => "PENDING",
            JobState::Running => "RUNNING",
            JobState::Done => "DONE",
        };
        match &self.error {
            None => json!({"state": state}),
            Some(JobError { reason, message }) => {
                let details = self.details.iter();
                let details = details.map(|detail| json!({"reason": reason, "message": detail}));
                let result = json!({"reason": reason, "message": message});
                let errors: Vec<_> = std::iter::once(result.clone()).chain(details).collect();
                json!({"state": state, "errorResult": result, "errors": errors})
            }
        }
    }

    fn statistics(&self) -> Value {
        let mut statistics = Map::new();
        statistics.insert("creationTime".to_owned(), self.created.to_string().into());
        if let Some(ended) = self.ended {
            statistics.insert("startTime".to_owned(), self.created.to_string().into());
            statistics.insert("endTime".to_owned(), ended.to_string().into());
            if matches!(self.work, Work::Load { .. }) {
                let load = json!({
                    "inputFiles": "1",
                    "inputFileBytes": self.input_bytes.to_string(),
                    "outputRows": self.rows.to_string(),
                });
                statistics.insert("load".to_owned(), load);
            }
        }
        statistics.into()
    }

    fn record(&self) -> JobRecord {
        let table = match &self.work {
            Work::Load { dataset, table, .. } => Some((dataset.clone(), table.clone())),
            Work::Query(_) => None,
        };
        JobRecord {
            id: self.id.clone(),
            table,
            state: self.state,
            error: self.error.clone(),
            rows: self.rows,
        }
    }

    fn query_record(&self) -> Option<QueryRecord> {
        let query = self.configuration.get("query")?;
        let bytes = query.get("maximumBytesBilled").map(|bytes| match bytes {
            Value::String(bytes) => bytes.clone(),
            bytes => bytes.to_string(),
        });
        Some(QueryRecord {
            job_id: self.id.clone(),
            sql: query.get("query")?.as_str()?.to_owned(),
            parameters: query.get("queryParameters").cloned().unwrap_or_default(),
            maximum_bytes_billed: bytes,
            configuration: self.configuration.clone(),
        })
    }
}

impl Warehouse {
    /// The location of the job, if it has one, has to be the one that was asked for.
    fn job_position(&self, project: &str, id: &str, location: Option<&str>) -> ApiResult<usize> {
        let position = self.job_positions.get(id).copied();
        let job = position.and_then(|position| self.jobs.get(position));
        let is_there = |of: &str| location.is_some_and(|asked| asked.eq_ignore_ascii_case(of));
        match (position, job) {
            (Some(position), Some(job)) if job.location.as_deref().is_none_or(is_there) => {
                Ok(position)
            }
            _ => Err(ApiError::not_found(&format!("Job {project}:{id}"))),
        }
    }

    /// A job that loads this data.
    pub(crate) fn insert_load(
        &mut self,
        request: JobRequest,
        data: Bytes,
        fails: Option<JobError>,
    ) -> ApiResult<String> {
        let destination = request.destination();
        let (dataset, table) = destination.ok_or_else(|| ApiError::required("destinationTable"))?;
        let location = self.datasets.get(&dataset).map(|dataset| dataset.location.clone());
        let elsewhere = |at: &String| {
            let is_there = |of: &String| of.eq_ignore_ascii_case(at);
            (!location.as_ref().is_none_or(is_there)).then(|| JobError {
                reason: "notFound".to_owned(),
                message: format!("Not found: Dataset {dataset} was not found in location {at}"),
            })
        };
        let fails = fails.or_else(|| request.location.as_ref().and_then(elsewhere));
        self.insert_job(request, location, Work::Load { dataset, table, data }, fails)
    }

    pub(crate) fn insert_query(
        &mut self,
        request: JobRequest,
        fails: Option<JobError>,
    ) -> ApiResult<String> {
        let dataset = request.configuration.pointer("/query/defaultDataset/datasetId");
        let dataset = dataset.and_then(Value::as_str).and_then(|id| self.datasets.get(id));
        let location = dataset.map(|dataset| dataset.location.clone());
        self.insert_job(request, location, Work::Query(None), fails)
    }

    fn insert_job(
        &mut self,
        request: JobRequest,
        location: Option<String>,
        work: Work,
        fails: Option<JobError>,
    ) -> ApiResult<String> {
        let JobRequest { project, id, location: asked, configuration } = request;
        let id = id.unwrap_or_else(|| format!("job_{}", self.jobs.len()));
        if self.job_positions.contains_key(&id) {
            return Err(ApiError::duplicate(&format!("Job {project}:{id}")));
        }
        let input_bytes = match &work {
            Work::Load { data, .. } => data.len(),
            Work::Query(_) => 0,
        };
        let job = Job {
            id: id.clone(),
            location: asked.or(location),
            configuration,
            work,
            state: JobState::Pending,
            polls_left: self.job_polls,
            fails,
            error: None,
            details: Vec::new(),
            rows: 0,
            created: self.now(),
            ended: None,
            input_bytes,
        };
        let position = self.jobs.len();
        self.jobs.push(job);
        self.job_positions.insert(id.clone(), position);
        self.run_if_due(position);
        Ok(id)
    }

    /// The job as it is now, without that this counts as a question about it.
    pub(crate) fn job_json(&self, project: &str, id: &str) -> ApiResult<Value> {
        let job = self.job_positions.get(id).and_then(|position| self.jobs.get(*position));
        let not_found = || ApiError::not_found(&format!("Job {project}:{id}"));
        Ok(job.ok_or_else(not_found)?.json(project))
    }

    pub(crate) fn get_job(
        &mut self,
        project: &str,
        id: &str,
        location: Option<&str>,
    ) -> ApiResult<Value> {
        let position = self.job_position(project, id, location)?;
        self.poll(position);
        self.job_json(project, id)
    }

    /// Somebody asks about a job.
    fn poll(&mut self, position: usize) {
        let holds_jobs = self.holds_jobs;
        let Some(job) = self.jobs.get_mut(position) else { return };
        if job.state == JobState::Done || holds_jobs {
            return;
        }
        job.state = JobState::Running;
        match job.polls_left.checked_sub(1) {
            Some(left) => job.polls_left = left,
            None => self.run(position),
        }
    }

    fn run_if_due(&mut self, position: usize) {
        let is_due = |job: &Job| job.polls_left == 0 && job.state != JobState::Done;
        if !self.holds_jobs && self.jobs.get(position).is_some_and(is_due) {
            self.run(position);
        }
    }

    /// Runs the jobs that were held, in the order of their insertion.
    pub(crate) fn release_jobs(&mut self) {
        self.holds_jobs = false;
        for position in 0..self.jobs.len() {
            self.run_if_due(position);
        }
    }

    fn run(&mut self, position: usize) {
        let Some(job) = self.jobs.get_mut(position) else { return };
        let fails = job.fails.take();
        let load = match &mut job.work {
            Work::Load { dataset, table, data } => {
                Some((dataset.clone(), table.clone(), std::mem::take(data)))
            }
            Work::Query(_) => None,
        };
        let outcome = match (fails, load) {
            (Some(error), _) => Outcome::Failed(error, Vec::new()),
            (None, Some((dataset, table, data))) => self.load(&dataset, &table, &data),
            (None, None) => match self.script.clone() {
                QueryScript::Rows(schema, rows) => Outcome::Queried(schema, rows),
                QueryScript::Fails(error) => Outcome::Failed(error, Vec::new()),
            },
        };
        let ended = self.now();
        let Some(job) = self.jobs.get_mut(position) else { return };
        job.state = JobState::Done;
        job.ended = Some(ended);
        match outcome {
            Outcome::Failed(error, details) => {
                job.error = Some(error);
                job.details = details;
            }
            Outcome::Loaded(rows) => job.rows = rows,
            Outcome::Queried(schema, rows) => job.work = Work::Query(Some((schema, rows))),
        }
    }

    /// All rows or none.
    fn load(&mut self, dataset: &str, table: &str, data: &Bytes) -> Outcome {
        let keeps_rows = self.keeps_rows;
        let Some(into) = self.table_mut(dataset, table) else {
            let message = format!("Not found: Table {dataset}.{table}");
            return Outcome::Failed(
                JobError { reason: "notFound".to_owned(), message },
                Vec::new(),
            );
        };
        into.seen();
        match checked_rows(data, &into.fields, keeps_rows) {
            Err(detail) => {
                let message =
                    "Error while reading data, error message: JSON table encountered too \
                    many errors, giving up. Rows: 1; errors: 1. Please look into the errors[] \
                    collection for more details."
                        .to_owned();
                let error = JobError { reason: "invalid".to_owned(), message };
                Outcome::Failed(error, vec![detail])
            }
            Ok((count, rows)) => {
                into.rows_loaded += count;
                into.rows.extend(rows);
                Outcome::Loaded(count)
            }
        }
    }

    pub(crate) fn query_results(
        &mut self,
        project: &str,
        id: &str,
        page: Page<'_>,
    ) -> ApiResult<Value> {
        let position = self.job_position(project, id, page.location)?;
        self.poll(position);
        let max = page.max_results()?.min(self.page_size);
        let start = page.start()?;
        let not_found = || ApiError::not_found(&format!("Job {project}:{id}"));
        let job = self.jobs.get(position).ok_or_else(not_found)?;
        let Work::Query(result) = &job.work else {
            return Err(ApiError::invalid("Cannot list results of a job that is no query"));
        };
        if let Some(JobError { reason, message }) = &job.error {
            return Err(ApiError::new(status_of(reason), reason, message.clone()));
        }
        let reference = job.reference(project);
        let kind = "bigquery#getQueryResultsResponse";
        let Some((schema, rows)) = result else {
            return Ok(json!({"kind": kind, "jobReference": reference, "jobComplete": false}));
        };
        let shown = rows.iter().skip(start).take(max).map(row_json);
        let shown: Vec<_> = shown.collect();
        let next = start.saturating_add(shown.len());
        let mut answer = json!({
            "kind": kind,
            "etag": "\"results\"",
            "jobReference": reference,
            "jobComplete": true,
            "schema": schema,
            "totalRows": rows.len().to_string(),
            "totalBytesProcessed": "0",
            "cacheHit": false,
            "rows": shown,
        });
        if let Some(answer) = answer.as_object_mut().filter(|_| next < rows.len()) {
            answer.insert("pageToken".to_owned(), format!("{TOKEN}{next}").into());
        }
        Ok(answer)
    }

    pub(crate) fn job_records(&self) -> Vec<JobRecord> {
        self.jobs.iter().map(Job::record).collect()
    }

    pub(crate) fn query_records(&self) -> Vec<QueryRecord> {
        self.jobs.iter().filter_map(Job::query_record).collect()
    }
}

enum Outcome {
    Failed(JobError, Vec<String>),
    Loaded(u64),
    Queried(Value, Vec<ResultRow>),
}

/// How page tokens start; an offset follows.
const TOKEN: &str = "page-";

/// Which rows of a result are asked for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Page<'a> {
    pub(crate) location: Option<&'a str>,
    pub(crate) max_results: Option<&'a str>,
    pub(crate) token: Option<&'a str>,
    pub(crate) start_index: Option<&'a str>,
}

impl Page<'_> {
    fn max_results(&self) -> ApiResult<usize> {
        let error = |_| ApiError::invalid("Invalid value for maxResults");
        self.max_results.map_or(Ok(usize::MAX), |max| max.parse().map_err(error))
    }

    /// A page token says more than a start.
    fn start(&self) -> ApiResult<usize> {
        if let Some(token) = self.token {
            let start = token.strip_prefix(TOKEN).and_then(|start| start.parse().ok());
            return start.ok_or_else(|| ApiError::invalid("Invalid page token"));
        }
        let error = |_| ApiError::invalid("Invalid value for startIndex");
        self.start_index.map_or(Ok(0), |start| start.parse().map_err(error))
    }
}

fn row_json(row: &ResultRow) -> Value {
    let cells: Vec<_> = row.iter().map(|value| json!({"v": value})).collect();
    json!({"f": cells})
}

fn status_of(reason: &str) -> StatusCode {
    match reason {
        "notFound" => StatusCode::NOT_FOUND,
        "accessDenied" | "quotaExceeded" | "rateLimitExceeded" | "billingNotEnabled" => {
            StatusCode::FORBIDDEN
        }
        "backendError" | "internalError" => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    }
}

/// How many rows there are, and which, if they are to be kept; or what is wrong with the first that is
/// not valid.
fn checked_rows(
    data: &Bytes,
    fields: &Fields,
    keeps_rows: bool,
) -> Result<(u64, Vec<Bytes>), String> {
    let text = str::from_utf8(data).map_err(|error| format!("Bad character: {error}"))?;
    let mut count = 0;
    let mut rows = Vec::new();
    for (number, line) in text.split('\n').enumerate() {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        let wrong = |error| format!("Error while reading data in row {}: {error}", number + 1);
        rows::check(line, fields).map_err(wrong)?;
        count += 1;
        if keeps_rows {
            rows.push(data.slice_ref(line.as_bytes()));
        }
    }
    Ok((count, rows))
}
