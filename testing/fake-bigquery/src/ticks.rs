//! The fake's time, which counts events.

/// The first moment.
const EPOCH_MS: u64 = 1_700_000_000_000;

/// A clock that advances when it is read.
#[derive(Debug, Default)]
pub(crate) struct Ticks(u64);

impl Ticks {
    /// Milliseconds since 1970, each time more than before.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 += 1;
        EPOCH_MS + self.0
    }
}
