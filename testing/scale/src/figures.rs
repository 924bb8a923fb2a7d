//! What a simulation finds.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How many latencies are kept, to find their quantiles.
const KEPT: usize = 100_000;

/// What a simulation has found. Rates are by second.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Figures {
    /// Updates that clients sent.
    pub sent: f64,
    /// Updates that were counted.
    pub counted: f64,
    /// Requests that got as far as the function.
    pub calls: f64,
    /// Cancelled transactions with a conflict, for each update that was counted.
    pub conflicts: f64,
    /// Requests that DynamoDB throttled, for each update that was counted.
    pub throttles: f64,
    /// The part of what was sent that the API refused.
    pub refused_by_api: f64,
    /// … that Lambda refused.
    pub refused_by_lambda: f64,
    /// … that was throttled for too long.
    pub refused_throttled: f64,
    /// … that found no free cell before its deadline.
    pub refused_contended: f64,
    /// Milliseconds that half of the updates lost at most to conflicts, throttles and waits.
    pub added_p50: f64,
    /// … that 99 % of them lost at most.
    pub added_p99: f64,
    /// Write units.
    pub write_units: f64,
    /// Read units.
    pub read_units: f64,
    /// Seconds of function that are billed.
    pub billed: f64,
    /// Processes that there were at the end.
    pub processes: usize,
    /// Over how many partition keys each dimension is spread at the end.
    pub spread: Vec<u8>,
    /// In how many cells the most popular key of each dimension was written.
    pub hottest_cells: Vec<u32>,
    /// Cells that a key was written in, on average over those that were.
    pub cells_of_key: f64,
    /// Partitions of the table at the end.
    pub partitions: usize,
    /// The course of it all, from the start.
    pub course: Vec<Moment>,
}

impl Figures {
    /// The part of what was sent that was not counted.
    #[must_use]
    pub fn refused(&self) -> f64 {
        self.refused_by_api
            + self.refused_by_lambda
            + self.refused_throttled
            + self.refused_contended
    }
}

/// A part of the course: rates by second, up to this moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    /// Seconds since the start.
    pub at: f64,
    /// Updates that were counted.
    pub counted: f64,
    /// Cancelled transactions with a conflict.
    pub conflicts: f64,
    /// Requests that were throttled.
    pub throttles: f64,
    /// Updates that were refused, by whomever.
    pub refused: f64,
    /// Partitions of the table.
    pub partitions: usize,
}

/// What is counted meanwhile.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Counts {
    pub sent: u64,
    pub counted: u64,
    pub calls: u64,
    pub conflicts: u64,
    pub throttles: u64,
    pub refused_by_api: u64,
    pub refused_by_lambda: u64,
    pub refused_throttled: u64,
    pub refused_contended: u64,
    pub billed: Duration,
    pub write_units: f64,
    pub read_units: f64,
}

impl Counts {
    /// What was counted since an earlier moment.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self {
            sent: self.sent - earlier.sent,
            counted: self.counted - earlier.counted,
            calls: self.calls - earlier.calls,
            conflicts: self.conflicts - earlier.conflicts,
            throttles: self.throttles - earlier.throttles,
            refused_by_api: self.refused_by_api - earlier.refused_by_api,
            refused_by_lambda: self.refused_by_lambda - earlier.refused_by_lambda,
            refused_throttled: self.refused_throttled - earlier.refused_throttled,
            refused_contended: self.refused_contended - earlier.refused_contended,
            billed: self.billed.saturating_sub(earlier.billed),
            write_units: self.write_units - earlier.write_units,
            read_units: self.read_units - earlier.read_units,
        }
    }

    /// Updates that were refused, by whomever.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.refused_by_api
            + self.refused_by_lambda
            + self.refused_throttled
            + self.refused_contended
    }

    /// The figures that follow from counts of so many seconds.
    #[must_use]
    pub fn figures(&self, seconds: f64) -> Figures {
        let by_second = |count: u64| float(count) / seconds;
        let by_update = |count: u64| ratio(count, self.counted);
        let of_sent = |count: u64| ratio(count, self.sent);
        Figures {
            sent: by_second(self.sent),
            counted: by_second(self.counted),
            calls: by_second(self.calls),
            conflicts: by_update(self.conflicts),
            throttles: by_update(self.throttles),
            refused_by_api: of_sent(self.refused_by_api),
            refused_by_lambda: of_sent(self.refused_by_lambda),
            refused_throttled: of_sent(self.refused_throttled),
            refused_contended: of_sent(self.refused_contended),
            write_units: self.write_units / seconds,
            read_units: self.read_units / seconds,
            billed: self.billed.as_secs_f64() / seconds,
            ..Figures::default()
        }
    }
}

/// A count as a number to calculate with.
#[must_use]
pub fn float(count: u64) -> f64 {
    // Exact up to 2^53, far beyond what is counted here.
    let (high, low) = (count >> 32, count & 0xffff_ffff);
    let part = |part: u64| f64::from(u32::try_from(part).unwrap_or(u32::MAX));
    part(high) * 4_294_967_296.0 + part(low)
}

fn ratio(of: u64, by: u64) -> f64 {
    if by == 0 { 0.0 } else { float(of) / float(by) }
}

/// A sample of latencies, in which each has the same chance to be.
#[derive(Debug, Default)]
pub(crate) struct LatencySample {
    kept: Vec<Duration>,
    seen: usize,
}

impl LatencySample {
    /// Adds a latency.
    pub fn add(&mut self, latency: Duration, random: &mut fastrand::Rng) {
        self.seen += 1;
        if self.kept.len() < KEPT {
            self.kept.push(latency);
        } else if let Some(kept) = self.kept.get_mut(random.usize(..self.seen)) {
            *kept = latency;
        }
    }

    /// The latencies in milliseconds that these parts of all don't exceed.
    #[must_use]
    pub fn quantiles<const N: usize>(&mut self, percent: [usize; N]) -> [f64; N] {
        self.kept.sort_unstable();
        percent.map(|percent| {
            let last = self.kept.len().saturating_sub(1);
            let latency = self.kept.get(last * percent / 100);
            latency.map_or(0.0, |latency| latency.as_secs_f64() * 1_000.0)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_those_of_all_latencies() {
        let (mut sample, mut random) = (LatencySample::default(), fastrand::Rng::with_seed(1));
        for number in 0..=300_000 {
            sample.add(Duration::from_micros(number), &mut random);
        }
        let [half, most] = sample.quantiles([50, 99]);
        assert!((145.0..155.0).contains(&half), "{half}");
        assert!((296.0..298.0).contains(&most), "{most}");
        let [none] = LatencySample::default().quantiles([50]);
        assert!(none.abs() < 1e-9);
    }

    #[test]
    fn figures_are_rates_of_the_time_and_parts_of_what_was_sent() {
        let before = Counts { sent: 10, counted: 10, ..Counts::default() };
        let counts = Counts {
            sent: 110,
            counted: 90,
            conflicts: 40,
            refused_by_api: 20,
            write_units: 480.0,
            ..Counts::default()
        };
        let figures = counts.since(&before).figures(10.0);
        assert!((figures.counted - 8.0).abs() < 1e-9);
        assert!((figures.conflicts - 0.5).abs() < 1e-9);
        assert!((figures.refused() - 0.2).abs() < 1e-9);
        assert!((figures.write_units - 48.0).abs() < 1e-9);
    }

    #[test]
    fn large_counts_are_exact() {
        assert!((float(12_345_678_901_234) - 12_345_678_901_234.0).abs() < 0.5);
    }
}
