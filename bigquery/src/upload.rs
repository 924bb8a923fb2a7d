//! Uploads: load jobs that bring their rows along, in one request or in many.

use std::ops::ControlFlow;

use bytes::{Bytes, BytesMut};
use reqwest::{
    RequestBuilder, StatusCode,
    header::{CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE},
};
use serde_json::Value;
use shared::deadline::Deadline;

use crate::{
    BigQuery, BigQueryError, JobRef, TableId,
    failure::Failure,
    send::{Exchange, JsonBody, Once, Reply},
};

/// Chunks other than the last must be multiples of this long, in bytes. Source: *Resumable
/// uploads*, BigQuery documentation.
pub const CHUNK_STEP: usize = 256 * 1_024;

/// What separates the parts of a request. Rows are JSON in lines of their own, none of which begins
/// with it.
const BOUNDARY: &str = "statshub_part";

/// Whose job there is after an upload.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// The one of this upload.
    Now,
    /// One that was accepted before, perhaps by an attempt whose answer was lost.
    Before,
}

/// Why an upload did not end with an accepted job.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// BigQuery lost what was uploaded so far. It may have accepted a job or not.
    #[error("the upload was forgotten by BigQuery")]
    Gone,
    /// BigQuery refuses it, or is away.
    #[error(transparent)]
    BigQuery(#[from] BigQueryError),
}

/// An upload in several requests.
#[derive(Debug)]
pub struct Upload<'a> {
    bigquery: &'a BigQuery,
    /// Where its chunks go.
    session: String,
    /// How many bytes BigQuery has stored.
    stored: u64,
}

impl BigQuery {
    /// Has rows of NDJSON loaded, in one request. On success there is this job: with these rows, or
    /// an earlier one with rows of its own.
    ///
    /// # Errors
    /// See [`BigQueryError`]. After `Unavailable`, the job may have been accepted all the same.
    pub async fn load(
        &self,
        job: &JobRef,
        table: &TableId,
        rows: &[u8],
        deadline: Deadline,
    ) -> Result<Accepted, BigQueryError> {
        let url = format!("{}?uploadType=multipart", self.upload_url(job.project()));
        let body = multipart(&self.load_job(job, table), rows);
        let request = |http: &reqwest::Client| {
            let content_type = format!("multipart/related; boundary={BOUNDARY}");
            http.post(&url).header(CONTENT_TYPE, content_type).body(body.clone())
        };
        let exchange = Once { request, read: Reply::json::<Value> };
        match self.sender.send(exchange, self.sender.upload_limits(deadline)).await {
            Ok(_) => Ok(Accepted::Now),
            Err(error) if error.is(StatusCode::CONFLICT) => Ok(Accepted::Before),
            Err(error) => Err(error),
        }
    }

    /// Begins to upload rows of NDJSON in chunks. There is no job until the last chunk has arrived.
    ///
    /// # Errors
    /// See [`BigQueryError`].
    pub async fn start_upload(
        &self,
        job: &JobRef,
        table: &TableId,
        deadline: Deadline,
    ) -> Result<Upload<'_>, BigQueryError> {
        let url = format!("{}?uploadType=resumable", self.upload_url(job.project()));
        let job = self.load_job(job, table);
        let request = |http: &reqwest::Client| {
            http.post(&url)
                .header("X-Upload-Content-Type", "application/octet-stream")
                .json_body(&job)
        };
        let exchange = Once { request, read: session };
        let session = self.sender.send(exchange, self.sender.limits(deadline)).await?;
        Ok(Upload { bigquery: self, session, stored: 0 })
    }
}

impl Upload<'_> {
    /// Uploads the next chunk, a multiple of [`CHUNK_STEP`] long.
    ///
    /// # Errors
    /// See [`UploadError`].
    pub async fn send(&mut self, chunk: Bytes, deadline: Deadline) -> Result<(), UploadError> {
        self.put(chunk, false, deadline).await?;
        Ok(())
    }

    /// Uploads the last chunk, of any length but 0. On success there is this job: with these rows,
    /// or an earlier one with rows of its own.
    ///
    /// # Errors
    /// See [`UploadError`]. The job may have been accepted all the same.
    pub async fn finish(
        mut self,
        last: Bytes,
        deadline: Deadline,
    ) -> Result<Accepted, UploadError> {
        self.put(last, true, deadline).await?.ok_or(UploadError::Gone)
    }

    /// Whose job there is after this chunk; none if there is none yet.
    async fn put(
        &mut self,
        chunk: Bytes,
        is_last: bool,
        deadline: Deadline,
    ) -> Result<Option<Accepted>, UploadError> {
        let end = self.stored + length(&chunk);
        let chunk = Chunk {
            session: &self.session,
            stored: self.stored,
            rest: chunk,
            end,
            is_last,
            asks: false,
        };
        let sender = &self.bigquery.sender;
        match sender.send(chunk, sender.upload_limits(deadline)).await {
            Ok(ChunkEnd::Stored) => {
                self.stored = end;
                Ok(None)
            }
            Ok(ChunkEnd::Job) => Ok(Some(Accepted::Now)),
            Ok(ChunkEnd::Gone) => Err(UploadError::Gone),
            Err(error) if error.is(StatusCode::CONFLICT) => Ok(Some(Accepted::Before)),
            Err(error) if error.is(StatusCode::NOT_FOUND) || error.is(StatusCode::GONE) => {
                Err(UploadError::Gone)
            }
            Err(error) => Err(error.into()),
        }
    }
}

/// A chunk on its way. After a failure it asks how much has arrived, and sends what has not.
struct Chunk<'a> {
    session: &'a str,
    /// How many bytes of the upload BigQuery has stored.
    stored: u64,
    /// The bytes after these, up to `end`.
    rest: Bytes,
    end: u64,
    is_last: bool,
    /// Whether the next request asks how much has arrived.
    asks: bool,
}

/// What became of a chunk.
enum ChunkEnd {
    /// BigQuery has stored it.
    Stored,
    /// It was the last one, and there is a job.
    Job,
    /// BigQuery has lost what was uploaded before it.
    Gone,
}

impl Exchange for Chunk<'_> {
    type Outcome = ChunkEnd;

    fn request(&self, http: &reqwest::Client) -> RequestBuilder {
        let total = if self.is_last { self.end.to_string() } else { "*".to_owned() };
        let (range, body) = match self.asks {
            true => (format!("bytes */{total}"), Bytes::new()),
            false => (format!("bytes {}-{}/{total}", self.stored, self.end - 1), self.rest.clone()),
        };
        http.put(self.session).header(CONTENT_RANGE, range).body(body)
    }

    fn read(&mut self, reply: &Reply) -> Result<ControlFlow<ChunkEnd>, Failure> {
        let stored = match arrived(reply) {
            Ok(Arrived::All) => return Ok(ControlFlow::Break(ChunkEnd::Job)),
            Ok(Arrived::Bytes(stored)) if stored == self.end && !self.is_last => {
                return Ok(ControlFlow::Break(ChunkEnd::Stored));
            }
            Ok(Arrived::Bytes(stored)) => stored,
            Err(failure) => {
                self.asks = true;
                return Err(failure);
            }
        };
        let new = stored.checked_sub(self.stored).and_then(|new| usize::try_from(new).ok());
        let Some(new) = new.filter(|new| *new <= self.rest.len()) else {
            return Ok(ControlFlow::Break(ChunkEnd::Gone));
        };
        // If all of the last chunk is there, and yet no job, ask what became of it.
        self.asks = self.is_last && new == self.rest.len();
        if !self.asks {
            self.rest = self.rest.slice(new..);
            self.stored = stored;
        }
        if self.asks || new == 0 {
            return Err(Failure::transient("an upload makes no progress"));
        }
        Ok(ControlFlow::Continue(()))
    }

    fn lost(&mut self) {
        self.asks = true;
    }
}

fn multipart(job: &Value, rows: &[u8]) -> Bytes {
    let job = job.to_string();
    let mut body = BytesMut::with_capacity(job.len() + rows.len() + 256);
    for part in [
        "--",
        BOUNDARY,
        "\r\nContent-Type: application/json; charset=UTF-8\r\n\r\n",
        &job,
        "\r\n--",
        BOUNDARY,
        "\r\nContent-Type: application/octet-stream\r\n\r\n",
    ] {
        body.extend_from_slice(part.as_bytes());
    }
    body.extend_from_slice(rows);
    body.extend_from_slice(format!("\r\n--{BOUNDARY}--\r\n").as_bytes());
    body.freeze()
}

/// The address for the chunks of an upload.
fn session(reply: &Reply) -> Result<String, Failure> {
    let address = reply.headers.get(LOCATION).and_then(|address| address.to_str().ok());
    address
        .map(str::to_owned)
        .ok_or_else(|| Failure::transient("an upload was started, but no address given"))
}

/// How much of an upload has arrived.
enum Arrived {
    /// So many bytes.
    Bytes(u64),
    /// All of it, and there is a job.
    All,
}

fn arrived(reply: &Reply) -> Result<Arrived, Failure> {
    if reply.status != StatusCode::PERMANENT_REDIRECT {
        // The job. If it can't be read, its id finds out what became of it.
        return reply.json::<Value>().map(|_| Arrived::All);
    }
    // `bytes=0-524287`; absent if nothing has arrived yet.
    let Some(range) = reply.headers.get(RANGE) else {
        return Ok(Arrived::Bytes(0));
    };
    let last = range.to_str().ok().and_then(|range| range.rsplit_once('-')?.1.parse::<u64>().ok());
    last.map(|last| Arrived::Bytes(last + 1))
        .ok_or_else(|| Failure::transient("a range that can't be read"))
}

fn length(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
