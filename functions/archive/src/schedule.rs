//! Which dimensions are archived, and how often.

use std::{collections::BTreeMap, num::NonZeroU32};

use shared::{
    config::ConfigError,
    domain::{DimensionName, UnixSeconds},
};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// How often the schedule runs, in seconds, if `ARCHIVE_STEP_SECONDS` is not set.
const DEFAULT_STEP: u64 = 600;

/// When dimensions are archived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schedule {
    /// How often the schedule runs, in seconds. Every interval is a multiple of it.
    step: u64,
    dimensions: Dimensions,
}

/// The interval of each dimension, in seconds; or all dimensions, at every step.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Dimensions {
    All,
    Only(BTreeMap<DimensionName, u64>),
}

/// An interval of a dimension. It begins with a step of the schedule; both are aligned to the Unix
/// epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    start: UnixSeconds,
    /// How long until the dimension's next slot, in seconds.
    interval: u64,
}

/// The event has no time.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the event's time {0:?} is not a time since 1970 by RFC 3339")]
pub struct TimeError(String);

impl Schedule {
    /// Reads the schedule from the environment.
    ///
    /// # Errors
    /// A variable is wrong.
    pub fn from_env() -> Result<Self, ConfigError> {
        Self::from_variables(shared::config::variable)
    }

    /// Reads the schedule from variables whose values `get` gives.
    ///
    /// # Errors
    /// A variable is wrong.
    pub fn from_variables(
        get: impl Fn(&'static str) -> Option<String>,
    ) -> Result<Self, ConfigError> {
        let step = match get("ARCHIVE_STEP_SECONDS") {
            None => DEFAULT_STEP,
            Some(text) => {
                text.parse::<NonZeroU32>().map(|step| step.get().into()).map_err(|_| {
                    let problem = format!("{text:?} is not a number of seconds, at least 1");
                    ConfigError::new("ARCHIVE_STEP_SECONDS", problem)
                })?
            }
        };
        let dimensions = match get("ARCHIVE_DIMS") {
            None => Dimensions::All,
            Some(text) => only(&text, step).ok_or_else(|| {
                let problem = format!(
                    "{text:?} is not a list such as `country=1h,fallback=10m,user=24h` (multiples of \
                     {step} seconds)"
                );
                ConfigError::new("ARCHIVE_DIMS", problem)
            })?,
        };
        Ok(Self { step, dimensions })
    }

    /// The step that contains the time of an event, by RFC 3339.
    ///
    /// # Errors
    /// The text is not a time since 1970.
    pub fn step_at(&self, time: &str) -> Result<UnixSeconds, TimeError> {
        OffsetDateTime::parse(time, &Rfc3339)
            .ok()
            .and_then(|time| u64::try_from(time.unix_timestamp()).ok())
            .map(|seconds| UnixSeconds(seconds - seconds % self.step))
            .ok_or_else(|| TimeError(time.to_owned()))
    }

    /// How many steps there were before this one, since the Unix epoch.
    #[must_use]
    pub fn number_of(&self, step: UnixSeconds) -> u64 {
        step.0 / self.step
    }

    /// The slot of a dimension to which a step belongs; none if the dimension is not archived.
    ///
    /// With the default step, a slot of an hour has six steps. The first that succeeds archives it,
    /// and the others find that done: the next run makes up for one that failed.
    #[must_use]
    pub fn slot(&self, dimension: &DimensionName, step: UnixSeconds) -> Option<Slot> {
        let interval = match &self.dimensions {
            Dimensions::All => self.step,
            Dimensions::Only(intervals) => *intervals.get(dimension)?,
        };
        Some(Slot { start: UnixSeconds(step.0 - step.0 % interval), interval })
    }
}

impl Slot {
    /// Its first second.
    #[must_use]
    pub fn start(self) -> UnixSeconds {
        self.start
    }

    /// Whether the dimension's next slot has begun at `now`. Then the stats are no longer those of
    /// this slot.
    #[must_use]
    pub fn is_over(self, now: UnixSeconds) -> bool {
        now.0 >= self.start.0.saturating_add(self.interval)
    }
}

fn only(text: &str, step: u64) -> Option<Dimensions> {
    let entries = text.split(',').map(|entry| {
        let (dimension, interval) = entry.split_once('=')?;
        let interval = seconds(interval.trim())?;
        let fits = interval > 0 && interval.is_multiple_of(step);
        fits.then_some((DimensionName::new(dimension.trim()).ok()?, interval))
    });
    entries.collect::<Option<_>>().map(Dimensions::Only)
}

fn seconds(interval: &str) -> Option<u64> {
    let (number, unit) = interval.split_at_checked(interval.len().checked_sub(1)?)?;
    let unit = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schedule(dimensions: &str, step: &str) -> Result<Schedule, ConfigError> {
        Schedule::from_variables(|name| {
            let value = if name == "ARCHIVE_DIMS" { dimensions } else { step };
            (!value.is_empty()).then(|| value.to_owned())
        })
    }

    fn slot(schedule: &Schedule, dimension: &str, step: u64) -> Option<Slot> {
        schedule.slot(&DimensionName::new(dimension).unwrap(), UnixSeconds(step))
    }

    #[test]
    fn a_slot_is_the_step_truncated_to_the_dimensions_interval() {
        let some = schedule("country=1h, fallback=10m,user=24h", "").unwrap();
        let start = |dimension, step| slot(&some, dimension, step).map(|slot| slot.start().0);
        assert_eq!(start("fallback", 4_200), Some(4_200));
        assert_eq!(start("country", 4_200), Some(3_600));
        assert_eq!(start("user", 90_000), Some(86_400));
        assert_eq!(start("other", 0), None);
        assert_eq!(slot(&schedule("", "").unwrap(), "other", 600).unwrap().start().0, 600);
    }

    #[test]
    fn the_step_is_the_event_time_truncated() {
        let ten_minutes = schedule("", "").unwrap();
        assert_eq!(ten_minutes.step_at("1970-01-01T00:29:59Z").unwrap().0, 1_200);
        assert_eq!(ten_minutes.step_at("1970-01-01T02:00:00+01:00").unwrap().0, 3_600);
        let ten_seconds = schedule("", "10").unwrap();
        assert_eq!(ten_seconds.step_at("1970-01-01T00:29:59Z").unwrap().0, 1_790);
        assert_eq!(ten_minutes.number_of(UnixSeconds(1_200)), 2);
        for wrong in ["", "now", "1969-12-31T23:59:59Z"] {
            assert!(ten_minutes.step_at(wrong).is_err(), "{wrong:?}");
        }
    }

    #[test]
    fn a_slot_is_over_when_the_next_one_has_begun() {
        let hourly = slot(&schedule("country=1h", "").unwrap(), "country", 7_200).unwrap();
        assert!(!hourly.is_over(UnixSeconds(10_799)));
        assert!(hourly.is_over(UnixSeconds(10_800)));
        // The clock may be a little behind that of the schedule.
        assert!(!hourly.is_over(UnixSeconds(7_199)));
    }

    #[test]
    fn intervals_are_multiples_of_the_step() {
        for wrong in [
            "country",
            "country=",
            "country=5m",
            "country=0h",
            "country=1",
            "a/b=1h",
            "country=1é",
            "country=20s",
        ] {
            let error = schedule(wrong, "").unwrap_err().to_string();
            assert!(error.starts_with("ARCHIVE_DIMS: "), "{wrong:?}");
        }
        assert!(schedule("country=20s", "10").is_ok());
        for wrong in ["0", "10m"] {
            let error = schedule("", wrong).unwrap_err().to_string();
            assert!(error.starts_with("ARCHIVE_STEP_SECONDS: "), "{wrong:?}");
        }
    }
}
