//! Errors as clients see them: the one place that knows status codes.

use std::borrow::Cow;

use http::{
    HeaderName, HeaderValue, StatusCode,
    header::{ACCEPT_ENCODING, ALLOW, RETRY_AFTER, WWW_AUTHENTICATE},
};
use serde::Serialize;

use super::Response;
use crate::{
    auth::{Denial, Scope},
    domain::{NameError, UpdateError},
    store::{Cause, StoreError},
};

/// Seconds after which a client is asked to try again.
const RETRY_AFTER_SECONDS: HeaderValue = HeaderValue::from_static("2");

/// Why a request is refused or failed. Its text is for the client.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// Who asks may not.
    #[error(transparent)]
    Denied(#[from] Denial),
    /// The update is not valid.
    #[error(transparent)]
    Update(#[from] UpdateError),
    /// A name in the path or a header is not valid.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The request is not valid.
    #[error("{0}")]
    Malformed(String),
    /// The body has more bytes than an update may have, or would have if all of it were decoded.
    #[error("the body has more than {most} bytes, which is the most that an update may have")]
    BodyTooLarge {
        /// Most bytes.
        most: usize,
    },
    /// The body has a coding that is not understood.
    #[error(
        "the body's Content-Encoding \"{0}\" is not understood: send it as it is, or compressed by \
         gzip"
    )]
    UnknownCoding(String),
    /// There is nothing at this path.
    #[error(
        "there is nothing at this path; see POST /stats/{{id}}, GET /stats/{{dim}}, GET /stats/ and \
         GET /history/{{dim}}/{{key}}/{{counter|gauge}}/{{stat}}"
    )]
    NotFound,
    /// The path has other methods, which are named.
    #[error("this path takes {0}")]
    MethodNotAllowed(&'static str),
    /// The answer would be larger than a Lambda function may return.
    #[error("the answer would exceed 6 MB: query a smaller dimension, or the archive")]
    AnswerTooLarge,
    /// The page of a history would be larger than a Lambda function may return.
    #[error("the page would exceed 6 MB: ask for it again with a smaller limit")]
    PageTooLarge,
    /// There is no archive to answer from.
    #[error(
        "there is no history: it needs the archive to BigQuery, which is not configured \
         (GOOGLE_PROJECT)"
    )]
    HistoryNotConfigured,
    /// The answer would need to read more of the archive than the configuration allows: so many bytes.
    #[error(
        "to answer, more than {0} bytes of the archive would have to be read: ask for a shorter range \
         with from and to, or raise HISTORY_MAX_BYTES_BILLED"
    )]
    ScanTooLarge(u64),
    /// The page of a history is there no more, or never was.
    #[error("there is no such page (any more): ask for the first page again, without page")]
    NoSuchPage,
    /// The store failed.
    #[error("{}", explanation(.0))]
    Store(#[from] StoreError),
    /// Another service failed: the archive.
    #[error("{kind}")]
    Upstream {
        /// How.
        kind: Upstream,
        /// Why, for the log.
        #[source]
        cause: Cause,
    },
}

/// How another service failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Upstream {
    /// It throttled until the deadline.
    #[error("too many requests to the archive at the moment; try again a little later")]
    Throttled,
    /// It was away, or took too long.
    #[error("the archive did not answer in time; try again later")]
    Unavailable,
    /// It refuses what it should not: a defect, or a permission that is missing.
    #[error("an internal error, which has been logged")]
    Internal,
}

fn explanation(error: &StoreError) -> Cow<'static, str> {
    let text = match error {
        StoreError::TooManyKeys { dimension, limit } => {
            return Cow::Owned(format!(
                "the dimension {dimension} has reached its limit of {limit} keys, so only keys that it \
                 has can be reported; to raise the limit, set MAX_KEYS_PER_DIMENSION"
            ));
        }
        StoreError::Overflow(_) => "a sum would need more than 38 digits; nothing was counted",
        StoreError::TooLarge(_) => {
            "what is kept of this id, or of one of these dimension keys, would exceed 400 KB: report \
             fewer stats or shorter names"
        }
        StoreError::KeyReused => {
            "this Idempotency-Key came with another body before; use a new one for each update"
        }
        StoreError::Throttled(_) => "too many requests at the moment; try again a little later",
        StoreError::Unavailable(_) => {
            "the database can't be reached at the moment; try again later"
        }
        StoreError::Unfinished(_) => {
            "there was not enough time for all members of this update: some of them are counted, and \
             nothing else of it; send it again, and it goes on from there"
        }
        StoreError::Indeterminate(_) => {
            "the database did not answer in time, so the update may have been counted or not; to send \
             it again is safe, with increments only under the same Idempotency-Key"
        }
        StoreError::Internal(_) => "an internal error, which has been logged",
    };
    Cow::Borrowed(text)
}

impl ApiError {
    /// The status that a client sees.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Denied(Denial::NoToken | Denial::InvalidToken) => StatusCode::UNAUTHORIZED,
            Self::Denied(Denial::LacksScope(_)) => StatusCode::FORBIDDEN,
            Self::Update(
                UpdateError::BodyTooLarge(_) | UpdateError::TooManyMemberWrites { .. },
            )
            | Self::BodyTooLarge { .. }
            | Self::AnswerTooLarge
            | Self::PageTooLarge
            | Self::Store(StoreError::TooLarge(_)) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Update(_)
            | Self::Name(_)
            | Self::Malformed(_)
            | Self::ScanTooLarge(_)
            | Self::Store(StoreError::Overflow(_)) => StatusCode::BAD_REQUEST,
            Self::UnknownCoding(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::NotFound | Self::HistoryNotConfigured | Self::NoSuchPage => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::Store(StoreError::KeyReused | StoreError::TooManyKeys { .. }) => {
                StatusCode::UNPROCESSABLE_ENTITY
            }
            Self::Store(StoreError::Throttled(_))
            | Self::Upstream { kind: Upstream::Throttled, .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Store(
                StoreError::Unavailable(_)
                | StoreError::Unfinished(_)
                | StoreError::Indeterminate(_),
            )
            | Self::Upstream { kind: Upstream::Unavailable, .. } => StatusCode::SERVICE_UNAVAILABLE,
            Self::Store(StoreError::Internal(_))
            | Self::Upstream { kind: Upstream::Internal, .. } => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    fn header(&self) -> Option<(HeaderName, HeaderValue)> {
        match self {
            Self::Denied(denial) => Some((WWW_AUTHENTICATE, challenge(*denial))),
            // What would be understood: RFC 9110, section 15.5.16.
            Self::UnknownCoding(_) => Some((ACCEPT_ENCODING, HeaderValue::from_static("gzip"))),
            Self::MethodNotAllowed(methods) => Some((ALLOW, HeaderValue::from_static(methods))),
            Self::Store(
                StoreError::Throttled(_)
                | StoreError::Unavailable(_)
                | StoreError::Unfinished(_)
                | StoreError::Indeterminate(_),
            )
            | Self::Upstream { kind: Upstream::Throttled | Upstream::Unavailable, .. } => {
                Some((RETRY_AFTER, RETRY_AFTER_SECONDS))
            }
            _ => None,
        }
    }
}

/// What is to be done about a denial, for programs: RFC 6750, section 3. By its section 3.1 there is no error
/// where no token came.
fn challenge(denial: Denial) -> HeaderValue {
    HeaderValue::from_static(match denial {
        Denial::NoToken => r#"Bearer realm="statshub""#,
        Denial::InvalidToken => r#"Bearer realm="statshub", error="invalid_token""#,
        Denial::LacksScope(Scope::Read) => {
            r#"Bearer realm="statshub", error="insufficient_scope", scope="read""#
        }
        Denial::LacksScope(Scope::Write) => {
            r#"Bearer realm="statshub", error="insufficient_scope", scope="write""#
        }
        Denial::LacksScope(Scope::Admin) => {
            r#"Bearer realm="statshub", error="insufficient_scope", scope="admin""#
        }
    })
}

impl From<&ApiError> for Response {
    fn from(error: &ApiError) -> Self {
        #[derive(Serialize)]
        #[serde(rename_all = "PascalCase")]
        struct Body {
            succeeded: bool,
            error: String,
        }
        let body = Body { succeeded: false, error: error.to_string() };
        // A struct of a bool and a string always serializes.
        let body = serde_json::to_string(&body).unwrap_or_default();
        let mut response = Self::json(error.status(), body);
        response.headers.extend(error.header());
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::DimensionName;

    #[test]
    fn a_denial_says_what_to_do_in_words_and_in_a_header() {
        for (denial, status, challenge, text) in [
            (Denial::NoToken, 401, "", "Authorization: Bearer <token>"),
            (Denial::InvalidToken, 401, r#", error="invalid_token""#, "not valid"),
            (
                Denial::LacksScope(Scope::Write),
                403,
                r#", error="insufficient_scope", scope="write""#,
                "lacks the scope write",
            ),
            (
                Denial::LacksScope(Scope::Read),
                403,
                r#", error="insufficient_scope", scope="read""#,
                "lacks the scope read",
            ),
            (
                Denial::LacksScope(Scope::Admin),
                403,
                r#", error="insufficient_scope", scope="admin""#,
                "lacks the scope admin",
            ),
        ] {
            let response = Response::from(&ApiError::from(denial));
            assert_eq!(response.status, status, "{denial:?}");
            let expected = format!("Bearer realm=\"statshub\"{challenge}");
            assert_eq!(response.headers[WWW_AUTHENTICATE], expected);
            assert!(response.body.contains(text), "{}", response.body);
            assert!(response.body.starts_with(r#"{"Succeeded":false,"Error":""#));
        }
    }

    #[test]
    fn what_a_history_fails_of_has_a_status_says_what_to_do_and_shows_no_cause() {
        let upstream = |kind| ApiError::Upstream { kind, cause: "secret".into() };
        for (error, status, text) in [
            (ApiError::HistoryNotConfigured, 404, "GOOGLE_PROJECT"),
            (ApiError::NoSuchPage, 404, "ask for the first page again"),
            (ApiError::NotFound, 404, "/history/{dim}/{key}/{counter|gauge}/{stat}"),
            (ApiError::ScanTooLarge(5), 400, "more than 5 bytes"),
            (ApiError::PageTooLarge, 413, "a smaller limit"),
            (upstream(Upstream::Throttled), 429, "try again"),
            (upstream(Upstream::Unavailable), 503, "try again"),
            (upstream(Upstream::Internal), 500, "logged"),
        ] {
            let response = Response::from(&error);
            assert_eq!(response.status, status, "{text}");
            assert_eq!(response.headers.contains_key(RETRY_AFTER), matches!(status, 429 | 503));
            assert!(response.body.contains(text), "{}", response.body);
            assert!(!response.body.contains("secret"), "{}", response.body);
        }
    }

    #[test]
    fn what_can_be_tried_again_says_when_and_shows_no_cause() {
        let cause = || "TableName statshub-secret".into();
        for (error, status) in [
            (StoreError::Throttled(cause()), 429),
            (StoreError::Unavailable(cause()), 503),
            (StoreError::Indeterminate(cause()), 503),
            (StoreError::Internal(cause()), 500),
            (StoreError::TooLarge(cause()), 413),
            (
                StoreError::TooManyKeys { dimension: DimensionName::new("d").unwrap(), limit: 3 },
                422,
            ),
        ] {
            let response = Response::from(&ApiError::from(error));
            assert_eq!(response.status, status);
            assert_eq!(response.headers.contains_key(RETRY_AFTER), matches!(status, 429 | 503));
            assert!(!response.body.contains("secret"), "{}", response.body);
            assert!(response.body.starts_with(r#"{"Succeeded":false,"Error":""#));
        }
    }
}
