//! `POST /stats/{id}`: from the request to an [`Update`], and from its outcome to the response.

mod update_problem;
mod update_route;

use http::{HeaderMap, StatusCode};
use shared::{
    config::Config,
    domain::{Fingerprint, Id, IdempotencyKey, Update, limits},
    http::{BodyLimit, Problem, Request, Response},
    lambda::{Call, HttpFunction},
    store::Store,
};

use update_problem::UpdateProblem;
use update_route::UpdateRoute;

const IDEMPOTENCY_KEY: &str = "idempotency-key";
const LIMIT: BodyLimit = BodyLimit { of: "an update", bytes: limits::BODY_BYTES };
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
}

impl HttpFunction for Function {
    const NAME: &'static str = "update";

    async fn answer(&self, request: Request, call: Call) -> Result<Response, Problem> {
        let UpdateRoute::Count(id) = UpdateRoute::of(&request.asked)?;
        self.count(id, &request, call).await?;
        Ok(Response::json(StatusCode::OK, SUCCEEDED.to_owned()))
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
