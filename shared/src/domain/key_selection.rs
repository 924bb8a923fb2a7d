//! Which keys of a dimension a query asks for, and in which direction it reads them.

use std::collections::BTreeSet;

use super::{DimensionKey, KeyPrefix};

/// Which keys of a dimension are asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeySelection {
    /// All of them.
    All,
    /// Those that begin so.
    WithPrefix(KeyPrefix),
    /// These.
    These(BTreeSet<DimensionKey>),
}

impl KeySelection {
    /// Whether a key is asked for.
    #[must_use]
    pub fn contains(&self, key: &DimensionKey) -> bool {
        match self {
            Self::All => true,
            Self::WithPrefix(prefix) => prefix.begins(key),
            Self::These(keys) => keys.contains(key),
        }
    }
}

/// In which direction keys are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// In the table's order.
    Forward,
    /// Against it.
    Backward,
}
