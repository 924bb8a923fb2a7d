//! A BigQuery in this process, over HTTP, for tests of what can go wrong.
//!
//! It has what an archive needs: datasets, tables and their schemas, load jobs by multipart and resumable
//! uploads, and queries whose results a test writes itself. It checks as strictly as BigQuery does, and
//! what it does not have it refuses. An emulator understands SQL but never loses an answer; this one
//! understands no SQL, and does lose answers, exactly where a test tells it to.
//!
//! Everything is in memory, nothing depends on time, and a request is carried out as a whole or not at
//! all, even when its client has gone.
//!
//! ```no_run
//! use fake_bigquery::{FakeBigQuery, Fault, Operation, What};
//!
//! # async fn example() -> std::io::Result<()> {
//! let bigquery = FakeBigQuery::start().await?;
//! bigquery.create_dataset("stats");
//! bigquery.plan(vec![
//!     Fault::new(Operation::UploadMultipart, 0, What::LoseAnswer),
//!     Fault::new(Operation::JobGet, 1, What::error_retry_after(503, "backendError", "later", 1)),
//! ]);
//! // A client works at `bigquery.base_url()`. Then:
//! println!("{:?}", bigquery.jobs());
//! println!("{:?}", bigquery.rows("stats", "country"));
//! # Ok(())
//! # }
//! ```

mod error;
mod fake;
mod fault;
mod http;
mod job;
mod operation;
mod rows;
mod schema;
mod token;
mod upload;
mod warehouse;

pub use fake::{FakeBigQuery, Moment, RequestRecord, Signal};
pub use fault::{Fault, What, When};
pub use job::{JobError, JobRecord, JobState, QueryRecord};
pub use operation::Operation;
pub use token::{FakeTokenEndpoint, Grant, TokenRequest};
