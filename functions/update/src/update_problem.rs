//! Why an update is not counted, and what the client gets instead.

use http::StatusCode;
use shared::{
    domain::{BatchError, EntryError, NameError, UpdateError},
    http::{Problem, RequestError},
    store::StoreError,
};

/// Why an update was not counted, or may not have been.
#[derive(Debug)]
pub(crate) enum UpdateProblem {
    /// The request has a parameter, or its body is too large or has an unknown coding.
    Request(RequestError),
    /// The header `Idempotency-Key` comes twice.
    TwoKeys,
    /// The header `Idempotency-Key` is not valid.
    Key(NameError),
    /// The header `Idempotency-Key` comes with a batch, whose entries have their own keys.
    KeyOfBatch,
    /// The body is not a valid update.
    Update(UpdateError),
    /// The body is not a valid batch.
    Batch(BatchError),
    /// The answer could not be written as JSON. Ids and texts always can be.
    Json(serde_json::Error),
    /// The store failed.
    Store(StoreError),
}

impl From<UpdateProblem> for Problem {
    fn from(problem: UpdateProblem) -> Self {
        match problem {
            UpdateProblem::Request(error) => error.into(),
            UpdateProblem::TwoKeys => {
                Self::new(StatusCode::BAD_REQUEST, "Idempotency-Key comes twice: send it once")
            }
            UpdateProblem::Key(error) => Self::new(StatusCode::BAD_REQUEST, error.to_string()),
            UpdateProblem::KeyOfBatch => Self::new(
                StatusCode::BAD_REQUEST,
                "a batch has no Idempotency-Key: give each of its entries an \"idempotencyKey\"",
            ),
            UpdateProblem::Batch(error) => Self::new(status_of_batch(&error), error.to_string()),
            UpdateProblem::Json(error) => Self::internal(error),
            UpdateProblem::Update(error) => Self::new(status(&error), error.to_string()),
            UpdateProblem::Store(error) => error.into(),
        }
    }
}

fn status(error: &UpdateError) -> StatusCode {
    match error {
        UpdateError::BodyTooLarge(_) | UpdateError::TooManyMemberWrites { .. } => {
            StatusCode::PAYLOAD_TOO_LARGE
        }
        _ => StatusCode::BAD_REQUEST,
    }
}

fn status_of_batch(error: &BatchError) -> StatusCode {
    match error {
        BatchError::TooManyEntries(_) | BatchError::TooManyMemberWrites(_) => {
            StatusCode::PAYLOAD_TOO_LARGE
        }
        BatchError::Entry { error: EntryError::Update(error), .. } => status(error),
        BatchError::Malformed(_) | BatchError::Entry { .. } => StatusCode::BAD_REQUEST,
    }
}

impl From<RequestError> for UpdateProblem {
    fn from(error: RequestError) -> Self {
        Self::Request(error)
    }
}

impl From<NameError> for UpdateProblem {
    fn from(error: NameError) -> Self {
        Self::Key(error)
    }
}

impl From<UpdateError> for UpdateProblem {
    fn from(error: UpdateError) -> Self {
        Self::Update(error)
    }
}

impl From<BatchError> for UpdateProblem {
    fn from(error: BatchError) -> Self {
        Self::Batch(error)
    }
}

impl From<serde_json::Error> for UpdateProblem {
    fn from(error: serde_json::Error) -> Self {
        Self::Json(error)
    }
}

impl From<StoreError> for UpdateProblem {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

#[cfg(test)]
mod tests {
    use shared::domain::{BatchEntry, IdempotencyKey, Update, limits};

    use super::*;

    #[test]
    fn each_problem_has_a_status_and_its_own_words() {
        let too_large = RequestError::BodyTooLarge { of: "an update", most: 5 };
        let update = Update::from_json(b"[]").unwrap_err();
        let largest = vec![b' '; limits::BODY_BYTES + 1];
        for (problem, status, text) in [
            (too_large.into(), 413, "the body has more than 5 bytes"),
            (UpdateProblem::TwoKeys, 400, "Idempotency-Key comes twice"),
            (
                IdempotencyKey::new("").unwrap_err().into(),
                400,
                "\"\" is not a valid Idempotency-Key",
            ),
            (update.into(), 400, "the body is not a JSON object"),
            (Update::from_json(&largest).unwrap_err().into(), 413, "the body has"),
            (UpdateProblem::KeyOfBatch, 400, "a batch has no Idempotency-Key"),
            (BatchEntry::all_from_json(b"").unwrap_err().into(), 400, "the body has no entries"),
            (BatchEntry::all_from_json(b"{}").unwrap_err().into(), 400, "entry 0 (line 1): "),
            (BatchError::TooManyEntries(2_000).into(), 413, "the batch has 2000 entries"),
            (BatchError::TooManyMemberWrites(20_000).into(), 413, "the entries have members"),
            (
                UpdateError::TooManyMemberWrites { members: 5_001, dimensions: 2 }.into(),
                413,
                "the update has 5001 members under 2 dimensions",
            ),
        ] {
            let problem = Problem::from(problem);
            assert_eq!(problem.status(), status, "{problem}");
            assert!(problem.to_string().starts_with(text), "{problem}");
            assert!(problem.cause().is_none(), "the log shows nothing of a request");
        }
    }

    #[test]
    fn a_failure_of_the_store_is_for_the_log() {
        let problem = Problem::from(UpdateProblem::from(StoreError::KeyReused));
        assert_eq!(problem.status(), 422);
        assert_eq!(problem.cause().unwrap().to_string(), StoreError::KeyReused.to_string());
    }
}
