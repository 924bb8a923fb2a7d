//! The schema of the table, and nothing else: keys, items, expressions and the table's definition.
//!
//! ARCHITECTURE.md lists the items. No other module knows a key or an attribute's name.

mod attribute;
mod definition;
mod escape;
mod expression;
mod item;
mod key;
mod transaction;

pub use definition::{create_table, time_to_live};
pub use item::{
    CorruptItem, Item, Marker, Revision, StoredDetail, UpdateToken, decode_counters, decode_detail,
    decode_dimension, decode_gauges, decode_marker, decode_members,
};
pub use key::{Cell, ItemKey, KeyRange, Shard};
pub use transaction::{Action, Target, Transaction, Transactions, Writing};
