//! `GET /history/{dim}/{key}/{kind}/{stat}`: from the request to a query of the archive in BigQuery, and
//! from its rows to JSON or CSV.
//!
//! A question is answered by one job of BigQuery, however many pages its answer has: later pages are read
//! from the job's result, and scan nothing.

mod csv;
mod format;
mod json;
mod page;
mod point;
mod request;
mod settings;
mod sql;
mod tiers;

use std::sync::{Mutex, PoisonError};

use bigquery::{BigQuery, BigQueryError, Columns, Config, Pace, QueryFailure, TableId};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{ACCEPT, LINK, VARY},
};
use shared::{
    deadline::Deadline,
    http::{ApiError, Parameters, Request, Response, Route, Upstream},
    lambda::{Call, HttpFunction},
};

use format::Format;
use page::{Job, LATEST, PageToken};
use point::Point;
use request::HistoryRequest;
pub use settings::Settings;

/// The function that answers from the archive.
#[derive(Debug)]
pub struct Function {
    /// None where nothing is archived.
    bigquery: Option<BigQuery>,
    settings: Settings,
    random: Mutex<fastrand::Rng>,
}

/// A page of an answer.
#[derive(Debug, Default)]
struct Page {
    points: Vec<Point>,
    next: Option<PageToken>,
}

impl Function {
    /// The function on this archive, if there is one.
    #[must_use]
    pub fn new(bigquery: Option<BigQuery>, settings: Settings, random: fastrand::Rng) -> Self {
        Self { bigquery, settings, random: Mutex::new(random) }
    }

    /// The function as the environment configures it.
    ///
    /// # Errors
    /// A variable is missing or wrong.
    pub fn from_env() -> Result<Self, lambda_runtime::Error> {
        let settings = Settings::from_variables(shared::config::variable)?;
        let bigquery = Config::from_env()?
            .map(|config| BigQuery::new(&config, Pace::default(), fastrand::Rng::new()));
        Ok(Self::new(bigquery.transpose()?, settings, fastrand::Rng::new()))
    }

    async fn page(&self, request: &HistoryRequest, deadline: Deadline) -> Result<Page, ApiError> {
        let bigquery = self.bigquery.as_ref().ok_or(ApiError::HistoryNotConfigured)?;
        let fingerprint = request.question.fingerprint();
        let (job, page) = match &request.page {
            Some(token) => (token.job.clone(), Some(token.page.as_str())),
            None => match self.start(bigquery, request, &fingerprint, deadline).await? {
                Some(job) => (job, None),
                None => return Ok(Page::default()),
            },
        };
        let job_ref = bigquery.job_ref(job.id(&fingerprint), job.location.as_deref());
        let read = bigquery.page(&job_ref, request.limit, page, deadline).await;
        let read = read.map_err(|failure| match failure {
            // The result is kept for a day; and a token may be made up.
            QueryFailure::NoSuchPage if page.is_some() => ApiError::NoSuchPage,
            QueryFailure::BigQuery(error) if page.is_some() && error.is_invalid() => {
                ApiError::NoSuchPage
            }
            failure => self.failed(failure),
        })?;
        let points = read.rows.into_iter().map(|row| Point::of(&request.question, row));
        let points = points.collect::<Result<_, _>>().map_err(internal)?;
        let next = read.next.map(|page| PageToken {
            fingerprint,
            job,
            asked_at: request.asked_at,
            limit: request.limit,
            page,
        });
        Ok(Page { points, next })
    }

    /// Starts the job that answers a question; none if nothing of it is archived.
    async fn start(
        &self,
        bigquery: &BigQuery,
        request: &HistoryRequest,
        fingerprint: &str,
        deadline: Deadline,
    ) -> Result<Option<Job>, ApiError> {
        let question = &request.question;
        let table = bigquery.table(&TableId::from(&question.dimension), deadline).await;
        let Some(table) = table.map_err(upstream)? else {
            return Ok(None);
        };
        let columns = Columns::of(&table.schema).map_err(internal)?;
        let Some(column) = columns.find(question.group, &question.stat) else {
            return Ok(None);
        };
        let most = self.settings.max_bytes_billed;
        let query = sql::query(question, bigquery.dataset(), column, most).map_err(internal)?;
        let job = {
            let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
            Job::new(table.location, &mut random)
        };
        let job_ref = bigquery.job_ref(job.id(fingerprint), job.location.as_deref());
        let started = bigquery.start_query(&job_ref, &query, deadline).await;
        started.map_err(|failure| self.failed(failure))?;
        Ok(Some(job))
    }

    fn failed(&self, failure: QueryFailure) -> ApiError {
        match failure {
            QueryFailure::TooManyBytes => ApiError::ScanTooLarge(self.settings.max_bytes_billed),
            QueryFailure::BigQuery(error) => upstream(error),
            // Not a page that a client asks for.
            failure @ QueryFailure::NoSuchPage => internal(failure),
        }
    }
}

impl HttpFunction for Function {
    const NAME: &'static str = "history";

    async fn answer(&self, request: Request, call: Call) -> Result<Response, ApiError> {
        let Route::History { dimension, key, group, stat } = request.route else {
            return Err(ApiError::NotFound);
        };
        let now = i64::try_from(call.now.0).unwrap_or(LATEST);
        let path = (dimension, key, group, stat);
        let history = HistoryRequest::new(path, &request.parameters, now)?;
        let page = self.page(&history, call.deadline).await?;
        let (content_type, body) = match Format::wanted_by(&request.headers) {
            Format::Json => {
                let body = json::body(&history.question, &page.points, page.next.as_ref());
                ("application/json", body.map_err(internal)?)
            }
            Format::Csv => ("text/csv; charset=utf-8", csv::body(&page.points).map_err(internal)?),
        };
        if !Response::fits(&body) {
            return Err(ApiError::PageTooLarge);
        }
        let mut response = Response::new(StatusCode::OK, content_type, body);
        response.headers.insert(VARY, ACCEPT.into());
        link(&mut response.headers, &request.parameters, page.next.as_ref());
        Ok(response)
    }
}

/// Tells where the next page is: at the same path, whatever comes before it in a deployment.
fn link(headers: &mut HeaderMap, parameters: &Parameters, next: Option<&PageToken>) {
    let Some(next) = next else { return };
    let same = parameters.iter().filter(|(name, _)| *name != "page");
    let query = form_urlencoded::Serializer::new(String::new())
        .extend_pairs(same)
        .append_pair("page", &next.to_string())
        .finish();
    // What is encoded for a URL is fit for a header.
    if let Ok(value) = HeaderValue::from_str(&format!("<?{query}>; rel=\"next\"")) {
        headers.insert(LINK, value);
    }
}

fn upstream(error: BigQueryError) -> ApiError {
    let kind = match &error {
        BigQueryError::Throttled(_) => Upstream::Throttled,
        BigQueryError::Unavailable(_) => Upstream::Unavailable,
        BigQueryError::Refused { .. } | BigQueryError::Credentials(_) => Upstream::Internal,
    };
    ApiError::Upstream { kind, cause: error.into() }
}

fn internal(cause: impl Into<shared::store::Cause>) -> ApiError {
    ApiError::Upstream { kind: Upstream::Internal, cause: cause.into() }
}
