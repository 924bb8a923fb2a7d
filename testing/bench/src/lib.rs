//! What is counted and timed.
//!
//! - [`benchmarks`]: all that docs/benchmarks.md has. [`call_costs`], [`binary_size`],
//!   [`instructions`] and [`memory`] count.
//! - [`beside_redis`]: calls beside those of the first statshub, and of the best that Redis can do.
//! - [`cold_start`]: how a function starts, with TLS between it and DynamoDB.
//! - [`contention`]: many writers on one dimension, whose transactions conflict and whose
//!   partitions get full.
//! - [`many_keys`]: what an update costs among a million keys.
//! - [`large_query`]: memory and units of questions about a million keys.
//! - [`large_audit`]: time, memory and units of audits and exports of a million rollups.
//! - [`large_deletion`]: stats of 100,000 rollups, deleted beside updates and killed twice.
//! - [`large_archive`]: memory and time for a large dimension.
//! - [`large_answers`]: answers of several megabytes, on a busy machine.

#[cfg(feature = "dynamodb")]
pub mod benchmarks;
#[cfg(feature = "dynamodb")]
pub mod beside_redis;
#[cfg(feature = "dynamodb")]
pub mod binary_size;
#[cfg(feature = "dynamodb")]
pub mod call_costs;
#[cfg(feature = "dynamodb")]
pub mod cold_start;
#[cfg(feature = "dynamodb")]
pub mod contention;
#[cfg(feature = "dynamodb")]
mod counted_service;
#[cfg(feature = "dynamodb")]
pub mod figures;
#[cfg(feature = "dynamodb")]
mod filling;
#[cfg(feature = "dynamodb")]
pub mod function_process;
#[cfg(feature = "dynamodb")]
pub mod instructions;
pub mod large_answers;
pub mod large_archive;
#[cfg(feature = "dynamodb")]
pub mod large_audit;
#[cfg(feature = "dynamodb")]
pub mod large_deletion;
#[cfg(feature = "dynamodb")]
pub mod large_query;
#[cfg(feature = "dynamodb")]
pub mod many_keys;
#[cfg(feature = "dynamodb")]
pub mod memory;
#[cfg(feature = "dynamodb")]
mod processor_time;
#[cfg(feature = "dynamodb")]
mod tls_end;
#[cfg(feature = "dynamodb")]
mod workload;
