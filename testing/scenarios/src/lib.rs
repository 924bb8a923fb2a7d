//! Proof that statshub is exact under faults and contention.
//!
//! [`round`] plays random updates against a store whose DynamoDB fails in every way that the real one does,
//! and compares what is stored with an independent [`model`]. [`contention`] measures many writers on one
//! key.

pub mod contention;
pub mod model;
pub mod round;
