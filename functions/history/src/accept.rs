//! Which format a client wants an answer in, by its header `Accept`.

use http::{HeaderMap, header::ACCEPT};

/// The format of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum AnswerFormat {
    Json,
    Csv,
}

/// How much a client wants a type: its weight, and how exactly the client names it.
type Preference = (u16, u8);

impl AnswerFormat {
    /// CSV if the client prefers it to JSON, or names it more exactly at the same weight.
    pub(crate) fn wanted_by(headers: &HeaderMap) -> Self {
        let accepted: Vec<_> =
            headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok()).collect();
        let preference = |ranges: [&str; 3]| {
            let entries = accepted.iter().flat_map(|value| value.split(','));
            let matching = entries.filter_map(|entry| preference(entry, ranges));
            // The most exact range counts.
            matching.max_by_key(|(_, exactness)| *exactness).unwrap_or_default()
        };
        let csv = preference(["*/*", "text/*", "text/csv"]);
        let json = preference(["*/*", "application/*", "application/json"]);
        match csv.0 > 0 && csv > json {
            true => Self::Csv,
            false => Self::Json,
        }
    }
}

/// What an entry such as `text/csv;q=0.5` says of a type that is in these ranges, the most exact
/// one last.
fn preference(entry: &str, ranges: [&str; 3]) -> Option<Preference> {
    let mut parts = entry.split(';').map(str::trim);
    let range = parts.next()?;
    let exactness = (0..).zip(ranges).find(|(_, known)| known.eq_ignore_ascii_case(range))?.0;
    let weight = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| weight(value.trim()))
    });
    Some((weight.unwrap_or(1_000), exactness))
}

/// A weight from 0 to 1, in thousandths. Anything else counts as 0.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn weight(text: &str) -> u16 {
    let weight = text.parse().ok().filter(|weight| (0.0..=1.0).contains(weight));
    (weight.unwrap_or(0.0_f64) * 1_000.0).round() as u16
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn csv_is_for_clients_that_prefer_it() {
        for (accept, expected) in [
            (&[][..], AnswerFormat::Json),
            (&["*/*"], AnswerFormat::Json),
            (&["application/json"], AnswerFormat::Json),
            (&["text/csv"], AnswerFormat::Csv),
            (&["Text/CSV ; header=present; Q=0.5"], AnswerFormat::Csv),
            (&["text/*"], AnswerFormat::Csv),
            (&["text/csv, */*"], AnswerFormat::Csv),
            (&["text/csv", "*/*"], AnswerFormat::Csv),
            (&["application/json, text/csv"], AnswerFormat::Json),
            (&["text/csv;q=0.9, application/json"], AnswerFormat::Json),
            (&["text/csv, application/json;q=0.9"], AnswerFormat::Csv),
            (&["text/csv;q=0.5, */*;q=0.1"], AnswerFormat::Csv),
            (&["text/csv;q=0.1, */*;q=0.5"], AnswerFormat::Json),
            (&["text/csv;q=0"], AnswerFormat::Json),
            (&["text/csv;q=0, */*"], AnswerFormat::Json),
            (&["application/json;q=0, */*"], AnswerFormat::Csv),
            (&["text/csv;q=2"], AnswerFormat::Json),
            (
                &["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"],
                AnswerFormat::Json,
            ),
            (&["image/png"], AnswerFormat::Json),
            (&[";,;q=,"], AnswerFormat::Json),
        ] {
            let headers =
                accept.iter().map(|value| (ACCEPT, HeaderValue::from_str(value).unwrap()));
            assert_eq!(AnswerFormat::wanted_by(&headers.collect()), expected, "{accept:?}");
        }
    }
}
