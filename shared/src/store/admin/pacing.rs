//! Pacing: a long run of the operator's leaves most of the table's throughput to others.

use std::{num::NonZeroU32, time::Duration};

use tokio::time::{Instant, sleep_until};

use crate::usage::{Usage, measured};

/// Keeps a run below so many units a second, and knows what it has consumed.
#[derive(Debug)]
pub struct Pacer {
    units_per_second: NonZeroU32,
    began: Instant,
    read_units: f64,
    write_units: f64,
}

impl Pacer {
    /// Read and write units together, a second, on average.
    #[must_use]
    pub fn new(units_per_second: NonZeroU32) -> Self {
        Self { units_per_second, began: Instant::now(), read_units: 0.0, write_units: 0.0 }
    }

    /// Waits until it is its turn, and does something.
    pub async fn run<T>(&mut self, work: impl Future<Output = T>) -> T {
        sleep_until(self.began + self.due()).await;
        let (result, usage) = measured(work).await;
        self.note(&usage);
        result
    }

    /// The read units that were consumed, as DynamoDB reports them.
    #[must_use]
    pub fn read_units(&self) -> f64 {
        self.read_units
    }

    /// The write units that were consumed, as DynamoDB reports them.
    #[must_use]
    pub fn write_units(&self) -> f64 {
        self.write_units
    }

    fn note(&mut self, usage: &Usage) {
        self.read_units += usage.read_units;
        self.write_units += usage.write_units;
    }

    /// How long after the beginning all that was consumed is within the bound.
    fn due(&self) -> Duration {
        let seconds = (self.read_units + self.write_units) / f64::from(self.units_per_second.get());
        Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_was_consumed_is_due_after_as_many_seconds_as_it_takes_at_that_rate() {
        let mut pacer = Pacer::new(NonZeroU32::new(50).unwrap());
        assert_eq!(pacer.due(), Duration::ZERO);
        pacer.note(&Usage { read_units: 25.0, write_units: 100.0, ..Usage::default() });
        assert_eq!(pacer.due(), Duration::from_millis(2_500));
        assert_eq!((pacer.read_units(), pacer.write_units()), (25.0, 100.0));
    }

    #[tokio::test]
    async fn whoever_has_consumed_too_much_waits_for_its_turn() {
        let mut pacer = Pacer::new(NonZeroU32::new(1_000).unwrap());
        pacer.note(&Usage { write_units: 100.0, ..Usage::default() });
        let began = pacer.began;
        assert_eq!(pacer.run(async { 7 }).await, 7);
        assert!(began.elapsed() >= Duration::from_millis(100));
    }
}
