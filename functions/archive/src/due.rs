//! What a run has to archive, and what it needs for that.

use bigquery::{BigQuery, BigQueryError, JobId, JobRef, Table, TableId};
use shared::{deadline::Deadline, domain::DimensionName, store::Store};

use crate::{Slot, clock::Clock, rows::rfc3339};

/// A slot of a dimension that is due.
#[derive(Debug)]
pub(crate) struct Due<'a> {
    pub(crate) store: &'a Store,
    pub(crate) bigquery: &'a BigQuery,
    pub(crate) dimension: &'a DimensionName,
    pub(crate) slot: Slot,
    pub(crate) clock: Clock,
    pub(crate) deadline: Deadline,
}

impl Due<'_> {
    pub(crate) fn table_id(&self) -> TableId {
        TableId::from(self.dimension)
    }

    /// The dimension's table, new if there is none.
    pub(crate) async fn table(&self) -> Result<Table, BigQueryError> {
        self.bigquery.table_or_new(&self.table_id(), self.deadline).await
    }

    /// The slot's job of this number, in the location of the dimension's table.
    pub(crate) fn job(&self, number: u32, location: Option<&str>) -> JobRef {
        let is_plain = |c: &char| c.is_ascii_alphanumeric();
        let time: String = rfc3339(self.slot.start()).chars().filter(is_plain).collect();
        // No two slots share an id: dashes separate its parts, and datasets and times contain none.
        let (dataset, dimension) = (self.bigquery.dataset(), self.dimension);
        let id = JobId::of(&format!("statshub_{dataset}-{dimension}-{time}-{number}"));
        self.bigquery.job_ref(id, location)
    }
}
