//! `POST /stats/{id}` and `POST /stats`: from the request to updates, and from their outcomes to the
//! response.

mod batch_answer;
mod update_problem;
mod update_route;

use http::{HeaderMap, StatusCode};
use shared::{
    config::Config,
    domain::{BatchEntry, Fingerprint, Id, IdempotencyKey, Update, limits},
    http::{BodyLimit, Problem, Request, Response},
    lambda::{Call, HttpFunction},
    store::{Store, Submission},
};

use batch_answer::BatchAnswer;
use update_problem::UpdateProblem;
use update_route::UpdateRoute;

const IDEMPOTENCY_KEY: &str = "idempotency-key";
const LIMIT: BodyLimit = BodyLimit { of: "an update", bytes: limits::BODY_BYTES };
const BATCH_LIMIT: BodyLimit = BodyLimit { of: "a batch", bytes: limits::BATCH_BODY_BYTES };
/// The answer to an update that was counted.
const SUCCEEDED: &str = r#"{"Succeeded":true,"Error":""}"#;

/// The function that counts updates.
#[derive(Debug)]
pub struct Function {
    store: Store,
}

impl Function {
    /// The function on this store.
    #[must_use]
    pub fn new(_config: &Config, store: Store) -> Self {
        Self { store }
    }

    async fn count(&self, id: &Id, request: &Request, call: Call) -> Result<(), UpdateProblem> {
        let key = idempotency_key(&request.headers)?;
        let [] = request.parameters.only([])?;
        let body = request.content(LIMIT)?;
        let update = Update::from_json(&body)?;
        let idempotency = key.as_ref().map(|key| (key, Fingerprint::of(&body)));
        self.store.update(id, &update, idempotency, call.now, call.deadline).await?;
        Ok(())
    }

    async fn count_batch(&self, request: &Request, call: Call) -> Result<Response, UpdateProblem> {
        if request.headers.contains_key(IDEMPOTENCY_KEY) {
            return Err(UpdateProblem::KeyOfBatch);
        }
        let [] = request.parameters.only([])?;
        let entries = BatchEntry::all_from_json(&request.content(BATCH_LIMIT)?)?;
        let submissions = entries.iter().map(|entry| Submission {
            id: &entry.id,
            update: &entry.update,
            idempotency: entry.idempotency.as_ref().map(|(key, fingerprint)| (key, *fingerprint)),
        });
        let submissions: Vec<_> = submissions.collect();
        let results = self.store.update_all(&submissions, call.now, call.deadline).await;
        let ids = entries.iter().map(|entry| &entry.id);
        Ok(BatchAnswer::new(ids.zip(results)).response()?)
    }
}

impl HttpFunction for Function {
    const NAME: &'static str = "update";

    async fn answer(&self, request: Request, call: Call) -> Result<Response, Problem> {
        match UpdateRoute::of(&request.asked)? {
            UpdateRoute::Count(id) => {
                self.count(id, &request, call).await?;
                Ok(Response::json(StatusCode::OK, SUCCEEDED.to_owned()))
            }
            UpdateRoute::CountBatch => Ok(self.count_batch(&request, call).await?),
        }
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, UpdateProblem> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        return Err(UpdateProblem::TwoKeys);
    }
    // A value that is not text is not a valid key. The error quotes what can be read of it.
    let text = String::from_utf8_lossy(value.as_bytes());
    Ok(Some(IdempotencyKey::new(&text)?))
}
