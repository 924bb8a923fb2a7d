//! The commands of `statshub`, the operator's program: one file each. `cargo xtask` and the tests
//! use some of them as a library.
//!
//! What commands have in common has a home each: `table_access` and `api_access` say how they reach
//! the table and the service, `output` and `progress` what they print and where, `prompt` what they
//! ask, `exit` how they end.

pub mod api_access;
#[cfg(feature = "dynamodb")]
pub mod audit_table;
pub mod aws_cli;
#[cfg(feature = "dynamodb")]
pub mod delete_data;
pub mod exit;
#[cfg(feature = "dynamodb")]
pub mod export_table;
#[cfg(feature = "dynamodb")]
pub mod first_statshub;
pub mod get_stats;
mod http_client;
#[cfg(feature = "dynamodb")]
pub mod import_table;
mod live_values;
pub mod make_token;
#[cfg(feature = "dynamodb")]
pub mod migrate_redis;
pub mod output;
pub mod progress;
pub mod prompt;
#[cfg(feature = "dynamodb")]
mod restored_ids;
pub mod revoke_token;
pub mod run_archive;
pub mod run_sql;
pub mod send_update;
pub mod shell_help;
mod stats_rows;
#[cfg(feature = "dynamodb")]
pub mod table_access;
pub mod tail_stats;
pub mod timestamp;

pub use http_client::HttpClient;
