//! Why there is no file to give, and what the client gets instead.

use http::StatusCode;
use shared::http::{Problem, RequestError};

/// Why there is no file to give.
#[derive(Debug)]
pub(crate) enum DashboardProblem {
    /// The request has a parameter, or another function answers it.
    Request(RequestError),
    /// The page has no such file, or not any more.
    NoSuchFile,
}

impl From<DashboardProblem> for Problem {
    fn from(problem: DashboardProblem) -> Self {
        match problem {
            DashboardProblem::Request(error) => error.into(),
            DashboardProblem::NoSuchFile => Self::new(
                StatusCode::NOT_FOUND,
                "the page has no such file (any more): load the page again",
            ),
        }
    }
}

impl From<RequestError> for DashboardProblem {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}
