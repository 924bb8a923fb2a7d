//! Ids as their clients name them. The first statshub turned their dashes into underscores, which
//! only a list of the ids or a pattern can undo.

use std::collections::BTreeMap;

use anyhow::bail;

/// How the lengths of the parts of a UUID follow each other.
const UUID: [usize; 5] = [8, 4, 4, 4, 12];

/// What is known of ids.
#[derive(Debug, Default)]
pub struct KnownIds {
    /// Ids by what the first statshub has made of them.
    listed: BTreeMap<String, String>,
    /// Whether what looks like a UUID is one.
    are_uuids: bool,
}

/// An id, and whether it is certain that this is what its client calls it.
#[derive(Debug, PartialEq, Eq)]
pub enum RestoredId {
    /// It is.
    Certain(String),
    /// It has underscores that may have been dashes.
    Doubtful(String),
}

impl KnownIds {
    /// What a list of ids says, a line each, and whether ids are UUIDs.
    ///
    /// # Errors
    /// Two ids of the list differ only in dashes and underscores.
    pub fn new(list: &str, are_uuids: bool) -> anyhow::Result<Self> {
        let mut listed = BTreeMap::new();
        for id in list.lines().map(str::trim).filter(|id| !id.is_empty()) {
            if let Some(other) = listed.insert(id.replace('-', "_"), id.to_owned())
                && other != id
            {
                bail!(
                    "the first statshub took {other} and {id} for one id: keep one of them in the list"
                );
            }
        }
        Ok(Self { listed, are_uuids })
    }

    /// The id that the first statshub knew under this name.
    #[must_use]
    pub fn restore(&self, name: &str) -> RestoredId {
        if let Some(id) = self.listed.get(name) {
            return RestoredId::Certain(id.clone());
        }
        if self.are_uuids && is_uuid(name) {
            return RestoredId::Certain(name.replace('_', "-"));
        }
        match name.contains('_') {
            true => RestoredId::Doubtful(name.to_owned()),
            false => RestoredId::Certain(name.to_owned()),
        }
    }
}

/// Whether this is a UUID with underscores in place of its dashes.
fn is_uuid(name: &str) -> bool {
    let parts: Vec<_> = name.split('_').collect();
    let is_hex = |part: &&str| part.bytes().all(|byte| byte.is_ascii_hexdigit());
    parts.iter().map(|part| part.len()).eq(UUID) && parts.iter().all(is_hex)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certain(id: &str) -> RestoredId {
        RestoredId::Certain(id.to_owned())
    }

    #[test]
    fn a_list_restores_dashes_and_confirms_underscores() {
        let known = KnownIds::new("a-b\n\n c_d \na-b\n", false).unwrap();
        assert_eq!(known.restore("a_b"), certain("a-b"));
        assert_eq!(known.restore("c_d"), certain("c_d"));
        assert_eq!(known.restore("plain"), certain("plain"));
        assert_eq!(known.restore("e_f"), RestoredId::Doubtful("e_f".to_owned()));
        assert!(KnownIds::new("a-b\na_b", false).is_err());
    }

    #[test]
    fn what_looks_like_a_uuid_is_one_if_the_operator_says_so() {
        let (with, without) = ("0a1b2c3d_0000_4000_8000_0123456789aB", "0a1b2c3d_0000_4000_8000_x");
        let uuids = KnownIds::new("", true).unwrap();
        assert_eq!(uuids.restore(with), certain(&with.replace('_', "-")));
        assert_eq!(uuids.restore(without), RestoredId::Doubtful(without.to_owned()));
        let none = KnownIds::default();
        assert_eq!(none.restore(with), RestoredId::Doubtful(with.to_owned()));
    }
}
