//! Data for load jobs: in the request that asks for the job, or in chunks after it.

use std::str;

use hyper::{Response, StatusCode, body::Bytes, header::LOCATION};
use serde_json::Value;

use crate::{
    error::{ApiError, ApiResult},
    http::{self, Answer, Received},
    job::{JobError, JobRequest},
    warehouse::{Twist, Warehouse, body},
};

/// Chunks but the last are multiples of this.
const CHUNK: u64 = 256 * 1024;

/// A resumable upload.
#[derive(Debug)]
pub(crate) struct Session {
    request: JobRequest,
    project: String,
    /// What has arrived.
    data: Vec<u8>,
    /// What its job is to fail with.
    fails: Option<JobError>,
    state: SessionState,
}

#[derive(Debug)]
enum SessionState {
    Open,
    /// All of it has arrived, and this became of it: a job's id.
    Complete(ApiResult<String>),
    Gone,
}

impl Warehouse {
    pub(crate) fn expire_uploads(&mut self) {
        self.sessions.retain(|_, session| matches!(session.state, SessionState::Complete(_)));
    }

    pub(crate) fn upload_multipart(
        &mut self,
        project: &str,
        request: &Received,
        twist: Twist,
    ) -> ApiResult<Value> {
        let (resource, data) = parts(request).ok_or_else(|| {
            ApiError::invalid("The body is not multipart/related with a JSON and a media part")
        })?;
        let error = || ApiError::new(StatusCode::BAD_REQUEST, "parseError", "Parse Error");
        let resource: Value = serde_json::from_slice(&resource).map_err(|_| error())?;
        let load = JobRequest::load(project, &resource)?;
        let id = self.insert_load(load, data, twist.job_fails)?;
        self.job_json(project, &id)
    }

    pub(crate) fn start_upload(
        &mut self,
        project: &str,
        request: &Received,
        twist: Twist,
    ) -> ApiResult<Answer> {
        let load = JobRequest::load(project, &body(request)?)?;
        self.session_count += 1;
        let id = format!("upload-{}", self.session_count);
        let session = Session {
            request: load,
            project: project.to_owned(),
            data: Vec::new(),
            fails: twist.job_fails,
            state: SessionState::Open,
        };
        self.sessions.insert(id.clone(), session);
        let host = request.header("host").unwrap_or("localhost");
        let path = &request.path;
        let location = format!("http://{host}{path}?uploadType=resumable&upload_id={id}");
        let mut answer = Response::default();
        http::set_header(&mut answer, LOCATION.as_str(), &location);
        http::set_header(&mut answer, "x-guploader-uploadid", &id);
        Ok(answer)
    }

    /// Data for a session, or the question how much there is.
    pub(crate) fn continue_upload(
        &mut self,
        project: &str,
        id: &str,
        request: &Received,
        twist: Twist,
    ) -> ApiResult<Answer> {
        let session = self.sessions.get_mut(id);
        let session = session.filter(|session| session.project == project);
        let session = session.ok_or_else(|| ApiError::not_found(&format!("Upload {id}")))?;
        if twist.is_session_gone {
            session.state = SessionState::Gone;
            session.data = Vec::new();
        }
        session.fails = twist.job_fails.or(session.fails.take());
        match &session.state {
            SessionState::Gone => {
                Err(ApiError::new(StatusCode::GONE, "gone", "The upload session is gone"))
            }
            SessionState::Complete(outcome) => {
                let job = outcome.clone()?;
                Ok(http::json(StatusCode::OK, &self.job_json(project, &job)?))
            }
            SessionState::Open => {
                if !session.append(request)? {
                    return Ok(resume(session.data.len()));
                }
                let data = Bytes::from(std::mem::take(&mut session.data));
                let fails = session.fails.take();
                let load = session.request.clone();
                let outcome = self.insert_load(load, data, fails);
                if let Some(session) = self.sessions.get_mut(id) {
                    session.state = SessionState::Complete(outcome.clone());
                }
                Ok(http::json(StatusCode::OK, &self.job_json(project, &outcome?)?))
            }
        }
    }
}

impl Session {
    /// Takes what is new; whether that was the last of it.
    fn append(&mut self, request: &Received) -> ApiResult<bool> {
        let body = &request.body;
        let length = length(body.len());
        let range = match request.header("content-range") {
            None => Range { bytes: Some((0, length)), total: Some(length) },
            Some(range) => Range::parse(range).ok_or_else(|| bad_range(range))?,
        };
        let there = self::length(self.data.len());
        let Some((start, end)) = range.bytes else {
            return match (length, range.total) {
                (0, total) => Ok(total == Some(there)),
                _ => Err(ApiError::invalid("The Content-Range has no bytes, but the body has")),
            };
        };
        if end - start != length {
            let message =
                format!("The Content-Range is of {} bytes, the body {length}", end - start);
            return Err(ApiError::invalid(message));
        }
        if start > there {
            return Err(ApiError::invalid(format!(
                "The bytes from {there} to {start} are missing"
            )));
        }
        if range.total.is_some_and(|total| end > total) {
            return Err(bad_range(request.header("content-range").unwrap_or_default()));
        }
        let is_last = range.total == Some(end);
        if !is_last && (!length.is_multiple_of(CHUNK) || length == 0) {
            return Err(ApiError::invalid(format!("{length} bytes are not a multiple of {CHUNK}")));
        }
        // What has arrived before is not looked at again.
        let known = usize::try_from(there - start).unwrap_or(usize::MAX);
        self.data.extend_from_slice(body.get(known..).unwrap_or_default());
        Ok(is_last && self::length(self.data.len()) == end)
    }
}

fn length(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

fn bad_range(range: &str) -> ApiError {
    ApiError::invalid(format!("Invalid Content-Range: {range}"))
}

/// The answer to what is not all.
fn resume(there: usize) -> Answer {
    let mut answer = Response::default();
    *answer.status_mut() = StatusCode::PERMANENT_REDIRECT;
    if let Some(last) = there.checked_sub(1) {
        http::set_header(&mut answer, "range", &format!("bytes=0-{last}"));
    }
    answer
}

/// `Content-Range`
#[derive(Debug)]
struct Range {
    /// From here to before there; none is `*`.
    bytes: Option<(u64, u64)>,
    total: Option<u64>,
}

impl Range {
    fn parse(text: &str) -> Option<Self> {
        let (bytes, total) = text.strip_prefix("bytes ")?.split_once('/')?;
        let bytes = match bytes {
            "*" => None,
            bytes => {
                let (first, last) = bytes.split_once('-')?;
                let (first, last) = (first.parse::<u64>().ok()?, last.parse::<u64>().ok()?);
                let end = last.checked_add(1).filter(|end| first < *end)?;
                Some((first, end))
            }
        };
        let total = match total {
            "*" => None,
            total => Some(total.parse().ok()?),
        };
        Some(Self { bytes, total })
    }
}

/// The two parts of a multipart body: JSON, and data.
fn parts(request: &Received) -> Option<(Bytes, Bytes)> {
    let boundary = boundary(request.header("content-type")?)?;
    let text = str::from_utf8(&request.body).ok()?;
    let delimiter = format!("\r\n--{boundary}");
    // The first has no line before it.
    let first = text.strip_prefix(&format!("--{boundary}"))?;
    let (first, rest) = first.split_once(&delimiter)?;
    let (second, end) = rest.split_once(&delimiter)?;
    if !end.starts_with("--") {
        return None;
    }
    let (kind, resource) = part(first)?;
    let is_json = kind.to_ascii_lowercase().contains("application/json");
    let (_, data) = part(second)?;
    let slice = |text: &str| request.body.slice_ref(text.as_bytes());
    is_json.then(|| (slice(resource), slice(data)))
}

/// The headers and the content of a part, given what comes after its delimiter.
fn part(text: &str) -> Option<(&str, &str)> {
    let text = text.trim_start_matches([' ', '\t']).strip_prefix("\r\n")?;
    match text.strip_prefix("\r\n") {
        Some(content) => Some(("", content)),
        None => text.split_once("\r\n\r\n"),
    }
}

fn boundary(content_type: &str) -> Option<&str> {
    let (kind, parameters) = content_type.split_once(';')?;
    if !kind.trim().eq_ignore_ascii_case("multipart/related") {
        return None;
    }
    let mut parameters = parameters.split(';').filter_map(|p| p.trim().split_once('='));
    let (_, boundary) = parameters.find(|(name, _)| name.eq_ignore_ascii_case("boundary"))?;
    Some(boundary.trim_matches('"'))
}

/// The job resource of a multipart upload.
pub(crate) fn job_resource(request: &Received) -> Option<Value> {
    let boundary = boundary(request.header("content-type")?)?;
    let text = str::from_utf8(&request.body).ok()?;
    let (first, _) = text.split_once(&format!("\r\n--{boundary}"))?;
    let (_, resource) = part(first.strip_prefix(&format!("--{boundary}"))?)?;
    serde_json::from_str(resource).ok()
}
