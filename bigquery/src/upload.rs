//! Uploads: load jobs that bring their rows along, in one request or in many.

use bytes::{Bytes, BytesMut};
use reqwest::{
    StatusCode,
    header::{CONTENT_RANGE, CONTENT_TYPE, LOCATION, RANGE},
};
use serde_json::Value;
use shared::deadline::Deadline;

use crate::{
    BigQuery, BigQueryError, JobId, TableId,
    client::{Answer, Failure},
    table::JsonBody,
};

/// Chunks other than the last have to be a multiple of this long, in bytes. Source: *Resumable uploads*,
/// BigQuery documentation.
pub const CHUNK_STEP: usize = 256 * 1_024;

/// What separates the parts of a request. Rows are JSON in lines of their own, so no line of theirs begins
/// with it.
const BOUNDARY: &str = "statshub_part";

/// Whose job it is that there is after an upload.
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
    /// What was uploaded so far is lost. A job may have been accepted or not.
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
    /// How many bytes are there.
    sent: u64,
}

/// What becomes of a chunk.
enum Progress {
    /// So many bytes are there.
    Stored(u64),
    /// All are, and there is a job.
    Accepted,
}

impl BigQuery {
    /// Has rows of NDJSON loaded, in one request. On success there is a job of this id: this one, or an
    /// earlier one with rows of its own.
    ///
    /// # Errors
    /// See [`BigQueryError`]. It may have been accepted all the same if it is `Unavailable`.
    pub async fn load(
        &self,
        id: &JobId,
        table: &TableId,
        location: Option<&str>,
        rows: &[u8],
        deadline: Deadline,
    ) -> Result<Accepted, BigQueryError> {
        let url = format!("{}?uploadType=multipart", self.upload_url());
        let body = multipart(&self.load_job(id, table, location), rows);
        let answer = self.request::<Value>(self.uploading(deadline), |http| {
            let content_type = format!("multipart/related; boundary={BOUNDARY}");
            http.post(&url).header(CONTENT_TYPE, content_type).body(body.clone())
        });
        match answer.await {
            Ok(_) => Ok(Accepted::Now),
            Err(error) if error.is(StatusCode::CONFLICT) => Ok(Accepted::Before),
            Err(error) => Err(error),
        }
    }

    /// Begins to upload rows of NDJSON in chunks. There is no job until the last chunk has come.
    ///
    /// # Errors
    /// See [`BigQueryError`].
    pub async fn start_upload(
        &self,
        id: &JobId,
        table: &TableId,
        location: Option<&str>,
        deadline: Deadline,
    ) -> Result<Upload<'_>, BigQueryError> {
        let url = format!("{}?uploadType=resumable", self.upload_url());
        let job = self.load_job(id, table, location);
        let start = |http: &reqwest::Client| {
            http.post(&url)
                .header("X-Upload-Content-Type", "application/octet-stream")
                .json_body(&job)
        };
        let session = self.request_for(self.sending(deadline), start, session).await?;
        Ok(Upload { bigquery: self, session, sent: 0 })
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

    /// Uploads the last chunk, of any length but 0. On success there is a job of this id: this one, or an
    /// earlier one with rows of its own.
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

    /// Whose job there is then; none if there is none yet.
    async fn put(
        &mut self,
        chunk: Bytes,
        is_last: bool,
        deadline: Deadline,
    ) -> Result<Option<Accepted>, UploadError> {
        let sending = self.bigquery.uploading(deadline);
        let end = self.sent + length(&chunk);
        let total = if is_last { end.to_string() } else { "*".to_owned() };
        let mut rest = chunk;
        let mut waits = self.bigquery.waits();
        let mut has_new_token = false;
        // After a failure it is not known how much has come, so that is asked.
        let mut asks = false;
        loop {
            let (range, body) = match asks {
                true => (format!("bytes */{total}"), Bytes::new()),
                false => (format!("bytes {}-{}/{total}", self.sent, end - 1), rest.clone()),
            };
            let http = self.bigquery.http();
            let request = http.put(&self.session).header(CONTENT_RANGE, range).body(body);
            let answer = self.bigquery.attempt(sending, request).await;
            match answer.and_then(|answer| progress(&answer)) {
                Ok(Progress::Accepted) => return Ok(Some(Accepted::Now)),
                Ok(Progress::Stored(stored)) if stored == end && !is_last => {
                    self.sent = end;
                    return Ok(None);
                }
                Ok(Progress::Stored(stored)) => {
                    let new =
                        stored.checked_sub(self.sent).and_then(|new| usize::try_from(new).ok());
                    let Some(new) = new.filter(|new| *new <= rest.len()) else {
                        return Err(UploadError::Gone);
                    };
                    // All of the last chunk, and yet no job: BigQuery is asked what became of it.
                    asks = is_last && new == rest.len();
                    if asks || new == 0 {
                        let failure = Failure::transient("an upload makes no progress".into());
                        self.bigquery.wait(&mut waits, failure, sending.deadline).await?;
                    }
                    if !asks {
                        rest = rest.slice(new..);
                        self.sent = stored;
                    }
                }
                Err(Failure::Token(_)) if !has_new_token => has_new_token = true,
                Err(Failure::Final(error)) if error.is(StatusCode::CONFLICT) => {
                    return Ok(Some(Accepted::Before));
                }
                Err(Failure::Final(error))
                    if error.is(StatusCode::NOT_FOUND) || error.is(StatusCode::GONE) =>
                {
                    return Err(UploadError::Gone);
                }
                Err(failure) => {
                    self.bigquery.wait(&mut waits, failure, sending.deadline).await?;
                    asks = true;
                }
            }
        }
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

fn session(answer: &Answer) -> Result<String, Failure> {
    let address = answer.headers.get(LOCATION).and_then(|address| address.to_str().ok());
    address
        .map(str::to_owned)
        .ok_or_else(|| Failure::transient("an upload was started, but no address given".into()))
}

fn progress(answer: &Answer) -> Result<Progress, Failure> {
    if answer.status != StatusCode::PERMANENT_REDIRECT {
        // The job; if it can't be read, what became of it is found out by its id.
        return answer.json::<Value>().map(|_| Progress::Accepted);
    }
    // `bytes=0-524287`; absent when nothing is there yet.
    let Some(range) = answer.headers.get(RANGE) else {
        return Ok(Progress::Stored(0));
    };
    let last = range.to_str().ok().and_then(|range| range.rsplit_once('-')?.1.parse::<u64>().ok());
    last.map(|last| Progress::Stored(last + 1))
        .ok_or_else(|| Failure::transient("a range that can't be read".into()))
}

fn length(bytes: &Bytes) -> u64 {
    u64::try_from(bytes.len()).unwrap_or(u64::MAX)
}
