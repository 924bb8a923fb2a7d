//! Jobs as a test sees them.

use serde_json::Value;

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobState {
    /// It has been accepted, and nobody has asked about it.
    Pending,
    /// Somebody has asked about it, but nothing of it is done.
    Running,
    /// It has ended, with or without an error.
    Done,
}

/// Why a job failed: its `errorResult`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobError {
    /// A word such as `invalid` or `notFound`.
    pub reason: String,
    /// The explanation.
    pub message: String,
}

/// A job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobRecord {
    /// Its id.
    pub id: String,
    /// The dataset and table into which it loads; none of a query.
    pub table: Option<(String, String)>,
    /// How far it is.
    pub state: JobState,
    /// Why it failed.
    pub error: Option<JobError>,
    /// How many rows it loaded.
    pub rows: u64,
}

/// A query that was accepted as a job.
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
