//! Problems as clients see them, and as the log does.

use std::{borrow::Cow, error::Error};

use http::{HeaderName, HeaderValue, StatusCode, header::RETRY_AFTER};
use serde::Serialize;

use super::{Response, response::RETRY_AFTER_SECONDS};

/// What a client gets in place of what it asked for. Every error that a request can end with
/// becomes one of these.
#[derive(Debug, thiserror::Error)]
#[error("{text}")]
pub struct Problem {
    status: StatusCode,
    /// What is wrong, and what to do about it. It shows neither a cause nor an internal name.
    text: Cow<'static, str>,
    /// The same for programs.
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Why, for the log alone.
    #[source]
    cause: Option<Box<dyn Error + Send + Sync>>,
}

impl Problem {
    /// A problem with this status, and these words for the client.
    #[must_use]
    pub fn new(status: StatusCode, text: impl Into<Cow<'static, str>>) -> Self {
        Self { status, text: text.into(), headers: Vec::new(), cause: None }
    }

    /// A defect, or a permission that is missing: a 500 that says nothing but that the log has
    /// more.
    #[must_use]
    pub fn internal(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let text = "an internal error, which has been logged";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, text).caused_by(cause)
    }

    /// The same with one more header.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The same with a `Retry-After`: the request may succeed a little later.
    #[must_use]
    pub fn retry_later(self) -> Self {
        self.with_header(RETRY_AFTER, RETRY_AFTER_SECONDS)
    }

    /// Whether the request may succeed a little later.
    #[must_use]
    pub fn is_worth_retrying(&self) -> bool {
        self.headers.iter().any(|(name, _)| name == RETRY_AFTER)
    }

    /// The same with a cause, which the log shows. A problem that the client caused has none: its
    /// text may quote the request, and the log must not.
    #[must_use]
    pub fn caused_by(mut self, cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// The status: from 400 to 599.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// Why, for the log alone.
    #[must_use]
    pub fn cause(&self) -> Option<&(dyn Error + Send + Sync + 'static)> {
        self.cause.as_deref()
    }

    /// The causes behind that, from the nearest on, in one line for the log.
    #[must_use]
    pub fn causes(&self) -> String {
        let mut causes = Vec::new();
        let mut cause = self.cause().and_then(Error::source);
        while let Some(error) = cause {
            causes.push(error.to_string());
            cause = error.source();
        }
        causes.join(": ")
    }
}

impl From<Problem> for Response {
    fn from(problem: Problem) -> Self {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct ProblemJson<'a> {
            succeeded: bool,
            error: &'a str,
        }
        let body = ProblemJson { succeeded: false, error: &problem.text };
        // A struct of a bool and a string always serializes.
        let body = serde_json::to_string(&body).unwrap_or_default();
        let mut response = Self::json(problem.status, body);
        response.headers.extend(problem.headers);
        response
    }
}

#[cfg(test)]
mod tests {
    use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE};

    use super::*;

    #[test]
    fn the_client_sees_the_text_and_the_headers_but_not_the_cause() {
        let problem = Problem::new(StatusCode::SERVICE_UNAVAILABLE, "say \"when\"")
            .with_header(ALLOW, HeaderValue::from_static("GET"))
            .retry_later()
            .caused_by("a secret");
        assert_eq!(problem.cause().unwrap().to_string(), "a secret");
        let response = Response::from(problem);
        assert_eq!(response.status, 503);
        assert_eq!(response.body, r#"{"Succeeded":false,"Error":"say \"when\""}"#);
        let headers = [ALLOW, RETRY_AFTER, CONTENT_TYPE, CACHE_CONTROL];
        let headers = headers.map(|name| response.headers[name].to_str().unwrap().to_owned());
        assert_eq!(headers, ["GET", "2", "application/json", "no-store"]);
    }

    #[test]
    fn a_defect_says_only_that_it_was_logged() {
        let problem = Problem::internal("a secret");
        assert_eq!(problem.to_string(), "an internal error, which has been logged");
        assert_eq!(problem.cause().unwrap().to_string(), "a secret");
        let response = Response::from(problem);
        assert_eq!(response.status, 500);
        assert!(!response.headers.contains_key(RETRY_AFTER));
    }
}
