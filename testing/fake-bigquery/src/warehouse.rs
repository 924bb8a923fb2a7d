//! All that BigQuery holds, and how requests change it.

use hyper::{
    Response, StatusCode,
    body::Bytes,
    header::{LOCATION, RANGE},
};
use serde_json::Value;

use crate::{
    datasets::{Datasets, PatchTwist},
    engine::Engine,
    google_error::{GoogleError, GoogleResult},
    http::{self, Answer, Received},
    job_record::JobError,
    job_request::JobRequest,
    multipart,
    operation::{ApiCall, Operation, Resource},
    paging::PageRequest,
    sessions::{ChunkOutcome, ChunkRequest, Sessions, UploadedLoad},
};

/// All that BigQuery holds.
#[derive(Debug, Default)]
pub(crate) struct Warehouse {
    pub(crate) datasets: Datasets,
    pub(crate) engine: Engine,
    pub(crate) sessions: Sessions,
}

/// What happens to a request that is carried out.
#[derive(Debug, Clone, Default)]
pub(crate) struct Twist {
    pub(crate) job_fails: Option<JobError>,
    pub(crate) patch: PatchTwist,
    pub(crate) is_session_gone: bool,
}

impl Warehouse {
    /// Carries out a request.
    pub(crate) fn carry_out(
        &mut self,
        call: &ApiCall,
        request: &Received,
        twist: Twist,
    ) -> GoogleResult<Answer> {
        let Self { datasets, engine, .. } = self;
        let project = call.project.as_str();
        let parameters = request.parameters();
        let parameter = |name| parameters.get(name).map(String::as_str);
        let page = PageRequest {
            location: parameter("location"),
            max_results: parameter("maxResults"),
            token: parameter("pageToken"),
            start_index: parameter("startIndex"),
        };
        let resource = match (call.operation, &call.resource) {
            (Operation::DatasetGet, Resource::Dataset(id)) => datasets.get_dataset(project, id),
            (Operation::DatasetInsert, _) => datasets.insert_dataset(project, &object(request)?),
            (Operation::TableGet, Resource::Table(dataset, id)) => {
                datasets.get_table(project, dataset, id)
            }
            (Operation::TableList, Resource::Dataset(dataset)) => {
                datasets.list_tables(project, dataset, page.range(engine.page_size)?)
            }
            (Operation::TableInsert, Resource::Dataset(dataset)) => {
                datasets.insert_table(project, dataset, &object(request)?)
            }
            (Operation::TablePatch, Resource::Table(dataset, id)) => {
                let (if_match, patch) = (request.header("if-match"), object(request)?);
                datasets.patch_table(project, (dataset, id), if_match, &patch, twist.patch)
            }
            (Operation::UploadMultipart, _) => {
                self.upload_multipart(project, request, twist.job_fails)
            }
            (Operation::UploadStart, _) => {
                return self.start_upload(project, request, twist.job_fails);
            }
            (Operation::UploadChunk | Operation::UploadStatus, Resource::Upload(id)) => {
                return self.continue_upload(project, id, request, twist);
            }
            (Operation::JobGet, Resource::Job(id)) => {
                engine.get_job(datasets, project, id, parameter("location"))
            }
            (Operation::JobInsert, _) => {
                let query = JobRequest::query(project, &object(request)?)?;
                let id = engine.insert_query(datasets, query, twist.job_fails)?;
                engine.job_json(project, &id)
            }
            (Operation::QueryResults, Resource::Job(id)) => {
                engine.query_results(datasets, project, id, page)
            }
            _ => Err(GoogleError::not_found("the URL")),
        };
        Ok(http::json(StatusCode::OK, &resource?))
    }

    fn upload_multipart(
        &mut self,
        project: &str,
        request: &Received,
        fails: Option<JobError>,
    ) -> GoogleResult<Value> {
        let (resource, data) = multipart::parts(request).ok_or_else(|| {
            GoogleError::invalid("The body is not multipart/related with a JSON and a media part")
        })?;
        let resource: Value = serde_json::from_slice(&resource).map_err(|_| parse_error())?;
        let load = JobRequest::load(project, &resource)?;
        let id = self.engine.insert_load(&mut self.datasets, load, data, fails)?;
        self.engine.job_json(project, &id)
    }

    fn start_upload(
        &mut self,
        project: &str,
        request: &Received,
        fails: Option<JobError>,
    ) -> GoogleResult<Answer> {
        let load = JobRequest::load(project, &object(request)?)?;
        let id = self.sessions.open(project, load, fails);
        let host = request.header("host").unwrap_or("localhost");
        let path = &request.path;
        let location = format!("http://{host}{path}?uploadType=resumable&upload_id={id}");
        let mut answer = Response::default();
        http::set_header(&mut answer, LOCATION.as_str(), &location);
        http::set_header(&mut answer, "x-guploader-uploadid", &id);
        Ok(answer)
    }

    /// Data for a session, or the question how much has arrived.
    fn continue_upload(
        &mut self,
        project: &str,
        id: &str,
        request: &Received,
        twist: Twist,
    ) -> GoogleResult<Answer> {
        let chunk = ChunkRequest { range: request.header("content-range"), body: &request.body };
        let Twist { job_fails, is_session_gone, .. } = twist;
        let job = match self.sessions.take(project, id, chunk, job_fails, is_session_gone)? {
            ChunkOutcome::Part(length) => return Ok(resume(length)),
            ChunkOutcome::Before(job) => job,
            ChunkOutcome::Whole(UploadedLoad { request, data, fails }) => {
                let data = Bytes::from(data);
                let job = self.engine.insert_load(&mut self.datasets, request, data, fails);
                self.sessions.complete(id, job.clone());
                job?
            }
        };
        Ok(http::json(StatusCode::OK, &self.engine.job_json(project, &job)?))
    }
}

/// The answer if so many bytes have arrived, which are not all.
fn resume(length: usize) -> Answer {
    let mut answer = Response::default();
    *answer.status_mut() = StatusCode::PERMANENT_REDIRECT;
    if let Some(last) = length.checked_sub(1) {
        http::set_header(&mut answer, RANGE.as_str(), &format!("bytes=0-{last}"));
    }
    answer
}

/// The JSON object in the body of a request.
fn object(request: &Received) -> GoogleResult<Value> {
    request.json().filter(Value::is_object).ok_or_else(parse_error)
}

fn parse_error() -> GoogleError {
    GoogleError::new(StatusCode::BAD_REQUEST, "parseError", "Parse Error")
}
