//! Queries.

use std::time::Duration;

use reqwest::StatusCode;
use serde::Deserialize;
use serde_json::{Value, json};
use shared::deadline::Deadline;

use crate::{BigQuery, BigQueryError, JobRef, send::JsonBody};

/// A query in `GoogleSQL`, with parameters for its values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Query {
    /// The SQL, with `@name` for each parameter.
    pub sql: String,
    /// The parameters.
    pub parameters: Vec<(&'static str, Parameter)>,
    /// How many bytes it may read. If it would read more, BigQuery refuses it free of charge.
    pub max_bytes_billed: u64,
}

/// The value of a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parameter {
    /// A `STRING`.
    Text(String),
    /// An `INT64`.
    Integer(i64),
}

/// A page of a query's rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResultPage {
    /// The rows.
    pub rows: Vec<ResultRow>,
    /// The token that asks for the next page; none if this is the last.
    pub next: Option<String>,
}

/// A row: the text of each column, or none for `NULL`.
pub type ResultRow = Vec<Option<String>>;

/// Whether a query is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StartedQuery {
    /// It was started.
    Now,
    /// There was a job of this id, from somebody else or from a request whose answer was lost.
    Before,
}

/// Why a query has no rows to give.
#[derive(Debug, thiserror::Error)]
pub enum QueryFailure {
    /// It would read more than it may.
    #[error("the query would read more than it may")]
    TooManyBytes,
    /// There is no such query, or no longer, or no such page of it.
    #[error("there is no such page")]
    NoSuchPage,
    /// BigQuery refuses it, or is away.
    #[error(transparent)]
    BigQuery(#[from] BigQueryError),
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ResultsJson {
    #[serde(default)]
    job_complete: bool,
    #[serde(default)]
    rows: Vec<RowJson>,
    page_token: Option<String>,
}

#[derive(Deserialize)]
struct RowJson {
    f: Vec<CellJson>,
}

#[derive(Deserialize)]
struct CellJson {
    v: Option<Value>,
}

impl BigQuery {
    /// Starts a query as a job. If there is such a job already, it goes on.
    ///
    /// # Errors
    /// See [`BigQueryError`].
    pub async fn start_query(
        &self,
        job: &JobRef,
        query: &Query,
        deadline: Deadline,
    ) -> Result<StartedQuery, QueryFailure> {
        let url = self.url(job.project(), &["jobs"]);
        let parameters: Vec<_> =
            query.parameters.iter().map(|(name, value)| parameter_json(name, value)).collect();
        let body = json!({
            "jobReference": job,
            "configuration": { "query": {
                "query": query.sql,
                "useLegacySql": false,
                "parameterMode": "NAMED",
                "queryParameters": parameters,
                "maximumBytesBilled": query.max_bytes_billed.to_string(),
            }},
        });
        match self.request::<Value>(deadline, |http| http.post(&url).json_body(&body)).await {
            Ok(_) => Ok(StartedQuery::Now),
            Err(error) if error.is(StatusCode::CONFLICT) => Ok(StartedQuery::Before),
            Err(error) => Err(explain(error)),
        }
    }

    /// A page of at most `limit` rows of a query that was started, once the query is done.
    ///
    /// # Errors
    /// See [`QueryFailure`].
    pub async fn page(
        &self,
        job: &JobRef,
        limit: u32,
        page: Option<&str>,
        deadline: Deadline,
    ) -> Result<ResultPage, QueryFailure> {
        let url = self.url(job.project(), &["queries", job.id().as_str()]);
        let limit = limit.to_string();
        // `timeoutMs` is how long BigQuery waits for the query, which must be less than an attempt.
        let mut arguments = vec![
            ("maxResults", limit.as_str()),
            ("timeoutMs", "10000"),
            ("formatOptions.useInt64Timestamp", "true"),
        ];
        arguments.extend(job.location().map(|location| ("location", location)));
        arguments.extend(page.map(|page| ("pageToken", page)));
        let url = with_arguments(&url, &arguments);
        let mut pauses = self.pauses();
        loop {
            let results = self.request::<ResultsJson>(deadline, |http| http.get(&url)).await;
            let results = results.map_err(explain)?;
            if results.job_complete {
                return Ok(ResultPage {
                    rows: results.rows.into_iter().map(row).collect(),
                    next: results.page_token.filter(|page| !page.is_empty()),
                });
            }
            if !pauses.pause_before(deadline, Duration::ZERO).await {
                let cause = "the query takes too long".into();
                return Err(BigQueryError::Unavailable(cause).into());
            }
        }
    }
}

fn explain(error: BigQueryError) -> QueryFailure {
    match &error {
        BigQueryError::Refused { reason, .. } if reason == "bytesBilledLimitExceeded" => {
            QueryFailure::TooManyBytes
        }
        BigQueryError::Refused { status, .. } if *status == StatusCode::NOT_FOUND => {
            QueryFailure::NoSuchPage
        }
        _ => error.into(),
    }
}

fn parameter_json(name: &str, value: &Parameter) -> Value {
    let (r#type, value) = match value {
        Parameter::Text(text) => ("STRING", text.clone()),
        Parameter::Integer(integer) => ("INT64", integer.to_string()),
    };
    json!({ "name": name, "parameterType": { "type": r#type }, "parameterValue": { "value": value } })
}

fn row(row: RowJson) -> ResultRow {
    let text = |cell: CellJson| match cell.v {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) => Some(text),
        Some(other) => Some(other.to_string()),
    };
    row.f.into_iter().map(text).collect()
}

/// The address with these arguments.
pub(crate) fn with_arguments(url: &str, arguments: &[(&str, &str)]) -> String {
    let encode =
        |text| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC);
    let arguments: Vec<_> =
        arguments.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
    format!("{url}?{}", arguments.join("&"))
}
