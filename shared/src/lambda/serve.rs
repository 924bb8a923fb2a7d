//! How a function starts, and how an event gets through it.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Instant, SystemTime},
};

use aws_lambda_events::event::apigw::ApiGatewayV2httpResponse;
use futures_util::future::try_join;
use http::{HeaderName, HeaderValue, StatusCode};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::value::RawValue;
use tokio::runtime;
use tracing::{Instrument, Span};

use super::{
    Call,
    call_metrics::{CallMetrics, CallRecord, LinesPer},
    log::log_problem,
    metrics::{self, Metrics},
    shutdown,
};
use crate::{
    auth::{Auth, Caller},
    config::{Config, ConfigError, variable},
    http::{HttpEvent, NotAnHttpEvent, Problem, Request, Response, answer_preflight, needs_token},
    store::{Connection, Settings, Store},
    usage,
};

/// The read and write units of the table that a request consumed.
const UNITS: HeaderName = HeaderName::from_static("x-statshub-units");

/// A function that answers HTTP requests.
pub trait HttpFunction: Send + Sync + 'static {
    /// Its name, in metrics.
    const NAME: &'static str;
    /// Whether it answers the history. Of that, less may be public than of stats.
    const IS_HISTORY: bool = false;

    /// Answers a request. It may be one that another function answers: that is a
    /// [`NotFound`](crate::http::RequestError::NotFound).
    fn answer(
        &self,
        request: Request,
        call: Call,
    ) -> impl Future<Output = Result<Response, Problem>> + Send;
}

/// Runs a function until it ends.
///
/// With less than 1,769 MB, Lambda gives a function less than one processor, so one thread does all
/// the work and hands nothing over to others. A process that answers several requests at once has
/// more of them.
///
/// # Errors
/// The function fails, or the system has no threads.
pub fn run(function: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
    let at_once = variable("AWS_LAMBDA_MAX_CONCURRENCY").and_then(|many| many.parse::<u32>().ok());
    let mut runtime = match at_once {
        Some(2..) => runtime::Builder::new_multi_thread(),
        _ => runtime::Builder::new_current_thread(),
    };
    runtime.enable_all().build()?.block_on(function)
}

/// Sets up a function on the table and lets it answer HTTP requests: see [`serve_http_with`].
///
/// # Errors
/// The configuration is wrong, or the Lambda runtime fails.
pub async fn serve_http<F: HttpFunction>(
    build: impl FnOnce(&Config, Store) -> F,
) -> Result<(), Error> {
    let build = async |config: &Config| {
        let store = connect(config)?;
        // While Lambda starts a process, it has more of the processor than later.
        store.warm_up().await;
        Ok(build(config, store))
    };
    serve_http_with(build).await
}

/// Sets up a function and lets it answer HTTP requests until Lambda ends the process. It answers as
/// many at once as `AWS_LAMBDA_MAX_CONCURRENCY` says.
///
/// # Errors
/// The configuration is wrong, or the Lambda runtime fails.
pub async fn serve_http_with<F: HttpFunction>(
    build: impl AsyncFnOnce(&Config) -> Result<F, Error>,
) -> Result<(), Error> {
    let config = configure()?;
    // Both wait for others.
    let started = try_join(build(&config), collect_metrics(F::NAME)).await;
    let (function, metrics) = started.inspect_err(|error| super::log::start_failed(error))?;
    let function = Arc::new((function, config.auth));
    // Boxed, since the types of the SDK's futures nest too deeply for the compiler.
    lambda_runtime::run_concurrent(service_fn(move |event: LambdaEvent<Box<RawValue>>| {
        let (function, metrics) = (function.clone(), metrics.clone());
        Box::pin(async move {
            let call = Call::of(&event.context, SystemTime::now());
            let (function, auth) = &*function;
            let (answer, record) = match HttpEvent::read(&event.payload) {
                Ok(event) => answer_and_record(function, auth, event, call).await,
                Err(error) => (refuse(error).into(), None),
            };
            metrics::write(record.iter().flat_map(|record| metrics.record(record)));
            Ok::<_, Error>(answer)
        })
    }))
    .await
}

/// Collects metrics of calls as the environment wants it. What is left of them when the process
/// ends is written then.
async fn collect_metrics(function: &'static str) -> Result<Arc<CallMetrics>, Error> {
    let metrics = CallMetrics::new(Metrics::from_env(function), LinesPer::from_env()?);
    let metrics = Arc::new(metrics);
    if metrics.keeps_some() {
        let rest = metrics.clone();
        shutdown::before_end(move || metrics::write(rest.rest())).await?;
    }
    Ok(metrics)
}

/// Logs as Lambda's own variables want it, reads the configuration and connects to the table.
///
/// # Errors
/// The configuration is wrong.
pub async fn start() -> Result<(Config, Store), Error> {
    let config = configure()?;
    let store = connect(&config).inspect_err(|error| super::log::start_failed(error))?;
    Ok((config, store))
}

fn configure() -> Result<Config, Error> {
    super::log::start();
    Ok(Config::from_env().inspect_err(|error| super::log::start_failed(error))?)
}

fn connect(config: &Config) -> Result<Store, ConfigError> {
    let connection = Connection::from_env()?;
    let settings = Settings {
        max_keys: config.max_keys_per_dimension,
        dimensions: config.dimensions.clone(),
        max_dimensions: config.max_dimensions,
        max_bytes_per_key: config.max_bytes_per_key,
        max_bytes_per_id: config.max_bytes_per_id,
        ..Settings::new(&config.table_name, config.period_length)
    };
    let client = connection.client(&settings.pace)?;
    Ok(Store::new(client, settings, fastrand::Rng::new()))
}

/// Answers an event of API Gateway, if the sender may ask. A failure is an answer too.
///
/// The answer to a `HEAD` has its body: whoever speaks HTTP to the client leaves it out, but takes
/// its length for `Content-Length` (RFC 9110, section 9.3.2). That of an empty body would be 0.
pub async fn answer_event<F: HttpFunction>(
    function: &F,
    auth: &Auth,
    event: impl Into<HttpEvent>,
    call: Call,
) -> ApiGatewayV2httpResponse {
    answer_and_record(function, auth, event, call).await.0
}

/// Answers an event as [`answer_event`] does. Returns what its metrics say, too; preflights of
/// browsers have none.
pub async fn answer_and_record<F: HttpFunction>(
    function: &F,
    auth: &Auth,
    event: impl Into<HttpEvent>,
    call: Call,
) -> (ApiGatewayV2httpResponse, Option<CallRecord>) {
    let started = Instant::now();
    let auth = if F::IS_HISTORY { auth.of_history() } else { Cow::Borrowed(auth) };
    let event = event.into();
    let method = &event.request.request_context.http.method;
    if let Some(response) = answer_preflight(method, &event.request.headers) {
        return (response.into(), None);
    }
    let needs_token = needs_token(&auth, &event.request);
    let mut caller = Caller::Anyone;
    // Boxed, since it is large and gets moved.
    let answer = Box::pin(async {
        let request = Request::of(event, &auth).map_err(Problem::from).inspect_err(log_problem)?;
        caller.clone_from(request.caller());
        let span = span(request.caller());
        let answer = async { function.answer(request, call).await.inspect_err(log_problem) };
        answer.instrument(span).await
    });
    let (answer, usage) = usage::measured(answer).await;
    let took = started.elapsed();
    let mut response = answer.unwrap_or_else(Response::from);
    let has_failed = response.status.is_server_error();
    if needs_token {
        response.keep_private();
    }
    // To somebody who may only write, the units would show whether a member is known. Digits, spaces
    // and a few signs are fit for a header.
    if auth.lets_read(&caller)
        && let Ok(units) = HeaderValue::from_str(&usage.to_string())
    {
        response.headers.insert(UNITS, units);
    }
    (response.into(), Some(CallRecord { at: call.now, took, usage, caller, has_failed }))
}

/// Refuses what is no event of an HTTP API. No client of one can send that: whoever invokes the
/// function some other way did.
fn refuse(error: NotAnHttpEvent) -> Response {
    let problem = Problem::new(StatusCode::BAD_REQUEST, error.to_string()).caused_by(error);
    log_problem(&problem);
    problem.into()
}

/// The lines that a request logs have the name of its token.
fn span(caller: &Caller) -> Span {
    match caller {
        Caller::Anyone => Span::none(),
        Caller::Token { name, .. } => tracing::info_span!("request", token = %name),
    }
}
