//! `statshub archive`: calls the function `archive` of a running service, as EventBridge Scheduler
//! does.

use std::time::{Duration, SystemTime};

use anyhow::{Context, ensure};
use clap::Args;
use serde_json::{Value, json};

use crate::{
    HttpClient,
    api_access::{LOCAL_URL, URL_VARIABLE},
    aws_cli::AwsCli,
    output::{print, print_json},
    timestamp,
};

/// How long a function may run on Lambda.
const FUNCTION_TIMEOUT: Duration = Duration::from_secs(900);

/// Which service to call, and what time to name.
#[derive(Debug, Args)]
#[command(after_help = "\
It prints the answer of the function, which is JSON. A run archives the slots that its time is in, as far as they \
are not archived yet.

Examples:
  statshub archive
  AWS_REGION=eu-west-1 statshub archive --stack statshub
  statshub archive --url http://localhost:9000 --time 2026-11-24T10:40:00Z")]
pub struct ArchiveOptions {
    /// The time that the event is scheduled for, in the format of RFC 3339 [default: now]
    #[arg(long)]
    time: Option<String>,
    /// A local service, as `cargo xtask dev` runs it
    #[arg(long, env = URL_VARIABLE, default_value = LOCAL_URL)]
    url: String,
    /// The stack of a deployed service instead. This needs the AWS CLI
    #[arg(long, value_name = "NAME")]
    stack: Option<String>,
    /// Call nothing, and print the event that the function would get
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// Print JSON, as it does anyway
    #[arg(long)]
    json: bool,
}

/// Calls the function once, and prints its answer.
///
/// # Errors
/// The service does not answer, or the function fails.
pub fn run(options: &ArchiveOptions) -> anyhow::Result<()> {
    let time = options.time.clone().unwrap_or_else(|| timestamp::from_seconds(now()));
    if options.dry_run {
        return Ok(print_json(&event(&time))?);
    }
    let answer = match &options.stack {
        None => invoke(&options.url, &time)?,
        Some(stack) => {
            let aws = AwsCli::default();
            aws.invoke(aws.stack(stack)?.output("ArchiveFunction")?, &event(&time))?
        }
    };
    Ok(print(answer.trim_end())?)
}

/// Calls the function with an event of this time (RFC 3339), and returns its answer.
///
/// # Errors
/// The service does not answer, or the function fails.
pub fn invoke(url: &str, time: &str) -> anyhow::Result<String> {
    let client = HttpClient::with_timeout(url, FUNCTION_TIMEOUT);
    let (status, body) = client
        .post_json("/2015-03-31/functions/archive/invocations", &event(time))
        .with_context(|| format!("{url} does not answer; `cargo xtask dev` runs a service"))?;
    ensure!(status == 200, "the function archive: {status} {}", failure(&body));
    Ok(body)
}

/// The time, in seconds since the Unix epoch.
#[must_use]
pub fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The reason that a failed function gives.
fn failure(body: &str) -> String {
    let answer: Value = serde_json::from_str(body).unwrap_or_default();
    answer.get("errorMessage").and_then(Value::as_str).unwrap_or(body).to_owned()
}

/// The event that EventBridge Scheduler sends.
fn event(time: &str) -> Value {
    json!({
        "version": "0",
        "id": random_uuid(),
        "detail-type": "Scheduled Event",
        "source": "aws.scheduler",
        "account": "123456789012",
        "time": time,
        "region": "us-east-1",
        "resources": ["arn:aws:scheduler:us-east-1:123456789012:schedule/default/archive"],
        "detail": "{}",
    })
}

fn random_uuid() -> String {
    format!(
        "{:08x}-{:04x}-4{:03x}-{:04x}-{:012x}",
        fastrand::u32(..),
        fastrand::u16(..),
        fastrand::u16(..0x1000),
        fastrand::u16(0x8000..0xc000),
        fastrand::u64(..1 << 48),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_event_has_the_scheduled_time() {
        let event = event("2026-11-24T10:40:00Z");
        assert_eq!(event.get("time").unwrap(), "2026-11-24T10:40:00Z");
        assert_eq!(event.get("id").unwrap().as_str().unwrap().len(), 36);
    }
}
