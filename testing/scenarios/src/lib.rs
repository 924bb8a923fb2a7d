//! Scenarios: the service, or its store, under circumstances that tests of one part do not have.
//!
//! - [`torture`]: random updates under faults of every class, in this process.
//! - [`crash`]: the processes of the service, killed under load.
//! - [`replay`]: generated updates, sent to a running service.
//! - [`readme_session`]: the commands of the README, as they stand.
//! - [`documented_clients`]: the clients of docs/api.md, as they stand.
//! - [`description_check`]: the service, tried by its description, and all its answers held against
//!   it.
//! - [`page_in_a_browser`]: the page, built and looked at in a browser.
//! - [`prometheus_scrape`]: Prometheus and its tools read `/metrics`.
//! - [`deploy_test`]: the template, deployed into an emulator of AWS.
//!
//! The first three compare what they find with [`model`], which says what counts as a failure.

mod comparison;
pub mod crash;
pub mod deploy_test;
pub mod description_check;
pub mod documented_clients;
mod grafana_panels;
pub mod page_in_a_browser;
pub mod prometheus_scrape;
pub mod readme_session;
pub mod replay;
#[cfg(feature = "dynamodb")]
pub mod torture;
mod traffic;
