//! `cargo xtask archive`, and the schedule of `cargo xtask dev`: the function `archive`, called as
//! EventBridge Scheduler does.

use std::{
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, SystemTime},
};

use crate::{http::Client, timestamp};
use anyhow::{Context, bail, ensure};
use clap::Args;
use serde_json::{Value, json};

/// How often the schedule in the cloud fires.
const INTERVAL: Duration = Duration::from_secs(600);
/// The longest that a function may run, on Lambda.
const FUNCTION_TIMEOUT: Duration = Duration::from_secs(900);

/// The variable with the address of the service, for the commands of a session.
pub const URL_VARIABLE: &str = "STATSHUB_URL";

#[derive(Debug, Args)]
pub struct Options {
    /// The time that the event is scheduled for, by RFC 3339; now when absent
    #[arg(long)]
    time: Option<String>,
    /// The service
    #[arg(long, env = URL_VARIABLE, default_value = "http://localhost:9000")]
    url: String,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    let time = options.time.clone().unwrap_or_else(|| timestamp::from_seconds(now()));
    println!("{}", invoke(&options.url, &time)?);
    Ok(())
}

/// How often something is done: whole seconds, such as `10s`, `1m` or `1h`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    seconds: u64,
}

impl FromStr for Interval {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> anyhow::Result<Self> {
        let units = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];
        let seconds = units.iter().find_map(|(unit, seconds)| {
            text.strip_suffix(unit)?.parse::<u64>().ok()?.checked_mul(*seconds)
        });
        match seconds {
            None | Some(0) => bail!("an interval is a number and a unit: 10s, 1m, 10m, 1h"),
            Some(seconds) => Ok(Self { seconds }),
        }
    }
}

impl Interval {
    /// What the function needs to know so that each firing has a slot of its own.
    pub fn variables(self) -> Option<(String, String)> {
        (self.seconds < INTERVAL.as_secs())
            .then(|| ("ARCHIVE_STEP_SECONDS".to_owned(), self.seconds.to_string()))
    }

    /// The first multiple after a moment, both in seconds since the Unix epoch.
    fn next_after(self, seconds: u64) -> u64 {
        (seconds / self.seconds + 1).saturating_mul(self.seconds)
    }
}

/// Calls the function on its schedule, in a thread of its own, until `stop`. A firing that comes while the
/// function still runs is left out.
pub fn start_schedule(url: String, interval: Interval, stop: Arc<AtomicBool>) {
    thread::spawn(move || {
        while let Some(scheduled) = wait_for_next(interval, &stop) {
            let time = timestamp::from_seconds(scheduled);
            let answer = invoke(&url, &time);
            // What fails while all is ending is no news.
            if !stop.load(Ordering::Relaxed) {
                match answer {
                    Ok(answer) => println!("archive {time}: {answer}"),
                    Err(error) => println!("archive {time}: failed: {error:#}"),
                }
            }
        }
    });
}

fn wait_for_next(interval: Interval, stop: &AtomicBool) -> Option<u64> {
    let next = interval.next_after(now());
    while now() < next {
        if stop.load(Ordering::Relaxed) {
            return None;
        }
        thread::sleep(Duration::from_millis(100));
    }
    Some(next)
}

fn now() -> u64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// Calls the function once, and returns its answer.
/// Calls the function with an event of that time, and returns its answer.
pub fn invoke(url: &str, time: &str) -> anyhow::Result<String> {
    let client = Client::with_timeout(url, FUNCTION_TIMEOUT);
    let (status, body) = client
        .post_json("/2015-03-31/functions/archive/invocations", &event(time))
        .with_context(|| format!("{url} does not answer; `cargo xtask dev` runs a service"))?;
    ensure!(status == 200, "the function archive: {status} {}", failure(&body));
    Ok(body)
}

/// What a function that failed says.
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
    fn intervals_have_a_unit() {
        let seconds = |text: &str| text.parse::<Interval>().ok().map(|interval| interval.seconds);
        assert_eq!(
            ["10s", "1m", "10m", "1h", "2d"].map(seconds),
            [10, 60, 600, 3_600, 172_800].map(Some)
        );
        for wrong in ["", "10", "s", "0s", "-1m", "1.5h", "1w", "10 s", "99999999999999999999d"] {
            assert_eq!(seconds(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn firings_are_multiples_of_the_interval() {
        let interval = Interval { seconds: 10 };
        assert_eq!([0, 9, 10, 11].map(|now| interval.next_after(now)), [10, 10, 20, 20]);
    }

    #[test]
    fn shorter_intervals_need_shorter_slots() {
        let step =
            |text: &str| text.parse::<Interval>().unwrap().variables().map(|(_, value)| value);
        assert_eq!(step("10s").as_deref(), Some("10"));
        assert_eq!(["10m", "1h"].map(step), [None, None]);
    }

    #[test]
    fn the_event_has_the_scheduled_time() {
        let event = event("2026-11-24T10:40:00Z");
        assert_eq!(event.get("time").unwrap(), "2026-11-24T10:40:00Z");
        assert_eq!(event.get("id").unwrap().as_str().unwrap().len(), 36);
    }
}
