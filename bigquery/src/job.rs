//! Jobs: work that BigQuery has accepted, and does whether or not anybody waits for it.

use std::{fmt, time::Duration};

use reqwest::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use shared::deadline::Deadline;

use crate::{BigQuery, BigQueryError, TableId};

/// Longest id of a job. Source: *`JobReference`*, BigQuery REST reference.
const MAX_ID_CHARS: usize = 1_024;

/// The id of a job. BigQuery accepts one job of an id at most, so work whose id is derived from its
/// purpose is done at most once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JobId(String);

impl JobId {
    /// The id for a `purpose`; no two purposes share one.
    ///
    /// A purpose that consists of ASCII letters, digits, `_` and `-` is the id itself; of others,
    /// the id has the SHA-256.
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

/// What BigQuery identifies a job by: its project, location and id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct JobRef {
    project_id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    location: Option<String>,
    job_id: JobId,
}

impl JobRef {
    /// The id.
    #[must_use]
    pub fn id(&self) -> &JobId {
        &self.job_id
    }

    pub(crate) fn project(&self) -> &str {
        &self.project_id
    }

    pub(crate) fn location(&self) -> Option<&str> {
        self.location.as_deref()
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
    /// It is over, and changed nothing.
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
    status: StatusJson,
    #[serde(default)]
    configuration: ConfigurationJson,
    #[serde(default)]
    statistics: StatisticsJson,
}

#[derive(Default, Deserialize)]
struct StatisticsJson {
    load: Option<LoadStatisticsJson>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LoadStatisticsJson {
    output_rows: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct StatusJson {
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
struct ConfigurationJson {
    load: Option<LoadJson>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct LoadJson {
    destination_table: Option<DestinationJson>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct DestinationJson {
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
    /// A job of this project. Jobs on a table are in the location of the table.
    #[must_use]
    pub fn job_ref(&self, id: JobId, location: Option<&str>) -> JobRef {
        JobRef {
            project_id: self.project.clone(),
            location: location.map(str::to_owned),
            job_id: id,
        }
    }

    /// A job; `None` if BigQuery has not accepted it.
    ///
    /// # Errors
    /// See [`BigQueryError`].
    pub async fn job(
        &self,
        job: &JobRef,
        deadline: Deadline,
    ) -> Result<Option<Job>, BigQueryError> {
        let mut url = self.url(job.project(), &["jobs", job.id().as_str()]);
        if let Some(location) = job.location() {
            // It consists of letters, digits and dashes.
            url = format!("{url}?location={location}");
        }
        match self.request::<JobJson>(deadline, |http| http.get(&url)).await {
            Ok(job) => Ok(Some(job.into())),
            Err(error) if error.is(StatusCode::NOT_FOUND) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A job once it is over; still `Running` if the deadline passes first. `None` if BigQuery has
    /// not accepted it.
    ///
    /// # Errors
    /// See [`BigQueryError`].
    pub async fn job_when_over(
        &self,
        job: &JobRef,
        deadline: Deadline,
    ) -> Result<Option<Job>, BigQueryError> {
        let mut pauses = self.pauses();
        loop {
            let found = self.job(job, deadline).await?;
            let is_over = found.as_ref().is_none_or(|found| found.state != JobState::Running);
            if is_over || !pauses.pause_before(deadline, Duration::ZERO).await {
                return Ok(found);
            }
        }
    }

    /// Whether a load job loads into this table.
    #[must_use]
    pub fn is_for(&self, job: &Job, table: &TableId) -> bool {
        job.destination
            .as_ref()
            .is_none_or(|(dataset, found)| *dataset == self.dataset && *found == table.as_str())
    }

    /// The job that loads rows of NDJSON into a table: all of them or none.
    pub(crate) fn load_job(&self, job: &JobRef, table: &TableId) -> Value {
        json!({
            "jobReference": job,
            "configuration": { "load": {
                "destinationTable": self.table_reference(table),
                "sourceFormat": "NEWLINE_DELIMITED_JSON",
                "createDisposition": "CREATE_NEVER",
                "writeDisposition": "WRITE_APPEND",
            }},
        })
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
