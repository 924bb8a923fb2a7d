//! Which format a client wants an answer in, by its header `Accept`.

use http::HeaderMap;
use shared::http::preferred_type;

/// The format of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AnswerFormat {
    Json,
    Csv,
}

impl AnswerFormat {
    /// CSV if the client prefers it to JSON, or names it more exactly at the same weight.
    pub(crate) fn wanted_by(headers: &HeaderMap) -> Self {
        match preferred_type(headers, &["application/json", "text/csv"]) {
            Some(1) => Self::Csv,
            _ => Self::Json,
        }
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderValue, header::ACCEPT};

    use super::*;

    #[test]
    fn csv_is_for_clients_that_prefer_it() {
        for (accept, expected) in [
            (&[][..], AnswerFormat::Json),
            (&["*/*"], AnswerFormat::Json),
            (&["text/csv"], AnswerFormat::Csv),
            (&["text/csv", "*/*"], AnswerFormat::Csv),
            (&["application/json, text/csv"], AnswerFormat::Json),
            (&["text/csv;q=0"], AnswerFormat::Json),
            (&["image/png"], AnswerFormat::Json),
        ] {
            let headers =
                accept.iter().map(|value| (ACCEPT, HeaderValue::from_str(value).unwrap()));
            assert_eq!(AnswerFormat::wanted_by(&headers.collect()), expected, "{accept:?}");
        }
    }
}
