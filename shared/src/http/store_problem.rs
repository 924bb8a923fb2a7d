//! What clients see of the store's errors.

use http::StatusCode;

use super::Problem;
use crate::store::{StatsOf, StoreError};

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
            StoreError::DimensionNotListed(dimension) => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                format!(
                    "the dimension {dimension} is not among those that may be reported; they are listed in \
                     DIMENSIONS"
                ),
            ),
            StoreError::TooManyDimensions { limit } => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                format!(
                    "there are {limit} dimensions already, so only those can be reported; to raise the limit, \
                     set MAX_DIMENSIONS"
                ),
            ),
            StoreError::TooManyStats { of: StatsOf::TheId, limit } => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                format!(
                    "with the new stats, what is kept of this id would exceed {limit} bytes: report fewer \
                     stats or dimensions, or shorter names; to raise the limit, set MAX_BYTES_PER_ID"
                ),
            ),
            StoreError::TooManyStats { of: StatsOf::Key(of), limit } => Self::new(
                StatusCode::UNPROCESSABLE_ENTITY,
                format!(
                    "with the new stats, the key {} of {} would exceed {limit} bytes: report fewer stats or \
                     shorter names; to raise the limit, set MAX_BYTES_PER_KEY",
                    of.key, of.dimension
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
        domain::{DimensionKey, DimensionName, RollupKey, Sum},
        http::Response,
    };

    #[test]
    fn each_failure_of_the_store_has_a_status_and_says_what_to_do_but_shows_no_cause() {
        let cause = || "TableName statshub-secret".into();
        let dimension = DimensionName::new("d").unwrap();
        let key = DimensionKey::new("k").unwrap();
        let overflow = Sum::MAX.checked_add(Sum::from(1)).unwrap_err();
        for (error, status, text) in [
            (StoreError::Overflow(overflow), 400, "nothing was counted"),
            (StoreError::TooLarge(cause()), 413, "report fewer stats"),
            (StoreError::KeyReused, 422, "use a new one for each update"),
            (
                StoreError::TooManyKeys { dimension: dimension.clone(), limit: 3 },
                422,
                "MAX_KEYS_PER_DIMENSION",
            ),
            (StoreError::DimensionNotListed(dimension.clone()), 422, "listed in DIMENSIONS"),
            (StoreError::TooManyDimensions { limit: 3 }, 422, "MAX_DIMENSIONS"),
            (StoreError::TooManyStats { of: StatsOf::TheId, limit: 3 }, 422, "MAX_BYTES_PER_ID"),
            (
                StoreError::TooManyStats {
                    of: StatsOf::Key(RollupKey { dimension, key }),
                    limit: 3,
                },
                422,
                "the key k of d would exceed 3 bytes",
            ),
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
