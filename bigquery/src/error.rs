//! Why BigQuery did not do what it was asked to.

use std::error::Error;

use reqwest::StatusCode;

/// A cause, for the log.
pub type Cause = Box<dyn Error + Send + Sync>;

/// Why BigQuery did not do what it was asked to.
#[derive(Debug, thiserror::Error)]
pub enum BigQueryError {
    /// BigQuery refuses the request, and would again.
    #[error("BigQuery refuses: {status}, {reason}: {message}")]
    Refused {
        /// The HTTP status.
        status: StatusCode,
        /// BigQuery's word for it, such as `accessDenied`; empty if there is none.
        reason: String,
        /// BigQuery's explanation.
        message: String,
    },
    /// Until the deadline, a quota or rate of BigQuery was exceeded.
    #[error("BigQuery throttles")]
    Throttled(#[source] Cause),
    /// Until the deadline, BigQuery gave no answer, or none that makes sense.
    #[error("BigQuery is not available")]
    Unavailable(#[source] Cause),
    /// The credentials give no token.
    #[error("the credentials of GOOGLE_TOKEN give no access token")]
    Credentials(#[source] Cause),
}

impl BigQueryError {
    /// Whether BigQuery refuses with this status.
    #[must_use]
    pub fn is(&self, status: StatusCode) -> bool {
        matches!(self, Self::Refused { status: refused, .. } if *refused == status)
    }

    /// Whether BigQuery refuses the request as not valid.
    #[must_use]
    pub fn is_invalid(&self) -> bool {
        self.is(StatusCode::BAD_REQUEST)
    }
}
