//! `GET /stats/{dim}` and `GET /stats/`: from the request to the rollups, and to their JSON.

mod cache;
mod query_problem;
mod query_route;
mod stats_json;

use futures_util::{StreamExt, TryStreamExt, stream};
use http::{
    HeaderMap, HeaderValue, StatusCode,
    header::{AGE, CACHE_CONTROL},
};
use shared::{
    config::Config,
    domain::DimensionName,
    http::{Problem, Request, Response},
    lambda::{Call, HttpFunction},
    store::Store,
};

use cache::{Cache, CachedJson, Freshness};
use query_problem::QueryProblem;
use query_route::QueryRoute;
use stats_json::DimensionJson;

/// Most dimensions that are read at once.
const CONCURRENT_DIMENSIONS: usize = 16;

/// The function that answers queries.
#[derive(Debug)]
pub struct Function {
    store: Store,
    cache: Cache,
}

impl Function {
    /// The function on this store, with the cache of the configuration.
    #[must_use]
    pub fn new(config: &Config, store: Store) -> Self {
        Self { store, cache: Cache::new(&config.query_cache) }
    }

    async fn query(&self, request: &Request, call: Call) -> Result<Response, QueryProblem> {
        let [] = request.parameters.only([])?;
        let dimensions = match QueryRoute::of(&request.asked)? {
            QueryRoute::Dimension(dimension) => vec![self.dimension(dimension, call).await?],
            QueryRoute::AllDimensions => self.all_dimensions(call).await?,
        };
        let body = stats_json::body(dimensions.iter().map(|dimension| &dimension.json))?;
        let mut response = Response::json(StatusCode::OK, body);
        // Some of all dimensions may be cached and others not, so only one alone says how fresh it
        // is.
        if let [CachedJson { freshness: Some(freshness), .. }] = dimensions[..] {
            report(freshness, &mut response.headers);
        }
        Ok(response)
    }

    async fn dimension(
        &self,
        dimension: &DimensionName,
        call: Call,
    ) -> Result<CachedJson, QueryProblem> {
        let read = async || {
            let summary = self.store.summary(dimension, call.now, call.deadline).await?;
            Ok(DimensionJson::new(dimension, &summary)?)
        };
        self.cache.get_or_read(dimension, call.now, read).await
    }

    async fn all_dimensions(&self, call: Call) -> Result<Vec<CachedJson>, QueryProblem> {
        let dimensions = self.store.dimensions(call.deadline).await?;
        let reads = dimensions.iter().map(|dimension| self.dimension(dimension, call));
        let reads: Vec<_> = reads.collect();
        stream::iter(reads).buffered(CONCURRENT_DIMENSIONS).try_collect().await
    }
}

impl HttpFunction for Function {
    const NAME: &'static str = "query";

    async fn answer(&self, request: Request, call: Call) -> Result<Response, Problem> {
        // Boxed, since the types of the SDK's futures nest too deeply for the compiler.
        Ok(Box::pin(self.query(&request, call)).await?)
    }
}

/// Says in the headers how long an answer is kept, and how old it is.
fn report(freshness: Freshness, headers: &mut HeaderMap) {
    let lifetime = format!("max-age={}", freshness.lifetime.as_secs());
    if let Ok(lifetime) = HeaderValue::from_str(&lifetime) {
        headers.insert(CACHE_CONTROL, lifetime);
    }
    headers.insert(AGE, freshness.age.as_secs().into());
}
