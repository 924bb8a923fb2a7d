//! HTTP requests to the service.

use std::{net::TcpListener, time::Duration};

use anyhow::Context;
use serde::de::DeserializeOwned;
use ureq::{Agent, http::Response};

/// A client that takes every status for an answer.
#[derive(Debug, Clone)]
pub struct Client {
    agent: Agent,
    base: String,
}

impl Client {
    /// A client of the service at `base`, such as `http://localhost:9000`.
    pub fn new(base: &str) -> Self {
        let config = Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(40)));
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
}

fn answer(response: Result<Response<ureq::Body>, ureq::Error>) -> anyhow::Result<(u16, String)> {
    let mut response = response?;
    let body = response.body_mut().with_config().limit(64_000_000).read_to_string()?;
    Ok((response.status().as_u16(), body))
}

/// A port of the loopback interface that was free a moment ago.
pub fn free_port() -> anyhow::Result<u16> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    Ok(listener.local_addr()?.port())
}
