//! The stats of a rollup, and how much room they take.

use std::collections::BTreeSet;

use super::{CellSums, StatName, Sums};

/// The most bytes of a sum in the table: 38 digits and a byte of overhead.
const SUM_BYTES: usize = 21;
/// The bytes of an attribute's name besides the stat's: `c:` or `m:`.
const PREFIX_BYTES: usize = 2;
/// The same of a gauge: `g123456:`.
const GAUGE_PREFIX_BYTES: usize = 8;
/// A rollup holds the gauges of the current period, of the one before, and of up to two that have
/// expired.
const GAUGE_PERIODS: usize = 4;

/// A stat of a rollup.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RollupStat {
    /// A counter.
    Counter(StatName),
    /// A gauge, of whatever period.
    Gauge(StatName),
    /// A number of members.
    Members(StatName),
}

impl RollupStat {
    /// The most bytes that the stat takes in an item of the rollup.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match self {
            Self::Counter(stat) | Self::Members(stat) => {
                PREFIX_BYTES + stat.as_str().len() + SUM_BYTES
            }
            Self::Gauge(stat) => {
                GAUGE_PERIODS * (GAUGE_PREFIX_BYTES + stat.as_str().len() + SUM_BYTES)
            }
        }
    }
}

impl CellSums {
    /// The stats that these are sums of.
    #[must_use]
    pub fn rollup_stats(&self) -> BTreeSet<RollupStat> {
        let gauges = self.gauges.values().flat_map(Sums::keys);
        let counters = self.counters.keys().cloned().map(RollupStat::Counter);
        let members = self.members.keys().cloned().map(RollupStat::Members);
        counters.chain(members).chain(gauges.cloned().map(RollupStat::Gauge)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Period, Sum, UnixSeconds};

    #[test]
    fn a_gauge_takes_room_for_each_period_that_a_rollup_holds() {
        let stat = || StatName::new("ten_bytes_").unwrap();
        assert_eq!(RollupStat::Counter(stat()).bytes(), 33);
        assert_eq!(RollupStat::Members(stat()).bytes(), 33);
        assert_eq!(RollupStat::Gauge(stat()).bytes(), 4 * 39);
    }

    #[test]
    fn a_gauge_is_one_stat_in_all_periods_and_another_one_than_a_counter() {
        let stat = || StatName::new("s").unwrap();
        let sums = || Sums::from([(stat(), Sum::ZERO)]);
        let periods = [0, 360].map(|start| (Period::starting_at(UnixSeconds(start)), sums()));
        let all = CellSums { counters: sums(), members: sums(), gauges: periods.into() };
        let expected =
            [RollupStat::Counter(stat()), RollupStat::Gauge(stat()), RollupStat::Members(stat())];
        assert_eq!(all.rollup_stats(), expected.into());
    }
}
