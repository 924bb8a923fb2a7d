//! Ranges of a dimension's keys, as conditions on the sort keys of a partition.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;

use super::{
    attribute::{PARTITION_KEY, SORT_KEY},
    escape,
    key::{LEFT, Partition, RollupOrder},
};
use crate::domain::KeyPrefix;

/// A range of a dimension's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyRange {
    /// All of them.
    All,
    /// Those whose names begin so in their escaped form, except for long ones.
    Beginning(String),
    /// Those with long names, which sort keys have as hashes.
    Long,
    /// Those from one to another, both included.
    Between(RollupOrder, RollupOrder),
}

impl KeyRange {
    /// The ranges, in their order, that together hold all keys with this prefix. The range of long
    /// names holds others too: a hash does not show how its name begins.
    #[must_use]
    pub fn of_prefix(prefix: &KeyPrefix) -> Vec<Self> {
        match prefix.as_str() {
            "" => vec![Self::All],
            text => {
                let plain = escape::plain(text).map(Self::Beginning);
                plain.into_iter().chain([Self::Long]).collect()
            }
        }
    }

    /// Of the items of an id, what it has left behind under any key.
    #[must_use]
    pub fn departures() -> Self {
        Self::Beginning(format!("{LEFT}{}", escape::SEPARATOR))
    }

    /// Whether a key is in this range.
    #[must_use]
    pub fn contains(&self, key: &RollupOrder) -> bool {
        match self {
            Self::All => true,
            Self::Beginning(start) => key.as_str().starts_with(start),
            Self::Long => key.as_str().starts_with(escape::HASH_MARK),
            Self::Between(first, last) => (first..=last).contains(&key),
        }
    }

    /// The condition on the items of a partition, and the values of its placeholders.
    #[must_use]
    pub fn condition(&self, partition: &Partition) -> (String, HashMap<String, AttributeValue>) {
        let (mut condition, mut values) = partition.condition();
        let (more, bounds) = match self {
            Self::All => return (condition, values),
            Self::Beginning(start) => (begins_with(), vec![(":a", start.clone())]),
            Self::Long => (begins_with(), vec![(":a", escape::HASH_MARK.to_string())]),
            Self::Between(first, last) => (
                format!("{SORT_KEY} BETWEEN :a AND :b"),
                vec![(":a", first.as_str().to_owned()), (":b", last.as_str().to_owned())],
            ),
        };
        condition = format!("{condition} AND {more}");
        let bounds = bounds.into_iter();
        values.extend(bounds.map(|(name, text)| (name.to_owned(), AttributeValue::S(text))));
        (condition, values)
    }
}

fn begins_with() -> String {
    format!("begins_with({SORT_KEY}, :a)")
}

impl Partition {
    /// The key of an item at this place, whether there is one or not.
    #[must_use]
    pub fn item_key(&self, at: &RollupOrder) -> HashMap<String, AttributeValue> {
        let mut key: HashMap<_, _> = self
            .condition()
            .1
            .into_values()
            .map(|partition| (PARTITION_KEY.to_owned(), partition))
            .collect();
        key.insert(SORT_KEY.to_owned(), AttributeValue::S(at.as_str().to_owned()));
        key
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::domain::DimensionKey;

    proptest! {
        #[test]
        fn the_ranges_of_a_prefix_hold_every_key_that_begins_with_it(
            prefix in "[a#~%é\u{10ffff} ]{0,3}",
            rest in "[a#~%é]{0,4}",
            long in any::<bool>(),
        ) {
            let rest = if long { rest + &"b".repeat(256) } else { rest };
            prop_assume!(!(prefix.is_empty() && rest.is_empty()));
            let key = RollupOrder::from(&DimensionKey::new(&format!("{prefix}{rest}")).unwrap());
            let ranges = KeyRange::of_prefix(&KeyPrefix::new(&prefix).unwrap());
            prop_assert_eq!(ranges.iter().filter(|range| range.contains(&key)).count(), 1);
        }

        #[test]
        fn a_short_key_in_the_ranges_of_a_prefix_begins_with_it(
            prefix in "[a#~%é]{1,3}",
            name in "[a#~%é]{1,5}",
        ) {
            let key = RollupOrder::from(&DimensionKey::new(&name).unwrap());
            let ranges = KeyRange::of_prefix(&KeyPrefix::new(&prefix).unwrap());
            let is_in = ranges.iter().any(|range| range.contains(&key));
            prop_assert_eq!(is_in, name.starts_with(&prefix));
        }
    }

    #[test]
    fn a_long_prefix_is_one_of_long_names_only() {
        let prefix = KeyPrefix::new(&"k".repeat(256)).unwrap();
        assert_eq!(KeyRange::of_prefix(&prefix), [KeyRange::Long]);
    }
}
