//! What is done to the table besides updates and queries.

mod auditing;
mod folding;

pub use auditing::{AuditFailure, audit};
pub use folding::{FoldPlan, Folded};
