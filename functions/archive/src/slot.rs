//! Archiving a slot of a dimension: at most one load job of it ever succeeds.
//!
//! The id of a job is derived from the slot and a number `n`, and BigQuery accepts one job of an id. So
//! whatever is repeated, lost or done by two runs at once, the first job that was accepted as `n` is the
//! only one; its rows are the slot's, also if they were read by another run. Only a job that is over and
//! has failed, which loads nothing, makes room for `n + 1`. One that may still succeed is waited for.

use std::time::Duration;

use bigquery::{
    Accepted, BigQuery, BigQueryError, CHUNK_STEP, ColumnError, Columns, Job, JobId, JobState,
    Table, TableId, Upload, UploadError,
};
use bytes::BytesMut;
use shared::{
    deadline::Deadline,
    domain::{DimensionName, UnixSeconds},
    store::{FoldPlan, Store, StoreError},
};
use tokio::time::Instant;

use crate::{
    Slot,
    rows::{RowError, Rows, rfc3339},
};

/// How many bytes of rows are held. More are uploaded as they are read.
const CHUNK: usize = 16 * CHUNK_STEP;
/// How often rows are read and uploaded in a run, where jobs fail or uploads get lost.
const MAX_UPLOADS: u32 = 3;
/// How long a job is waited for. The next run, or a repetition of this one, goes on.
const LONGEST_JOB: Duration = Duration::from_secs(180);
/// How often the columns of a table are looked at and changed, where somebody else changes them too.
const MAX_CHANGES: u32 = 5;

/// Why a slot is not archived, or not known to be.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The dimension can't be read.
    #[error("the dimension can't be read")]
    Store(#[from] StoreError),
    /// BigQuery refuses, or is away.
    #[error(transparent)]
    BigQuery(#[from] BigQueryError),
    /// The table can't hold the dimension's stats.
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
    /// A job was not over when time was up. It may still succeed.
    #[error("the load job {0} is not over yet")]
    Running(JobId),
    /// Uploads got lost, one after another.
    #[error("rows were uploaded {MAX_UPLOADS} times, and there is no job of them")]
    Lost,
    /// The job of the slot's id is for another table.
    #[error("the job {0} is another one: is the table of statshub archived from elsewhere too?")]
    Foreign(JobId),
}

/// What became of a slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Its rows were written by this run.
    Written {
        /// How many; none if BigQuery does not say.
        rows: Option<u64>,
        /// How many fields were left out, since their sums are beyond 64 bits.
        left_out: u64,
    },
    /// Its rows had been written before.
    WrittenBefore,
    /// The run came too late, and there are no rows.
    Missed,
}

/// A slot to be archived.
#[derive(Debug)]
pub(crate) struct Load<'a> {
    pub(crate) store: &'a Store,
    pub(crate) bigquery: &'a BigQuery,
    pub(crate) dimension: &'a DimensionName,
    pub(crate) slot: Slot,
    pub(crate) clock: Clock,
    pub(crate) deadline: Deadline,
}

/// The time of day, which goes on while a run lasts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    began_at: UnixSeconds,
    began: Instant,
}

impl Clock {
    pub(crate) fn starting_at(began_at: UnixSeconds) -> Self {
        Self { began_at, began: Instant::now() }
    }

    pub(crate) fn now(&self) -> UnixSeconds {
        self.began_at.after(self.began.elapsed())
    }
}

/// What an upload did.
struct Uploaded {
    accepted: Accepted,
    left_out: u64,
    plan: FoldPlan,
}

/// Why an upload did not end with a job.
enum Unfinished {
    /// It may have, or another attempt may.
    Again(LoadError),
    /// It did not, and another attempt would not either.
    Final(LoadError),
}

impl<E: Into<LoadError>> From<E> for Unfinished {
    fn from(error: E) -> Self {
        Self::Final(error.into())
    }
}

impl Load<'_> {
    /// Archives the slot, unless that is done; with the steps of folding that the dimension needs, if it was
    /// read to its end.
    pub(crate) async fn run(&self) -> (Result<Outcome, LoadError>, Option<FoldPlan>) {
        let mut plan = None;
        (self.archive(&mut plan).await, plan)
    }

    async fn archive(&self, plan: &mut Option<FoldPlan>) -> Result<Outcome, LoadError> {
        let table = self.bigquery.table_or_new(&self.table_id(), self.deadline).await?;
        let location = table.location.as_deref();
        let mut failed = None;
        let mut refused = None;
        let mut uploads = 0;
        let mut uploaded = None;
        let mut n = 0;
        loop {
            let id = self.job_id(n);
            let deadline = self.deadline.at_most(LONGEST_JOB);
            let job = self.bigquery.job_when_over(&id, location, deadline).await?;
            if job.as_ref().is_some_and(|job| !self.bigquery.is_for(job, &self.table_id())) {
                return Err(LoadError::Foreign(id));
            }
            // Another run's job may have been there nonetheless.
            if job.is_none()
                && let Some(error) = refused.take()
            {
                return Err(error);
            }
            match job {
                Some(Job { state: JobState::Succeeded, rows, .. }) => {
                    return Ok(match uploaded {
                        Some(left_out) => Outcome::Written { rows, left_out },
                        None => Outcome::WrittenBefore,
                    });
                }
                Some(Job { state: JobState::Running, .. }) => return Err(LoadError::Running(id)),
                Some(Job { state: JobState::Failed { reason, message }, .. }) => {
                    tracing::warn!(job = %id, reason, message, "a load job failed, and loaded nothing");
                    failed = Some(LoadError::Failed { job: id, reason, message });
                    uploaded = None;
                    n += 1;
                }
                None if self.slot.is_over(self.clock.now()) => return Ok(Outcome::Missed),
                None if uploads == MAX_UPLOADS => return Err(failed.unwrap_or(LoadError::Lost)),
                None => {
                    uploads += 1;
                    match self.upload(&id, location).await {
                        Ok(done) => {
                            uploaded = (done.accepted == Accepted::Now).then_some(done.left_out);
                            *plan = Some(done.plan);
                        }
                        Err(Unfinished::Again(error)) => {
                            tracing::warn!(job = %id, cause = ?error, "an upload is done again");
                            failed = Some(error);
                        }
                        Err(Unfinished::Final(error)) => refused = Some(error),
                    }
                }
            }
        }
    }

    /// Reads the dimension, and uploads its rows as the job `id`.
    async fn upload(&self, id: &JobId, location: Option<&str>) -> Result<Uploaded, Unfinished> {
        let table = self.table().await?;
        let mut keys = self.store.keys(self.dimension, self.clock.now(), self.deadline);
        let mut rows = Rows::new(self.slot.start(), Columns::of(&table.schema)?);
        let mut chunks = Chunks { load: self, id, location, held: BytesMut::new(), upload: None };
        while let Some((key, stats)) = keys.next().await? {
            rows.key(&key, &stats, &mut chunks.held)?;
            chunks.send_full_ones().await?;
        }
        rows.total(&mut chunks.held)?;
        // The job does not begin before its last rows have come, so there is time for that.
        if rows.columns().has_new() {
            self.add_columns(rows.columns()).await?;
        }
        let accepted = chunks.finish().await?;
        let left_out = rows.into_left_out();
        if let Some((key, group, stat)) = left_out.first {
            let (count, stat) = (left_out.count, format!("{}.{stat}", group.name()));
            tracing::warn!(dimension = %self.dimension, count, key, stat, "sums beyond 64 bits are left \
                out, of which this is the first");
        }
        Ok(Uploaded { accepted, left_out: left_out.count, plan: keys.into_fold_plan() })
    }

    /// Gives the table the columns that it lacks, and looks whether it has them.
    async fn add_columns(&self, columns: &Columns) -> Result<(), Unfinished> {
        let mut pauses = self.bigquery.pauses();
        for change in 0..MAX_CHANGES {
            // The first change is looked at directly; if it can't be seen, it may be later.
            if change > 1 {
                pauses.pause().await;
            }
            let table = self.table().await?;
            let schema = match columns.missing_from(&table.schema) {
                Ok(Some(schema)) => schema,
                Ok(None) => return Ok(()),
                // The rows name columns that are another stat's by now.
                Err(error @ ColumnError::Moved) => return Err(Unfinished::Again(error.into())),
                Err(error) => return Err(error.into()),
            };
            let changed =
                self.bigquery.change_schema(&self.table_id(), &table, &schema, self.deadline).await;
            match changed {
                Ok(_) => {}
                // Another run has added some meanwhile, and BigQuery does not take them away again.
                Err(error) if error.is_invalid() => {
                    tracing::info!(table = %self.table_id(), cause = ?error, "a schema is changed again");
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(ColumnError::Moved.into())
    }

    async fn table(&self) -> Result<Table, BigQueryError> {
        self.bigquery.table_or_new(&self.table_id(), self.deadline).await
    }

    fn table_id(&self) -> TableId {
        TableId::from(self.dimension)
    }

    /// The id of the slot's job of number `n`. Names of datasets have no dashes, and times no more.
    fn job_id(&self, n: u32) -> JobId {
        let digits = |c: &char| c.is_ascii_alphanumeric();
        let time: String = rfc3339(self.slot.start()).chars().filter(digits).collect();
        JobId::of(&format!("statshub_{}-{}-{time}-{n}", self.bigquery.dataset(), self.dimension))
    }
}

/// Rows on their way: in one request if there are few, else in chunks.
struct Chunks<'a> {
    load: &'a Load<'a>,
    id: &'a JobId,
    location: Option<&'a str>,
    held: BytesMut,
    upload: Option<Upload<'a>>,
}

impl Chunks<'_> {
    async fn send_full_ones(&mut self) -> Result<(), Unfinished> {
        // What is sent here is never the end, since the total follows.
        while self.held.len() > CHUNK {
            let chunk = self.held.split_to(CHUNK).freeze();
            if self.upload.is_none() {
                let load = self.load;
                let table = load.table_id();
                let upload =
                    load.bigquery.start_upload(self.id, &table, self.location, load.deadline).await;
                self.upload = Some(upload.map_err(again)?);
            }
            if let Some(upload) = &mut self.upload {
                upload.send(chunk, self.load.deadline).await.map_err(again)?;
            }
        }
        Ok(())
    }

    async fn finish(self) -> Result<Accepted, Unfinished> {
        let Load { bigquery, deadline, .. } = self.load;
        match self.upload {
            Some(upload) => upload.finish(self.held.freeze(), *deadline).await.map_err(again),
            None => bigquery
                .load(self.id, &self.load.table_id(), self.location, &self.held, *deadline)
                .await
                .map_err(again),
        }
    }
}

/// After a failure to upload, a job may have been accepted all the same.
fn again(error: impl Into<UploadError>) -> Unfinished {
    match error.into() {
        UploadError::Gone => Unfinished::Again(LoadError::Lost),
        UploadError::BigQuery(error @ BigQueryError::Unavailable(_)) => {
            Unfinished::Again(error.into())
        }
        UploadError::BigQuery(error) => Unfinished::Final(error.into()),
    }
}

impl From<RowError> for LoadError {
    fn from(error: RowError) -> Self {
        match error {
            RowError::Column(error) => Self::Columns(error),
            error => Self::Row(error.into()),
        }
    }
}
