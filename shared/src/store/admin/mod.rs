//! What is done to the table besides updates and queries.

mod auditing;
mod deleting;
mod deleting_keys;
mod deleting_members;
mod folding;
mod housekeeping;
mod narrowing;
mod pacing;
mod sweeping;

pub use auditing::{AuditFailure, audit};
pub use deleting::{Deleted, DeletionMode, DeletionRun};
pub use folding::Folded;
pub use housekeeping::Housekeeping;
pub use pacing::Pacer;
