//! API Gateway's HTTP API and Lambda's runtime API on this machine, for development and tests.
//!
//! The functions meet here what they meet on AWS: paths that are decoded before they are routed,
//! repeated headers in one value, bodies in base64, limits on sizes and times. Nothing in this crate
//! is deployed.
//!
//! - [`event`] makes the events of requests, [`routes`] and [`path`] decide what they are: pure.
//! - [`answer`] makes responses of what functions answer: pure.
//! - [`functions`] has the requests that wait for a function; [`api`] and [`runtime_api`] are its two
//!   sides, and [`serve`] the listeners.
//! - [`template`] reads the routes, the functions and CORS from the template that is deployed.
//!
//! What AWS does is taken from its documentation where it says so, else from what others have
//! observed; each module names its sources and what is assumed.

pub mod answer;
pub mod api;
pub mod event;
pub mod functions;
pub mod path;
pub mod routes;
pub mod runtime_api;
pub mod serve;
pub mod template;
