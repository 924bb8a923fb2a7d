//! The periods in which gauges are summed.

use std::{
    num::NonZeroU32,
    time::{Duration, SystemTime},
};

/// A moment, in whole seconds since the Unix epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixSeconds(pub u64);

impl UnixSeconds {
    /// The moment that is `duration` later, in whole seconds.
    #[must_use]
    pub fn after(self, duration: Duration) -> Self {
        Self(self.0.saturating_add(duration.as_secs()))
    }
}

impl From<SystemTime> for UnixSeconds {
    /// A clock set before 1970 counts as 1970.
    fn from(time: SystemTime) -> Self {
        let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH);
        Self(since_epoch.unwrap_or_default().as_secs())
    }
}

/// How long a period lasts, in seconds: at least 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PeriodLength(NonZeroU32);

impl PeriodLength {
    /// Clients report every 5 minutes, so each of them reports within a period of 6.
    pub const DEFAULT: Self = match NonZeroU32::new(360) {
        Some(seconds) => Self(seconds),
        None => unreachable!(),
    };

    /// A length of this many seconds.
    #[must_use]
    pub const fn new(seconds: NonZeroU32) -> Self {
        Self(seconds)
    }

    /// The period that contains `now`.
    #[must_use]
    pub fn containing(self, now: UnixSeconds) -> Period {
        let length = u64::from(self.0.get());
        Period { start: now.0 - now.0 % length }
    }

    /// The period before `period`.
    #[must_use]
    pub fn prior(self, period: Period) -> Period {
        Period { start: period.start.saturating_sub(self.0.get().into()) }
    }

    /// The period in which an update counts if it arrives at `now` and its id last set its gauges
    /// in `last`.
    ///
    /// The clocks of two machines differ a little. If another machine's clock has already put a
    /// report of this id into the next period, the update counts there too. In the older period,
    /// its gauges would be added again to what they had counted there before.
    #[must_use]
    pub fn of_update(self, now: UnixSeconds, last: Option<Period>) -> Period {
        let current = self.containing(now);
        match last {
            Some(last) if self.prior(last) == current => last,
            _ => current,
        }
    }

    /// When the rollups of `period` may be deleted: four periods after its start. Queries read them
    /// for two, and the rest leaves room for clocks that differ.
    #[must_use]
    pub fn expiry(self, period: Period) -> UnixSeconds {
        UnixSeconds(period.start.saturating_add(u64::from(self.0.get()) * 4))
    }
}

/// A bucket of gauges, identified by its start in seconds since the Unix epoch.
///
/// It is not a running number, so an old period never looks new after the length has changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Period {
    start: u64,
}

impl Period {
    /// The period that starts at `start`.
    #[must_use]
    pub const fn starting_at(start: UnixSeconds) -> Self {
        Self { start: start.0 }
    }

    /// The first second of the period.
    #[must_use]
    pub const fn start(self) -> UnixSeconds {
        UnixSeconds(self.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIX_MINUTES: PeriodLength = PeriodLength::DEFAULT;

    fn period(start: u64) -> Period {
        Period::starting_at(UnixSeconds(start))
    }

    #[test]
    fn periods_are_aligned_to_the_epoch() {
        assert_eq!(SIX_MINUTES.containing(UnixSeconds(0)), period(0));
        assert_eq!(SIX_MINUTES.containing(UnixSeconds(359)), period(0));
        assert_eq!(SIX_MINUTES.containing(UnixSeconds(360)), period(360));
        assert_eq!(SIX_MINUTES.prior(period(720)), period(360));
    }

    #[test]
    fn a_clock_just_behind_counts_in_the_newer_period_and_one_far_off_does_not() {
        let now = UnixSeconds(719);
        assert_eq!(SIX_MINUTES.of_update(now, None), period(360));
        assert_eq!(SIX_MINUTES.of_update(now, Some(period(0))), period(360));
        assert_eq!(SIX_MINUTES.of_update(now, Some(period(720))), period(720));
        assert_eq!(SIX_MINUTES.of_update(now, Some(period(1_080))), period(360));
    }

    #[test]
    fn rollups_outlive_every_query_that_reads_them() {
        let last_read = period(360).start().after(Duration::from_secs(719));
        assert!(SIX_MINUTES.expiry(period(360)) > last_read);
    }
}
