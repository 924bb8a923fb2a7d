//! The policy on failures: what an attempt that failed means, and whether another may succeed.

use std::time::Duration;

use reqwest::{
    StatusCode,
    header::{HeaderMap, RETRY_AFTER},
};
use serde::Deserialize;

use crate::{BigQueryError, error::Cause};

/// How much an error repeats of an answer that is not BigQuery's, in characters.
const MAX_QUOTED_CHARS: usize = 200;

/// The words by which BigQuery says that a request may succeed later. Source: *Error messages*,
/// BigQuery documentation.
const THROTTLING: [&str; 4] =
    ["rateLimitExceeded", "userRateLimitExceeded", "jobRateLimitExceeded", "quotaExceeded"];
const TRANSIENT: [&str; 4] =
    ["backendError", "internalError", "jobBackendError", "jobInternalError"];

/// Why an attempt failed, and whether another may succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// BigQuery no longer takes the access token.
    Token(BigQueryError),
    /// Another attempt may succeed, but not sooner than `after`.
    Again { error: BigQueryError, after: Duration },
    /// Another attempt would fail as well.
    Final(BigQueryError),
}

impl Failure {
    /// An attempt without an answer that makes sense.
    pub(crate) fn transient(cause: impl Into<Cause>) -> Self {
        Self::Again { error: BigQueryError::Unavailable(cause.into()), after: Duration::ZERO }
    }

    /// What an answer means that is not a success.
    pub(crate) fn of(status: StatusCode, headers: &HeaderMap, body: &[u8]) -> Self {
        let (reason, message) = explanation(body);
        let is_throttled =
            status == StatusCode::TOO_MANY_REQUESTS || THROTTLING.contains(&reason.as_str());
        let is_transient = status.is_server_error()
            || status == StatusCode::REQUEST_TIMEOUT
            || TRANSIENT.contains(&reason.as_str());
        let error = BigQueryError::Refused { status, reason, message };
        let again = |error| Self::Again { error, after: retry_after(headers) };
        if status == StatusCode::UNAUTHORIZED {
            Self::Token(error)
        } else if is_throttled {
            again(BigQueryError::Throttled(error.into()))
        } else if is_transient {
            again(BigQueryError::Unavailable(error.into()))
        } else {
            Self::Final(error)
        }
    }
}

/// BigQuery's word for a failure, and its explanation.
fn explanation(body: &[u8]) -> (String, String) {
    #[derive(Deserialize)]
    struct ErrorBody {
        error: Explanation,
    }
    #[derive(Deserialize)]
    struct Explanation {
        #[serde(default)]
        message: String,
        #[serde(default)]
        errors: Vec<ErrorItem>,
    }
    #[derive(Deserialize)]
    struct ErrorItem {
        #[serde(default)]
        reason: String,
    }
    match serde_json::from_slice::<ErrorBody>(body) {
        Ok(ErrorBody { error }) => {
            let reason = error.errors.into_iter().next().map(|item| item.reason);
            (reason.unwrap_or_default(), error.message)
        }
        // A proxy on the way may have answered.
        Err(_) => {
            let text = String::from_utf8_lossy(body);
            (String::new(), text.chars().take(MAX_QUOTED_CHARS).collect())
        }
    }
}

/// The wait that an answer asks for in whole seconds; dates are ignored.
fn retry_after(headers: &HeaderMap) -> Duration {
    let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    Duration::from_secs(seconds.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use reqwest::header::HeaderValue;
    use serde_json::json;

    use super::*;

    fn failure(status: StatusCode, reason: &str) -> Failure {
        let body = json!({"error": {"message": "why", "errors": [{"reason": reason}]}});
        Failure::of(status, &HeaderMap::new(), body.to_string().as_bytes())
    }

    #[test]
    fn the_reason_decides_where_the_status_does_not() {
        let forbidden = |reason| failure(StatusCode::FORBIDDEN, reason);
        assert!(matches!(forbidden("accessDenied"), Failure::Final(_)));
        for reason in THROTTLING {
            let failure = forbidden(reason);
            assert!(
                matches!(&failure, Failure::Again { error: BigQueryError::Throttled(_), .. }),
                "{reason}: {failure:?}"
            );
        }
        for reason in TRANSIENT {
            let failure = forbidden(reason);
            assert!(
                matches!(&failure, Failure::Again { error: BigQueryError::Unavailable(_), .. }),
                "{reason}: {failure:?}"
            );
        }
        assert!(matches!(failure(StatusCode::UNAUTHORIZED, "authError"), Failure::Token(_)));
    }

    #[test]
    fn an_answer_that_is_not_bigquerys_is_quoted_in_part() {
        let page = "é".repeat(MAX_QUOTED_CHARS + 1);
        let failure = Failure::of(StatusCode::NOT_FOUND, &HeaderMap::new(), page.as_bytes());
        let Failure::Final(BigQueryError::Refused { reason, message, .. }) = failure else {
            panic!("{failure:?}");
        };
        assert_eq!((reason.as_str(), message.chars().count()), ("", MAX_QUOTED_CHARS));
    }

    #[test]
    fn a_wait_that_the_answer_asks_for_is_kept_if_it_is_in_seconds() {
        for (value, seconds) in [("3", 3), ("Wed, 21 Oct 2026 07:28:00 GMT", 0), ("-1", 0)] {
            let headers = HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(value))]);
            let failure = Failure::of(StatusCode::SERVICE_UNAVAILABLE, &headers, b"");
            let Failure::Again { after, .. } = failure else { panic!("{failure:?}") };
            assert_eq!(after, Duration::from_secs(seconds), "{value}");
        }
    }
}
