//! The commands of `statshub`, the operator's program: one file each. `cargo xtask` and the tests
//! use some of them as a library.

#[cfg(feature = "dynamodb")]
pub mod audit_table;
#[cfg(feature = "dynamodb")]
pub mod delete_data;
mod http_client;
pub mod make_token;
pub mod revoke_token;
pub mod run_archive;
pub mod run_sql;
pub mod timestamp;

pub use http_client::HttpClient;
