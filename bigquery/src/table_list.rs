//! The list of the dataset's tables.

use std::collections::BTreeMap;

use reqwest::StatusCode;
use serde::Deserialize;
use shared::{deadline::Deadline, domain::UnixSeconds};

use crate::{BigQuery, BigQueryError, query::with_arguments};

/// How many tables an answer has at most. BigQuery gives fewer if it likes.
const PAGE: &str = "1000";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListJson {
    #[serde(default)]
    tables: Option<Vec<TableJson>>,
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TableJson {
    table_reference: TableReferenceJson,
    /// In milliseconds since 1970.
    creation_time: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct TableReferenceJson {
    table_id: String,
}

impl BigQuery {
    /// When each table of the dataset was made, by the names of the tables; empty if there is no
    /// dataset.
    ///
    /// # Errors
    /// The credentials don't permit `bigquery.tables.list`, for example; see [`BigQueryError`].
    pub async fn tables(
        &self,
        deadline: Deadline,
    ) -> Result<BTreeMap<String, UnixSeconds>, BigQueryError> {
        let url = self.url(&self.project, &["datasets", &self.dataset, "tables"]);
        let mut tables = BTreeMap::new();
        let mut page: Option<String> = None;
        loop {
            let mut arguments = vec![("maxResults", PAGE)];
            arguments.extend(page.as_deref().map(|page| ("pageToken", page)));
            let url = with_arguments(&url, &arguments);
            let list = match self.request::<ListJson>(deadline, |http| http.get(&url)).await {
                Ok(list) => list,
                Err(error) if error.is(StatusCode::NOT_FOUND) => return Ok(tables),
                Err(error) => return Err(error),
            };
            let made = list.tables.into_iter().flatten().filter_map(|table| {
                let milliseconds: u64 = table.creation_time?.parse().ok()?;
                Some((table.table_reference.table_id, UnixSeconds(milliseconds / 1_000)))
            });
            tables.extend(made);
            page = list.next_page_token.filter(|page| !page.is_empty());
            if page.is_none() {
                return Ok(tables);
            }
        }
    }
}
