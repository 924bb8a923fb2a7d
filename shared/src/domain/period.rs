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

/// How long after its time a gauge may still be read or written: longer than a request takes and
/// clocks differ.
const UNDER_WAY: Duration = Duration::from_secs(60);

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

    /// Whether no reader needs the rollups of `period` any more, and no writer adds to them.
    ///
    /// A query reads a period until the end of the next one. Another minute leaves room for
    /// requests under way and for clocks that differ.
    #[must_use]
    pub fn has_expired(self, period: Period, now: UnixSeconds) -> bool {
        let end = period.start.saturating_add(u64::from(self.0.get()) * 2);
        end.saturating_add(UNDER_WAY.as_secs()) <= now.0
    }

    /// The latest periods that have expired, two of them at most: those that a writer removes from
    /// what it writes to.
    pub fn latest_expired(self, now: UnixSeconds) -> impl Iterator<Item = Period> {
        let length = u64::from(self.0.get());
        let latest = now.0.checked_sub(UNDER_WAY.as_secs() + 2 * length);
        let latest = latest.map(|latest| self.containing(UnixSeconds(latest)));
        let before = latest.and_then(|latest| latest.start.checked_sub(length));
        latest.into_iter().chain(before.map(|start| Period { start }))
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
    fn a_period_expires_a_minute_after_the_last_query_that_reads_it() {
        let end = period(360).start().after(Duration::from_secs(720));
        assert!(!SIX_MINUTES.has_expired(period(360), end));
        assert!(!SIX_MINUTES.has_expired(period(360), end.after(Duration::from_secs(59))));
        assert!(SIX_MINUTES.has_expired(period(360), end.after(Duration::from_secs(60))));
    }

    #[test]
    fn the_latest_expired_periods_are_those_before_all_that_have_not_expired() {
        for now in (5_000..8_000).map(UnixSeconds) {
            let expired: Vec<_> = SIX_MINUTES.latest_expired(now).collect();
            let [latest, before] = expired[..] else { panic!("{expired:?}") };
            assert!(SIX_MINUTES.has_expired(latest, now), "{now:?}");
            assert!(!SIX_MINUTES.has_expired(period(latest.start().0 + 360), now), "{now:?}");
            assert_eq!(SIX_MINUTES.prior(latest), before);
        }
    }

    #[test]
    fn no_period_has_expired_when_time_begins() {
        for (now, expired) in [(0, 0), (779, 0), (780, 1), (1_139, 1), (1_140, 2)] {
            let now = UnixSeconds(now);
            assert_eq!(SIX_MINUTES.latest_expired(now).count(), expired, "{now:?}");
            let mut expired = SIX_MINUTES.latest_expired(now);
            assert!(expired.all(|period| SIX_MINUTES.has_expired(period, now)), "{now:?}");
        }
    }
}
