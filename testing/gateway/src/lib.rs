//! API Gateway's HTTP API and Lambda's runtime API on this machine, for development and tests.
//!
//! The functions meet here what they meet on AWS: paths that are decoded before they are routed,
//! repeated headers in one value, bodies in base64, limits on sizes and times. Nothing in this
//! crate is deployed.
//!
//! - [`event`] turns requests into events; [`routes`] and [`read_path`] say which route a request
//!   takes. Pure.
//! - [`integration_response`] turns a function's answer into a response. Pure.
//! - [`functions`] has the requests that wait for a function. [`http_api`] and [`runtime_api`] are
//!   its two sides, [`listeners`] their ports.
//! - [`exchange_log`] writes down what clients ask and get, for a test.
//! - [`deployed_template`] reads the routes, the functions and CORS from the template.
//!
//! The behaviour of AWS is taken from its documentation; where that is silent, from what others
//! have observed. Each module names its sources, and what it assumes.

pub mod deployed_template;
pub mod event;
pub mod exchange_log;
pub mod functions;
pub mod http_api;
pub mod integration_response;
pub mod listeners;
pub mod read_path;
pub mod routes;
pub mod runtime_api;
