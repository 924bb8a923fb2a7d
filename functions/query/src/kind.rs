//! The kinds of numbers in an answer.

use std::collections::BTreeMap;

use shared::domain::{KeyStats, StatName, Sum};

/// A kind of number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A sum of counters and increments.
    Counter,
    /// A sum of gauges of the prior period, or a number of members.
    Gauge,
    /// A sum of gauges of the current period.
    Current,
}

impl Kind {
    pub(crate) const ALL: [Self; 3] = [Self::Counter, Self::Gauge, Self::Current];

    /// Its name in parameters and answers.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Current => "current",
        }
    }

    /// The numbers of this kind, in the order of their names.
    pub(crate) fn of(self, stats: &KeyStats) -> Vec<(&StatName, Sum)> {
        match self {
            Self::Counter => named(&stats.counters),
            Self::Gauge if stats.members.is_empty() => named(&stats.gauges),
            Self::Gauge => stats.gauges_and_members().into_iter().collect(),
            Self::Current => named(&stats.gauges_current),
        }
    }

    /// The number of this kind and name.
    pub(crate) fn find(self, stats: &KeyStats, stat: &StatName) -> Option<Sum> {
        match self {
            Self::Counter => stats.counters.get(stat).copied(),
            Self::Gauge => stats.members.get(stat).or_else(|| stats.gauges.get(stat)).copied(),
            Self::Current => stats.gauges_current.get(stat).copied(),
        }
    }
}

fn named(sums: &BTreeMap<StatName, Sum>) -> Vec<(&StatName, Sum)> {
    sums.iter().map(|(stat, sum)| (stat, *sum)).collect()
}

/// All numbers of a key, those of a kind together.
pub(crate) fn numbers(stats: &KeyStats) -> impl Iterator<Item = (Kind, &StatName, Sum)> {
    Kind::ALL
        .into_iter()
        .flat_map(|kind| kind.of(stats).into_iter().map(move |(stat, value)| (kind, stat, value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_as_it_is_shown() {
        let sums = |names: &[(&str, i64)]| {
            let named =
                names.iter().map(|(name, value)| (StatName::new(name).unwrap(), Sum::from(*value)));
            named.collect::<BTreeMap<_, _>>()
        };
        let stats = KeyStats {
            counters: sums(&[("x", 1)]),
            gauges: sums(&[("x", 2), ("y", 3)]),
            gauges_current: sums(&[("x", 4)]),
            members: sums(&[("x", 5)]),
        };
        let shown: Vec<_> = numbers(&stats)
            .map(|(kind, stat, value)| {
                assert_eq!(kind.find(&stats, stat), Some(value));
                format!("{}.{stat}={value}", kind.name())
            })
            .collect();
        assert_eq!(shown, ["counter.x=1", "gauge.x=5", "gauge.y=3", "current.x=4"]);
        assert_eq!(Kind::Current.find(&stats, &StatName::new("y").unwrap()), None);
    }
}
