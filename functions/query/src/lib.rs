//! `GET /stats/{dim}` and `GET /stats/`: from the request to the rollups, and to their JSON.

mod cache;
mod json;

use std::time::Duration;

use futures_util::{StreamExt, TryStreamExt, stream};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{AGE, CACHE_CONTROL},
};
use shared::{
    config::Config,
    domain::DimensionName,
    http::{ApiError, Request, Response, Route},
    lambda::{Call, HttpFunction},
    store::Store,
};

use cache::Cache;
use json::DimensionJson;

/// Most dimensions that are read at once.
const CONCURRENT_DIMENSIONS: usize = 16;

/// The function that answers queries.
#[derive(Debug)]
pub struct Function {
    store: Store,
    cache: Cache,
}

/// A dimension as it was read now or, if it is cached, some time ago.
#[derive(Debug, Clone)]
struct Answer {
    json: DimensionJson,
    /// How long it is kept, and how old it is; none if it is not cached.
    caching: Option<Caching>,
}

#[derive(Debug, Clone, Copy)]
struct Caching {
    lifetime: Duration,
    age: Duration,
}

impl Function {
    /// The function on this store, with the cache of the configuration.
    #[must_use]
    pub fn new(config: &Config, store: Store) -> Self {
        Self { store, cache: Cache::new(&config.query_cache) }
    }

    async fn dimension(&self, dimension: &DimensionName, call: Call) -> Result<Answer, ApiError> {
        let read = async || {
            let summary = self.store.summary(dimension, call.now, call.deadline).await?;
            DimensionJson::new(dimension, &summary)
        };
        self.cache.get_or_read(dimension, call.now, read).await
    }

    async fn all_dimensions(&self, call: Call) -> Result<Vec<Answer>, ApiError> {
        let dimensions = self.store.dimensions(call.deadline).await?;
        let answers = dimensions.iter().map(|dimension| self.dimension(dimension, call));
        let answers: Vec<_> = answers.collect();
        stream::iter(answers).buffered(CONCURRENT_DIMENSIONS).try_collect().await
    }
}

impl HttpFunction for Function {
    const NAME: &'static str = "query";

    async fn answer(&self, request: Request, call: Call) -> Result<Response, ApiError> {
        let [] = request.parameters.only([])?;
        let answers = match request.route {
            Route::Dimension(dimension) => vec![self.dimension(&dimension, call).await?],
            Route::AllDimensions => self.all_dimensions(call).await?,
            Route::Update(_) | Route::History { .. } => return Err(ApiError::NotFound),
        };
        let body = json::body(answers.iter().map(|answer| &answer.json))?;
        let mut response = Response::json(StatusCode::OK, body);
        // All dimensions together are as fresh as some of them, so only one is said to be cached.
        if let [Answer { caching: Some(caching), .. }] = answers[..] {
            caching.tell(&mut response.headers);
        }
        Ok(response)
    }
}

impl Caching {
    fn tell(self, headers: &mut HeaderMap) {
        let lifetime = format!("max-age={}", self.lifetime.as_secs());
        if let Ok(lifetime) = HeaderValue::from_str(&lifetime) {
            headers.insert(CACHE_CONTROL, lifetime);
        }
        headers.insert(AGE, self.age.as_secs().into());
    }
}
