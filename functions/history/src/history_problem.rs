//! Why there is no history to give, and what the client gets instead.

use std::error::Error;

use bigquery::BigQueryError;
use http::StatusCode;
use shared::http::{Problem, RequestError};

use crate::question::QuestionError;

/// Why there is no history to give.
#[derive(Debug)]
pub(crate) enum HistoryProblem {
    /// The request has an unknown or repeated parameter, or another function answers it.
    Request(RequestError),
    /// A parameter is not valid.
    Question(QuestionError),
    /// Nothing is archived here.
    NotConfigured,
    /// The answer would take reading more than so many bytes, which is what the configuration
    /// allows.
    ScanTooLarge(u64),
    /// The page is not there any more, or never was.
    NoSuchPage,
    /// The page would be larger than a Lambda function may return.
    PageTooLarge,
    /// BigQuery refused, or was away.
    Archive(BigQueryError),
    /// A defect: BigQuery answered what it should not, or an answer could not be written.
    Defect(Box<dyn Error + Send + Sync>),
}

impl HistoryProblem {
    /// A defect with this cause.
    pub(crate) fn defect(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Defect(cause.into())
    }
}

impl From<HistoryProblem> for Problem {
    fn from(problem: HistoryProblem) -> Self {
        match problem {
            HistoryProblem::Request(error) => error.into(),
            HistoryProblem::Question(error) => {
                Self::new(StatusCode::BAD_REQUEST, error.to_string())
            }
            HistoryProblem::NotConfigured => Self::new(
                StatusCode::NOT_FOUND,
                "there is no history: it needs the archive to BigQuery, which is not configured \
                 (GOOGLE_PROJECT)",
            ),
            HistoryProblem::ScanTooLarge(bytes) => Self::new(
                StatusCode::BAD_REQUEST,
                format!(
                    "to answer, more than {bytes} bytes of the archive would have to be read: ask \
                     for a shorter range with from and to, or raise HISTORY_MAX_BYTES_BILLED"
                ),
            ),
            HistoryProblem::NoSuchPage => Self::new(
                StatusCode::NOT_FOUND,
                "there is no such page (any more): ask for the first page again, without page",
            ),
            HistoryProblem::PageTooLarge => Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "the page would exceed 6 MB: ask for it again with a smaller limit",
            ),
            HistoryProblem::Archive(error) => of_archive(error),
            HistoryProblem::Defect(cause) => Self::internal(cause),
        }
    }
}

fn of_archive(error: BigQueryError) -> Problem {
    let (status, text) = match error {
        BigQueryError::Throttled(_) => (
            StatusCode::TOO_MANY_REQUESTS,
            "too many requests to the archive at the moment; try again a little later",
        ),
        BigQueryError::Unavailable(_) => {
            (StatusCode::SERVICE_UNAVAILABLE, "the archive did not answer in time; try again later")
        }
        // A defect, or a permission that is missing.
        BigQueryError::Refused { .. } | BigQueryError::Credentials(_) => {
            return Problem::internal(error);
        }
    };
    Problem::new(status, text).retry_later().caused_by(error)
}

impl From<RequestError> for HistoryProblem {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

impl From<QuestionError> for HistoryProblem {
    fn from(error: QuestionError) -> Self {
        match error {
            QuestionError::Request(error) => Self::Request(error),
            error => Self::Question(error),
        }
    }
}

impl From<BigQueryError> for HistoryProblem {
    fn from(error: BigQueryError) -> Self {
        Self::Archive(error)
    }
}

#[cfg(test)]
mod tests {
    use http::header::RETRY_AFTER;
    use shared::http::Response;

    use super::*;

    #[test]
    fn each_problem_has_a_status_says_what_to_do_and_shows_no_cause() {
        let secret = || "secret".into();
        for (problem, status, text) in [
            (RequestError::NotFound.into(), 404, "/history/{dim}/{key}/{counter|gauge}/{stat}"),
            (
                QuestionError::from(shared::http::PageTokenError::NotAToken).into(),
                400,
                "leave page out",
            ),
            (HistoryProblem::NotConfigured, 404, "GOOGLE_PROJECT"),
            (HistoryProblem::ScanTooLarge(5), 400, "more than 5 bytes"),
            (HistoryProblem::NoSuchPage, 404, "ask for the first page again"),
            (HistoryProblem::PageTooLarge, 413, "a smaller limit"),
            (BigQueryError::Throttled(secret()).into(), 429, "try again"),
            (BigQueryError::Unavailable(secret()).into(), 503, "try again"),
            (BigQueryError::Credentials(secret()).into(), 500, "logged"),
            (HistoryProblem::Defect(secret()), 500, "logged"),
        ] {
            let problem = Problem::from(problem);
            let is_logged = matches!(status, 429 | 500..);
            assert_eq!(problem.cause().is_some(), is_logged, "{problem}");
            let response = Response::from(problem);
            assert_eq!(response.status, status, "{text}");
            assert_eq!(response.headers.contains_key(RETRY_AFTER), matches!(status, 429 | 503));
            assert!(response.body.contains(text), "{}", response.body);
            assert!(!response.body.contains("secret"), "{}", response.body);
        }
    }
}
