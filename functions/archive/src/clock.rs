//! The time of day in a run.

use shared::domain::UnixSeconds;
use tokio::time::Instant;

/// The time of day, which goes on while a run lasts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock {
    began_at: UnixSeconds,
    began: Instant,
}

impl Clock {
    pub(crate) fn starting_at(began_at: UnixSeconds) -> Self {
        Self { began_at, began: Instant::now() }
    }

    pub(crate) fn now(&self) -> UnixSeconds {
        self.began_at.after(self.began.elapsed())
    }
}
