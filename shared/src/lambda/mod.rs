//! The start of a function, the way of an event through it, its log and its metrics.

pub mod log;
pub mod metrics;
mod serve;

pub use serve::{Call, HttpFunction, answer_event, serve_http, serve_http_with, start};
