//! `POST /stats/{id}`: from the request to an [`Update`], and from its outcome to the response.

use http::HeaderMap;
use shared::{
    config::Config,
    domain::{Fingerprint, IdempotencyKey, Update, limits},
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
        let [] = request.parameters.only([])?;
        let body = request.content(limits::BODY_BYTES)?;
        let update = Update::from_json(&body)?;
        let idempotency = key.as_ref().map(|key| (key, Fingerprint::of(&body)));
        self.store.update(id, &update, idempotency, call.now, call.deadline).await?;
        Ok(Response::succeeded())
    }
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<IdempotencyKey>, ApiError> {
    let mut values = headers.get_all(IDEMPOTENCY_KEY).iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    if values.next().is_some() {
        let error = "Idempotency-Key comes twice: send it once";
        return Err(ApiError::Malformed(error.to_owned()));
    }
    // What is not text is no valid key either, and its error should quote what there is of it.
    let text = String::from_utf8_lossy(value.as_bytes());
    Ok(Some(IdempotencyKey::new(&text)?))
}
