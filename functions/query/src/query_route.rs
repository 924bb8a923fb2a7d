//! What this function can be asked for.

use http::Method;
use shared::{
    domain::{DimensionName, Group, Id, StatName},
    http::{Asked, KeyChoice, PathName, RequestError},
};

/// What this function can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueryRoute<'a> {
    /// `GET /stats/{dim}`: the stats of a dimension.
    Dimension(&'a DimensionName),
    /// `GET /stats/`: the stats of all dimensions.
    AllDimensions,
    /// `GET /dimensions`: which dimensions there are.
    Dimensions,
    /// `GET /ids/{id}`: what an id last reported.
    Id(&'a Id),
    /// `GET /metrics`: dimensions, for Prometheus.
    Metrics,
    /// `GET /stream/…`: a stat, as an event.
    Stream(StreamedStat<'a>),
    /// `GET /openapi.yaml`: the description of the API.
    Description,
}

/// What an event reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct StreamedStat<'a> {
    pub(crate) dimension: &'a DimensionName,
    pub(crate) keys: &'a KeyChoice,
    pub(crate) group: Group,
    pub(crate) stat: &'a StatName,
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
            (&Method::GET, "/dimensions", []) => Ok(Self::Dimensions),
            (&Method::GET, "/ids/{id+}", [PathName::Id(id)]) => Ok(Self::Id(id)),
            (&Method::GET, "/metrics", []) => Ok(Self::Metrics),
            (&Method::GET, "/openapi.yaml", []) => Ok(Self::Description),
            (
                &Method::GET,
                "/stream/{dim}/{key+}/{counter|gauge}/{stat}",
                [
                    PathName::Dimension(dimension),
                    PathName::Keys(keys),
                    PathName::Kind(group),
                    PathName::Stat(stat),
                ],
            ) => Ok(Self::Stream(StreamedStat { dimension, keys, group: *group, stat })),
            _ => Err(RequestError::NotFound),
        }
    }
}
