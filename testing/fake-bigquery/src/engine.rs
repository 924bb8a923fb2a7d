//! The engine, which runs jobs: loads and queries.

use std::collections::HashMap;

use hyper::body::Bytes;
use serde_json::{Map, Value, json};

use crate::{
    datasets::Datasets,
    google_error::{GoogleError, GoogleResult},
    job_record::{JobError, JobRecord, JobState, QueryRecord},
    job_request::JobRequest,
    paging::PageRequest,
    query_result::{self, QueryResult},
    ticks::Ticks,
};

/// All jobs, and how they run.
#[derive(Debug)]
pub(crate) struct Engine {
    /// How many questions about a new job pass before it runs.
    pub(crate) job_polls: usize,
    pub(crate) holds_jobs: bool,
    pub(crate) page_size: usize,
    pub(crate) script: QueryScript,
    /// In the order of their insertion.
    jobs: Vec<Job>,
    /// The position of each job, by its id.
    positions: HashMap<String, usize>,
    ticks: Ticks,
}

impl Default for Engine {
    fn default() -> Self {
        Self {
            job_polls: 0,
            holds_jobs: false,
            page_size: usize::MAX,
            script: QueryScript::default(),
            jobs: Vec::new(),
            positions: HashMap::new(),
            ticks: Ticks::default(),
        }
    }
}

/// What queries result in.
#[derive(Debug, Clone)]
pub(crate) enum QueryScript {
    Rows(QueryResult),
    Fails(JobError),
}

impl Default for QueryScript {
    fn default() -> Self {
        Self::Rows(QueryResult::default())
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
    /// The error with which it will fail, whatever it does.
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
    /// Data for a table; empty once it has run.
    Load { dataset: String, table: String, data: Bytes },
    /// The result; none until it has run.
    Query(Option<QueryResult>),
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

impl Engine {
    /// The position of a job. If it has a location, the client has to name that.
    fn position(&self, project: &str, id: &str, location: Option<&str>) -> GoogleResult<usize> {
        let position = self.positions.get(id).copied();
        let job = position.and_then(|position| self.jobs.get(position));
        let is_there = |of: &str| location.is_some_and(|asked| asked.eq_ignore_ascii_case(of));
        match (position, job) {
            (Some(position), Some(job)) if job.location.as_deref().is_none_or(is_there) => {
                Ok(position)
            }
            _ => Err(GoogleError::not_found(&format!("Job {project}:{id}"))),
        }
    }

    /// Accepts a job that loads this data.
    pub(crate) fn insert_load(
        &mut self,
        datasets: &mut Datasets,
        request: JobRequest,
        data: Bytes,
        fails: Option<JobError>,
    ) -> GoogleResult<String> {
        let destination = request.destination();
        let (dataset, table) =
            destination.ok_or_else(|| GoogleError::required("destinationTable"))?;
        let location = datasets.location_of(&dataset).map(str::to_owned);
        let elsewhere = |at: &String| {
            let is_there = |of: &String| of.eq_ignore_ascii_case(at);
            (!location.as_ref().is_none_or(is_there)).then(|| JobError {
                reason: "notFound".to_owned(),
                message: format!("Not found: Dataset {dataset} was not found in location {at}"),
            })
        };
        let fails = fails.or_else(|| request.location.as_ref().and_then(elsewhere));
        self.insert(datasets, request, location, Work::Load { dataset, table, data }, fails)
    }

    /// Accepts a job that is a query.
    pub(crate) fn insert_query(
        &mut self,
        datasets: &mut Datasets,
        request: JobRequest,
        fails: Option<JobError>,
    ) -> GoogleResult<String> {
        let dataset = request.configuration.pointer("/query/defaultDataset/datasetId");
        let location = dataset.and_then(Value::as_str).and_then(|id| datasets.location_of(id));
        let location = location.map(str::to_owned);
        self.insert(datasets, request, location, Work::Query(None), fails)
    }

    fn insert(
        &mut self,
        datasets: &mut Datasets,
        request: JobRequest,
        location: Option<String>,
        work: Work,
        fails: Option<JobError>,
    ) -> GoogleResult<String> {
        let JobRequest { project, id, location: asked, configuration } = request;
        let id = id.unwrap_or_else(|| format!("job_{}", self.jobs.len()));
        if self.positions.contains_key(&id) {
            return Err(GoogleError::duplicate(&format!("Job {project}:{id}")));
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
            created: self.ticks.next(),
            ended: None,
            input_bytes,
        };
        let position = self.jobs.len();
        self.jobs.push(job);
        self.positions.insert(id.clone(), position);
        self.run_if_due(datasets, position);
        Ok(id)
    }

    /// A job as it is now. This does not count as a question about it.
    pub(crate) fn job_json(&self, project: &str, id: &str) -> GoogleResult<Value> {
        let job = self.positions.get(id).and_then(|position| self.jobs.get(*position));
        let not_found = || GoogleError::not_found(&format!("Job {project}:{id}"));
        Ok(job.ok_or_else(not_found)?.json(project))
    }

    /// A job as it is after a question about it.
    pub(crate) fn get_job(
        &mut self,
        datasets: &mut Datasets,
        project: &str,
        id: &str,
        location: Option<&str>,
    ) -> GoogleResult<Value> {
        let position = self.position(project, id, location)?;
        self.poll(datasets, position);
        self.job_json(project, id)
    }

    /// Counts a question about a job, which may run it.
    fn poll(&mut self, datasets: &mut Datasets, position: usize) {
        let holds_jobs = self.holds_jobs;
        let Some(job) = self.jobs.get_mut(position) else { return };
        if job.state == JobState::Done || holds_jobs {
            return;
        }
        job.state = JobState::Running;
        match job.polls_left.checked_sub(1) {
            Some(left) => job.polls_left = left,
            None => self.run(datasets, position),
        }
    }

    fn run_if_due(&mut self, datasets: &mut Datasets, position: usize) {
        let is_due = |job: &Job| job.polls_left == 0 && job.state != JobState::Done;
        if !self.holds_jobs && self.jobs.get(position).is_some_and(is_due) {
            self.run(datasets, position);
        }
    }

    /// Runs the jobs that were held, in the order of their insertion.
    pub(crate) fn release_jobs(&mut self, datasets: &mut Datasets) {
        self.holds_jobs = false;
        for position in 0..self.jobs.len() {
            self.run_if_due(datasets, position);
        }
    }

    fn run(&mut self, datasets: &mut Datasets, position: usize) {
        let Some(job) = self.jobs.get_mut(position) else { return };
        let fails = job.fails.take();
        let load = match &mut job.work {
            Work::Load { dataset, table, data } => {
                Some((dataset.clone(), table.clone(), std::mem::take(data)))
            }
            Work::Query(_) => None,
        };
        let end = match (fails, load) {
            (Some(error), _) => JobEnd::Failed(error, Vec::new()),
            (None, Some((dataset, table, data))) => load_rows(datasets, &dataset, &table, &data),
            (None, None) => match self.script.clone() {
                QueryScript::Rows(result) => JobEnd::Queried(result),
                QueryScript::Fails(error) => JobEnd::Failed(error, Vec::new()),
            },
        };
        let ended = self.ticks.next();
        let Some(job) = self.jobs.get_mut(position) else { return };
        job.state = JobState::Done;
        job.ended = Some(ended);
        match end {
            JobEnd::Failed(error, details) => {
                job.error = Some(error);
                job.details = details;
            }
            JobEnd::Loaded(rows) => job.rows = rows,
            JobEnd::Queried(result) => job.work = Work::Query(Some(result)),
        }
    }

    /// The rows of a query, after a question about its job.
    pub(crate) fn query_results(
        &mut self,
        datasets: &mut Datasets,
        project: &str,
        id: &str,
        page: PageRequest<'_>,
    ) -> GoogleResult<Value> {
        let position = self.position(project, id, page.location)?;
        self.poll(datasets, position);
        let wanted = page.range(self.page_size)?;
        let not_found = || GoogleError::not_found(&format!("Job {project}:{id}"));
        let job = self.jobs.get(position).ok_or_else(not_found)?;
        let Work::Query(result) = &job.work else {
            return Err(GoogleError::invalid("Cannot list results of a job that is no query"));
        };
        if let Some(error) = &job.error {
            return Err(query_result::failed(error));
        }
        let reference = job.reference(project);
        Ok(match result {
            None => query_result::incomplete(&reference),
            Some(result) => result.json(&reference, wanted),
        })
    }

    pub(crate) fn job_records(&self) -> Vec<JobRecord> {
        self.jobs.iter().map(Job::record).collect()
    }

    pub(crate) fn query_records(&self) -> Vec<QueryRecord> {
        self.jobs.iter().filter_map(Job::query_record).collect()
    }
}

/// Loads all rows or none.
fn load_rows(datasets: &mut Datasets, dataset: &str, table: &str, data: &Bytes) -> JobEnd {
    let Some(loaded) = datasets.load(dataset, table, data) else {
        let message = format!("Not found: Table {dataset}.{table}");
        let error = JobError { reason: "notFound".to_owned(), message };
        return JobEnd::Failed(error, Vec::new());
    };
    match loaded {
        Ok(count) => JobEnd::Loaded(count),
        Err(detail) => {
            let message = "Error while reading data, error message: JSON table encountered too \
                many errors, giving up. Rows: 1; errors: 1. Please look into the errors[] \
                collection for more details."
                .to_owned();
            let error = JobError { reason: "invalid".to_owned(), message };
            JobEnd::Failed(error, vec![detail])
        }
    }
}

/// What a job ended in.
enum JobEnd {
    Failed(JobError, Vec<String>),
    Loaded(u64),
    Queried(QueryResult),
}
