//! How a function starts, and how an event gets through it.

use std::{
    borrow::Cow,
    sync::Arc,
    time::{Instant, SystemTime},
};

use aws_lambda_events::event::apigw::ApiGatewayV2httpResponse;
use aws_sdk_dynamodb::Client;
use http::{HeaderName, HeaderValue, StatusCode};
use lambda_runtime::{Error, LambdaEvent, service_fn};
use serde_json::value::RawValue;
use tracing::{Instrument, Span};

use super::{
    Call,
    metrics::{self, Metrics},
};
use crate::{
    auth::{Auth, Caller},
    config::Config,
    http::{HttpEvent, NotAnHttpEvent, Problem, Request, Response, answer_preflight, needs_token},
    store::{Settings, Store},
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

/// Sets up a function on the table and lets it answer HTTP requests: see [`serve_http_with`].
///
/// # Errors
/// The configuration is wrong, or the Lambda runtime fails.
pub async fn serve_http<F: HttpFunction>(
    build: impl FnOnce(&Config, Store) -> F,
) -> Result<(), Error> {
    serve_http_with(async |config: &Config| Ok(build(config, connect(config).await))).await
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
    let function = build(&config).await.inspect_err(|error| super::log::start_failed(error))?;
    let function = Arc::new((function, config.auth));
    let metrics = Metrics::start(F::NAME)?;
    // Boxed, since the types of the SDK's futures nest too deeply for the compiler.
    lambda_runtime::run_concurrent(service_fn(move |event: LambdaEvent<Box<RawValue>>| {
        let function = function.clone();
        Box::pin(async move {
            let call = Call::of(&event.context, SystemTime::now());
            let (function, auth) = &*function;
            let answer = match HttpEvent::read(&event.payload) {
                Ok(event) => answer_event(function, auth, event, call).await,
                Err(error) => refuse(error).into(),
            };
            metrics.flush(&[]);
            Ok::<_, Error>(answer)
        })
    }))
    .await
}

/// Logs as Lambda's own variables want it, reads the configuration and connects to the table.
///
/// # Errors
/// The configuration is wrong.
pub async fn start() -> Result<(Config, Store), Error> {
    let config = configure()?;
    let store = connect(&config).await;
    Ok((config, store))
}

fn configure() -> Result<Config, Error> {
    super::log::start();
    Ok(Config::from_env().inspect_err(|error| super::log::start_failed(error))?)
}

async fn connect(config: &Config) -> Store {
    let sdk = Box::pin(aws_config::load_from_env()).await;
    let settings = Settings {
        max_keys: config.max_keys_per_dimension,
        ..Settings::new(&config.table_name, config.period_length)
    };
    let client = settings.pace.client_config(aws_sdk_dynamodb::config::Builder::from(&sdk));
    Store::new(Client::from_conf(client.build()), settings, fastrand::Rng::new())
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
    let started = Instant::now();
    let auth = if F::IS_HISTORY { auth.of_history() } else { Cow::Borrowed(auth) };
    let event = event.into();
    let method = &event.request.request_context.http.method;
    if let Some(response) = answer_preflight(method, &event.request.headers) {
        return response.into();
    }
    let needs_token = needs_token(&auth, method);
    // Boxed, since it is large and gets moved.
    let answer = Box::pin(async {
        let request = Request::of(event, &auth).map_err(Problem::from).inspect_err(log)?;
        let span = span(request.caller());
        let answer = async { function.answer(request, call).await.inspect_err(log) };
        answer.instrument(span).await
    });
    let (answer, usage) = usage::measured(answer).await;
    metrics::count(&usage, started.elapsed());
    let mut response = answer.unwrap_or_else(Response::from);
    if needs_token {
        response.keep_private();
    }
    // Digits, spaces and a few signs are fit for a header.
    if let Ok(units) = HeaderValue::from_str(&usage.to_string()) {
        response.headers.insert(UNITS, units);
    }
    response.into()
}

/// Refuses what is no event of an HTTP API. No client of one can send that: whoever invokes the
/// function some other way did.
fn refuse(error: NotAnHttpEvent) -> Response {
    let problem = Problem::new(StatusCode::BAD_REQUEST, error.to_string()).caused_by(error);
    log(&problem);
    problem.into()
}

/// The lines that a request logs have the name of its token.
fn span(caller: &Caller) -> Span {
    match caller {
        Caller::Anyone => Span::none(),
        Caller::Token(name) => tracing::info_span!("request", token = %name),
    }
}

/// Logs a problem with its causes, once. A problem without a cause is the client's to know. Its
/// text may quote the request, and the log shows nothing of a request.
fn log(problem: &Problem) {
    let status = problem.status();
    let Some(error) = problem.cause() else {
        tracing::debug!(%status, "refused");
        return;
    };
    let mut causes = Vec::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        causes.push(error.to_string());
        cause = error.source();
    }
    let causes = causes.join(": ");
    if status.is_server_error() {
        tracing::error!(%status, causes, "{error}");
    } else {
        tracing::warn!(%status, causes, "{error}");
    }
}
