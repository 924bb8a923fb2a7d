//! The one loop that sends: attempts, their time limits, access tokens, and the pauses between
//! attempts.
//!
//! Every request may be repeated, even if an earlier attempt was carried out and its answer lost:
//! tables and jobs have names of their own, and chunks of an upload have positions, by which
//! BigQuery recognizes the second attempt.

use std::{ops::ControlFlow, sync::Mutex, time::Duration};

use bytes::Bytes;
use reqwest::{
    RequestBuilder, StatusCode,
    header::{CONTENT_TYPE, HeaderMap},
};
use serde::de::DeserializeOwned;
use serde_json::Value;
use shared::deadline::Deadline;
use tokio::time::{Instant, timeout_at};

use crate::{BigQueryError, Pace, Pauses, credentials::AccessTokens, failure::Failure};

/// Sends requests.
#[derive(Debug)]
pub(crate) struct Sender {
    pub(crate) http: reqwest::Client,
    pub(crate) tokens: AccessTokens,
    pub(crate) pace: Pace,
    pub(crate) random: Mutex<fastrand::Rng>,
}

/// An answer that is not a failure.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    body: Bytes,
}

impl Reply {
    /// # Errors
    /// It is not the JSON that was expected.
    pub(crate) fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body).map_err(Failure::transient)
    }
}

/// How long a request may take.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TimeLimits {
    /// When its answer is due.
    deadline: Deadline,
    /// How long an attempt may take.
    attempt: Duration,
}

/// One request, or several of which each depends on the reply to the one before.
pub(crate) trait Exchange {
    /// What the last reply amounts to.
    type Outcome;

    /// What to send next.
    fn request(&self, http: &reqwest::Client) -> RequestBuilder;

    /// Reads a reply. `Continue` sends the next request at once.
    ///
    /// # Errors
    /// The reply makes no sense, or not yet.
    fn read(&mut self, reply: &Reply) -> Result<ControlFlow<Self::Outcome>, Failure>;

    /// An attempt failed. It may have been carried out, or may yet be.
    fn lost(&mut self) {}
}

/// An exchange of one request and one reply.
pub(crate) struct Once<Q, R> {
    pub(crate) request: Q,
    pub(crate) read: R,
}

impl<T, Q, R> Exchange for Once<Q, R>
where
    Q: Fn(&reqwest::Client) -> RequestBuilder,
    R: Fn(&Reply) -> Result<T, Failure>,
{
    type Outcome = T;

    fn request(&self, http: &reqwest::Client) -> RequestBuilder {
        (self.request)(http)
    }

    fn read(&mut self, reply: &Reply) -> Result<ControlFlow<T>, Failure> {
        (self.read)(reply).map(ControlFlow::Break)
    }
}

impl Sender {
    /// The limits of a request that needs to be answered before `deadline`.
    pub(crate) fn limits(&self, deadline: Deadline) -> TimeLimits {
        TimeLimits { deadline: deadline.at_most(self.pace.request), attempt: self.pace.attempt }
    }

    /// The limits of a request that uploads rows.
    pub(crate) fn upload_limits(&self, deadline: Deadline) -> TimeLimits {
        TimeLimits { attempt: self.pace.upload, ..self.limits(deadline) }
    }

    /// The pauses between attempts.
    pub(crate) fn pauses(&self) -> Pauses<'_> {
        Pauses::new(&self.pace, &self.random)
    }

    /// Sends what an exchange consists of until the exchange has an outcome.
    ///
    /// # Errors
    /// BigQuery refuses a request, or its deadline passes.
    pub(crate) async fn send<E: Exchange>(
        &self,
        mut exchange: E,
        limits: TimeLimits,
    ) -> Result<E::Outcome, BigQueryError> {
        let mut pauses = self.pauses();
        let mut has_new_token = false;
        let mut last = None;
        loop {
            let failure = match self.attempt(exchange.request(&self.http), limits).await {
                Ok(reply) => match exchange.read(&reply) {
                    Ok(ControlFlow::Break(outcome)) => return Ok(outcome),
                    Ok(ControlFlow::Continue(())) => continue,
                    Err(failure) => failure,
                },
                Err(failure) => {
                    if matches!(failure, Failure::Again { .. }) {
                        exchange.lost();
                    }
                    failure
                }
            };
            let (error, after) = match failure {
                Failure::Token(_) if !has_new_token => {
                    has_new_token = true;
                    continue;
                }
                Failure::Token(error) | Failure::Final(error) => return Err(error),
                Failure::Again { error, after } => (error, after),
            };
            if Instant::now() >= limits.deadline.instant() {
                // The deadline cut this attempt short, so it says less than the one before it.
                return Err(last.unwrap_or(error));
            }
            if !pauses.pause_before(limits.deadline, after).await {
                return Err(error);
            }
            tracing::debug!(cause = ?error, "BigQuery is asked again");
            last = Some(error);
        }
    }

    /// Sends a request once.
    async fn attempt(&self, request: RequestBuilder, limits: TimeLimits) -> Result<Reply, Failure> {
        let attempt = async {
            let token = self.tokens.token().await?;
            let answer = request.bearer_auth(token).send().await.map_err(Failure::transient)?;
            let (status, headers) = (answer.status(), answer.headers().clone());
            let body = answer.bytes().await.map_err(Failure::transient)?;
            Ok(Reply { status, headers, body })
        };
        let until = limits.deadline.at_most(limits.attempt).instant();
        let reply = timeout_at(until, attempt)
            .await
            .unwrap_or_else(|_| Err(Failure::transient("no answer in time")))?;
        if reply.status.is_success() || reply.status == StatusCode::PERMANENT_REDIRECT {
            return Ok(reply);
        }
        let failure = Failure::of(reply.status, &reply.headers, &reply.body);
        if matches!(failure, Failure::Token(_)) {
            self.tokens.forget();
        }
        Err(failure)
    }
}

/// A request with a body of JSON.
pub(crate) trait JsonBody {
    fn json_body(self, body: &Value) -> Self;
}

impl JsonBody for RequestBuilder {
    fn json_body(self, body: &Value) -> Self {
        self.header(CONTENT_TYPE, "application/json").body(body.to_string())
    }
}
