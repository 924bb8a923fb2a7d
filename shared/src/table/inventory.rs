//! What an item means, for an export.

use std::collections::BTreeSet;

use super::{
    escape::SEPARATOR,
    item::{CorruptItem, Item, decode_dimension, decode_members},
    key::{EscapedKey, ItemKey, ItemKind},
};
use crate::domain::DimensionName;

/// What an item means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Inventory {
    /// A dimension is listed.
    Dimension(DimensionName),
    /// Some members of a set.
    Shard {
        /// The key.
        of: EscapedKey,
        /// The stat, in the escaped form of keys.
        stat: String,
        /// The place among the shards of the set.
        shard: String,
        /// The members.
        members: BTreeSet<String>,
    },
    /// An id has reported something.
    Detail,
    /// An id has left something behind.
    Departure {
        /// Where.
        of: EscapedKey,
        /// The name of the id; none if it is so long that only the detail has it.
        id: Option<String>,
    },
}

/// What an item means; `None` if that follows from others, or is not kept.
///
/// # Errors
/// The item can't be read.
pub fn inventory(item: &Item) -> Result<Option<Inventory>, CorruptItem> {
    let Some(key) = ItemKey::of_item(item) else {
        return Ok(None);
    };
    Ok(match key.kind() {
        Some(ItemKind::Dimension) => Some(Inventory::Dimension(decode_dimension(item)?.name)),
        Some(ItemKind::Detail) => Some(Inventory::Detail),
        Some(ItemKind::Departure(of)) => {
            let id = key.id_name();
            EscapedKey::joined(of).map(|of| Inventory::Departure { of, id })
        }
        Some(ItemKind::Members(set)) => {
            let members = decode_members(item)?.iter().map(ToString::to_string).collect();
            set.rsplit_once(SEPARATOR).and_then(|(of, stat)| {
                let (of, stat) = (EscapedKey::joined(of)?, stat.to_owned());
                Some(Inventory::Shard { of, stat, shard: key.shard(), members })
            })
        }
        Some(ItemKind::Rollup(..) | ItemKind::KeyCount(..)) | None => None,
    })
}
