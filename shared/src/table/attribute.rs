//! The names of attributes.

use std::iter::successors;

use crate::domain::{DimensionName, Period, StatName, UnixSeconds};

/// The partition key.
pub(super) const PARTITION_KEY: &str = "pk";
/// The sort key.
pub(super) const SORT_KEY: &str = "sk";
/// When DynamoDB may delete the item, in seconds since the Unix epoch.
pub(super) const EXPIRES_AT: &str = "expires_at";
/// How often a detail was written. Writers notice each other by it.
pub(super) const VERSION: &str = "version";
/// The tokens of the last updates that wrote a detail. An update whose answer was lost finds itself
/// by its token.
pub(super) const RECENT_UPDATES: &str = "recent";
/// The start of the period of a detail's gauges, in seconds since the Unix epoch.
pub(super) const GAUGE_PERIOD: &str = "gauge_period";
/// The members of a set that share a shard.
pub(super) const MEMBERS: &str = "members";
/// The SHA-256 of the body that came with an idempotency key.
pub(super) const FINGERPRINT: &str = "fingerprint";
/// The name that an item is about, if the item's key may have only its hash.
pub(super) const NAME: &str = "name";

/// When a detail was written last, in seconds since the Unix epoch.
pub(super) const CHANGED_AT: &str = "changed_at";

/// How many partitions of a dimension may hold something.
pub(super) const CELLS: &str = "cells";
/// A lower number of partitions, which is announced.
pub(super) const NARROWED_TO: &str = "narrowed_to";
/// When that was announced, in seconds since the Unix epoch.
pub(super) const NARROWED_AT: &str = "narrowed_at";
/// How far the sweep of a dimension has come: the sort key of the last rollup that it read.
pub(super) const SWEPT_TO: &str = "swept_to";
/// When the sweep of a dimension began, in seconds since the Unix epoch.
pub(super) const SWEPT_SINCE: &str = "swept_since";

/// How many keys a dimension has, in a cell of that number.
pub(super) const KEY_COUNT: &str = "keys";
/// Distinguishes a cell other than the first from a later one of the same number.
pub(super) const INCARNATION: &str = "incarnation";
/// How often a cell other than the first was written.
pub(super) const WRITES: &str = "writes";
/// When a cell other than the first was last written, in seconds since the Unix epoch.
pub(super) const WRITTEN_AT: &str = "written_at";
/// How far a cell other than the first is folded: absent as long as it takes writes.
pub(super) const FOLDED: &str = "folded";
/// In a first cell: the others whose sums it has taken over.
pub(super) const ABSORBED: &str = "absorbed";
/// In a first cell: when the last step of folding was done, in seconds since the Unix epoch.
pub(super) const FOLDING_SINCE: &str = "folding_since";

/// In a first cell: that a deletion found nothing in it. Whoever writes to the cell removes it.
pub(super) const VACATED: &str = "vacated";
/// In a first cell, of a rollup or of a number of keys: which repair has changed it last. A repair
/// is made for what another one has left.
pub(super) const REPAIRED: &str = "repaired";

/// Within a placement: the key of the dimension.
pub(super) const PLACEMENT_KEY: &str = "key";
/// Within a placement: the shares of the counters, in the order of the counters' names.
pub(super) const PLACEMENT_COUNTERS: &str = "counters";
/// Within a placement: the shares of the gauges, in the order of the gauges' names.
pub(super) const PLACEMENT_GAUGES: &str = "gauges";

/// What the attributes of counters begin with.
pub(super) const COUNTER: &str = "c:";
const GAUGE: &str = "g";
const PERIOD_END: char = ':';
/// What the attributes of numbers of members begin with.
pub(super) const MEMBER_COUNT: &str = "m:";
const PLACEMENT: &str = "d:";

/// The attribute of a counter, in details and rollups.
pub(super) fn counter(stat: &StatName) -> String {
    format!("{COUNTER}{stat}")
}

/// The attribute of a gauge, in details.
pub(super) fn gauge(stat: &StatName) -> String {
    format!("{GAUGE}{PERIOD_END}{stat}")
}

/// The attribute of a gauge of a period, in rollups. The period is its start in base 36: an item
/// costs by its bytes, and those of names count too.
pub(super) fn gauge_of(period: Period, stat: &StatName) -> String {
    format!("{GAUGE}{}{PERIOD_END}{stat}", base36(period.start().0))
}

/// The attribute of the number of unique members, in rollups.
pub(super) fn member_count(stat: &StatName) -> String {
    format!("{MEMBER_COUNT}{stat}")
}

/// The attribute of the key that an id last reported under, in details.
pub(super) fn placement(dimension: &DimensionName) -> String {
    format!("{PLACEMENT}{dimension}")
}

/// What an attribute that carries a name is about.
pub(super) enum Named<'a> {
    Counter(&'a str),
    Gauge(&'a str),
    GaugeOf(Period, &'a str),
    MemberCount(&'a str),
    Placement(&'a str),
}

impl<'a> Named<'a> {
    /// `None` for an attribute that carries no name.
    pub(super) fn parse(attribute: &'a str) -> Option<Self> {
        let strip = |prefix| attribute.strip_prefix(prefix);
        strip(COUNTER)
            .map(Self::Counter)
            .or_else(|| strip(MEMBER_COUNT).map(Self::MemberCount))
            .or_else(|| strip(PLACEMENT).map(Self::Placement))
            .or_else(|| strip(GAUGE).and_then(Self::gauge))
    }

    fn gauge(after_prefix: &'a str) -> Option<Self> {
        let (period, stat) = after_prefix.split_once(PERIOD_END)?;
        if period.is_empty() {
            return Some(Self::Gauge(stat));
        }
        let period = UnixSeconds(u64::from_str_radix(period, 36).ok()?);
        Some(Self::GaugeOf(Period::starting_at(period), stat))
    }
}

fn base36(number: u64) -> String {
    let quotients = successors(Some(number), |left| (*left >= 36).then(|| left / 36));
    let digits = quotients.filter_map(|left| char::from_digit(u32::try_from(left % 36).ok()?, 36));
    let digits: Vec<_> = digits.collect();
    digits.into_iter().rev().collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_name_of_a_period_is_short() {
        let stat = StatName::new("s").unwrap();
        let period = Period::starting_at(UnixSeconds(1_790_000_280));
        assert_eq!(gauge_of(period, &stat).len(), "g123456:s".len());
        assert_eq!(base36(0), "0");
        assert_eq!(base36(35), "z");
        assert_eq!(base36(36), "10");
    }

    proptest! {
        #[test]
        fn a_gauge_of_a_period_is_read_as_it_was_named(start in any::<u64>(), name in "[a-z_][a-z0-9_]{0,9}") {
            let stat = StatName::new(&name).unwrap();
            let period = Period::starting_at(UnixSeconds(start));
            match Named::parse(&gauge_of(period, &stat)) {
                Some(Named::GaugeOf(read, of)) => prop_assert_eq!((read, of), (period, &name[..])),
                _ => prop_assert!(false),
            }
            prop_assert!(matches!(Named::parse(&gauge(&stat)), Some(Named::Gauge(of)) if of == name));
        }
    }

    #[test]
    fn attributes_that_carry_no_name_are_none() {
        for attribute in [GAUGE_PERIOD, "pk", "sk", NAME, CELLS, "g", "g~:s"] {
            assert!(Named::parse(attribute).is_none(), "{attribute}");
        }
    }
}
