//! When an answer is due, and how long to wait between attempts.

use std::time::Duration;

use tokio::time::Instant;

/// When an answer is due.
#[derive(Debug, Clone, Copy)]
pub struct Deadline {
    at: Instant,
    is_of_job: bool,
}

impl Deadline {
    /// A deadline that is `duration` away.
    #[must_use]
    pub fn after(duration: Duration) -> Self {
        Self::at(Instant::now() + duration)
    }

    /// A deadline at this moment.
    #[must_use]
    pub fn at(moment: Instant) -> Self {
        Self { at: moment, is_of_job: false }
    }

    /// The same for a job, for which no client waits.
    #[must_use]
    pub fn of_job(self) -> Self {
        Self { is_of_job: true, ..self }
    }

    /// Whether no client waits for the answer.
    #[must_use]
    pub fn is_of_job(self) -> bool {
        self.is_of_job
    }

    /// The moment itself.
    #[must_use]
    pub fn instant(self) -> Instant {
        self.at
    }

    /// This deadline, or one that is `duration` away, whichever is earlier.
    #[must_use]
    pub fn at_most(self, duration: Duration) -> Self {
        Self { at: self.at.min(Instant::now() + duration), ..self }
    }

    /// A deadline that is earlier by `reserve` or by a quarter of the time left, whichever is less.
    #[must_use]
    pub fn earlier_by(self, reserve: Duration) -> Self {
        let left = self.at.saturating_duration_since(Instant::now());
        Self { at: self.at - reserve.min(left / 4), ..self }
    }
}

/// The waits between attempts: random, up to a bound that doubles each time ("full jitter": clients
/// that failed together don't try again together).
///
/// Source: *Exponential Backoff And Jitter*, AWS Architecture Blog.
#[derive(Debug, Clone, Copy)]
pub struct Jitter {
    bound: Duration,
    highest: Duration,
}

impl Jitter {
    /// Waits that begin with at most `first`, and never exceed `highest`.
    #[must_use]
    pub fn new(first: Duration, highest: Duration) -> Self {
        Self { bound: first.min(highest), highest }
    }

    /// The next wait.
    pub fn next(&mut self, random: &mut fastrand::Rng) -> Duration {
        let wait = self.bound.mul_f64(random.f64());
        self.bound = (self.bound * 2).min(self.highest);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_are_within_bounds_that_double_up_to_the_highest() {
        let mut random = fastrand::Rng::with_seed(1);
        let seconds = Duration::from_secs;
        for _ in 0..100 {
            let mut jitter = Jitter::new(seconds(1), seconds(3));
            for bound in [1, 2, 3, 3] {
                assert!(jitter.next(&mut random) <= seconds(bound));
            }
        }
    }
}
