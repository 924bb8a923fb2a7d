//! Why a query has no answer, and what the client gets instead.

use std::error::Error;

use http::StatusCode;
use shared::{
    domain::Overflow,
    http::{Problem, RequestError},
    store::StoreError,
};

use crate::stats_question::QuestionError;

/// Why a query has no answer.
#[derive(Debug)]
pub(crate) enum QueryProblem {
    /// The request has an unknown parameter, or another function answers it.
    Request(RequestError),
    /// A parameter is not valid.
    Question(QuestionError),
    /// No update of this id has ever been counted.
    UnknownId,
    /// The store failed.
    Store(StoreError),
    /// The answer would be larger than a Lambda function may return.
    AnswerTooLarge,
    /// The same, and this would help.
    TooLarge(Remedy),
    /// A defect: the answer could not be written. Names and sums always can be.
    Defect(Box<dyn Error + Send + Sync>),
}

/// What makes an answer smaller.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remedy {
    /// To ask for a part of a dimension.
    Part,
    /// To ask for less of each page.
    SmallerPage,
    /// To ask for some of the stats.
    FewerStats,
    /// To ask for single dimensions.
    SingleDimensions,
    /// To ask for a single key.
    SingleKey,
}

impl Remedy {
    fn text(self) -> &'static str {
        match self {
            Self::Part => {
                "ask for pages with limit, for some keys with key or prefix, for some stats with \
                 stat, or for the total alone with limit=0"
            }
            Self::SmallerPage => "ask for pages with a smaller limit, or for some stats with stat",
            Self::FewerStats => "ask for some stats with stat",
            Self::SingleDimensions => {
                "ask for single dimensions at /stats/{dim}, which come in pages with limit"
            }
            Self::SingleKey => "ask for single keys instead of *",
        }
    }
}

impl QueryProblem {
    /// A defect with this cause.
    pub(crate) fn defect(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Defect(cause.into())
    }

    /// The same, with what helps if the answer is too large.
    pub(crate) fn with(self, remedy: Remedy) -> Self {
        match self {
            Self::AnswerTooLarge => Self::TooLarge(remedy),
            other => other,
        }
    }
}

impl From<QueryProblem> for Problem {
    fn from(problem: QueryProblem) -> Self {
        match problem {
            QueryProblem::Request(error) => error.into(),
            QueryProblem::Question(error) => Self::new(StatusCode::BAD_REQUEST, error.to_string()),
            QueryProblem::UnknownId => {
                Self::new(StatusCode::NOT_FOUND, "nothing is known of this id")
            }
            QueryProblem::Store(error) => error.into(),
            QueryProblem::AnswerTooLarge => {
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, "the answer would exceed 6 MB")
            }
            QueryProblem::TooLarge(remedy) => {
                let text = format!("the answer would exceed 6 MB: {}", remedy.text());
                Self::new(StatusCode::PAYLOAD_TOO_LARGE, text)
            }
            QueryProblem::Defect(cause) => Self::internal(cause),
        }
    }
}

impl From<RequestError> for QueryProblem {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

impl From<QuestionError> for QueryProblem {
    fn from(error: QuestionError) -> Self {
        match error {
            QuestionError::Request(error) => Self::Request(error),
            error => Self::Question(error),
        }
    }
}

impl From<Overflow> for QueryProblem {
    fn from(error: Overflow) -> Self {
        Self::Store(error.into())
    }
}

impl From<StoreError> for QueryProblem {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl From<serde_json::Error> for QueryProblem {
    fn from(error: serde_json::Error) -> Self {
        Self::defect(error)
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
            (
                QuestionError::from(shared::http::PageTokenError::NotAToken).into(),
                400,
                "page: it is not the next",
                None,
            ),
            (QueryProblem::UnknownId, 404, "nothing is known of this id", None),
            (QueryProblem::AnswerTooLarge, 413, "the answer would exceed 6 MB", None),
            (
                QueryProblem::AnswerTooLarge.with(Remedy::Part),
                413,
                "the answer would exceed 6 MB: ask for pages with limit, for some keys with key or",
                None,
            ),
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
