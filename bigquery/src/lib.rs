//! BigQuery, for the functions that archive stats and read archived ones. The functions that answer
//! updates and queries don't link it.
//!
//! `columns` and `schema` are pure: they know neither HTTP nor async. `failure` decides what is
//! tried again, `send` tries again.

mod client;
mod columns;
mod config;
mod credentials;
mod error;
mod failure;
mod job;
mod pace;
mod query;
mod schema;
mod send;
mod table;
mod table_list;
mod upload;

pub use client::BigQuery;
pub use columns::{ColumnError, Columns, MAX_COLUMNS};
pub use config::Config;
pub use credentials::Credentials;
pub use error::BigQueryError;
pub use job::{Job, JobId, JobRef, JobState};
pub use pace::{Pace, Pauses};
pub use query::{Parameter, Query, QueryFailure, ResultPage, ResultRow, StartedQuery};
pub use schema::{Field, Schema};
/// The records of a table that hold stats.
pub use shared::domain::Group;
pub use table::{Table, TableId};
pub use upload::{Accepted, CHUNK_STEP, Upload, UploadError};
