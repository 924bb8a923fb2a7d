//! What a method and a path ask for.

use http::Method;

use super::ApiError;
use crate::domain::{DimensionName, Id};

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Route {
    /// `POST /stats/{id}`: count an update of an id.
    Update(Id),
    /// `GET /stats/{dim}`: the stats of a dimension.
    Dimension(DimensionName),
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
            // Without an id it is an update all the same, and the id is what is wrong with it.
            Method::POST => Ok(Self::Update(Id::new(name)?)),
            Method::GET | Method::HEAD if name.is_empty() => Ok(Self::AllDimensions),
            Method::GET | Method::HEAD => Ok(Self::Dimension(DimensionName::new(name)?)),
            _ if name.is_empty() => Err(ApiError::MethodNotAllowed("GET, HEAD")),
            _ => Err(ApiError::MethodNotAllowed("GET, HEAD, POST")),
        }
    }
}
