//! Results of queries, page by page.

use hyper::StatusCode;
use serde_json::{Value, json};

use crate::{
    google_error::{GoogleError, GoogleResult},
    job_record::JobError,
};

/// How page tokens begin; an offset follows.
const TOKEN: &str = "page-";
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
    pub(crate) fn json(&self, job_reference: &Value, wanted: RowRange) -> Value {
        let Self { schema, rows } = self;
        let shown: Vec<_> =
            rows.iter().skip(wanted.start).take(wanted.count).map(row_json).collect();
        let next = wanted.start.saturating_add(shown.len());
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
        if let Some(answer) = answer.as_object_mut().filter(|_| next < rows.len()) {
            answer.insert("pageToken".to_owned(), format!("{TOKEN}{next}").into());
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

/// What a client says about the rows it wants.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PageRequest<'a> {
    pub(crate) location: Option<&'a str>,
    pub(crate) max_results: Option<&'a str>,
    pub(crate) token: Option<&'a str>,
    pub(crate) start_index: Option<&'a str>,
}

/// Rows of a result, by their positions.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RowRange {
    start: usize,
    /// How many, at most.
    count: usize,
}

impl PageRequest<'_> {
    /// The rows asked for, at most `page_size`.
    pub(crate) fn range(&self, page_size: usize) -> GoogleResult<RowRange> {
        let count = self.max_results()?.min(page_size);
        Ok(RowRange { start: self.start()?, count })
    }

    fn max_results(&self) -> GoogleResult<usize> {
        let error = |_| GoogleError::invalid("Invalid value for maxResults");
        self.max_results.map_or(Ok(usize::MAX), |max| max.parse().map_err(error))
    }

    /// A page token takes precedence over a start index.
    fn start(&self) -> GoogleResult<usize> {
        if let Some(token) = self.token {
            let start = token.strip_prefix(TOKEN).and_then(|start| start.parse().ok());
            return start.ok_or_else(|| GoogleError::invalid("Invalid page token"));
        }
        let error = |_| GoogleError::invalid("Invalid value for startIndex");
        self.start_index.map_or(Ok(0), |start| start.parse().map_err(error))
    }
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
