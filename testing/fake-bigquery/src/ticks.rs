//! The fake's time, which counts events.

/// The first moment.
const EPOCH_MS: u64 = 1_700_000_000_000;

/// A clock that advances when it is read.
#[derive(Debug)]
pub(crate) struct Ticks {
    /// Milliseconds since 1970.
    now: u64,
}

impl Default for Ticks {
    fn default() -> Self {
        Self { now: EPOCH_MS }
    }
}

impl Ticks {
    /// Milliseconds since 1970, each time more than before.
    pub(crate) fn next(&mut self) -> u64 {
        self.now += 1;
        self.now
    }

    /// Goes to a moment, in milliseconds since 1970.
    pub(crate) fn set(&mut self, now: u64) {
        self.now = now;
    }
}
