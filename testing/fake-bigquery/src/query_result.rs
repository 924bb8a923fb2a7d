//! Results of queries, page by page.

use hyper::StatusCode;
use serde_json::{Value, json};

use crate::{
    google_error::GoogleError,
    job_record::JobError,
    paging::{PageRange, next_token},
};

const KIND: &str = "bigquery#getQueryResultsResponse";

/// A row of a query's result: text or null for each column.
pub(crate) type ResultRow = Vec<Option<String>>;

/// The schema and the rows of a query's result.
#[derive(Debug, Clone)]
pub(crate) struct QueryResult {
    pub(crate) schema: Value,
    pub(crate) rows: Vec<ResultRow>,
}

impl Default for QueryResult {
    fn default() -> Self {
        Self { schema: json!({"fields": []}), rows: Vec::new() }
    }
}

impl QueryResult {
    /// The answer with the rows that a client asks for.
    pub(crate) fn json(&self, job_reference: &Value, wanted: PageRange) -> Value {
        let Self { schema, rows } = self;
        let shown: Vec<_> =
            rows.iter().skip(wanted.start).take(wanted.count).map(row_json).collect();
        let next = next_token(wanted, shown.len(), rows.len());
        let mut answer = json!({
            "kind": KIND,
            "etag": "\"results\"",
            "jobReference": job_reference,
            "jobComplete": true,
            "schema": schema,
            "totalRows": rows.len().to_string(),
            "totalBytesProcessed": "0",
            "cacheHit": false,
            "rows": shown,
        });
        if let (Some(answer), Some(next)) = (answer.as_object_mut(), next) {
            answer.insert("pageToken".to_owned(), next.into());
        }
        answer
    }
}

/// The answer while a query has no result yet.
pub(crate) fn incomplete(job_reference: &Value) -> Value {
    json!({"kind": KIND, "jobReference": job_reference, "jobComplete": false})
}

/// The answer if a query failed.
pub(crate) fn failed(error: &JobError) -> GoogleError {
    let JobError { reason, message } = error;
    GoogleError::new(status_of(reason), reason, message.clone())
}

fn row_json(row: &ResultRow) -> Value {
    let cells: Vec<_> = row.iter().map(|value| json!({"v": value})).collect();
    json!({"f": cells})
}

fn status_of(reason: &str) -> StatusCode {
    match reason {
        "notFound" => StatusCode::NOT_FOUND,
        "accessDenied" | "quotaExceeded" | "rateLimitExceeded" | "billingNotEnabled" => {
            StatusCode::FORBIDDEN
        }
        "backendError" | "internalError" => StatusCode::INTERNAL_SERVER_ERROR,
        _ => StatusCode::BAD_REQUEST,
    }
}
