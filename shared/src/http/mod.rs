//! HTTP as statshub speaks it: routes, errors, and how API Gateway's events become requests.

mod authorization;
mod body;
mod error;
mod parameters;
mod path;
mod preflight;
mod request;
mod response;
mod route;

pub use error::{ApiError, Upstream};
pub use parameters::Parameters;
pub(crate) use preflight::answer_preflight;
pub use request::Request;
pub use response::Response;
pub use route::{HistoryKey, Route};
