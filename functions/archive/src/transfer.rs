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
    /// What is not in it.
    pub(crate) left_out: LeftOutCounts,
}

/// How much was left out of the rows of a slot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LeftOutCounts {
    /// How many fields, since their sums are beyond 64 bits.
    pub beyond_64_bits: u64,
    /// How many values of keys, since the table has no room for columns of their stats.
    pub without_column: u64,
}

/// Whether a table may get new columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NewColumns {
    /// As many as there is room for.
    Allowed,
    /// None, because BigQuery has refused some.
    Refused,
}

/// Reads a dimension, and uploads its rows as this job.
///
/// While the table has room, stats get columns in the order of the keys; those of a key by name,
/// counters first. Another order would need all keys in memory, or a second look at them. Whoever
/// floods a table may keep new stats out of it, but no stat that it has a column for.
///
/// # Errors
/// See [`Unfinished`].
pub(crate) async fn transfer(
    due: &Due<'_>,
    job: &JobRef,
    new_columns: NewColumns,
) -> Result<Transferred, Unfinished> {
    let table = due.table().await?;
    let mut keys = due.store.keys(due.dimension, due.clock.now(), due.deadline);
    let columns = Columns::of(&table.schema)?;
    let columns = match new_columns {
        NewColumns::Allowed => columns,
        NewColumns::Refused => columns.without_new(),
    };
    let mut rows = Rows::new(due.slot.start(), columns);
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
    let LeftOut { beyond_64_bits, without_column } = left_out;
    let left_out = LeftOutCounts {
        beyond_64_bits: beyond_64_bits.count,
        without_column: without_column.count,
    };
    Ok(Transferred { accepted, left_out })
}

fn warn(due: &Due<'_>, LeftOut { beyond_64_bits, without_column }: &LeftOut) {
    if let Some((key, group, stat)) = &beyond_64_bits.first {
        let (count, stat) = (beyond_64_bits.count, format!("{}.{stat}", group.name()));
        tracing::warn!(dimension = %due.dimension, count, key, stat, "sums beyond 64 bits are left \
            out, of which this is the first");
    }
    if without_column.count > 0 {
        let (count, stats) = (without_column.count, without_column.names());
        tracing::warn!(dimension = %due.dimension, count, stats, "the table has no room for more \
            columns: values of some stats are left out, of which these are the first");
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
