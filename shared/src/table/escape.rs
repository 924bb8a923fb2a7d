//! Names as parts of keys: no two different names give the same part, and no part contains the
//! separator.

use std::borrow::Cow;

use percent_encoding::{AsciiSet, percent_decode_str, utf8_percent_encode};
use sha2::{Digest, Sha256};

/// Separates the parts of a key.
pub(super) const SEPARATOR: char = '#';

/// Marks a part that is the hash of a long name.
pub(super) const HASH_MARK: char = '~';

/// The longest part that is not hashed, in bytes. A key of four such parts stays below the 1,024
/// bytes of a sort key and the 2,048 of a partition key.
const MAX_PLAIN_BYTES: usize = 255;

const ESCAPED: AsciiSet = AsciiSet::EMPTY.add(SEPARATOR as u8).add(HASH_MARK as u8).add(b'%');

/// A name as a part of a key: escaped, or hashed (SHA-256) if the escaped name is long.
pub(super) fn part(name: &str) -> String {
    plain(name).unwrap_or_else(|| {
        let hash = Sha256::digest(name);
        let digits = hash.iter().map(|byte| format!("{byte:02x}"));
        format!("{HASH_MARK}{}", digits.collect::<String>())
    })
}

/// A name in its escaped form; `None` if that is so long that [`part`] hashes the name.
pub(super) fn plain(name: &str) -> Option<String> {
    let escaped: Cow<'_, str> = utf8_percent_encode(name, &ESCAPED).into();
    (escaped.len() <= MAX_PLAIN_BYTES).then(|| escaped.into_owned())
}

/// Whether [`part`] hashes this name, so that the name must be kept beside the key.
pub(super) fn is_hashed(name: &str) -> bool {
    part(name).starts_with(HASH_MARK)
}

/// The name behind a part; `None` if the part is a hash or [`part`] has not made it.
pub(super) fn name(part: &str) -> Option<String> {
    if part.starts_with(HASH_MARK) {
        return None;
    }
    let decoded = percent_decode_str(part).decode_utf8().ok()?;
    Some(decoded.into_owned())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn separators_marks_and_escapes_are_escaped() {
        assert_eq!(part("a#b~c%d/é"), "a%23b%7Ec%25d/%C3%A9");
        assert_eq!(part("%23"), "%2523");
    }

    #[test]
    fn long_names_are_hashed_and_say_so() {
        let plain = "k".repeat(255);
        assert!(!is_hashed(&plain));
        let long = "k".repeat(256);
        assert!(is_hashed(&long));
        assert_eq!(part(&long).len(), 65);
        assert_ne!(part(&long), part(&"l".repeat(256)));
        assert!(is_hashed(&"#".repeat(86)), "the escaped length counts");
    }

    proptest! {
        #[test]
        fn a_part_gives_its_name_back_and_has_no_separator(text in any::<String>()) {
            let part = part(&text);
            prop_assert!(!part.contains(SEPARATOR));
            prop_assert!(part.len() <= MAX_PLAIN_BYTES);
            if !is_hashed(&text) {
                prop_assert_eq!(name(&part), Some(text));
            }
        }

        #[test]
        fn different_names_never_share_a_part(a in "[#~%a2357eE]{0,4}", b in "[#~%a2357eE]{0,4}") {
            prop_assert_eq!(a == b, part(&a) == part(&b));
        }
    }
}
