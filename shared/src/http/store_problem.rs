//! What clients see of the store's errors.

use http::StatusCode;

use super::Problem;
use crate::store::StoreError;

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        let problem = match &error {
            StoreError::Overflow(_) => Self::new(
                StatusCode::BAD_REQUEST,
                "a sum would need more than 38 digits; nothing was counted",
            ),
            StoreError::TooLarge(_) => Self::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "what is kept of this id, or of one of these dimension keys, would exceed 400 KB: \
                 report fewer stats or shorter names",
            ),
            StoreError::KeyReused => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                "this Idempotency-Key came with another body before; use a new one for each update",
            ),
            StoreError::TooManyKeys { dimension, limit } => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                format!(
                    "the dimension {dimension} has reached its limit of {limit} keys, so only keys \
                     that it has can be reported; to raise the limit, set MAX_KEYS_PER_DIMENSION"
                ),
            ),
            StoreError::Throttled(_) => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too many requests at the moment; try again a little later",
            )
            .retry_later(),
            StoreError::Unavailable(_) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the database can't be reached at the moment; try again later",
            )
            .retry_later(),
            StoreError::Unfinished(_) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "there was not enough time for all members of this update: some of them are counted, \
                 and nothing else of it; send it again, and it goes on from there",
            )
            .retry_later(),
            StoreError::Indeterminate(_) => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "the database did not answer in time, so the update may have been counted or not; to \
                 send it again is safe, with increments only under the same Idempotency-Key",
            )
            .retry_later(),
            StoreError::Internal(_) => return Self::internal(error),
        };
        problem.caused_by(error)
    }
}

#[cfg(test)]
mod tests {
    use http::header::RETRY_AFTER;

    use super::*;
    use crate::{
        domain::{DimensionName, Sum},
        http::Response,
    };

    #[test]
    fn each_failure_of_the_store_has_a_status_and_says_what_to_do_but_shows_no_cause() {
        let cause = || "TableName statshub-secret".into();
        let dimension = DimensionName::new("d").unwrap();
        let overflow = Sum::MAX.checked_add(Sum::from(1)).unwrap_err();
        for (error, status, text) in [
            (StoreError::Overflow(overflow), 400, "nothing was counted"),
            (StoreError::TooLarge(cause()), 413, "report fewer stats"),
            (StoreError::KeyReused, 422, "use a new one for each update"),
            (StoreError::TooManyKeys { dimension, limit: 3 }, 422, "MAX_KEYS_PER_DIMENSION"),
            (StoreError::Throttled(cause()), 429, "try again a little later"),
            (StoreError::Unavailable(cause()), 503, "try again later"),
            (StoreError::Unfinished(cause()), 503, "send it again"),
            (StoreError::Indeterminate(cause()), 503, "may have been counted or not"),
            (StoreError::Internal(cause()), 500, "an internal error, which has been logged"),
        ] {
            let logged = error.to_string();
            let problem = Problem::from(error);
            assert_eq!(problem.cause().unwrap().to_string(), logged);
            let response = Response::from(problem);
            assert_eq!(response.status, status, "{logged}");
            assert_eq!(response.headers.contains_key(RETRY_AFTER), matches!(status, 429 | 503));
            assert!(response.body.contains(text), "{}", response.body);
            assert!(!response.body.contains("secret"), "{}", response.body);
            assert!(response.body.starts_with(r#"{"Succeeded":false,"Error":""#));
        }
    }
}
