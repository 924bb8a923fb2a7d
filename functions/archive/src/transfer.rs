//! From the store to BigQuery: a dimension's rows as one load job.

use bigquery::{Accepted, CHUNK_STEP, Columns, JobRef, Upload};
use bytes::BytesMut;

use crate::{
    due::Due,
    rows::{LeftOut, Rows},
    slot_error::Unfinished,
    widen::widen,
};

/// The most bytes of rows that a run holds. It uploads more while it reads.
const CHUNK: usize = 16 * CHUNK_STEP;

/// A transfer that ended with an accepted job.
#[derive(Debug)]
pub(crate) struct Transferred {
    /// Whose job it is.
    pub(crate) accepted: Accepted,
    /// How many fields were left out, since their sums are beyond 64 bits.
    pub(crate) left_out: u64,
}

/// Reads a dimension, and uploads its rows as this job.
///
/// # Errors
/// See [`Unfinished`].
pub(crate) async fn transfer(due: &Due<'_>, job: &JobRef) -> Result<Transferred, Unfinished> {
    let table = due.table().await?;
    let mut keys = due.store.keys(due.dimension, due.clock.now(), due.deadline);
    let mut rows = Rows::new(due.slot.start(), Columns::of(&table.schema)?);
    let mut chunks = Chunks { due, job, held: BytesMut::new(), upload: None };
    while let Some((key, stats)) = keys.next().await? {
        rows.key(&key, &stats, &mut chunks.held)?;
        chunks.send_full_ones().await?;
    }
    rows.total(&mut chunks.held)?;
    // The job begins once its last rows have arrived, which leaves time to add the columns they
    // need.
    if rows.columns().has_new() {
        widen(due, rows.columns()).await?;
    }
    let accepted = chunks.finish().await?;
    let left_out = rows.into_left_out();
    warn(due, &left_out);
    Ok(Transferred { accepted, left_out: left_out.count })
}

fn warn(due: &Due<'_>, left_out: &LeftOut) {
    if let Some((key, group, stat)) = &left_out.first {
        let (count, stat) = (left_out.count, format!("{}.{stat}", group.name()));
        tracing::warn!(dimension = %due.dimension, count, key, stat, "sums beyond 64 bits are left \
            out, of which this is the first");
    }
}

/// Rows on their way: in one request if there are few, else in chunks.
struct Chunks<'a> {
    due: &'a Due<'a>,
    job: &'a JobRef,
    held: BytesMut,
    upload: Option<Upload<'a>>,
}

impl Chunks<'_> {
    async fn send_full_ones(&mut self) -> Result<(), Unfinished> {
        // The total follows, so these chunks are never the last.
        while self.held.len() > CHUNK {
            let chunk = self.held.split_to(CHUNK).freeze();
            let Due { bigquery, deadline, .. } = *self.due;
            if self.upload.is_none() {
                let upload = bigquery.start_upload(self.job, &self.due.table_id(), deadline).await;
                self.upload = Some(upload.map_err(Unfinished::upload)?);
            }
            if let Some(upload) = &mut self.upload {
                upload.send(chunk, deadline).await.map_err(Unfinished::upload)?;
            }
        }
        Ok(())
    }

    async fn finish(self) -> Result<Accepted, Unfinished> {
        let Due { bigquery, deadline, .. } = *self.due;
        match self.upload {
            Some(upload) => {
                upload.finish(self.held.freeze(), deadline).await.map_err(Unfinished::upload)
            }
            None => {
                let table = self.due.table_id();
                let loaded = bigquery.load(self.job, &table, &self.held, deadline).await;
                loaded.map_err(Unfinished::upload)
            }
        }
    }
}
