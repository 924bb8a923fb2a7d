//! The texts of keys, one after another in a single text, so that a large answer is held once.

use shared::domain::{DimensionKey, Direction};

/// The texts of keys, joined as they come.
#[derive(Debug)]
pub(crate) struct TextsByKey {
    separator: &'static str,
    text: String,
    /// The keys, and where the text of each ends.
    keys: Vec<(DimensionKey, usize)>,
    is_in_order: bool,
}

impl TextsByKey {
    /// None yet.
    pub(crate) fn new(separator: &'static str) -> Self {
        Self { separator, text: String::new(), keys: Vec::new(), is_in_order: true }
    }

    /// Adds the text of a key.
    pub(crate) fn push(&mut self, key: DimensionKey, text: &str) {
        if let Some((last, _)) = self.keys.last() {
            // The table's order differs where names are escaped or long.
            self.is_in_order &= *last < key;
            self.text += self.separator;
        }
        self.text += text;
        self.keys.push((key, self.text.len()));
    }

    /// The texts in an order of their keys.
    pub(crate) fn joined(self, direction: Direction) -> String {
        if self.is_in_order && direction == Direction::Forward {
            return self.text;
        }
        let mut start = 0;
        let mut texts = Vec::with_capacity(self.keys.len());
        for (key, end) in &self.keys {
            texts.push((key, self.text.get(start..*end).unwrap_or_default()));
            start = end + self.separator.len();
        }
        texts.sort_unstable();
        if direction == Direction::Backward {
            texts.reverse();
        }
        let texts: Vec<_> = texts.into_iter().map(|(_, text)| text).collect();
        texts.join(self.separator)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn texts_are_joined_in_the_order_of_their_keys_however_they_come(
            mut keys in prop::collection::btree_set("[a-zé]{1,3}", 0..8),
            is_sorted in any::<bool>(),
            has_separator in any::<bool>(),
        ) {
            keys.remove("total");
            let separator = if has_separator { "," } else { "" };
            let mut coming: Vec<_> = keys.iter().collect();
            if !is_sorted {
                coming.sort_by_key(|key| key.chars().rev().collect::<String>());
            }
            for direction in [Direction::Forward, Direction::Backward] {
                let mut texts = TextsByKey::new(separator);
                for key in &coming {
                    texts.push(DimensionKey::new(key).unwrap(), &format!("<{key}>"));
                }
                let mut expected: Vec<_> = keys.iter().map(|key| format!("<{key}>")).collect();
                if direction == Direction::Backward {
                    expected.reverse();
                }
                prop_assert_eq!(texts.joined(direction), expected.join(separator));
            }
        }
    }
}
