//! The numbers that queries show, and where two sets of them differ.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

/// Where a query shows a number.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct StatPlace {
    /// The dimension.
    pub dimension: String,
    /// The key, or `total`.
    pub key: String,
    /// The group.
    pub group: ShownGroup,
    /// The stat.
    pub stat: String,
}

/// What kind of number a query shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ShownGroup {
    /// A counter.
    Counters,
    /// A gauge of the prior period.
    Gauges,
    /// A gauge of the current period.
    GaugesCurrent,
    /// A number of unique members. In an answer they are among the gauges.
    Members,
}

impl ShownGroup {
    /// Its name in answers; that of members, which have no group of their own there, is `members`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Counters => "counters",
            Self::Gauges => "gauges",
            Self::GaugesCurrent => "gaugesCurrent",
            Self::Members => "members",
        }
    }
}

/// The numbers that queries show.
pub type Numbers = BTreeMap<StatPlace, i128>;

/// A number that is not as expected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Where it is.
    pub place: StatPlace,
    /// What the model says; none if there should be no number.
    pub expected: Option<i128>,
    /// What was shown; none if there was no number.
    pub got: Option<i128>,
}

/// The key, the stat, and both numbers.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |number: &Option<i128>| number.map_or("nothing".into(), |n| n.to_string());
        let (expected, got) = (shown(&self.expected), shown(&self.got));
        write!(f, "{} {}: expected {expected}, got {got}", self.place.key, self.place.stat)
    }
}

/// All numbers that are not as expected, in the order of their places.
#[must_use]
pub fn differences(expected: &Numbers, got: &Numbers) -> Vec<Difference> {
    let all: BTreeSet<_> = expected.keys().chain(got.keys()).collect();
    let pairs = all.into_iter().map(|place| Difference {
        place: place.clone(),
        expected: expected.get(place).copied(),
        got: got.get(place).copied(),
    });
    pairs.filter(|pair| pair.expected != pair.got).collect()
}

/// The numbers that are not zero.
#[must_use]
pub fn without_zeros(numbers: &Numbers) -> Numbers {
    let non_zero = numbers.iter().filter(|(_, number)| **number != 0);
    non_zero.map(|(place, number)| (place.clone(), *number)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(of: &[(&str, &str, i128)]) -> Numbers {
        let places = of.iter().map(|(key, stat, number)| {
            let place = StatPlace {
                dimension: "country".to_owned(),
                key: (*key).to_owned(),
                group: ShownGroup::Counters,
                stat: (*stat).to_owned(),
            };
            (place, *number)
        });
        places.collect()
    }

    #[test]
    fn missing_wrong_and_surplus_numbers_are_differences() {
        let expected = numbers(&[("es", "a", 1), ("es", "b", 2), ("total", "a", 1)]);
        let got = numbers(&[("es", "a", 1), ("es", "b", 3), ("total", "z", 0)]);
        let shown: Vec<_> = differences(&expected, &got).iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "es b: expected 2, got 3",
                "total a: expected 1, got nothing",
                "total z: expected nothing, got 0"
            ]
        );
        assert_eq!(
            differences(&without_zeros(&got), &numbers(&[("es", "a", 1), ("es", "b", 3)])),
            []
        );
    }
}
