//! Errors as BigQuery answers them.

use hyper::StatusCode;
use serde_json::{Value, json};

use crate::http::{self, Answer};

/// An error with which a request is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct GoogleError {
    status: StatusCode,
    reason: String,
    message: String,
}

pub(crate) type GoogleResult<T> = Result<T, GoogleError>;

impl GoogleError {
    pub(crate) fn new(status: StatusCode, reason: &str, message: impl Into<String>) -> Self {
        Self { status, reason: reason.to_owned(), message: message.into() }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid", message)
    }

    /// The request asks for something that BigQuery has, but the fake has not.
    pub(crate) fn not_in_fake(what: &str) -> Self {
        Self::invalid(format!("fake-bigquery has no {what}"))
    }

    pub(crate) fn required(what: &str) -> Self {
        let message = format!("Required parameter is missing: {what}");
        Self::new(StatusCode::BAD_REQUEST, "required", message)
    }

    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, "notFound", format!("Not found: {what}"))
    }

    pub(crate) fn duplicate(what: &str) -> Self {
        Self::new(StatusCode::CONFLICT, "duplicate", format!("Already Exists: {what}"))
    }

    pub(crate) fn unauthenticated() -> Self {
        let message = "Request had invalid authentication credentials. Expected OAuth 2 access \
            token, login cookie or other valid authentication credential.";
        Self::new(StatusCode::UNAUTHORIZED, "authError", message)
    }

    pub(crate) fn answer(&self) -> Answer {
        let mut answer = http::json(self.status, &self.body());
        if self.status == StatusCode::UNAUTHORIZED {
            http::set_header(&mut answer, "www-authenticate", "Bearer realm=\"fake-bigquery\"");
        }
        answer
    }

    fn body(&self) -> Value {
        body(self.status.as_u16(), &self.reason, &self.message)
    }
}

/// The body of an error.
pub(crate) fn body(status: u16, reason: &str, message: &str) -> Value {
    let error = json!({"message": message, "domain": "global", "reason": reason});
    json!({"error": {
        "code": status,
        "message": message,
        "errors": [error],
        "status": status_name(status),
    }})
}

fn status_name(status: u16) -> &'static str {
    match status {
        400 => "INVALID_ARGUMENT",
        401 => "UNAUTHENTICATED",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        409 => "ALREADY_EXISTS",
        412 => "FAILED_PRECONDITION",
        429 => "RESOURCE_EXHAUSTED",
        500 => "INTERNAL",
        503 => "UNAVAILABLE",
        _ => "UNKNOWN",
    }
}
