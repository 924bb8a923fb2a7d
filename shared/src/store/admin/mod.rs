//! What is done to the table besides updates and queries.

mod auditing;
mod deleting;
mod deleting_keys;
mod deleting_members;
mod exporting;
mod folding;
mod housekeeping;
mod narrowing;
mod pacing;
mod repairing;
mod scanning;
mod sorted_runs;
mod sweeping;
mod verifying;

pub use auditing::{
    AuditFailure, AuditMode, AuditRun, Audited, Discrepancy, Finding, Place, Subject, audit,
};
pub use deleting::{Deleted, DeletionMode, DeletionRun};
pub use exporting::{ExportFailure, ExportRun, ExportedCounts};
pub use folding::Folded;
pub use housekeeping::Housekeeping;
pub use pacing::Pacer;
pub use sorted_runs::{RunError, Workspace};
