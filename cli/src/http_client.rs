//! HTTP requests to the service and to the emulator of BigQuery.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde::{Serialize, de::DeserializeOwned};
use ureq::{
    Agent, Body,
    http::{Request, Response},
};

/// How long an answer may take: longer than API Gateway lets it.
const TIMEOUT: Duration = Duration::from_secs(40);
/// The largest body of an answer, in bytes.
const MAX_BODY_BYTES: u64 = 64_000_000;

/// A client that takes every status for an answer.
#[derive(Debug, Clone)]
pub struct HttpClient {
    agent: Agent,
    base: String,
}

impl HttpClient {
    /// A client of the service at `base`, such as `http://localhost:9000`.
    #[must_use]
    pub fn new(base: &str) -> Self {
        Self::with_timeout(base, TIMEOUT)
    }

    /// A client that waits only this long for an answer.
    #[must_use]
    pub fn with_timeout(base: &str, timeout: Duration) -> Self {
        let config =
            Agent::config_builder().http_status_as_error(false).timeout_global(Some(timeout));
        Self { agent: config.build().into(), base: base.to_owned() }
    }

    /// The status and the body of a GET.
    ///
    /// # Errors
    /// There is no answer.
    pub fn get(&self, path: &str) -> anyhow::Result<(u16, String)> {
        self.get_with(path, &[])
    }

    /// The status and the body of a GET with query parameters.
    ///
    /// # Errors
    /// There is no answer.
    pub fn get_with(
        &self,
        path: &str,
        parameters: &[(&str, &str)],
    ) -> anyhow::Result<(u16, String)> {
        let request = self.agent.get(self.url(path));
        status_and_body(request.query_pairs(parameters.iter().copied()).call()?)
    }

    /// The JSON of a GET that succeeds.
    ///
    /// # Errors
    /// There is no answer, or one of another status, or of another form.
    pub fn get_json<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let (status, body) = self.get(path)?;
        ensure!(status == 200, "GET {path}: {status} {body}");
        serde_json::from_str(&body).with_context(|| format!("GET {path}: {body}"))
    }

    /// The status and the body of a POST.
    ///
    /// # Errors
    /// There is no answer.
    pub fn post(&self, path: &str, body: &str) -> anyhow::Result<(u16, String)> {
        status_and_body(self.agent.post(self.url(path)).send(body)?)
    }

    /// The status and the body of a POST of JSON.
    ///
    /// # Errors
    /// There is no answer.
    pub fn post_json(&self, path: &str, body: &impl Serialize) -> anyhow::Result<(u16, String)> {
        status_and_body(self.agent.post(self.url(path)).send_json(body)?)
    }

    /// The answer to a request whose URI is a path.
    ///
    /// # Errors
    /// There is no answer.
    pub fn send(&self, mut request: Request<String>) -> anyhow::Result<Response<String>> {
        *request.uri_mut() = self.url(&request.uri().to_string()).parse()?;
        let (parts, mut body) = self.agent.run(request)?.into_parts();
        Ok(Response::from_parts(parts, text(&mut body)?))
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }
}

fn status_and_body(mut response: Response<Body>) -> anyhow::Result<(u16, String)> {
    let body = text(response.body_mut())?;
    Ok((response.status().as_u16(), body))
}

fn text(body: &mut Body) -> anyhow::Result<String> {
    Ok(body.with_config().limit(MAX_BODY_BYTES).read_to_string()?)
}
