//! `GET /history/{dim}/{key}/{kind}/{stat}`: from the request to a query of the archive in
//! BigQuery, and from its rows to JSON or CSV.
//!
//! One job of BigQuery answers a question, however many pages the answer has and however many ask
//! it before the table has other rows: they read from the job's result, and scan nothing.

mod accept;
mod history_csv;
mod history_json;
mod history_problem;
mod history_route;
mod page_token;
mod point;
mod question;
mod question_sql;
#[cfg(test)]
mod samples;
mod scan_limit;
mod tiers;

use std::sync::{Mutex, PoisonError};

use bigquery::{
    BigQuery, Columns, Config, JobState, Pace, Query, QueryFailure, StartedQuery, TableId,
};
use http::{
    StatusCode,
    header::{ACCEPT, VARY},
};
use shared::{
    deadline::Deadline,
    http::{Problem, Request, Response, link_next_page},
    lambda::{Call, HttpFunction},
};

use accept::AnswerFormat;
use history_problem::HistoryProblem;
use history_route::HistoryRoute;
use page_token::{AnswerJob, PageToken};
use point::Point;
use question::HistoryRequest;
pub use scan_limit::ScanLimit;
use tiers::LATEST;

/// The function that answers from the archive.
#[derive(Debug)]
pub struct Function {
    /// None if nothing is archived.
    bigquery: Option<BigQuery>,
    scan_limit: ScanLimit,
    random: Mutex<fastrand::Rng>,
}

/// A page of an answer.
#[derive(Debug, Default)]
struct HistoryPage {
    points: Vec<Point>,
    next: Option<PageToken>,
}

impl Function {
    /// The function on this archive, if there is one.
    #[must_use]
    pub fn new(bigquery: Option<BigQuery>, scan_limit: ScanLimit, random: fastrand::Rng) -> Self {
        Self { bigquery, scan_limit, random: Mutex::new(random) }
    }

    /// The function as the environment configures it.
    ///
    /// # Errors
    /// A variable is missing or wrong.
    pub fn from_env() -> Result<Self, lambda_runtime::Error> {
        let scan_limit = ScanLimit::from_variables(shared::config::variable)?;
        let config = Config::from_env()?;
        config.iter().for_each(Config::warn_of_long_lived_credentials);
        let bigquery =
            config.map(|config| BigQuery::new(&config, Pace::default(), fastrand::Rng::new()));
        Ok(Self::new(bigquery.transpose()?, scan_limit, fastrand::Rng::new()))
    }

    async fn history(&self, request: Request, call: Call) -> Result<Response, HistoryProblem> {
        let route = HistoryRoute::of(request.asked)?;
        let now = i64::try_from(call.now.0).unwrap_or(LATEST);
        let history = HistoryRequest::new(route, &request.parameters, now)?;
        let page = self.page(&history, call.deadline).await?;
        let (content_type, body) = match AnswerFormat::wanted_by(&request.headers) {
            AnswerFormat::Json => {
                let body = history_json::body(&history.question, &page.points, page.next.as_ref());
                ("application/json", body.map_err(HistoryProblem::defect)?)
            }
            AnswerFormat::Csv => {
                let body = history_csv::body(&page.points, history.cells)
                    .map_err(HistoryProblem::defect)?;
                ("text/csv; charset=utf-8", body)
            }
        };
        if !Response::fits(&body) {
            return Err(HistoryProblem::PageTooLarge);
        }
        let mut response = Response::new(StatusCode::OK, content_type, body);
        response.headers.insert(VARY, ACCEPT.into());
        if let Some(next) = &page.next {
            link_next_page(&mut response.headers, &request.parameters, &next.to_string());
        }
        Ok(response)
    }

    async fn page(
        &self,
        request: &HistoryRequest,
        deadline: Deadline,
    ) -> Result<HistoryPage, HistoryProblem> {
        let bigquery = self.bigquery.as_ref().ok_or(HistoryProblem::NotConfigured)?;
        let fingerprint = request.question.fingerprint();
        let (job, page) = match &request.page {
            Some(token) => (token.job.clone(), Some(token.page.as_str())),
            None => match self.start(bigquery, request, &fingerprint, deadline).await? {
                Some(job) => (job, None),
                None => return Ok(HistoryPage::default()),
            },
        };
        let job_ref = bigquery.job_ref(job.id(&fingerprint), job.location.as_deref());
        let read = bigquery.page(&job_ref, request.limit, page, deadline).await;
        let read = read.map_err(|failure| match failure {
            // BigQuery keeps a result for a day. Besides, somebody may have made the token up.
            QueryFailure::NoSuchPage if page.is_some() => HistoryProblem::NoSuchPage,
            QueryFailure::BigQuery(error) if page.is_some() && error.is_invalid() => {
                HistoryProblem::NoSuchPage
            }
            failure => self.failed(failure),
        })?;
        let points = read.rows.into_iter().map(|row| Point::of(&request.question, row));
        let points = points.collect::<Result<_, _>>().map_err(HistoryProblem::defect)?;
        let next = read.next.map(|page| PageToken {
            fingerprint,
            job,
            asked_at: request.asked_at,
            limit: request.limit,
            page,
        });
        Ok(HistoryPage { points, next })
    }

    /// Starts the job that answers a question; none if nothing that it asks for is archived.
    async fn start(
        &self,
        bigquery: &BigQuery,
        request: &HistoryRequest,
        fingerprint: &str,
        deadline: Deadline,
    ) -> Result<Option<AnswerJob>, HistoryProblem> {
        let question = &request.question;
        let Some(table) = bigquery.table(&TableId::from(&question.dimension), deadline).await?
        else {
            return Ok(None);
        };
        let columns = Columns::of(&table.schema).map_err(HistoryProblem::defect)?;
        let Some(column) = columns.find(question.group, &question.stat) else {
            return Ok(None);
        };
        let most = self.scan_limit.bytes();
        let query = question_sql::query(question, bigquery.dataset(), column, most)
            .map_err(HistoryProblem::defect)?;
        if let Some(version) = table.rows_version() {
            let job = AnswerJob::shared(table.location.clone(), &version, request.asked_at);
            if self.is_of_use(bigquery, &job, fingerprint, &query, deadline).await? {
                return Ok(Some(job));
            }
        }
        let job = {
            let mut random = self.random.lock().unwrap_or_else(PoisonError::into_inner);
            AnswerJob::new(table.location, &mut random)
        };
        self.start_job(bigquery, &job, fingerprint, &query, deadline).await?;
        Ok(Some(job))
    }

    /// Starts a job that others may have started before, unless that one has failed: it would fail
    /// everybody who asks the same.
    async fn is_of_use(
        &self,
        bigquery: &BigQuery,
        job: &AnswerJob,
        fingerprint: &str,
        query: &Query,
        deadline: Deadline,
    ) -> Result<bool, HistoryProblem> {
        match self.start_job(bigquery, job, fingerprint, query, deadline).await? {
            StartedQuery::Now => Ok(true),
            StartedQuery::Before => {
                let job_ref = bigquery.job_ref(job.id(fingerprint), job.location.as_deref());
                let found = bigquery.job(&job_ref, deadline).await?;
                Ok(found.is_some_and(|job| !matches!(job.state, JobState::Failed { .. })))
            }
        }
    }

    async fn start_job(
        &self,
        bigquery: &BigQuery,
        job: &AnswerJob,
        fingerprint: &str,
        query: &Query,
        deadline: Deadline,
    ) -> Result<StartedQuery, HistoryProblem> {
        let job_ref = bigquery.job_ref(job.id(fingerprint), job.location.as_deref());
        let started = bigquery.start_query(&job_ref, query, deadline).await;
        started.map_err(|failure| self.failed(failure))
    }

    fn failed(&self, failure: QueryFailure) -> HistoryProblem {
        match failure {
            QueryFailure::TooManyBytes => HistoryProblem::ScanTooLarge(self.scan_limit.bytes()),
            QueryFailure::BigQuery(error) => error.into(),
            // The client did not ask for this page.
            failure @ QueryFailure::NoSuchPage => HistoryProblem::defect(failure),
        }
    }
}

impl HttpFunction for Function {
    const NAME: &'static str = "history";
    const IS_HISTORY: bool = true;

    async fn answer(&self, request: Request, call: Call) -> Result<Response, Problem> {
        Ok(self.history(request, call).await?)
    }
}
