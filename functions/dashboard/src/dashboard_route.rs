//! What this function can be asked for.

use http::Method;
use shared::http::{Asked, FileName, PathName, RequestError};

/// What this function can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum DashboardRoute<'a> {
    /// `GET /`: the page.
    Page,
    /// `GET /page/{file}`: another file of it.
    File(&'a FileName),
}

impl<'a> DashboardRoute<'a> {
    /// # Errors
    /// Another function answers this.
    pub(crate) fn of(asked: &'a Asked) -> Result<Self, RequestError> {
        match (&asked.method, asked.path, &asked.names[..]) {
            (&Method::GET, "/", []) => Ok(Self::Page),
            (&Method::GET, "/page/{file}", [PathName::File(name)]) => Ok(Self::File(name)),
            _ => Err(RequestError::NotFound),
        }
    }
}
