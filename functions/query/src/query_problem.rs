//! Why a query has no answer, and what the client gets instead.

use http::StatusCode;
use shared::{
    http::{Problem, RequestError},
    store::StoreError,
};

/// Why a query has no answer.
#[derive(Debug)]
pub(crate) enum QueryProblem {
    /// The request has an unknown parameter, or another function answers it.
    Request(RequestError),
    /// The store failed.
    Store(StoreError),
    /// The answer could not be written as JSON. Names and sums always can be.
    Json(serde_json::Error),
    /// The answer would be larger than a Lambda function may return.
    AnswerTooLarge,
}

impl From<QueryProblem> for Problem {
    fn from(problem: QueryProblem) -> Self {
        match problem {
            QueryProblem::Request(error) => error.into(),
            QueryProblem::Store(error) => error.into(),
            QueryProblem::Json(error) => Self::internal(error),
            QueryProblem::AnswerTooLarge => Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "the answer would exceed 6 MB: query a smaller dimension, or the archive",
            ),
        }
    }
}

impl From<RequestError> for QueryProblem {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

impl From<StoreError> for QueryProblem {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<serde_json::Error> for QueryProblem {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(error)
    }
}

#[cfg(test)]
mod tests {
    use serde::ser::Error as _;

    use super::*;

    #[test]
    fn each_problem_has_a_status_its_own_words_and_a_cause_if_the_client_is_not_at_fault() {
        for (problem, status, text, cause) in [
            (RequestError::NotFound.into(), 404, "there is nothing at this path", None),
            (QueryProblem::AnswerTooLarge, 413, "the answer would exceed 6 MB", None),
            (
                StoreError::Throttled("secret".into()).into(),
                429,
                "too many requests at the moment",
                Some("throttled for too long"),
            ),
            (
                serde_json::Error::custom("secret").into(),
                500,
                "an internal error, which has been logged",
                Some("secret"),
            ),
        ] {
            let problem = Problem::from(problem);
            assert_eq!(problem.status(), status, "{problem}");
            assert!(problem.to_string().starts_with(text), "{problem}");
            assert!(!problem.to_string().contains("secret"), "{problem}");
            assert_eq!(problem.cause().map(ToString::to_string).as_deref(), cause);
        }
    }
}
