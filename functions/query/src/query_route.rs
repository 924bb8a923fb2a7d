//! What this function can be asked for.

use http::Method;
use shared::{
    domain::DimensionName,
    http::{Asked, PathName, RequestError},
};

/// What this function can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueryRoute<'a> {
    /// `GET /stats/{dim}`: the stats of a dimension.
    Dimension(&'a DimensionName),
    /// `GET /stats/`: the stats of all dimensions.
    AllDimensions,
}

impl<'a> QueryRoute<'a> {
    /// # Errors
    /// Another function answers this.
    pub(crate) fn of(asked: &'a Asked) -> Result<Self, RequestError> {
        match (&asked.method, asked.path, &asked.names[..]) {
            (&Method::GET, "/stats/{dim+}", [PathName::Dimension(dimension)]) => {
                Ok(Self::Dimension(dimension))
            }
            (&Method::GET, "/stats/", []) => Ok(Self::AllDimensions),
            _ => Err(RequestError::NotFound),
        }
    }
}
