//! How a function starts, how an event gets through it, its log and its metrics.

mod call;
pub mod log;
pub mod metrics;
mod serve;

pub use call::Call;
pub use serve::{HttpFunction, answer_event, serve_http, serve_http_with, start};
