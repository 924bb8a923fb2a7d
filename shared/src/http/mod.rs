//! HTTP as statshub speaks it: how API Gateway's events become requests, and problems become
//! responses.
//!
//! Only `endpoints.rs` knows the whole API. Each function makes its own route of what a request
//! asks for, and its own errors into a [`Problem`].

mod asked;
mod authorization;
mod body;
mod csv_cells;
mod endpoints;
mod http_event;
mod listed;
mod negotiation;
mod next_page;
mod opaque_token;
mod parameters;
mod path_name;
mod preflight;
mod problem;
mod request;
mod request_error;
mod request_path;
mod response;
mod store_problem;
mod validator;

pub use asked::Asked;
pub(crate) use authorization::needs_token;
pub use body::BodyLimit;
pub use csv_cells::CsvCells;
pub use endpoints::{Endpoint, endpoints};
pub use http_event::{HttpEvent, NotAnHttpEvent};
pub use negotiation::preferred_type;
pub use next_page::link_next_page;
pub use opaque_token::{MAX_TOKEN_BYTES, PageTokenError, decode_token, encode_token, fingerprint};
pub use parameters::Parameters;
pub use path_name::{FileName, KeyChoice, PathName};
pub(crate) use preflight::answer_preflight;
pub use problem::Problem;
pub use request::Request;
pub use request_error::RequestError;
pub use response::{MAX_BODY_BYTES, Response, length_as_string};
