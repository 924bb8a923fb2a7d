//! Resumable uploads: data that arrives in chunks.

use std::collections::HashMap;

use hyper::{StatusCode, body::Bytes};

use crate::{
    google_error::{GoogleError, GoogleResult},
    job_record::JobError,
    job_request::JobRequest,
};

/// Chunks other than the last are multiples of this, in bytes.
const CHUNK: u64 = 256 * 1024;

/// All resumable uploads.
#[derive(Debug, Default)]
pub(crate) struct Sessions {
    sessions: HashMap<String, Session>,
    /// How many there have ever been.
    count: usize,
}

#[derive(Debug)]
struct Session {
    project: String,
    load: UploadedLoad,
    state: SessionState,
}

/// A load job and the data that has arrived for it.
#[derive(Debug, Clone)]
pub(crate) struct UploadedLoad {
    pub(crate) request: JobRequest,
    pub(crate) data: Vec<u8>,
    /// The error with which the job will fail.
    pub(crate) fails: Option<JobError>,
}

#[derive(Debug)]
enum SessionState {
    Open,
    /// All data has arrived, and the job with this id was accepted, or refused.
    Complete(GoogleResult<String>),
    Gone,
}

/// What a request for a session is for: data, or the question how much has arrived.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChunkRequest<'a> {
    /// `Content-Range`
    pub(crate) range: Option<&'a str>,
    pub(crate) body: &'a Bytes,
}

/// What a session has after a request.
#[derive(Debug)]
pub(crate) enum ChunkOutcome {
    /// So many bytes, which are not all.
    Part(usize),
    /// All data, by this request. [`Sessions::complete`] has to follow.
    Whole(UploadedLoad),
    /// All data, by an earlier request; and this is the id of the job.
    Before(String),
}

impl Sessions {
    /// Opens a session, and returns its id.
    pub(crate) fn open(
        &mut self,
        project: &str,
        request: JobRequest,
        fails: Option<JobError>,
    ) -> String {
        self.count += 1;
        let id = format!("upload-{}", self.count);
        let session = Session {
            project: project.to_owned(),
            load: UploadedLoad { request, data: Vec::new(), fails },
            state: SessionState::Open,
        };
        self.sessions.insert(id.clone(), session);
        id
    }

    /// Takes a chunk, or the question how much has arrived. `fails` replaces the error with which
    /// the job will fail; `is_gone` ends the session.
    pub(crate) fn take(
        &mut self,
        project: &str,
        id: &str,
        chunk: ChunkRequest<'_>,
        fails: Option<JobError>,
        is_gone: bool,
    ) -> GoogleResult<ChunkOutcome> {
        let session = self.sessions.get_mut(id);
        let session = session.filter(|session| session.project == project);
        let session = session.ok_or_else(|| GoogleError::not_found(&format!("Upload {id}")))?;
        if is_gone {
            session.state = SessionState::Gone;
            session.load.data = Vec::new();
        }
        let load = &mut session.load;
        load.fails = fails.or(load.fails.take());
        match &session.state {
            SessionState::Gone => {
                Err(GoogleError::new(StatusCode::GONE, "gone", "The upload session is gone"))
            }
            SessionState::Complete(job) => Ok(ChunkOutcome::Before(job.clone()?)),
            SessionState::Open => match load.append(chunk)? {
                false => Ok(ChunkOutcome::Part(load.data.len())),
                true => Ok(ChunkOutcome::Whole(UploadedLoad {
                    request: load.request.clone(),
                    data: std::mem::take(&mut load.data),
                    fails: load.fails.take(),
                })),
            },
        }
    }

    /// Remembers what became of the job of a session whose data has all arrived.
    pub(crate) fn complete(&mut self, id: &str, job: GoogleResult<String>) {
        if let Some(session) = self.sessions.get_mut(id) {
            session.state = SessionState::Complete(job);
        }
    }

    /// Forgets the sessions that are not complete.
    pub(crate) fn expire(&mut self) {
        self.sessions.retain(|_, session| matches!(session.state, SessionState::Complete(_)));
    }
}

impl UploadedLoad {
    /// Takes what is new, and returns whether that was the last of the data.
    fn append(&mut self, chunk: ChunkRequest<'_>) -> GoogleResult<bool> {
        let body = chunk.body;
        let length = length(body.len());
        let range = match chunk.range {
            None => Range { bytes: Some((0, length)), total: Some(length) },
            Some(range) => Range::parse(range).ok_or_else(|| bad_range(range))?,
        };
        let there = self::length(self.data.len());
        let Some((start, end)) = range.bytes else {
            return match (length, range.total) {
                (0, total) => Ok(total == Some(there)),
                _ => Err(GoogleError::invalid("The Content-Range has no bytes, but the body has")),
            };
        };
        if end - start != length {
            let message =
                format!("The Content-Range is of {} bytes, the body {length}", end - start);
            return Err(GoogleError::invalid(message));
        }
        if start > there {
            return Err(GoogleError::invalid(format!(
                "The bytes from {there} to {start} are missing"
            )));
        }
        if range.total.is_some_and(|total| end > total) {
            return Err(bad_range(chunk.range.unwrap_or_default()));
        }
        let is_last = range.total == Some(end);
        if !is_last && (!length.is_multiple_of(CHUNK) || length == 0) {
            return Err(GoogleError::invalid(format!(
                "{length} bytes are not a multiple of {CHUNK}"
            )));
        }
        // Bytes that arrived before are ignored.
        let known = usize::try_from(there - start).unwrap_or(usize::MAX);
        self.data.extend_from_slice(body.get(known..).unwrap_or_default());
        Ok(is_last && self::length(self.data.len()) == end)
    }
}

fn length(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

fn bad_range(range: &str) -> GoogleError {
    GoogleError::invalid(format!("Invalid Content-Range: {range}"))
}

/// `Content-Range`
#[derive(Debug)]
struct Range {
    /// The first byte, and the one after the last; none is `*`.
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
