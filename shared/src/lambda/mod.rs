//! How a function starts, how an event gets through it, its log and its metrics.

mod call;
pub mod call_metrics;
pub mod emf;
pub mod log;
pub mod metrics;
mod serve;
mod shutdown;

pub use call::Call;
pub use serve::{
    HttpFunction, answer_and_record, answer_event, run, serve_http, serve_http_with, start,
};
