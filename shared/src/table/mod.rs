//! The schema of the table, and nothing else: keys, items, expressions and the table's definition.
//!
//! ARCHITECTURE.md lists the items. No other module knows a key or an attribute's name.

mod attribute;
mod clear_writes;
mod definition;
mod deletion_writes;
mod escape;
mod expression;
mod fold_writes;
mod inventory;
mod item;
mod key;
mod key_range;
mod parts;
mod repair_writes;
mod rollup_page;
mod spread_writes;
mod sweep_writes;
mod tally;
mod transaction;

pub use clear_writes::{
    ClearError, Removable, StoredRollup, delete_dimension, delete_key, mark_vacated,
};
pub use definition::{create_table, time_to_live};
pub use deletion_writes::{
    DeletionError, DepartureParts, IdDeletion, StoredDeparture, StoredShard, delete_member,
};
pub use fold_writes::fold_writes;
pub use inventory::{Inventory, inventory};
pub use item::{
    CorruptItem, DimensionEntry, Item, Marker, Revision, StoredDetail, Sweep, SweepPosition,
    UpdateToken, decode_departure, decode_detail, decode_dimension, decode_id, decode_key_count,
    decode_marker, decode_members, decode_rollup, detail_bytes, item_bytes,
};
pub use key::{EscapedKey, ItemKey, Partition, RollupOrder, Shard};
pub use key_range::KeyRange;
pub use parts::{NewNames, Part, Parts, ShardOfSet, Shards};
pub use repair_writes::{KeyRepair, list_dimension, repair_key_count};
pub use rollup_page::RollupPage;
pub use spread_writes::{move_key_count, spread_write};
pub use sweep_writes::{expired_gauges, remove_gauges, sweep_write};
pub(crate) use tally::bytes_of_map;
pub use tally::{
    ActiveIds, Difference, Differences, DimensionTally, KeyTally, Leftovers, LongNames, Number,
    Stocktaking, SumsByName, TallyError, Watched, last_repair, member_count,
};
pub use transaction::{Action, NewMarker, Target, Transaction, Writing, put_detail};
