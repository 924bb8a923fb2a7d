//! The client: requests to BigQuery's REST API, and what their answers and failures mean.
//!
//! Every request here may be repeated, also when an earlier attempt was carried out and its answer lost:
//! tables and jobs have names of their own, so that BigQuery answers the second by 409. So what is sent
//! again is decided in one place.

use std::{
    error::Error,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::{
    RequestBuilder, StatusCode,
    header::{HeaderMap, RETRY_AFTER},
    redirect,
};
use serde::{Deserialize, de::DeserializeOwned};
use shared::{
    config::ConfigError,
    deadline::{Deadline, Jitter},
};
use tokio::time::{Instant, sleep, timeout_at};

use crate::{BigQueryError, Config, config::Access, credentials::Tokens, error::Cause};

/// What stays as it is in a segment of a path.
const UNRESERVED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');
/// How much of an answer that is not BigQuery's an error repeats, in characters.
const MAX_QUOTED_CHARS: usize = 200;

/// The words by which BigQuery says that a request may succeed later. Source: *Error messages*, BigQuery
/// documentation.
const THROTTLING: [&str; 4] =
    ["rateLimitExceeded", "userRateLimitExceeded", "jobRateLimitExceeded", "quotaExceeded"];
const TRANSIENT: [&str; 4] =
    ["backendError", "internalError", "jobBackendError", "jobInternalError"];

/// How long to wait for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// How long BigQuery may take to accept a connection.
    pub connect: Duration,
    /// How long it may take to answer one attempt.
    pub attempt: Duration,
    /// How long it may take to answer one attempt to upload.
    pub upload: Duration,
    /// How long a request is tried again.
    pub request: Duration,
    /// The bound of the first wait between attempts; that of each further one is twice as long.
    pub first_wait: Duration,
    /// The highest bound of a wait.
    pub longest_wait: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            attempt: Duration::from_secs(20),
            upload: Duration::from_secs(60),
            request: Duration::from_secs(90),
            first_wait: Duration::from_millis(200),
            longest_wait: Duration::from_secs(5),
        }
    }
}

/// A dataset of BigQuery.
#[derive(Debug)]
pub struct BigQuery {
    http: reqwest::Client,
    base: String,
    tokens: Tokens,
    pub(crate) project: String,
    pub(crate) dataset: String,
    pub(crate) location: Option<String>,
    pace: Pace,
    random: Mutex<fastrand::Rng>,
}

/// An answer that is not a failure.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Bytes,
}

impl Answer {
    /// # Errors
    /// It is not the JSON that was expected.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(|error| Failure::transient(error.into()))
    }
}

/// Why an attempt failed, and whether another may succeed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The token is not good any more.
    Token(BigQueryError),
    /// Another attempt may succeed, after so long at least.
    Again { error: BigQueryError, after: Duration },
    /// Another attempt would fail as well.
    Final(BigQueryError),
}

impl Failure {
    pub(crate) fn transient(cause: Cause) -> Self {
        Self::Again { error: BigQueryError::Unavailable(cause), after: Duration::ZERO }
    }

    pub(crate) fn into_error(self) -> BigQueryError {
        match self {
            Self::Token(error) | Self::Again { error, .. } | Self::Final(error) => error,
        }
    }
}

/// Pauses of random length, up to a bound that doubles each time.
#[derive(Debug)]
pub struct Pauses<'a> {
    bigquery: &'a BigQuery,
    waits: Jitter,
}

impl Pauses<'_> {
    /// Lets some time pass.
    pub async fn pause(&mut self) {
        sleep(self.next()).await;
    }

    /// How long the next pause is.
    pub(crate) fn next(&mut self) -> Duration {
        self.bigquery.next_wait(&mut self.waits)
    }
}

/// How a request is to be sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sending {
    pub(crate) deadline: Deadline,
    /// How long an attempt may take.
    pub(crate) attempt: Duration,
}

impl BigQuery {
    /// The dataset that the configuration names. To be called within a runtime of tokio.
    ///
    /// # Errors
    /// The credentials lack something, or the machine has no certificates.
    pub fn new(config: &Config, pace: Pace, random: fastrand::Rng) -> Result<Self, ConfigError> {
        // That of the AWS SDK, so that the binary has one. It is there already the second time.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let http = reqwest::Client::builder()
            .connect_timeout(pace.connect)
            // A resumable upload answers with 308, which is not to be followed.
            .redirect(redirect::Policy::none());
        let http = match &config.access {
            // Without TLS no certificates are needed, and the emulator is near.
            Access::Emulator(_) => http.no_proxy().tls_certs_only([]),
            Access::Google(_) => http,
        };
        Ok(Self {
            http: http
                .build()
                .map_err(|error| ConfigError::new("GOOGLE_PROJECT", causes(&error)))?,
            base: config.address.clone(),
            tokens: Tokens::new(&config.access)
                .map_err(|error| ConfigError::new("GOOGLE_TOKEN", causes(&error)))?,
            project: config.project.clone(),
            dataset: config.dataset.clone(),
            location: config.location.clone(),
            pace,
            random: Mutex::new(random),
        })
    }

    /// The dataset.
    #[must_use]
    pub fn dataset(&self) -> &str {
        &self.dataset
    }

    /// The address of something in the project.
    pub(crate) fn url(&self, path: &[&str]) -> String {
        self.address("bigquery/v2", path)
    }

    /// The address to which jobs with content are uploaded.
    pub(crate) fn upload_url(&self) -> String {
        self.address("upload/bigquery/v2", &["jobs"])
    }

    fn address(&self, service: &str, path: &[&str]) -> String {
        let mut address = format!("{}/{service}/projects", self.base);
        for segment in [self.project.as_str()].iter().chain(path) {
            address.push('/');
            address.extend(utf8_percent_encode(segment, &UNRESERVED));
        }
        address
    }

    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// How requests are sent that need to be answered before `deadline`.
    pub(crate) fn sending(&self, deadline: Deadline) -> Sending {
        Sending { deadline: deadline.at_most(self.pace.request), attempt: self.pace.attempt }
    }

    /// The same for uploads.
    pub(crate) fn uploading(&self, deadline: Deadline) -> Sending {
        Sending { attempt: self.pace.upload, ..self.sending(deadline) }
    }

    /// The waits between attempts.
    pub(crate) fn waits(&self) -> Jitter {
        Jitter::new(self.pace.first_wait, self.pace.longest_wait)
    }

    /// Pauses for a caller that asks again for something that is not there yet.
    #[must_use]
    pub fn pauses(&self) -> Pauses<'_> {
        Pauses { bigquery: self, waits: self.waits() }
    }

    /// Waits before another attempt. Gives back why the last one failed.
    ///
    /// # Errors
    /// The deadline would pass meanwhile: the error is what has to be told.
    pub(crate) async fn wait(
        &self,
        waits: &mut Jitter,
        failure: Failure,
        deadline: Deadline,
    ) -> Result<BigQueryError, BigQueryError> {
        let Failure::Again { error, after } = failure else {
            return Err(failure.into_error());
        };
        let wait = self.next_wait(waits).max(after);
        if Instant::now() + wait >= deadline.instant() {
            return Err(error);
        }
        tracing::debug!(cause = ?error, "BigQuery is asked again");
        sleep(wait).await;
        Ok(error)
    }

    pub(crate) fn next_wait(&self, waits: &mut Jitter) -> Duration {
        waits.next(&mut self.random.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Sends a request until it is answered, and reads the JSON of the answer.
    pub(crate) async fn request<T: DeserializeOwned>(
        &self,
        sending: Sending,
        request: impl Fn(&reqwest::Client) -> RequestBuilder,
    ) -> Result<T, BigQueryError> {
        self.request_for(sending, request, Answer::json).await
    }

    /// Sends a request until it is answered, and reads what is wanted of the answer.
    pub(crate) async fn request_for<T>(
        &self,
        sending: Sending,
        request: impl Fn(&reqwest::Client) -> RequestBuilder,
        read: impl Fn(&Answer) -> Result<T, Failure>,
    ) -> Result<T, BigQueryError> {
        let mut waits = self.waits();
        let mut has_new_token = false;
        let mut last = None;
        loop {
            let answer = self.attempt(sending, request(&self.http)).await;
            match answer.and_then(|answer| read(&answer)) {
                Ok(answer) => return Ok(answer),
                Err(Failure::Token(_)) if !has_new_token => has_new_token = true,
                Err(failure) => {
                    // An attempt that time did not suffice for says less than the one before it.
                    if Instant::now() >= sending.deadline.instant()
                        && let Some(last) = last
                    {
                        return Err(last);
                    }
                    last = Some(self.wait(&mut waits, failure, sending.deadline).await?);
                }
            }
        }
    }

    /// Sends a request once.
    pub(crate) async fn attempt(
        &self,
        sending: Sending,
        request: RequestBuilder,
    ) -> Result<Answer, Failure> {
        let attempt = async {
            let token = self.tokens.token().await?;
            let answer = request.bearer_auth(token).send().await;
            let answer = answer.map_err(|error| Failure::transient(error.into()))?;
            let (status, headers) = (answer.status(), answer.headers().clone());
            let body = answer.bytes().await.map_err(|error| Failure::transient(error.into()))?;
            Ok(Answer { status, headers, body })
        };
        let until = sending.deadline.at_most(sending.attempt).instant();
        let answer = timeout_at(until, attempt)
            .await
            .unwrap_or_else(|_| Err(Failure::transient("no answer in time".into())))?;
        match answer.status.is_success() || answer.status == StatusCode::PERMANENT_REDIRECT {
            true => Ok(answer),
            false => {
                let failure = failure(&answer);
                if matches!(failure, Failure::Token(_)) {
                    self.tokens.forget();
                }
                Err(failure)
            }
        }
    }
}

/// An error with its causes, in a line.
fn causes(error: &dyn Error) -> String {
    let mut causes = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        causes = format!("{causes}: {cause}");
        next = cause.source();
    }
    causes
}

/// What a failure means.
fn failure(answer: &Answer) -> Failure {
    let (reason, message) = explanation(&answer.body);
    let status = answer.status;
    let error = BigQueryError::Refused { status, reason: reason.clone(), message };
    let again = |error| Failure::Again { error, after: retry_after(&answer.headers) };
    let reason = reason.as_str();
    if status == StatusCode::UNAUTHORIZED {
        Failure::Token(error)
    } else if status == StatusCode::TOO_MANY_REQUESTS || THROTTLING.contains(&reason) {
        again(BigQueryError::Throttled(error.into()))
    } else if status.is_server_error()
        || status == StatusCode::REQUEST_TIMEOUT
        || TRANSIENT.contains(&reason)
    {
        again(BigQueryError::Unavailable(error.into()))
    } else {
        Failure::Final(error)
    }
}

/// BigQuery's word for a failure, and its explanation.
fn explanation(body: &[u8]) -> (String, String) {
    #[derive(Deserialize)]
    struct Body {
        error: Explanation,
    }
    #[derive(Deserialize)]
    struct Explanation {
        #[serde(default)]
        message: String,
        #[serde(default)]
        errors: Vec<Item>,
    }
    #[derive(Deserialize)]
    struct Item {
        #[serde(default)]
        reason: String,
    }
    match serde_json::from_slice::<Body>(body) {
        Ok(Body { error }) => {
            let reason = error.errors.into_iter().next().map(|item| item.reason);
            (reason.unwrap_or_default(), error.message)
        }
        // A proxy on the way, perhaps.
        Err(_) => {
            let text = String::from_utf8_lossy(body);
            (String::new(), text.chars().take(MAX_QUOTED_CHARS).collect())
        }
    }
}

/// The wait that an answer asks for, in whole seconds; a date is not understood.
fn retry_after(headers: &HeaderMap) -> Duration {
    let seconds = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    Duration::from_secs(seconds.unwrap_or_default())
}
