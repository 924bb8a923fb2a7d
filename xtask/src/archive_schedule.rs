//! The schedule of `cargo xtask dev`: calls the function `archive` as EventBridge Scheduler does.

use std::{
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use anyhow::bail;
use statshub::{
    run_archive::{invoke, now},
    timestamp,
};

/// How often the schedule in the cloud fires.
const INTERVAL: Duration = Duration::from_secs(600);

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
    /// The variables that give each firing a slot of its own.
    pub fn variables(self) -> Option<(String, String)> {
        (self.seconds < INTERVAL.as_secs())
            .then(|| ("ARCHIVE_STEP_SECONDS".to_owned(), self.seconds.to_string()))
    }

    /// The first multiple after a moment, both in seconds since the Unix epoch.
    fn next_after(self, seconds: u64) -> u64 {
        (seconds / self.seconds + 1).saturating_mul(self.seconds)
    }
}

/// Calls the function on its schedule, in a thread of its own, until `stop`. While the function
/// runs, firings are left out.
pub fn start_schedule(url: String, interval: Interval, stop: Arc<AtomicBool>) {
    thread::spawn(move || {
        while let Some(scheduled) = wait_for_next(interval, &stop) {
            let time = timestamp::from_seconds(scheduled);
            let answer = invoke(&url, &time);
            // While everything ends, calls fail: no news.
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
}
