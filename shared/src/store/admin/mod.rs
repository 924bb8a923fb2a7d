//! What is done to the table besides updates and queries.

mod auditing;
mod folding;
mod housekeeping;
mod narrowing;
mod sweeping;

pub use auditing::{AuditFailure, audit};
pub use folding::Folded;
pub use housekeeping::Housekeeping;
