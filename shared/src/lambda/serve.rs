//! The start of a function, and the way of an event through it.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use aws_lambda_events::event::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse};
use aws_sdk_dynamodb::Client;
use http::{HeaderName, HeaderValue};
use lambda_runtime::{Context, Error, LambdaEvent, service_fn};
use tracing::{Instrument, Span};

use super::metrics::{self, Metrics};
use crate::{
    auth::{Auth, Caller},
    config::Config,
    domain::UnixSeconds,
    http::{ApiError, Request, Response, answer_preflight},
    store::{Deadline, Settings, Store},
    usage,
};

/// What a request has consumed of the table, in read and write units.
const UNITS: HeaderName = HeaderName::from_static("x-statshub-units");
/// How long a request may take where Lambda names no deadline. API Gateway waits for 30 seconds.
const LONGEST_REQUEST: Duration = Duration::from_secs(25);
/// How long a job may take. Source: *Lambda quotas*, AWS Lambda Developer Guide.
const LONGEST_JOB: Duration = Duration::from_secs(15 * 60);
/// What is left of Lambda's deadline to answer in.
const TIME_TO_ANSWER: Duration = Duration::from_secs(1);

/// The moment of a request, and when its answer is due.
#[derive(Debug, Clone, Copy)]
pub struct Call {
    /// When the request came.
    pub now: UnixSeconds,
    /// When the answer is due.
    pub deadline: Deadline,
}

/// A function that answers HTTP requests.
pub trait HttpFunction: Send + Sync + 'static {
    /// Its name, in metrics.
    const NAME: &'static str;

    /// Answers a request.
    fn answer(
        &self,
        request: Request,
        call: Call,
    ) -> impl Future<Output = Result<Response, ApiError>> + Send;
}

/// Sets a function on the table up and lets it answer HTTP requests: see [`serve_http_with`].
///
/// # Errors
/// The configuration is wrong, or the Lambda runtime fails.
pub async fn serve_http<F: HttpFunction>(
    build: impl FnOnce(&Config, Store) -> F,
) -> Result<(), Error> {
    serve_http_with(async |config: &Config| Ok(build(config, connect(config).await))).await
}

/// Sets a function up and lets it answer HTTP requests until Lambda ends the process. It answers as
/// many at once as `AWS_LAMBDA_MAX_CONCURRENCY` says.
///
/// # Errors
/// The configuration is wrong, or the Lambda runtime fails.
pub async fn serve_http_with<F: HttpFunction>(
    build: impl AsyncFnOnce(&Config) -> Result<F, Error>,
) -> Result<(), Error> {
    let config = configure()?;
    let function = build(&config).await.inspect_err(|error| tracing::error!("{error}"))?;
    let function = Arc::new((function, config.auth));
    let metrics = Metrics::start(F::NAME)?;
    // Boxed, since the types of the SDK's futures nest too deeply for the compiler.
    lambda_runtime::run_concurrent(service_fn(move |event: LambdaEvent<_>| {
        let function = function.clone();
        Box::pin(async move {
            let call = Call::of(&event.context, SystemTime::now());
            let (function, auth) = &*function;
            let answer = answer_event(function, auth, event.payload, call).await;
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
    Ok(Config::from_env().inspect_err(|error| tracing::error!("{error}"))?)
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

impl Call {
    /// The call of a request of the API that came at `now`.
    #[must_use]
    pub fn of(context: &Context, now: SystemTime) -> Self {
        Self::at_most(LONGEST_REQUEST, context, now)
    }

    /// The call of a scheduled job that began at `now`: it may take as long as Lambda lets it.
    #[must_use]
    pub fn of_job(context: &Context, now: SystemTime) -> Self {
        Self::at_most(LONGEST_JOB, context, now)
    }

    fn at_most(longest: Duration, context: &Context, now: SystemTime) -> Self {
        // A deadline in the past says nothing: `cargo lambda` names one in 1970.
        let left = context.deadline().duration_since(now).ok();
        let time = left.map_or(longest, |left| left.saturating_sub(TIME_TO_ANSWER).min(longest));
        Self { now: now.into(), deadline: Deadline::after(time) }
    }
}

/// Answers an event of API Gateway, if who sent it may ask; whatever goes wrong is an answer too.
///
/// The answer to a `HEAD` has its body. Whoever speaks HTTP to the client leaves it out, and takes its
/// length for `Content-Length` (RFC 9110, section 9.3.2): of an empty one that would be 0.
pub async fn answer_event(
    function: &impl HttpFunction,
    auth: &Auth,
    event: ApiGatewayV2httpRequest,
    call: Call,
) -> ApiGatewayV2httpResponse {
    let started = Instant::now();
    let method = &event.request_context.http.method;
    if let Some(response) = answer_preflight(method, &event.headers) {
        return response.into();
    }
    // Boxed, since it is large, and is moved on its way.
    let answer = Box::pin(async {
        let request = Request::of(event, auth).inspect_err(log)?;
        let span = span(request.caller());
        let answer = async { function.answer(request, call).await.inspect_err(log) };
        answer.instrument(span).await
    });
    let (answer, usage) = usage::measured(answer).await;
    metrics::count(&usage, started.elapsed());
    let mut response = answer.unwrap_or_else(|error| Response::from(&error));
    // Digits, spaces and a few signs are fit for a header.
    if let Ok(units) = HeaderValue::from_str(&usage.to_string()) {
        response.headers.insert(UNITS, units);
    }
    response.into()
}

/// What a request logs, it logs with the name of its token.
fn span(caller: &Caller) -> Span {
    match caller {
        Caller::Anyone => Span::none(),
        Caller::Token(name) => tracing::info_span!("request", token = %name),
    }
}

/// Logs a failure with its causes, once. What a client did wrong is the client's to know; the text that says
/// it may quote the request, of which nothing is logged.
fn log(error: &ApiError) {
    let status = error.status();
    let error: &dyn std::error::Error = match error {
        ApiError::Store(error) => error,
        ApiError::Upstream { cause, .. } => cause.as_ref(),
        _ => {
            tracing::debug!(%status, "refused");
            return;
        }
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
