//! Tables: one for each dimension.

use std::fmt;

use reqwest::{StatusCode, header::IF_MATCH};
use serde::Deserialize;
use serde_json::{Value, json};
use shared::{deadline::Deadline, domain::DimensionName};

use crate::{BigQuery, BigQueryError, Schema, send::JsonBody};

/// The name of a dimension's table: that of the dimension, since BigQuery accepts every one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableId(String);

impl From<&DimensionName> for TableId {
    fn from(dimension: &DimensionName) -> Self {
        Self(dimension.as_str().to_owned())
    }
}

impl TableId {
    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TableId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A table as it is.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Table {
    /// Where its data is. Jobs on the table have to name it.
    pub location: Option<String>,
    /// Its columns.
    #[serde(default)]
    pub schema: Schema,
    /// The version of the table.
    etag: Option<String>,
    last_modified_time: Option<String>,
    num_rows: Option<String>,
    num_bytes: Option<String>,
}

impl Table {
    /// A text that is another one as soon as the table has other rows. None if BigQuery says
    /// nothing of them.
    #[must_use]
    pub fn rows_version(&self) -> Option<String> {
        let rows = self.num_rows.as_deref()?;
        let time = self.last_modified_time.as_deref().unwrap_or_default();
        let bytes = self.num_bytes.as_deref().unwrap_or_default();
        Some(format!("{time} {rows} {bytes}"))
    }
}

impl BigQuery {
    /// The table of a dimension; `None` if there is none, or no dataset.
    ///
    /// # Errors
    /// See [`BigQueryError`].
    pub async fn table(
        &self,
        table: &TableId,
        deadline: Deadline,
    ) -> Result<Option<Table>, BigQueryError> {
        let url = self.table_url(table);
        match self.request(deadline, |http| http.get(&url)).await {
            Ok(table) => Ok(Some(table)),
            Err(error) if error.is(StatusCode::NOT_FOUND) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The table of a dimension. If there is none, creates it, partitioned by day and clustered by
    /// key; and its dataset, if there is none.
    ///
    /// # Errors
    /// See [`BigQueryError`].
    pub async fn table_or_new(
        &self,
        table: &TableId,
        deadline: Deadline,
    ) -> Result<Table, BigQueryError> {
        if let Some(table) = self.table(table, deadline).await? {
            return Ok(table);
        }
        let mut created = self.create_table(table, deadline).await;
        if matches!(&created, Err(error) if error.is(StatusCode::NOT_FOUND)) {
            created = match self.create_dataset(deadline).await {
                Ok(()) => self.create_table(table, deadline).await,
                Err(error) => Err(error),
            };
        }
        // This run created it, or another one at the same time.
        match self.table(table, deadline).await? {
            Some(table) => Ok(table),
            None => {
                created?;
                let cause = "a table is not there once created".into();
                Err(BigQueryError::Unavailable(cause))
            }
        }
    }

    /// Gives a table another schema, unless the table has changed since it was read: then returns
    /// `false`.
    ///
    /// # Errors
    /// BigQuery refuses to remove columns, for example; see [`BigQueryError`].
    pub async fn change_schema(
        &self,
        id: &TableId,
        table: &Table,
        schema: &Schema,
        deadline: Deadline,
    ) -> Result<bool, BigQueryError> {
        let url = self.table_url(id);
        let body = json!({ "schema": schema });
        let answer = self.request::<Value>(deadline, |http| {
            let request = http.patch(&url).json_body(&body);
            match &table.etag {
                Some(etag) => request.header(IF_MATCH, etag),
                None => request,
            }
        });
        match answer.await {
            Ok(_) => Ok(true),
            // An attempt whose answer was lost has changed the table, or somebody else has.
            Err(error) if error.is(StatusCode::PRECONDITION_FAILED) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn create_table(&self, table: &TableId, deadline: Deadline) -> Result<(), BigQueryError> {
        let url = self.url(&self.project, &["datasets", &self.dataset, "tables"]);
        let body = json!({
            "tableReference": self.table_reference(table),
            "description": "archived by statshub",
            "schema": Schema::new(),
            "timePartitioning": { "type": "DAY", "field": "_ts" },
            "clustering": { "fields": ["_dim"] },
        });
        self.create(&url, &body, deadline).await
    }

    async fn create_dataset(&self, deadline: Deadline) -> Result<(), BigQueryError> {
        let url = self.url(&self.project, &["datasets"]);
        let mut body = json!({
            "datasetReference": { "projectId": self.project, "datasetId": self.dataset },
        });
        if let (Some(location), Some(body)) = (&self.location, body.as_object_mut()) {
            body.insert("location".to_owned(), location.as_str().into());
        }
        tracing::info!(dataset = self.dataset, "creating the dataset");
        self.create(&url, &body, deadline).await
    }

    async fn create(
        &self,
        url: &str,
        body: &Value,
        deadline: Deadline,
    ) -> Result<(), BigQueryError> {
        let answer = self.request::<Value>(deadline, |http| http.post(url).json_body(body)).await;
        match answer {
            Ok(_) => Ok(()),
            // An attempt whose answer was lost has created it, or another run has.
            Err(error) if error.is(StatusCode::CONFLICT) => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn table_url(&self, table: &TableId) -> String {
        self.url(&self.project, &["datasets", &self.dataset, "tables", &table.0])
    }

    pub(crate) fn table_reference(&self, table: &TableId) -> Value {
        json!({ "projectId": self.project, "datasetId": self.dataset, "tableId": table.0 })
    }
}
