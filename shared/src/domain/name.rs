//! The names that clients choose: ids, dimensions and their keys, stats and members.

use std::{fmt, sync::Arc};

use unicode_properties::{GeneralCategory, GeneralCategoryGroup, UnicodeGeneralCategory};

/// The longest id, dimension key, dimension name and member, in bytes of UTF-8.
///
/// 1,024 bytes is also the longest table name that BigQuery takes.
const MAX_TEXT_BYTES: usize = 1_024;

/// The longest stat name, in characters: the longest column name that BigQuery takes.
const MAX_STAT_CHARS: usize = 300;

/// How much of a refused name an error repeats, in characters.
const MAX_QUOTED_CHARS: usize = 60;

/// The dimension key under which a query reports the sums over all keys.
pub const TOTAL: &str = "total";

/// Why a name is refused, in words for the client.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{name}\" is not a valid {what}: {rule}")]
pub struct NameError {
    what: &'static str,
    name: String,
    rule: &'static str,
}

impl NameError {
    pub(super) fn new(what: &'static str, name: &str, rule: &'static str) -> Self {
        Self { what, name: excerpt(name), rule }
    }
}

/// The start of a client's text with control characters escaped: fit for an error.
#[must_use]
pub fn excerpt(text: &str) -> String {
    let start: String = text.chars().take(MAX_QUOTED_CHARS).collect();
    let ellipsis = if start.len() < text.len() { "…" } else { "" };
    start.escape_debug().collect::<String>() + ellipsis
}

macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident($text:ty)) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name($text);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

name_type! {
    /// The reporter of stats: an instance, a device, a server. Any non-empty UTF-8 text up to 1,024
    /// bytes without control characters; case counts.
    Id(String)
}
name_type! {
    /// The name of a dimension, such as `country`, in lower case.
    ///
    /// Letters, marks and digits of any script, spaces, dashes and connectors (`_`), up to 1,024
    /// bytes: what [BigQuery takes as a table name][tables].
    ///
    /// [tables]: https://cloud.google.com/bigquery/docs/tables#table_naming
    DimensionName(String)
}
name_type! {
    /// A key of a dimension, such as `es` of `country`, in lower case. Any non-empty UTF-8 text up
    /// to 1,024 bytes without control characters, other than the reserved `total`.
    DimensionKey(String)
}
name_type! {
    /// How keys of a dimension begin, in lower case. Any UTF-8 text up to 1,024 bytes without
    /// control characters; all keys begin with the empty one.
    KeyPrefix(String)
}
name_type! {
    /// The name of a stat: ASCII letters, digits and underscores, not beginning with a digit, up to
    /// 300 characters: what [BigQuery takes as a column name][columns]. Dashes become underscores.
    /// Clones share the text, since thousands of keys have the same few stats.
    ///
    /// [columns]: https://cloud.google.com/bigquery/docs/schemas#column_names
    StatName(Arc<str>)
}
name_type! {
    /// A member of a set. Any non-empty UTF-8 text up to 1,024 bytes; case counts.
    Member(String)
}

impl Id {
    /// The id that a client names.
    ///
    /// # Errors
    /// The name is empty, longer than 1,024 bytes or contains a control character.
    pub fn new(name: &str) -> Result<Self, NameError> {
        free_text("id", name).map(|()| Self(name.to_owned()))
    }
}

impl DimensionName {
    /// Lower-cases `name`.
    ///
    /// # Errors
    /// The name is empty, longer than 1,024 bytes or contains a character that BigQuery allows in
    /// no table name.
    pub fn new(name: &str) -> Result<Self, NameError> {
        let lower = name.to_lowercase();
        let fits = (1..=MAX_TEXT_BYTES).contains(&lower.len());
        if fits && lower.chars().all(is_table_name_char) && lower.trim() == lower {
            Ok(Self(lower))
        } else {
            Err(NameError::new(
                "dimension name",
                name,
                "use 1 to 1,024 bytes of letters, digits, '_', '-' and inner spaces",
            ))
        }
    }
}

impl DimensionKey {
    /// Lower-cases `key`.
    ///
    /// # Errors
    /// The key is empty, longer than 1,024 bytes, contains a control character or is `total`.
    pub fn new(key: &str) -> Result<Self, NameError> {
        let lower = key.to_lowercase();
        free_text("dimension key", &lower)?;
        if lower == TOTAL {
            return Err(NameError::new(
                "dimension key",
                key,
                "it is reserved for the sums over all keys",
            ));
        }
        Ok(Self(lower))
    }
}

impl KeyPrefix {
    /// Lower-cases `prefix`.
    ///
    /// # Errors
    /// The prefix is longer than 1,024 bytes or contains a control character.
    pub fn new(prefix: &str) -> Result<Self, NameError> {
        let lower = prefix.to_lowercase();
        if !lower.is_empty() {
            free_text("start of dimension keys", &lower)?;
        }
        Ok(Self(lower))
    }

    /// Whether a key begins so.
    #[must_use]
    pub fn begins(&self, key: &DimensionKey) -> bool {
        key.as_str().starts_with(self.as_str())
    }
}

impl StatName {
    /// Turns dashes into underscores.
    ///
    /// # Errors
    /// The name is empty, longer than 300 characters, begins with a digit or contains anything but
    /// ASCII letters, digits, underscores and dashes.
    pub fn new(name: &str) -> Result<Self, NameError> {
        let fits = (1..=MAX_STAT_CHARS).contains(&name.len());
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        let digit_first = name.starts_with(|c: char| c.is_ascii_digit());
        if fits && !digit_first && name.bytes().all(allowed) {
            Ok(Self(match name.contains('-') {
                true => name.replace('-', "_").into(),
                false => name.into(),
            }))
        } else {
            Err(NameError::new(
                "stat name",
                name,
                "use 1 to 300 of A-Z, a-z, 0-9, '_' and '-', not beginning with a digit",
            ))
        }
    }
}

impl Member {
    /// The member that a client names.
    ///
    /// # Errors
    /// The member is empty or longer than 1,024 bytes.
    pub fn new(member: &str) -> Result<Self, NameError> {
        if (1..=MAX_TEXT_BYTES).contains(&member.len()) {
            Ok(Self(member.to_owned()))
        } else {
            Err(NameError::new("member", member, "use 1 to 1,024 bytes"))
        }
    }
}

fn free_text(what: &'static str, text: &str) -> Result<(), NameError> {
    let fits = (1..=MAX_TEXT_BYTES).contains(&text.len());
    if fits && !text.chars().any(char::is_control) {
        Ok(())
    } else {
        Err(NameError::new(what, text, "use 1 to 1,024 bytes of UTF-8 without control characters"))
    }
}

fn is_table_name_char(c: char) -> bool {
    matches!(
        c.general_category_group(),
        GeneralCategoryGroup::Letter | GeneralCategoryGroup::Mark | GeneralCategoryGroup::Number
    ) || matches!(
        c.general_category(),
        GeneralCategory::ConnectorPunctuation
            | GeneralCategory::DashPunctuation
            | GeneralCategory::SpaceSeparator
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_any_text_without_control_characters_up_to_1024_bytes() {
        for id in ["a", " ", "a/b#c%d~e", "日本", "..", &"é".repeat(512)] {
            assert_eq!(Id::new(id).unwrap().as_str(), id);
        }
        for id in ["", "a\0", "a\n", "\u{7f}", "\u{85}", &"é".repeat(513)] {
            assert!(Id::new(id).is_err(), "{id:?}");
        }
    }

    #[test]
    fn dimensions_and_keys_are_lower_cased() {
        assert_eq!(DimensionName::new("Country").unwrap().as_str(), "country");
        assert_eq!(DimensionKey::new("ES").unwrap().as_str(), "es");
        assert_eq!(DimensionKey::new("ÀÉ").unwrap().as_str(), "àé");
    }

    #[test]
    fn total_is_reserved_in_any_case() {
        for key in ["total", "Total", "TOTAL"] {
            let error = DimensionKey::new(key).unwrap_err().to_string();
            assert!(error.contains("reserved"), "{error}");
        }
    }

    #[test]
    fn dimension_names_are_bigquery_table_names() {
        for name in ["a", "1", "user-agent", "app version", "país", "हिन्दी", "_x"] {
            assert!(DimensionName::new(name).is_ok(), "{name:?}");
        }
        for name in ["", " ", " a", "a.b", "a/b", "a`b", "a\tb", "a#b", "😀"] {
            assert!(DimensionName::new(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn stat_names_are_bigquery_column_names_once_dashes_are_underscores() {
        assert_eq!(StatName::new("a-b").unwrap().as_str(), "a_b");
        assert!(StatName::new(&"a".repeat(300)).is_ok());
        for name in ["", "1a", "a.b", "a b", "é", "a#", &"a".repeat(301)] {
            assert!(StatName::new(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn an_error_names_what_is_wrong_and_what_is_allowed_and_stays_short() {
        let error = StatName::new(&"é".repeat(10_000)).unwrap_err().to_string();
        assert!(error.contains("stat name") && error.contains("use 1 to 300"));
        assert!(error.len() < 400, "{error}");
        assert!(error.contains('…'), "{error}");
        assert!(!StatName::new("a b").unwrap_err().to_string().contains('…'));
    }
}
