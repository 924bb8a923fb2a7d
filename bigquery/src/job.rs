//! Jobs: what BigQuery does on its own account once it has accepted it.

use std::fmt;

use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use shared::deadline::Deadline;
use tokio::time::{Instant, sleep};

use crate::{BigQuery, BigQueryError, TableId};

/// Longest id of a job. Source: *`JobReference`*, BigQuery REST reference.
const MAX_ID_CHARS: usize = 1_024;

/// The id of a job. BigQuery accepts at most one job of an id, so an id that is derived from what is to be
/// done makes it done at most once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobId(String);

impl JobId {
    /// The id for a `purpose`; another for each.
    ///
    /// It is the purpose itself if that consists of ASCII letters, digits, `_` and `-`, else its SHA-256.
    #[must_use]
    pub fn of(purpose: &str) -> Self {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
        if purpose.len() <= MAX_ID_CHARS && purpose.bytes().all(is_plain) {
            return Self(purpose.to_owned());
        }
        Self(format!("statshub-sha256-{}", hex::encode(Sha256::digest(purpose.as_bytes()))))
    }

    /// The id.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A job that BigQuery has accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Job {
    /// How far it is.
    pub state: JobState,
    /// The dataset and table that it loads into, if it is a load job.
    pub destination: Option<(String, String)>,
    /// How many rows it has loaded, if BigQuery says so.
    pub rows: Option<u64>,
}

/// How far a job is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum JobState {
    /// It waits or runs: it may succeed or fail.
    Running,
    /// It is done.
    Succeeded,
    /// It is over, and has changed nothing.
    Failed {
        /// BigQuery's word for it, such as `invalid`.
        reason: String,
        /// BigQuery's explanation.
        message: String,
    },
}

#[derive(Deserialize)]
struct JobJson {
    #[serde(default)]
    status: Status,
    #[serde(default)]
    configuration: Configuration,
    #[serde(default)]
    statistics: Statistics,
}

#[derive(Default, Deserialize)]
struct Statistics {
    load: Option<LoadStatistics>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LoadStatistics {
    output_rows: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    state: Option<String>,
    error_result: Option<ErrorJson>,
}

#[derive(Deserialize)]
struct ErrorJson {
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
}

#[derive(Default, Deserialize)]
struct Configuration {
    load: Option<Load>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Load {
    destination_table: Option<Destination>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Destination {
    dataset_id: String,
    table_id: String,
}

impl From<JobJson> for Job {
    fn from(job: JobJson) -> Self {
        let is_done = job.status.state.as_deref() == Some("DONE");
        let state = match (is_done, job.status.error_result) {
            (false, _) => JobState::Running,
            (true, None) => JobState::Succeeded,
            (true, Some(error)) => {
                JobState::Failed { reason: error.reason, message: error.message }
            }
        };
        let destination = job.configuration.load.and_then(|load| load.destination_table);
        let statistics = job.statistics.load;
        Self {
            state,
            destination: destination.map(|table| (table.dataset_id, table.table_id)),
            rows: statistics.and_then(|load| load.output_rows?.parse().ok()),
        }
    }
}

impl BigQuery {
    /// A job; `None` if BigQuery has accepted none of this id in this location.
    ///
    /// # Errors
    /// See [`BigQueryError`].
    pub async fn job(
        &self,
        id: &JobId,
        location: Option<&str>,
        deadline: Deadline,
    ) -> Result<Option<Job>, BigQueryError> {
        let url = located(&self.url(&["jobs", &id.0]), location);
        match self.request::<JobJson>(self.sending(deadline), |http| http.get(&url)).await {
            Ok(job) => Ok(Some(job.into())),
            Err(error) if error.is(StatusCode::NOT_FOUND) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A job once it is over; still `Running` if that is not before the deadline. `None` if BigQuery has
    /// accepted none of this id.
    ///
    /// # Errors
    /// See [`BigQueryError`].
    pub async fn job_when_over(
        &self,
        id: &JobId,
        location: Option<&str>,
        deadline: Deadline,
    ) -> Result<Option<Job>, BigQueryError> {
        let mut pauses = self.pauses();
        loop {
            let job = self.job(id, location, deadline).await?;
            if job.as_ref().is_none_or(|job| job.state != JobState::Running) {
                return Ok(job);
            }
            let wait = pauses.next();
            if Instant::now() + wait >= deadline.instant() {
                return Ok(job);
            }
            sleep(wait).await;
        }
    }

    /// Whether a job into a table of this dataset goes where it should.
    #[must_use]
    pub fn is_for(&self, job: &Job, table: &TableId) -> bool {
        job.destination
            .as_ref()
            .is_none_or(|(dataset, found)| *dataset == self.dataset && *found == table.as_str())
    }

    /// The job that loads rows of NDJSON into a table: all of them or none.
    pub(crate) fn load_job(&self, id: &JobId, table: &TableId, location: Option<&str>) -> Value {
        json!({
            "jobReference": self.job_reference(id, location),
            "configuration": { "load": {
                "destinationTable": self.table_reference(table),
                "sourceFormat": "NEWLINE_DELIMITED_JSON",
                "createDisposition": "CREATE_NEVER",
                "writeDisposition": "WRITE_APPEND",
            }},
        })
    }

    pub(crate) fn job_reference(&self, id: &JobId, location: Option<&str>) -> Value {
        match location {
            Some(location) => {
                json!({ "projectId": self.project, "jobId": id.0, "location": location })
            }
            None => json!({ "projectId": self.project, "jobId": id.0 }),
        }
    }
}

/// The address with a location, which consists of letters, digits and dashes.
fn located(url: &str, location: Option<&str>) -> String {
    match location {
        Some(location) => format!("{url}?location={location}"),
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_purpose_has_an_id_of_its_own() {
        assert_eq!(JobId::of("statshub_a-b-1").as_str(), "statshub_a-b-1");
        let odd = ["statshub_ü", "statshub_a b", &"x".repeat(1_025)].map(JobId::of);
        for id in &odd {
            assert!(id.as_str().starts_with("statshub-sha256-"), "{id}");
        }
        assert_ne!(odd[0], odd[1]);
    }
}
