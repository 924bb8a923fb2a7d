//! What the functions of statshub share: the domain, the planning of writes, the table and its
//! store.

pub mod auth;
pub mod config;
pub mod deadline;
pub mod domain;
pub mod http;
pub mod lambda;
pub mod store;
pub mod table;
pub mod usage;
