//! How long to wait: for an answer, and between attempts.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use shared::deadline::{Deadline, Jitter};
use tokio::time::{Instant, sleep};

/// How long to wait for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// How long BigQuery may take to accept a connection.
    pub connect: Duration,
    /// How long it may take to answer one attempt.
    pub attempt: Duration,
    /// How long it may take to answer one attempt to upload.
    pub upload: Duration,
    /// How long a request is tried again.
    pub request: Duration,
    /// The bound of the first wait between attempts; each further bound is twice as long.
    pub first_wait: Duration,
    /// The highest bound of a wait.
    pub longest_wait: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            attempt: Duration::from_secs(20),
            upload: Duration::from_secs(60),
            request: Duration::from_secs(90),
            first_wait: Duration::from_millis(200),
            longest_wait: Duration::from_secs(5),
        }
    }
}

/// Pauses of random length, up to a bound that doubles each time.
#[derive(Debug)]
pub struct Pauses<'a> {
    waits: Jitter,
    random: &'a Mutex<fastrand::Rng>,
}

impl<'a> Pauses<'a> {
    pub(crate) fn new(pace: &Pace, random: &'a Mutex<fastrand::Rng>) -> Self {
        Self { waits: Jitter::new(pace.first_wait, pace.longest_wait), random }
    }

    /// Lets some time pass.
    pub async fn pause(&mut self) {
        sleep(self.next()).await;
    }

    /// Lets some time pass, `at_least` this much. If the deadline would pass meanwhile, returns
    /// `false` at once.
    pub(crate) async fn pause_before(&mut self, deadline: Deadline, at_least: Duration) -> bool {
        let wait = self.next().max(at_least);
        if Instant::now() + wait >= deadline.instant() {
            return false;
        }
        sleep(wait).await;
        true
    }

    fn next(&mut self) -> Duration {
        self.waits.next(&mut self.random.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
