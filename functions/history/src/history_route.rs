//! What this function can be asked for.

use http::Method;
use shared::{
    domain::{DimensionName, Group, StatName},
    http::{Asked, KeyChoice, PathName, RequestError},
};

/// `GET /history/{dim}/{key}/{counter|gauge}/{stat}`: what is archived of a stat.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct HistoryRoute {
    pub(crate) dimension: DimensionName,
    pub(crate) keys: KeyChoice,
    pub(crate) group: Group,
    pub(crate) stat: StatName,
}

impl HistoryRoute {
    /// # Errors
    /// Another function answers this.
    pub(crate) fn of(asked: Asked) -> Result<Self, RequestError> {
        let Asked { method, path, names } = asked;
        let names = <[PathName; 4]>::try_from(names);
        match (method, path, names) {
            (
                Method::GET,
                "/history/{dim}/{key+}/{counter|gauge}/{stat}",
                Ok(
                    [
                        PathName::Dimension(dimension),
                        PathName::Keys(keys),
                        PathName::Kind(group),
                        PathName::Stat(stat),
                    ],
                ),
            ) => Ok(Self { dimension, keys, group, stat }),
            _ => Err(RequestError::NotFound),
        }
    }
}
