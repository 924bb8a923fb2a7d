//! What the functions of statshub share: the domain, the planning of writes, the table and its store.

pub mod auth;
pub mod config;
pub mod domain;
pub mod http;
pub mod lambda;
pub mod log;
pub mod metrics;
pub mod retry;
pub mod rollup;
pub mod store;
pub mod table;
pub mod usage;
