//! What a method and a path ask for.

use http::Method;

use super::ApiError;

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// `POST /stats/{id}`: count an update of an id.
    Update(String),
    /// `GET /stats/{dim}`: the stats of a dimension.
    Dimension(String),
    /// `GET /stats/`: the stats of all dimensions.
    AllDimensions,
}

impl Route {
    /// The first segment of every path.
    pub(super) const STATS: &'static str = "stats";

    /// The route of a method and the decoded segments of a path.
    pub(super) fn find(method: &Method, path: &[String]) -> Result<Self, ApiError> {
        let path: Vec<_> = path.iter().map(String::as_str).collect();
        let name = match path[..] {
            [Self::STATS] => "",
            [Self::STATS, name] => name,
            _ => return Err(ApiError::NotFound),
        };
        match *method {
            // Without an id it is an update all the same, of an id that is refused by name.
            Method::POST => Ok(Self::Update(name.to_owned())),
            Method::GET | Method::HEAD if name.is_empty() => Ok(Self::AllDimensions),
            Method::GET | Method::HEAD => Ok(Self::Dimension(name.to_owned())),
            _ if name.is_empty() => Err(ApiError::MethodNotAllowed("GET, HEAD")),
            _ => Err(ApiError::MethodNotAllowed("GET, HEAD, POST")),
        }
    }
}
