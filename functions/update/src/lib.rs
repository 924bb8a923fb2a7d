//! `POST /stats/{id}`: from the request to an [`Update`], and from its outcome to the response.

use http::HeaderMap;
use shared::{
    config::Config,
    domain::{Fingerprint, IdempotencyKey, Update},
    http::{ApiError, Request, Response, Route},
    lambda::{Call, HttpFunction},
    store::Store,
};

const IDEMPOTENCY_KEY: &str = "idempotency-key";

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
}

impl HttpFunction for Function {
    const NAME: &'static str = "update";

    async fn answer(&self, request: Request, call: Call) -> Result<Response, ApiError> {
        let Route::Update(id) = &request.route else {
            return Err(ApiError::NotFound);
        };
        let key = idempotency_key(&request.headers)?;
        let update = Update::from_json(&request.body)?;
        let idempotency = key.as_ref().map(|key| (key, Fingerprint::of(&request.body)));
        self.store.update(id, &update, idempotency, call.now, call.deadline).await?;
        Ok(Response::succeeded())
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, ApiError> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else {
        return Ok(None);
    };
    // What is not text is no valid key either, and its error should quote what there is of it.
    let text = String::from_utf8_lossy(value.as_bytes());
    Ok(Some(IdempotencyKey::new(&text)?))
}
