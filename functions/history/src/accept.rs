//! Which format a client wants an answer in.

use http::{HeaderMap, header::ACCEPT};

/// The format of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Csv,
}

/// How much a type is wanted: its weight, and how exactly it is named.
type Preference = (u16, u8);

impl Format {
    /// CSV if it is preferred to JSON, or as welcome and named more exactly.
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

/// What an entry such as `text/csv;q=0.5` says of a type that is in these ranges, of which the later are the
/// more exact.
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

/// A weight from 0 to 1, in thousandths; what is not one counts as 0.
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
    fn csv_is_for_those_who_prefer_it() {
        for (accept, expected) in [
            (&[][..], Format::Json),
            (&["*/*"], Format::Json),
            (&["application/json"], Format::Json),
            (&["text/csv"], Format::Csv),
            (&["Text/CSV ; header=present; Q=0.5"], Format::Csv),
            (&["text/*"], Format::Csv),
            (&["text/csv, */*"], Format::Csv),
            (&["text/csv", "*/*"], Format::Csv),
            (&["application/json, text/csv"], Format::Json),
            (&["text/csv;q=0.9, application/json"], Format::Json),
            (&["text/csv, application/json;q=0.9"], Format::Csv),
            (&["text/csv;q=0.5, */*;q=0.1"], Format::Csv),
            (&["text/csv;q=0.1, */*;q=0.5"], Format::Json),
            (&["text/csv;q=0"], Format::Json),
            (&["text/csv;q=0, */*"], Format::Json),
            (&["application/json;q=0, */*"], Format::Csv),
            (&["text/csv;q=2"], Format::Json),
            (&["text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"], Format::Json),
            (&["image/png"], Format::Json),
            (&[";,;q=,"], Format::Json),
        ] {
            let headers =
                accept.iter().map(|value| (ACCEPT, HeaderValue::from_str(value).unwrap()));
            assert_eq!(Format::wanted_by(&headers.collect()), expected, "{accept:?}");
        }
    }
}
