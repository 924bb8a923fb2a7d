//! In which order a run archives dimensions.
//!
//! A run may be cut off by its deadline, or come to some dimensions only after their slot is over.
//! Whoever may write can make dimensions, with names that come before all others. So that these
//! delay nobody, the dimensions whose tables are older come first, and those that have none come
//! last.
//!
//! Ages count by powers of two: a dimension comes before those that are less than half as old, and
//! takes turns with those that are about as old. A flood of new dimensions comes after those that
//! were there before it, until its tables are as old as theirs were when it began.

use std::{cmp::Reverse, collections::BTreeMap};

use shared::domain::{DimensionName, UnixSeconds};

/// 2^64 divided by the golden ratio.
const GOLDEN: u64 = 0x9E37_79B9_7F4A_7C15;

/// Puts dimensions into the order in which the run of this slot archives them.
///
/// `made` says when the table of each dimension was made, `now` is the slot's time, and `slot`
/// counts slots. Dimensions of about the same age are in the order of their names, but begin with
/// another one in each slot: the beginning moves by the golden ratio, which spreads any number of
/// beginnings evenly. If a run only gets to `k` of `n` such dimensions, each has its turn at least
/// once in `4 n / k` slots.
pub(crate) fn in_order<T>(
    mut dimensions: Vec<(DimensionName, T)>,
    made: &BTreeMap<String, UnixSeconds>,
    now: UnixSeconds,
    slot: u64,
) -> Vec<(DimensionName, T)> {
    dimensions.sort_by(|(one, _), (other, _)| one.cmp(other));
    let mut groups = BTreeMap::<_, Vec<_>>::new();
    for (dimension, of_it) in dimensions {
        let made = made.get(dimension.as_str()).copied();
        let seniority = made.map(|made| seniority(now, made));
        groups.entry(Reverse(seniority)).or_default().push((dimension, of_it));
    }
    let turned = groups.into_values().map(|mut group| {
        let beginning = beginning(slot, group.len());
        group.rotate_left(beginning);
        group
    });
    turned.flatten().collect()
}

/// The power of two that the age of a table has reached, in seconds.
fn seniority(now: UnixSeconds, made: UnixSeconds) -> u32 {
    now.0.saturating_sub(made.0).checked_ilog2().unwrap_or_default()
}

/// The position of so many with which a slot begins.
fn beginning(slot: u64, count: usize) -> usize {
    let count = u64::try_from(count).unwrap_or(u64::MAX);
    // A fraction of 2^64.
    let fraction = slot.wrapping_mul(GOLDEN);
    let position = (u128::from(fraction) * u128::from(count)) >> 64;
    usize::try_from(position).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const NOW: UnixSeconds = UnixSeconds(1_728_000_000);
    const DAY: u64 = 86_400;

    /// Dimensions, each with the age of its table in seconds.
    fn ordered(ages: &[(&str, Option<u64>)], slot: u64) -> Vec<String> {
        let dimensions = ages.iter().map(|(name, _)| (DimensionName::new(name).unwrap(), ()));
        let made = ages
            .iter()
            .filter_map(|(name, age)| Some(((*name).to_owned(), UnixSeconds(NOW.0 - (*age)?))));
        let ordered = in_order(dimensions.collect(), &made.collect(), NOW, slot);
        ordered.into_iter().map(|(dimension, ())| dimension.as_str().to_owned()).collect()
    }

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|i| format!("d{i:03}")).collect()
    }

    fn of_one_age(names: &[String]) -> Vec<(&str, Option<u64>)> {
        names.iter().map(|name| (name.as_str(), Some(DAY))).collect()
    }

    #[test]
    fn a_flood_of_dimensions_comes_after_those_that_were_there_whatever_its_names_are() {
        let flood: Vec<_> = (0..1_000).map(|i| format!("0aaa{i}")).collect();
        for table in [None, Some(600), Some(20 * DAY)] {
            let mut ages = vec![("country", Some(30 * DAY + 600)), ("user", Some(70 * DAY))];
            ages.extend(flood.iter().map(|name| (name.as_str(), table)));
            // By their names, which was the order before, they would come after the flood.
            let by_name: BTreeSet<_> = ages.iter().map(|(name, _)| *name).collect();
            assert_eq!(by_name.iter().position(|name| *name == "country"), Some(1_000));
            for slot in 0..100 {
                let mut first = ordered(&ages, slot);
                first.truncate(2);
                first.sort();
                assert_eq!(first, ["country", "user"], "{table:?}");
            }
        }
    }

    #[test]
    fn dimensions_without_a_table_come_last_even_if_no_age_is_known() {
        assert_eq!(ordered(&[("a", None), ("b", Some(0)), ("c", None)], 0), ["b", "a", "c"]);
        assert_eq!(ordered(&[("a", None), ("b", None)], 0), ["a", "b"]);
        assert_eq!(ordered(&[], 7), [""; 0]);
    }

    proptest! {
        #[test]
        fn every_dimension_is_there_once_the_older_ones_first(
            ages in proptest::collection::btree_map("[a-z]{1,3}", proptest::option::of(0..900 * DAY), 0..40),
            slot: u64,
        ) {
            let given: Vec<_> = ages.iter().map(|(name, age)| (name.as_str(), *age)).collect();
            let order = ordered(&given, slot);
            prop_assert_eq!(order.iter().collect::<BTreeSet<_>>(), ages.keys().collect());
            prop_assert_eq!(order.len(), ages.len());
            for pair in order.windows(2) {
                // Nobody has somebody before them who is not at least half as old.
                match (ages[&pair[0]], ages[&pair[1]]) {
                    (Some(before), Some(after)) => prop_assert!(before.max(1) * 2 > after),
                    (before, after) => prop_assert!(before.is_some() || after.is_none()),
                }
            }
        }

        #[test]
        fn a_run_that_is_cut_off_starves_none_of_those_of_an_age(
            count in 1..150_usize,
            reached in 1..150_usize,
            first_slot in 0..u64::MAX / 2,
        ) {
            let (names, reached) = (names(count), reached.min(count));
            let ages = of_one_age(&names);
            let slots = u64::try_from((4 * count).div_ceil(reached)).unwrap();
            let archived: BTreeSet<_> = (first_slot..first_slot + slots)
                .flat_map(|slot| ordered(&ages, slot).into_iter().take(reached))
                .collect();
            prop_assert_eq!(archived.len(), count);
        }
    }
}
