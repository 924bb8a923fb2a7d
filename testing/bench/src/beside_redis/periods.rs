//! The periods of gauges.

use shared::domain::UnixSeconds;

/// How long a period is, in seconds, by default and in the first statshub.
const LENGTH: u64 = 360;

/// The current period of gauges, and those around it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Periods {
    /// When it began, in seconds since the Unix epoch.
    pub current: u64,
}

impl Periods {
    pub(super) fn at(now: UnixSeconds) -> Self {
        Self { current: now.0 - now.0 % LENGTH }
    }

    /// When the period before began.
    pub(super) fn prior(self) -> u64 {
        self.current.saturating_sub(LENGTH)
    }

    /// When the period began whose gauges are the first that nobody asks for any more.
    pub(super) fn expired(self) -> u64 {
        self.prior().saturating_sub(LENGTH)
    }

    /// When gauges of the current period may go.
    pub(super) fn expiry(self) -> u64 {
        self.current.saturating_add(3 * LENGTH)
    }
}
