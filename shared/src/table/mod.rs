//! The schema of the table, and nothing else: keys, items, expressions and the table's definition.
//!
//! ARCHITECTURE.md lists the items. No other module knows a key or an attribute's name.

mod attribute;
mod audit;
mod cell;
mod definition;
mod escape;
mod expression;
mod fold;
mod item;
mod key;
mod transaction;

pub use audit::{Audit, AuditError, Discrepancy};
pub use cell::{
    Cell, CellState, CounterCell, CountingCells, FirstCell, Incarnation, OtherCell, Striped,
};
pub use definition::{create_table, time_to_live};
pub use fold::FoldStep;
pub use item::{
    CorruptItem, Item, Marker, Revision, StoredDetail, UpdateToken, decode_counters,
    decode_departure, decode_detail, decode_dimension, decode_gauges, decode_key_count,
    decode_marker, decode_members,
};
pub use key::{ItemKey, KeyRange, RollupOrder, Shard};
pub use transaction::{
    Action, NewNames, Part, Parts, ShardOfSet, Shards, Target, Transaction, Writing, put_detail,
};
