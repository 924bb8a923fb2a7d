//! Patterns of the names of stats.

use wildmatch::WildMatch;

use super::{NameError, StatName};

/// A pattern of the names of stats: `*` stands for any text, `?` for any character. Dashes stand for
/// underscores, as in names.
#[derive(Debug, Clone, PartialEq)]
pub struct StatPattern(WildMatch);

impl StatPattern {
    /// The pattern that an operator types.
    ///
    /// # Errors
    /// No stat can have a name like that.
    pub fn new(pattern: &str) -> Result<Self, NameError> {
        let plain = pattern.replace(['*', '?'], "_");
        match StatName::new(&plain) {
            Ok(_) => Ok(Self(WildMatch::new(&pattern.replace('-', "_")))),
            Err(_) => Err(NameError::new(
                "pattern of stats",
                pattern,
                "use the characters of a stat's name, '*' for any text and '?' for any character",
            )),
        }
    }

    /// Whether it matches a stat.
    #[must_use]
    pub fn matches(&self, stat: &StatName) -> bool {
        self.0.matches(stat.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn matches(pattern: &str, stat: &str) -> bool {
        StatPattern::new(pattern).unwrap().matches(&StatName::new(stat).unwrap())
    }

    #[test]
    fn a_star_is_any_text_a_question_mark_any_character_and_case_counts() {
        for (pattern, stat) in [("*", "a"), ("a*", "a"), ("*b?d", "abcd"), ("a-b", "a_b")] {
            assert!(matches(pattern, stat), "{pattern} {stat}");
        }
        for (pattern, stat) in [("a", "ab"), ("a?", "a"), ("A*", "ab"), ("b*", "ab")] {
            assert!(!matches(pattern, stat), "{pattern} {stat}");
        }
    }

    #[test]
    fn what_no_stat_can_be_called_is_refused() {
        for pattern in ["", "a.b", "a b", "[ab]", "é*"] {
            assert!(StatPattern::new(pattern).is_err(), "{pattern:?}");
        }
    }
}
