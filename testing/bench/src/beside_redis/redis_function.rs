//! A process that serves the stats of a Redis. It gets its requests as statshub's functions do,
//! from Lambda's runtime API, so that what is around the two is the same.

use std::{env, time::SystemTime};

use anyhow::Context;
use clap::Args;
use serde::{Deserialize, Serialize};
use ureq::Agent;

use super::redis_service::{Layout, RedisService};

/// Which Redis to serve.
#[derive(Debug, Clone, Args)]
pub struct RedisFunctionOptions {
    /// How stats are laid out there
    #[arg(long)]
    layout: Layout,
    /// Where it is, as a `redis://` URL
    #[arg(long)]
    redis: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    raw_path: String,
    #[serde(default)]
    body: String,
    request_context: RequestContext,
}

#[derive(Deserialize)]
struct RequestContext {
    http: Http,
}

#[derive(Deserialize)]
struct Http {
    method: String,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Answer {
    status_code: u16,
    headers: Headers,
    body: String,
}

#[derive(Serialize)]
struct Headers {
    #[serde(rename = "content-type")]
    content_type: &'static str,
}

/// Answers one request after the other. Returns only if something fails.
///
/// # Errors
/// The runtime API or Redis fails, or a request is malformed.
pub fn run(options: &RedisFunctionOptions) -> anyhow::Result<()> {
    let api = env::var("AWS_LAMBDA_RUNTIME_API")?;
    let invocations = format!("{api}/2018-06-01/runtime/invocation");
    let agent = Agent::config_builder().build().new_agent();
    let mut service = RedisService::connect(options.layout, &options.redis)?;
    loop {
        let mut next = agent.get(format!("{invocations}/next")).call()?;
        let id = next.headers().get("lambda-runtime-aws-request-id");
        let id = id.context("an event without an id")?.to_str()?.to_owned();
        let event: Event = serde_json::from_slice(&next.body_mut().read_to_vec()?)?;
        let is_update = event.request_context.http.method == "POST";
        let now = SystemTime::now().into();
        let body = service.answer(is_update, &event.raw_path, &event.body, now)?;
        let headers = Headers { content_type: "application/json" };
        let answer = serde_json::to_string(&Answer { status_code: 200, headers, body })?;
        agent.post(format!("{invocations}/{id}/response")).send(&answer)?;
    }
}
