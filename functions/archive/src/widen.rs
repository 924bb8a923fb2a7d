//! New columns for a table.

use bigquery::{ColumnError, Columns};

use crate::{due::Due, slot_error::Unfinished};

/// How often to look at the columns of a table and change them, if somebody else changes them too.
const MAX_CHANGES: u32 = 5;

/// Gives the table the columns that it lacks, and makes sure that it has them.
///
/// # Errors
/// The table has no room for the columns, or has them for other stats by now; or BigQuery refuses
/// them.
pub(crate) async fn widen(due: &Due<'_>, columns: &Columns) -> Result<(), Unfinished> {
    let mut pauses = due.bigquery.pauses();
    let mut refused = None;
    for change in 0..MAX_CHANGES {
        // Look at the first change directly. If it can't be seen, it may be later.
        if change > 1 {
            pauses.pause().await;
        }
        let table = due.table().await?;
        let schema = match columns.missing_from(&table.schema) {
            Ok(Some(schema)) => schema,
            Ok(None) => return Ok(()),
            // The rows name columns that by now hold another stat, or don't fit anymore.
            Err(error @ (ColumnError::Moved | ColumnError::Full)) => {
                return Err(Unfinished::Again(error.into()));
            }
            Err(error) => return Err(error.into()),
        };
        let id = due.table_id();
        match due.bigquery.change_schema(&id, &table, &schema, due.deadline).await {
            Ok(_) => {}
            // Another run has added columns meanwhile, which BigQuery refuses to remove again. Or
            // there is less room than the schema shows: deleted columns count for a while.
            Err(error) if error.is_invalid() => {
                tracing::info!(table = %id, cause = ?error, "a schema is changed again");
                refused = Some(error);
            }
            Err(error) => return Err(error.into()),
        }
    }
    Err(match refused {
        Some(error) => Unfinished::WithoutNewColumns(error.into()),
        None => ColumnError::Moved.into(),
    })
}
