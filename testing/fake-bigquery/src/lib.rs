//! A BigQuery in this process, over HTTP, for tests of what can go wrong.
//!
//! It has what an archive needs: datasets, tables and their schemas, load jobs by multipart and
//! resumable uploads, and queries whose results a test sets. It checks as strictly as BigQuery, and
//! refuses what it does not have. An emulator understands SQL but never loses an answer. This fake
//! understands no SQL, but loses answers exactly where a test asks for it.
//!
//! Everything is in memory, nothing depends on time, and a request is carried out as a whole or not
//! at all, even if its client has gone.
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

mod datasets;
mod engine;
mod fake;
mod fault;
mod fields;
mod google_error;
mod http;
mod job_record;
mod job_request;
mod multipart;
mod operation;
mod paging;
mod query_result;
mod row_check;
mod sessions;
mod ticks;
mod token_endpoint;
mod warehouse;

pub use fake::{FakeBigQuery, Moment, RequestRecord, Signal};
pub use fault::{Fault, What, When};
pub use job_record::{JobError, JobRecord, JobState, QueryRecord};
pub use operation::Operation;
pub use token_endpoint::{FakeTokenEndpoint, Grant, TokenRequest};
