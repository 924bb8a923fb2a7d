//! HTTP requests to the service.

use std::{net::TcpListener, time::Duration};

use anyhow::Context;
use serde::{Serialize, de::DeserializeOwned};
use ureq::{
    Agent,
    http::{Request, Response},
};

/// A client that takes every status for an answer.
#[derive(Debug, Clone)]
pub struct Client {
    agent: Agent,
    base: String,
}

impl Client {
    /// A client of the service at `base`, such as `http://localhost:9000`.
    pub fn new(base: &str) -> Self {
        Self::with_timeout(base, Duration::from_secs(40))
    }

    /// A client that waits only so long for an answer.
    pub fn with_timeout(base: &str, timeout: Duration) -> Self {
        let config =
            Agent::config_builder().http_status_as_error(false).timeout_global(Some(timeout));
        Self { agent: config.build().into(), base: base.to_owned() }
    }

    /// The status and the body of a GET.
    pub fn get(&self, path: &str) -> anyhow::Result<(u16, String)> {
        answer(self.agent.get(format!("{}{path}", self.base)).call())
    }

    /// The JSON of a GET that succeeds.
    pub fn get_json<T: DeserializeOwned>(&self, path: &str) -> anyhow::Result<T> {
        let (status, body) = self.get(path)?;
        anyhow::ensure!(status == 200, "GET {path}: {status} {body}");
        serde_json::from_str(&body).with_context(|| format!("GET {path}: {body}"))
    }

    /// The status and the body of a POST.
    pub fn post(&self, path: &str, body: &str) -> anyhow::Result<(u16, String)> {
        answer(self.agent.post(format!("{}{path}", self.base)).send(body))
    }

    /// The status and the challenge (`WWW-Authenticate`) that a GET gets, or the POST of an empty update, of
    /// who has this token, if any.
    pub fn try_token(
        &self,
        method: Method,
        path: &str,
        token: Option<&str>,
    ) -> anyhow::Result<(u16, Option<String>)> {
        let url = format!("{}{path}", self.base);
        let authorization = token.map(|token| ("Authorization", format!("Bearer {token}")));
        let response = match method {
            Method::Get => {
                let request = self.agent.get(url);
                authorization
                    .into_iter()
                    .fold(request, |r, (name, value)| r.header(name, value))
                    .call()
            }
            Method::Post => {
                let request = self.agent.post(url);
                authorization
                    .into_iter()
                    .fold(request, |r, (name, value)| r.header(name, value))
                    .send("{}")
            }
        }?;
        let challenge = response.headers().get("WWW-Authenticate");
        let challenge = challenge.map(|value| value.to_str().map(str::to_owned)).transpose()?;
        Ok((response.status().as_u16(), challenge))
    }

    /// The status and the body of a GET with query parameters.
    pub fn get_with(
        &self,
        path: &str,
        parameters: &[(&str, &str)],
    ) -> anyhow::Result<(u16, String)> {
        let request = self.agent.get(format!("{}{path}", self.base));
        answer(request.query_pairs(parameters.iter().copied()).call())
    }

    /// The status and the body of a POST of JSON.
    pub fn post_json(&self, path: &str, body: &impl Serialize) -> anyhow::Result<(u16, String)> {
        answer(self.agent.post(format!("{}{path}", self.base)).send_json(body))
    }

    /// The answer to a request with a path instead of an address.
    pub fn send(&self, mut request: Request<String>) -> anyhow::Result<Response<String>> {
        *request.uri_mut() = format!("{}{}", self.base, request.uri()).parse()?;
        let (parts, mut body) = self.agent.run(request)?.into_parts();
        Ok(Response::from_parts(parts, body.read_to_string()?))
    }

    /// The answer to a POST that may be one of several attempts at the same update.
    pub fn post_with_key(
        &self,
        path: &str,
        body: &str,
        idempotency_key: &str,
    ) -> anyhow::Result<PostAnswer> {
        let request = self.agent.post(format!("{}{path}", self.base));
        let response = request.header("Idempotency-Key", idempotency_key).send(body)?;
        let retry_after = response.headers().get("Retry-After");
        let retry_after = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
        let (status, body) = answer(Ok(response))?;
        Ok(PostAnswer { status, retry_after: retry_after.map(Duration::from_secs), body })
    }
}

/// How a client asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
}

/// What a client needs to decide whether to send an update again, and when.
#[derive(Debug)]
pub struct PostAnswer {
    pub status: u16,
    pub retry_after: Option<Duration>,
    pub body: String,
}

fn answer(response: Result<Response<ureq::Body>, ureq::Error>) -> anyhow::Result<(u16, String)> {
    let mut response = response?;
    let body = response.body_mut().with_config().limit(64_000_000).read_to_string()?;
    Ok((response.status().as_u16(), body))
}

/// Makes sure that something can listen on a port, which the option chooses.
pub fn require_free_port(address: &str, port: u16, option: &str) -> anyhow::Result<()> {
    TcpListener::bind((address, port))
        .map(drop)
        .with_context(|| format!("port {port} is not free; choose another with {option}"))
}

/// A port of the loopback interface that was free a moment ago.
pub fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    Ok(listener.local_addr()?.port())
}
