//! Which dimensions are archived, and how often.

use std::collections::BTreeMap;

use shared::domain::{DimensionName, UnixSeconds};

/// How often the schedule runs, in seconds: what every interval is a multiple of.
const STEP: u64 = 600;

/// Ten minutes of the schedule, aligned to the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Slot {
    start: u64,
}

impl Slot {
    /// The slot that contains a moment, in seconds since the Unix epoch.
    #[must_use]
    pub fn containing(seconds: u64) -> Self {
        Self { start: seconds - seconds % STEP }
    }

    /// Its first second.
    #[must_use]
    pub fn start(self) -> UnixSeconds {
        UnixSeconds(self.start)
    }
}

/// The interval of each dimension, in seconds; or all dimensions, at every step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Schedule {
    /// All dimensions, every 10 minutes.
    All,
    /// These only, each at its interval in seconds.
    Only(BTreeMap<DimensionName, u64>),
}

/// `ARCHIVE_DIMS` is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "ARCHIVE_DIMS: {0:?} is not a list such as `country=1h,fallback=10m,user=24h` (multiples of 10 \
     minutes)"
)]
pub struct ScheduleError(String);

impl Schedule {
    /// Reads `ARCHIVE_DIMS`; all dimensions when it is absent or empty.
    ///
    /// # Errors
    /// An entry is not a dimension and its interval.
    pub fn parse(text: Option<&str>) -> Result<Self, ScheduleError> {
        let Some(text) = text.filter(|text| !text.is_empty()) else {
            return Ok(Self::All);
        };
        let entries = text.split(',').map(|entry| {
            let (dimension, interval) = entry.split_once('=')?;
            Some((DimensionName::new(dimension.trim()).ok()?, seconds(interval.trim())?))
        });
        let intervals = entries.collect::<Option<_>>();
        intervals.map(Self::Only).ok_or_else(|| ScheduleError(text.to_owned()))
    }

    /// Whether a dimension is archived in a slot.
    #[must_use]
    pub fn is_due(&self, dimension: &DimensionName, slot: Slot) -> bool {
        match self {
            Self::All => true,
            Self::Only(intervals) => intervals
                .get(dimension)
                .is_some_and(|interval| slot.start.is_multiple_of(*interval)),
        }
    }
}

fn seconds(interval: &str) -> Option<u64> {
    let (number, unit) = interval.split_at_checked(interval.len().checked_sub(1)?)?;
    let unit = match unit {
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return None,
    };
    let seconds = number.parse::<u64>().ok()?.checked_mul(unit)?;
    (seconds > 0 && seconds.is_multiple_of(STEP)).then_some(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn due(schedule: &str, dimension: &str, start: u64) -> bool {
        let schedule = Schedule::parse(Some(schedule)).unwrap();
        schedule.is_due(&DimensionName::new(dimension).unwrap(), Slot::containing(start))
    }

    #[test]
    fn every_dimension_is_due_at_its_interval() {
        let schedule = "country=1h, fallback=10m,user=24h";
        assert!(due(schedule, "fallback", 600) && due(schedule, "fallback", 3_600));
        assert!(!due(schedule, "country", 600) && due(schedule, "country", 3_601));
        assert!(!due(schedule, "user", 3_600) && due(schedule, "user", 86_400));
        assert!(!due(schedule, "other", 0));
        assert!(due("", "other", 600));
    }

    #[test]
    fn intervals_are_multiples_of_ten_minutes() {
        for wrong in
            ["country", "country=", "country=5m", "country=0h", "country=1", "a/b=1h", "c=1é"]
        {
            let error = Schedule::parse(Some(wrong)).unwrap_err().to_string();
            assert!(error.starts_with("ARCHIVE_DIMS"), "{wrong:?}");
        }
    }
}
