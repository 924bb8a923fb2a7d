//! What statshub counts: names, values, periods, updates and the state of one id.
//!
//! Everything here is pure. A value of one of these types is valid: constructors refuse what is
//! not.

mod batch;
mod cell;
mod deletion;
mod detail;
mod fold;
mod group;
mod idempotency;
mod joint_plan;
mod json_text;
mod key_selection;
mod name;
mod period;
mod plan;
mod record;
mod restoring;
mod rollup_stat;
mod spread;
mod stat_pattern;
mod sum;
mod summary;
mod update;

pub use batch::{BatchEntry, BatchError, EntryError};
pub use cell::{
    Cell, CellState, CellSums, FirstCell, FoldStage, Incarnation, OtherCell, RollupCell, SpreadSum,
    sum_of_cells,
};
pub use deletion::{Deletion, DeletionOfAllIds, DeletionStep, StepSize};
pub use detail::{Detail, Placement, Share, Shares};
pub use fold::{FoldStep, split_first};
pub use group::Group;
pub use idempotency::{Fingerprint, IdempotencyKey};
pub use joint_plan::JointPlan;
pub use key_selection::{Direction, KeySelection};
pub use name::{
    DimensionKey, DimensionName, Id, KeyPrefix, Member, NameError, StatName, TOTAL, excerpt,
};
pub use period::{Period, PeriodLength, UnixSeconds};
pub use plan::{MemberSet, Plan, RollupKey, Sums, gains, member_sets, plan};
pub use record::{IdRecord, KeyRecord, Record, RecordError};
pub use restoring::{Restoring, RestoringStep, StoredId};
pub use rollup_stat::RollupStat;
pub use spread::{Narrowing, SPREAD_IS_TRUSTED_FOR, Spread};
pub use stat_pattern::StatPattern;
pub use sum::{Overflow, Sum};
pub use summary::{DimensionSummary, KeyStats, Total};
pub use update::{CounterChange, Update, UpdateError, limits};
