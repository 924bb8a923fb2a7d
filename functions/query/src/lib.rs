//! What is counted at the moment: `GET /stats/{dim}`, `GET /stats/`, `GET /dimensions`, `GET
//! /metrics`, `GET /stream/…` and `GET /ids/{id}`; and `GET /openapi.yaml`, which says what the API
//! is.
//!
//! `stats_question.rs` makes a question of parameters, `stats_reading.rs` reads what it asks for,
//! and `answer_format.rs` writes it.

mod answer_format;
mod api_description;
mod cache;
mod dimensions_json;
mod id_json;
mod kind;
mod prometheus_text;
mod query_problem;
mod query_route;
mod ranking;
mod room;
#[cfg(test)]
mod samples;
mod stat_event;
mod stats_csv;
mod stats_json;
mod stats_question;
mod stats_reading;
mod stats_rows;
mod texts_by_key;

use futures_util::{StreamExt, TryStreamExt, stream};
use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{AGE, CACHE_CONTROL, VARY},
};
use shared::{
    config::Config,
    domain::{DimensionName, Id},
    http::{Problem, Request, Response, link_next_page},
    lambda::{Call, HttpFunction},
    store::Store,
};

use answer_format::{AnswerFormat, DimensionText};
use cache::{Cache, CachedText, Freshness};
use query_problem::{QueryProblem, Remedy};
use query_route::QueryRoute;
use room::Room;
pub use stats_question::limits;
use stats_question::{StatsQuestion, named};
use stats_reading::StatsReading;

/// Most dimensions that are read at once.
const CONCURRENT_DIMENSIONS: usize = 16;

/// The token of the next page, which is empty on the last one.
const NEXT_PAGE: HeaderName = HeaderName::from_static("x-statshub-next");

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
        let response = match QueryRoute::of(&request.asked)? {
            QueryRoute::Dimension(dimension) => self.dimension(dimension, request, call).await?,
            QueryRoute::AllDimensions => self.all_dimensions(request, call).await?,
            QueryRoute::Dimensions => {
                let [] = request.parameters.only([])?;
                let dimensions = self.store.dimensions(call.deadline).await?;
                let body = dimensions_json::body(&dimensions)?;
                revalidated_on_encoding(Response::json(StatusCode::OK, body), request)
            }
            QueryRoute::Metrics => self.metrics(request, call).await?,
            QueryRoute::Description => {
                let [] = request.parameters.only([])?;
                api_description::response(request)
            }
            QueryRoute::Id(id) => {
                let [] = request.parameters.only([])?;
                varying(self.id(id, call).await?, "accept-encoding")
            }
            QueryRoute::Stream(asked) => {
                let [] = request.parameters.only([])?;
                let response = stat_event::response(&self.store, asked, call).await;
                let response = response.map_err(|problem| problem.with(Remedy::SingleKey))?;
                varying(response, "accept-encoding")
            }
        };
        response.compressed(request).map_err(QueryProblem::defect)
    }

    /// A dimension, or what is asked for of it.
    async fn dimension(
        &self,
        dimension: &DimensionName,
        request: &Request,
        call: Call,
    ) -> Result<Response, QueryProblem> {
        let (question, format) =
            StatsQuestion::read(dimension, &request.parameters, &request.headers)?;
        let remedy = match question.limit {
            None => Remedy::Part,
            Some(0) => Remedy::FewerStats,
            Some(_) => Remedy::SmallerPage,
        };
        let room = Room::new();
        if question.is_plain() {
            let read = self.plain_dimension(dimension, format, &room, call).await;
            let text = read.map_err(|problem| problem.with(remedy))?;
            return answer(format, &[text], request).map_err(|problem| problem.with(remedy));
        }
        let reading = StatsReading::new(&self.store, dimension, &question, format, &room, call);
        let read = reading.read().await.map_err(|problem| problem.with(remedy))?;
        let next = read.next.map(|end| question.token(dimension, &end)).transpose()?;
        let next = question.limit.map(|_| next.unwrap_or_default());
        let text = DimensionText { dimension: dimension.clone(), keys: read.keys };
        let response = format.response(&[text], next.as_deref());
        let mut response = response.map_err(|problem| problem.with(remedy))?;
        if let Some(next) = &next {
            if !next.is_empty() {
                link_next_page(&mut response.headers, &request.parameters, next);
            }
            // Letters, digits, `-` and `_` are fit for a header.
            if let Ok(next) = HeaderValue::from_str(next) {
                response.headers.insert(NEXT_PAGE, next);
            }
        }
        Ok(revalidated(response, request, None))
    }

    async fn all_dimensions(
        &self,
        request: &Request,
        call: Call,
    ) -> Result<Response, QueryProblem> {
        let [format, csv] = request.parameters.only(["format", "csv"])?;
        let format = AnswerFormat::wanted_by(format, csv, &request.headers)
            .map_err(stats_question::QuestionError::from)?;
        let dimensions = self.store.dimensions(call.deadline).await?;
        self.plain_dimensions(&dimensions, format, request, call).await
    }

    async fn metrics(&self, request: &Request, call: Call) -> Result<Response, QueryProblem> {
        let ([], [dimensions]) = request.parameters.only_with_lists([], ["dim"])?;
        let most = limits::NAMED_DIMENSIONS;
        let dimensions = match named(&dimensions, "dim", most, DimensionName::new)? {
            Some(dimensions) => dimensions.into_iter().collect(),
            None => self.store.dimensions(call.deadline).await?,
        };
        self.plain_dimensions(&dimensions, AnswerFormat::Prometheus, request, call).await
    }

    async fn plain_dimensions(
        &self,
        dimensions: &[DimensionName],
        format: AnswerFormat,
        request: &Request,
        call: Call,
    ) -> Result<Response, QueryProblem> {
        let room = &Room::new();
        let reads = dimensions.iter().map(|dimension| async move {
            self.plain_dimension(dimension, format, room, call).await
        });
        let reads: Vec<_> = reads.collect();
        let texts: Result<Vec<_>, _> =
            stream::iter(reads).buffered(CONCURRENT_DIMENSIONS).try_collect().await;
        let response = texts.and_then(|texts| answer(format, &texts, request));
        response.map_err(|problem| problem.with(Remedy::SingleDimensions))
    }

    /// Everything about a dimension.
    async fn plain_dimension(
        &self,
        dimension: &DimensionName,
        format: AnswerFormat,
        room: &Room,
        call: Call,
    ) -> Result<PlainText, QueryProblem> {
        let question = &StatsQuestion::PLAIN;
        let read = async || {
            let reading = StatsReading::new(&self.store, dimension, question, format, room, call);
            Ok(reading.read().await?.keys.into())
        };
        let CachedText { text, freshness } =
            self.cache.get_or_read(dimension, format, call.now, read).await?;
        Ok(PlainText {
            text: DimensionText { dimension: dimension.clone(), keys: text },
            freshness,
        })
    }

    async fn id(&self, id: &Id, call: Call) -> Result<Response, QueryProblem> {
        let detail = self.store.detail(id, call.deadline).await?.ok_or(QueryProblem::UnknownId)?;
        Ok(Response::json(StatusCode::OK, id_json::body(id, &detail)?))
    }
}

/// Everything about a dimension, and how fresh it is.
struct PlainText {
    text: DimensionText<std::sync::Arc<str>>,
    freshness: Option<Freshness>,
}

impl HttpFunction for Function {
    const NAME: &'static str = "query";

    async fn answer(&self, request: Request, call: Call) -> Result<Response, Problem> {
        // Boxed, since the types of the SDK's futures nest too deeply for the compiler.
        Ok(Box::pin(self.query(&request, call)).await?)
    }
}

/// The answer with these dimensions. Some of several may be cached and others not, so only one
/// alone says how fresh it is.
fn answer(
    format: AnswerFormat,
    dimensions: &[PlainText],
    request: &Request,
) -> Result<Response, QueryProblem> {
    let freshness = match dimensions {
        [one] => one.freshness,
        _ => None,
    };
    let texts: Vec<_> = dimensions.iter().map(|dimension| dimension.text.clone()).collect();
    let response = format.response(&texts, None)?;
    Ok(revalidated(response, request, freshness))
}

/// An answer that clients may keep, and ask whether it has changed.
fn revalidated(response: Response, request: &Request, freshness: Option<Freshness>) -> Response {
    let mut response = varying(response, "accept, accept-encoding");
    report(freshness, &mut response.headers);
    response.validated(request)
}

/// The same for what comes in one format only.
fn revalidated_on_encoding(response: Response, request: &Request) -> Response {
    let mut response = varying(response, "accept-encoding");
    report(None, &mut response.headers);
    response.validated(request)
}

/// The same, which depends on these headers of the request.
fn varying(mut response: Response, on: &'static str) -> Response {
    response.headers.insert(VARY, HeaderValue::from_static(on));
    response
}

/// Says in the headers how long an answer is kept, and how old it is. One that is not kept has to
/// be asked for each time.
fn report(freshness: Option<Freshness>, headers: &mut HeaderMap) {
    let Some(freshness) = freshness else {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
        return;
    };
    let lifetime = format!("max-age={}", freshness.lifetime.as_secs());
    if let Ok(lifetime) = HeaderValue::from_str(&lifetime) {
        headers.insert(CACHE_CONTROL, lifetime);
    }
    headers.insert(AGE, freshness.age.as_secs().into());
}
