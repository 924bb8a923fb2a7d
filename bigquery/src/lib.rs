//! BigQuery, for the functions that archive and that read what is archived. The functions that answer
//! updates and queries don't link it.
//!
//! `columns` and `schema` are pure: they know neither HTTP nor async.

mod client;
mod columns;
mod config;
mod credentials;
mod error;
mod job;
mod query;
mod schema;
mod table;
mod upload;

pub use client::{BigQuery, Pace, Pauses};
pub use columns::{ColumnError, Columns, MAX_COLUMNS};
pub use config::Config;
pub use credentials::Credentials;
pub use error::BigQueryError;
pub use job::{Job, JobId, JobState};
pub use query::{Cell, Page, Parameter, Query, QueryFailure};
pub use schema::{Field, Schema};
/// The records of a table that hold stats.
pub use shared::domain::Group;
pub use table::{Table, TableId};
pub use upload::{Accepted, CHUNK_STEP, Upload, UploadError};
