//! API Gateway's HTTP API and Lambda's runtime API on this machine, for development and tests.
//!
//! The functions meet here what they meet on AWS: paths that are decoded before they are routed,
//! repeated headers in one value, bodies in base64, limits on sizes and times. Nothing in this crate
//! is deployed.
//!
//! - [`event`] makes the events of requests, [`routes`] and [`path`] decide what they are: pure.
//! - [`template`] reads the routes, the functions and CORS from the template that is deployed.
//!
//! What AWS does is taken from its documentation where it says so, else from what others have
//! observed; each module names its sources and what is assumed.

pub mod event;
pub mod path;
pub mod routes;
pub mod template;
