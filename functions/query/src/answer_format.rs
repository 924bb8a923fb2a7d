//! The formats of an answer. All of them are made of the same: the stats of keys, one after
//! another.

use http::{HeaderMap, StatusCode};
use shared::{
    domain::{DimensionName, KeyStats},
    http::{CsvCells, Response, preferred_type},
};

use crate::{prometheus_text, query_problem::QueryProblem, stats_csv, stats_json, stats_rows};

/// The format of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum AnswerFormat {
    /// The object of the contract.
    Json,
    /// An array with an object for each number.
    Rows,
    /// A line for each number.
    Csv(CsvCells),
    /// The text format of Prometheus, version 0.0.4.
    Prometheus,
}

/// Some keys of a dimension in a format, without what is around them.
#[derive(Debug, Clone)]
pub(crate) struct DimensionText<T> {
    pub(crate) dimension: DimensionName,
    /// The texts of its keys, in their order.
    pub(crate) keys: T,
}

impl AnswerFormat {
    /// All of them.
    pub(crate) const ALL: [Self; 5] = [
        Self::Json,
        Self::Rows,
        Self::Csv(CsvCells::Plain),
        Self::Csv(CsvCells::Safe),
        Self::Prometheus,
    ];

    /// The format that a client asks for: by the parameter `format`, or else by `Accept`.
    pub(crate) fn wanted_by(
        format: Option<&str>,
        csv: Option<&str>,
        headers: &HeaderMap,
    ) -> Result<Self, FormatError> {
        let format = match format {
            None => Self::accepted_by(headers),
            Some("json") => Self::Json,
            Some("rows") => Self::Rows,
            Some("csv") => Self::Csv(CsvCells::Plain),
            Some("prometheus") => Self::Prometheus,
            Some(other) => return Err(FormatError::Unknown(shared::domain::excerpt(other))),
        };
        match (format, csv) {
            (format, None) => Ok(format),
            (Self::Csv(_), Some("safe")) => Ok(Self::Csv(CsvCells::Safe)),
            (Self::Csv(_), Some(other)) => {
                Err(FormatError::UnknownCsv(shared::domain::excerpt(other)))
            }
            (_, Some(_)) => Err(FormatError::NotCsv),
        }
    }

    /// Rows have no type of their own, so they are only to be had by `format`.
    fn accepted_by(headers: &HeaderMap) -> Self {
        match preferred_type(headers, &["application/json", "text/csv", "text/plain"]) {
            Some(1) => Self::Csv(CsvCells::Plain),
            Some(2) => Self::Prometheus,
            _ => Self::Json,
        }
    }

    /// Whether the format has totals.
    pub(crate) fn has_totals(self) -> bool {
        self != Self::Prometheus
    }

    /// What the format writes of a key; none if nothing is to be shown of it.
    pub(crate) fn key(
        self,
        dimension: &DimensionName,
        key: &str,
        stats: &KeyStats,
    ) -> Result<Option<String>, QueryProblem> {
        let text = match self {
            Self::Json => return Ok(stats_json::key(key, stats)?),
            Self::Rows => stats_rows::key(dimension, key, stats)?,
            Self::Csv(cells) => stats_csv::key(dimension, key, stats, cells)?,
            Self::Prometheus => prometheus_text::key(dimension, key, stats),
        };
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    /// What the format writes of a dimension's total.
    pub(crate) fn total(
        self,
        dimension: &DimensionName,
        stats: &KeyStats,
    ) -> Result<Option<String>, QueryProblem> {
        match self {
            Self::Json => Ok(Some(stats_json::total(stats)?)),
            Self::Prometheus => Ok(None),
            Self::Rows | Self::Csv(_) => self.key(dimension, shared::domain::TOTAL, stats),
        }
    }

    /// The texts of keys as one, in which further ones may follow.
    pub(crate) fn joined(self, keys: &[impl std::borrow::Borrow<str>]) -> String {
        keys.join(self.separator())
    }

    /// What is between the texts of keys.
    pub(crate) fn separator(self) -> &'static str {
        match self {
            Self::Json | Self::Rows => ",",
            Self::Csv(_) | Self::Prometheus => "",
        }
    }

    /// The response with these dimensions. With pages, `next` is the token of the next one, which
    /// is empty on the last.
    pub(crate) fn response<T: AsRef<str>>(
        self,
        dimensions: &[DimensionText<T>],
        next: Option<&str>,
    ) -> Result<Response, QueryProblem> {
        let (content_type, body) = match self {
            Self::Json => ("application/json", stats_json::body(dimensions, next)?),
            Self::Rows => ("application/json", stats_rows::body(dimensions)),
            Self::Csv(_) => ("text/csv; charset=utf-8", stats_csv::body(dimensions)),
            Self::Prometheus => {
                ("text/plain; version=0.0.4; charset=utf-8", prometheus_text::body(dimensions))
            }
        };
        match Response::fits(&body) {
            true => Ok(Response::new(StatusCode::OK, content_type, body)),
            false => Err(QueryProblem::AnswerTooLarge),
        }
    }
}

/// Why there is no such format, in words for the client.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FormatError {
    /// There is no such format.
    #[error("format: \"{0}\" is not json, rows, csv or prometheus")]
    Unknown(String),
    /// There is no such kind of CSV.
    #[error("csv: \"{0}\" is not safe")]
    UnknownCsv(String),
    /// The answer is in another format.
    #[error("csv: it is for format=csv, or Accept: text/csv")]
    NotCsv,
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header::ACCEPT};

    use super::*;

    fn wanted(
        format: Option<&str>,
        csv: Option<&str>,
        accept: &'static str,
    ) -> Result<AnswerFormat, String> {
        let accept = (ACCEPT, HeaderValue::from_static(accept));
        let headers = [accept].into_iter().collect();
        AnswerFormat::wanted_by(format, csv, &headers).map_err(|error| error.to_string())
    }

    #[test]
    fn the_parameter_counts_and_without_it_the_header() {
        for (format, accept, expected) in [
            (Some("json"), "text/csv", AnswerFormat::Json),
            (Some("rows"), "text/csv", AnswerFormat::Rows),
            (Some("csv"), "*/*", AnswerFormat::Csv(CsvCells::Plain)),
            (Some("prometheus"), "*/*", AnswerFormat::Prometheus),
            (None, "*/*", AnswerFormat::Json),
            (None, "image/png", AnswerFormat::Json),
            (None, "text/csv", AnswerFormat::Csv(CsvCells::Plain)),
            (None, "text/plain;version=0.0.4;q=0.5,*/*;q=0.1", AnswerFormat::Prometheus),
        ] {
            assert_eq!(wanted(format, None, accept), Ok(expected), "{format:?} {accept}");
        }
        assert_eq!(wanted(None, Some("safe"), "text/csv"), Ok(AnswerFormat::Csv(CsvCells::Safe)));
    }

    #[test]
    fn what_is_no_format_is_refused_by_name() {
        for (format, csv, error) in [
            (Some("xml"), None, "format: \"xml\" is not json, rows, csv or prometheus"),
            (Some(""), None, "format: \"\" is not"),
            (Some("JSON"), None, "format: \"JSON\" is not"),
            (Some("csv"), Some("unsafe"), "csv: \"unsafe\" is not safe"),
            (Some("json"), Some("safe"), "csv: it is for format=csv"),
        ] {
            let refused = wanted(format, csv, "*/*").unwrap_err();
            assert!(refused.starts_with(error), "{refused}");
        }
    }
}
