//! What is done to the table besides updates and queries.

mod folding;

pub use folding::{FoldPlan, Folded};
