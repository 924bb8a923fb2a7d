//! The names of attributes.

use crate::domain::{DimensionName, StatName};

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

/// How many keys of a dimension a cell counts.
pub(super) const KEY_COUNT: &str = "keys";
/// Distinguishes a cell other than the first from a later one with the same number.
pub(super) const INCARNATION: &str = "incarnation";
/// How often a cell other than the first was written.
pub(super) const WRITES: &str = "writes";
/// When a cell other than the first was last written, in seconds since the Unix epoch.
pub(super) const WRITTEN_AT: &str = "written_at";
/// Present if a cell takes no more writes.
pub(super) const FROZEN: &str = "frozen";
/// In a first cell: the others whose sums it has taken over.
pub(super) const ABSORBED: &str = "absorbed";
/// In a first cell: when the last step of folding was done, in seconds since the Unix epoch.
pub(super) const FOLDING_SINCE: &str = "folding_since";

/// Within a placement: the key of the dimension.
pub(super) const PLACEMENT_KEY: &str = "key";
/// Within a placement: the shares of the counters, in the order of the counters' names.
pub(super) const PLACEMENT_COUNTERS: &str = "counters";
/// Within a placement: the shares of the gauges, in the order of the gauges' names.
pub(super) const PLACEMENT_GAUGES: &str = "gauges";

const COUNTER: &str = "c:";
const GAUGE: &str = "g:";
const MEMBER_COUNT: &str = "m:";
const PLACEMENT: &str = "d:";

/// The attribute of a counter, in details and rollups.
pub(super) fn counter(stat: &StatName) -> String {
    format!("{COUNTER}{stat}")
}

/// The attribute of a gauge, in details and rollups.
pub(super) fn gauge(stat: &StatName) -> String {
    format!("{GAUGE}{stat}")
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
    MemberCount(&'a str),
    Placement(&'a str),
}

impl<'a> Named<'a> {
    /// `None` for an attribute that carries no name.
    pub(super) fn parse(attribute: &'a str) -> Option<Self> {
        let strip = |prefix| attribute.strip_prefix(prefix);
        strip(COUNTER)
            .map(Self::Counter)
            .or_else(|| strip(GAUGE).map(Self::Gauge))
            .or_else(|| strip(MEMBER_COUNT).map(Self::MemberCount))
            .or_else(|| strip(PLACEMENT).map(Self::Placement))
    }
}
