//! Scenarios: the service, or its store, under circumstances that tests of one part do not have.
//!
//! - [`torture`]: random updates under faults of every class, in this process.
//! - [`crash`]: the processes of the service, killed under load.
//! - [`replay`]: generated updates, sent to a running service.
//! - [`readme_session`]: the commands of the README, as they stand.
//! - [`prometheus_scrape`]: Prometheus and its tools read `/metrics`.
//! - [`deploy_test`]: the template, deployed into an emulator of AWS.
//!
//! The first three compare what they find with [`model`], which says what counts as a failure.

mod comparison;
pub mod crash;
pub mod deploy_test;
pub mod prometheus_scrape;
pub mod readme_session;
pub mod replay;
#[cfg(feature = "dynamodb")]
pub mod torture;
mod traffic;
