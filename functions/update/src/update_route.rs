//! What this function can be asked for.

use http::Method;
use shared::{
    domain::Id,
    http::{Asked, PathName, RequestError},
};

/// What this function can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum UpdateRoute<'a> {
    /// `POST /stats/{id}`: count an update of an id.
    Count(&'a Id),
    /// `POST /stats`: count a batch of updates.
    CountBatch,
}

impl<'a> UpdateRoute<'a> {
    /// # Errors
    /// Another function answers this.
    pub(crate) fn of(asked: &'a Asked) -> Result<Self, RequestError> {
        match (&asked.method, asked.path, &asked.names[..]) {
            (&Method::POST, "/stats/{id+}", [PathName::Id(id)]) => Ok(Self::Count(id)),
            (&Method::POST, "/stats", []) => Ok(Self::CountBatch),
            _ => Err(RequestError::NotFound),
        }
    }
}
