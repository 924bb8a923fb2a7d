//! The whole service on this machine, as processes: DynamoDB, the functions, a gateway in front of
//! them, and an emulator of BigQuery.
//!
//! - [`Service`] starts them all, looks after them, and kills some of them for tests.
//! - [`bigquery_emulator`] starts the emulator of BigQuery alone, [`processes`] any process.
//! - [`tools`] installs the programs of others that this needs, and [`workspace`] knows where
//!   things are.

pub mod bigquery_emulator;
mod local_service;
pub mod ports;
pub mod processes;
pub mod tools;
pub mod workspace;

pub use local_service::{
    AUTH_VARIABLE, Build, Database, OPEN, Service, ServiceSettings, wait_for_port,
};
