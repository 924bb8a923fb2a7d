//! Why a slot is not archived.

use bigquery::{BigQueryError, ColumnError, JobId, UploadError};
use shared::store::StoreError;

use crate::rows::RowError;

/// How often a run reads a dimension and uploads its rows, if jobs fail or uploads get lost.
pub(crate) const MAX_UPLOADS: u32 = 3;

/// Why a slot is not archived, or not known to be.
#[derive(Debug, thiserror::Error)]
pub enum SlotError {
    /// The dimension can't be read.
    #[error("the dimension can't be read")]
    Store(#[from] StoreError),
    /// BigQuery refuses, or is away.
    #[error(transparent)]
    BigQuery(#[from] BigQueryError),
    /// A column of the table is not as it must be.
    #[error("the table of the dimension can't hold its stats: {0}")]
    Columns(#[from] ColumnError),
    /// A row can't be written.
    #[error("a row can't be written")]
    Row(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The jobs failed.
    #[error("the load job {job} failed: {reason}: {message}")]
    Failed {
        /// The last job.
        job: JobId,
        /// BigQuery's word for it.
        reason: String,
        /// BigQuery's explanation.
        message: String,
    },
    /// A job was not over before the deadline. It may still succeed.
    #[error("the load job {0} is not over yet")]
    Running(JobId),
    /// One upload after another got lost.
    #[error("rows were uploaded {MAX_UPLOADS} times, and there is no job of them")]
    Lost,
    /// The job of the slot's id is for another table.
    #[error("the job {0} is another one: is the table of statshub archived from elsewhere too?")]
    Foreign(JobId),
}

impl From<RowError> for SlotError {
    fn from(error: RowError) -> Self {
        match error {
            RowError::Column(error) => Self::Columns(error),
            error => Self::Row(error.into()),
        }
    }
}

/// Why an upload did not end with a job.
#[derive(Debug)]
pub(crate) enum Unfinished {
    /// It may have, or another attempt may.
    Again(SlotError),
    /// BigQuery refuses the new columns. Another attempt may, without any.
    WithoutNewColumns(SlotError),
    /// It did not, and no other attempt would.
    Final(SlotError),
}

impl Unfinished {
    /// After a failure of BigQuery to take an upload: a job may have been accepted all the same.
    pub(crate) fn upload(error: impl Into<UploadError>) -> Self {
        match error.into() {
            UploadError::Gone => Self::Again(SlotError::Lost),
            UploadError::BigQuery(error @ BigQueryError::Unavailable(_)) => {
                Self::Again(error.into())
            }
            UploadError::BigQuery(error) => Self::Final(error.into()),
        }
    }
}

impl<E: Into<SlotError>> From<E> for Unfinished {
    fn from(error: E) -> Self {
        Self::Final(error.into())
    }
}
