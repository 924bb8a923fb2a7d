//! HTTP as statshub speaks it: how API Gateway's events become requests, and problems become
//! responses.
//!
//! Only `endpoints.rs` knows the whole API. Each function makes its own route of what a request
//! asks for, and its own errors into a [`Problem`].

mod asked;
mod authorization;
mod body;
mod endpoints;
mod http_event;
mod listed;
mod parameters;
mod path_name;
mod preflight;
mod problem;
mod request;
mod request_error;
mod request_path;
mod response;
mod store_problem;

pub use asked::Asked;
pub(crate) use authorization::needs_token;
pub use body::BodyLimit;
pub use http_event::{HttpEvent, NotAnHttpEvent};
pub use parameters::Parameters;
pub use path_name::{KeyChoice, PathName};
pub(crate) use preflight::answer_preflight;
pub use problem::Problem;
pub use request::Request;
pub use request_error::RequestError;
pub use response::Response;
