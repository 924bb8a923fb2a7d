//! The stats of a service as rows: what `get`, `top` and `tail` ask for and show.

use std::fmt;

use clap::{Args, ValueEnum};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::api_access::{Api, named, parse, segment};

/// A stat of a key, or of the total over all keys.
#[derive(Debug, Deserialize, Serialize)]
pub struct StatsRow {
    /// The dimension.
    pub dim: String,
    /// The key, or `total`.
    pub key: String,
    /// `counter`, `gauge` or `current`.
    pub kind: String,
    /// The stat.
    pub stat: String,
    /// Its value: an integer of up to 38 digits, as the service wrote it.
    pub value: Box<RawValue>,
}

/// Which keys and stats of a dimension to show.
#[derive(Debug, Args)]
pub struct Filters {
    /// Only this key; repeat it for several
    #[arg(long, value_name = "KEY")]
    pub key: Vec<String>,
    /// Only keys that begin so
    #[arg(long)]
    pub prefix: Option<String>,
}

/// What a stat is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Kind {
    /// Counters and increments
    Counter,
    /// Gauges of the last complete period, and numbers of members
    Gauge,
    /// Gauges of the period that is not over
    Current,
}

/// Rows, and where there are more.
#[derive(Debug)]
pub struct StatsPage {
    /// The rows, in the order of the answer.
    pub rows: Vec<StatsRow>,
    /// The validator of the answer.
    pub etag: Option<String>,
    /// The token of the next page.
    pub next: Option<String>,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Current => "current",
        })
    }
}

impl StatsRow {
    /// The value as a number; none beyond 38 digits.
    #[must_use]
    pub fn number(&self) -> Option<i128> {
        self.value.get().parse().ok()
    }
}

impl Filters {
    /// The filters as parameters of a query.
    #[must_use]
    pub fn parameters(&self) -> Vec<(&str, &str)> {
        let keys = self.key.iter().map(|key| ("key", key.as_str()));
        keys.chain(self.prefix.iter().map(|prefix| ("prefix", prefix.as_str()))).collect()
    }
}

/// Asks for rows of a dimension, or of all if none is named. `None` if they are what they were when
/// the answer had this `etag`.
///
/// # Errors
/// The service does not answer, or refuses the question.
pub fn ask(
    api: &Api,
    dimension: Option<&str>,
    parameters: &[(&str, &str)],
    etag: Option<&str>,
) -> anyhow::Result<Option<StatsPage>> {
    let path = match dimension {
        Some(dimension) => format!("/stats/{}", segment(named(dimension, "dimension")?)),
        None => "/stats/".to_owned(),
    };
    let parameters = [&[("format", "rows")], parameters].concat();
    let answer = api.get(&path, &parameters, etag)?;
    if answer.status() == 304 {
        return Ok(None);
    }
    let header = |name| {
        let value = answer.headers().get(name)?.to_str().ok()?;
        (!value.is_empty()).then(|| value.to_owned())
    };
    let (etag, next) = (header("etag"), header("x-statshub-next"));
    Ok(Some(StatsPage { rows: parse(answer.body())?, etag, next }))
}
