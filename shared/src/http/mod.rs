//! HTTP as statshub speaks it: how API Gateway's events become requests, and problems become
//! responses. The functions bring what is theirs: [`endpoints`] alone knows the whole API.

mod authorization;
mod body;
mod endpoints;
mod parameters;
mod path_name;
mod preflight;
mod problem;
mod request;
mod request_error;
mod request_path;
mod response;
mod store_problem;

pub use body::BodyLimit;
pub use endpoints::Asked;
pub use parameters::Parameters;
pub use path_name::{KeyChoice, PathName};
pub(crate) use preflight::answer_preflight;
pub use problem::Problem;
pub use request::Request;
pub use request_error::RequestError;
pub use response::Response;
