//! What a client prefers, by its headers `Accept` and `Accept-Encoding` (RFC 9110, section 12).

use std::cmp::Reverse;

use http::{
    HeaderMap, HeaderName,
    header::{ACCEPT, ACCEPT_ENCODING},
};

/// Which of these media types, such as `text/csv`, a client prefers: the one with the highest
/// weight, or the one that it names most exactly at the same weight, or else the first. `None` if
/// it wants none of them.
#[must_use]
pub fn preferred_type(headers: &HeaderMap, offered: &[&str]) -> Option<usize> {
    let entries = entries(headers, ACCEPT);
    if entries.is_empty() {
        return (!offered.is_empty()).then_some(0);
    }
    let preferences = offered.iter().map(|offer| {
        let main = offer.split('/').next().unwrap_or_default();
        let ranges = ["*/*".to_owned(), format!("{main}/*"), (*offer).to_owned()];
        let of_entry = |entry: &Entry<'_>| {
            let exactness = ranges.iter().position(|range| range.eq_ignore_ascii_case(entry.name));
            exactness.map(|exactness| (exactness, entry.weight))
        };
        // The most exact range counts.
        let (exactness, weight) = entries.iter().filter_map(of_entry).max().unwrap_or_default();
        (weight, exactness)
    });
    let wanted = (0..).zip(preferences).filter(|(_, (weight, _))| *weight > 0);
    let best = wanted.max_by_key(|(index, preference)| (*preference, Reverse(*index)));
    best.map(|(index, _)| index)
}

/// Whether a client takes an answer that is compressed by gzip, and does not prefer one that is not
/// compressed.
#[must_use]
pub fn takes_gzip(headers: &HeaderMap) -> bool {
    let entries = entries(headers, ACCEPT_ENCODING);
    let weight = |names: &[&str]| {
        let named = entries
            .iter()
            .filter(|entry| names.iter().any(|name| name.eq_ignore_ascii_case(entry.name)));
        named.map(|entry| entry.weight).max()
    };
    let gzip = weight(&["gzip", "x-gzip"]).or(weight(&["*"])).unwrap_or(0);
    gzip > 0 && weight(&["identity"]).is_none_or(|identity| gzip >= identity)
}

/// An entry of a header, such as `text/csv;q=0.5`.
struct Entry<'a> {
    name: &'a str,
    /// From 0 to 1,000.
    weight: u16,
}

fn entries(headers: &HeaderMap, name: HeaderName) -> Vec<Entry<'_>> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    let texts = values.flat_map(|value| value.split(','));
    let entries = texts.map(|text| {
        let mut parts = text.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default();
        let weight = parts.find_map(|part| {
            let (name, value) = part.split_once('=')?;
            name.trim().eq_ignore_ascii_case("q").then(|| weight(value.trim()))
        });
        Entry { name, weight: weight.unwrap_or(1_000) }
    });
    entries.filter(|entry| !entry.name.is_empty()).collect()
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

    const OFFERED: [&str; 3] = ["application/json", "text/csv", "text/plain"];

    fn headers(name: HeaderName, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(&name, HeaderValue::from_str(value).unwrap());
        }
        headers
    }

    #[test]
    fn the_type_is_the_one_that_a_client_prefers() {
        let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
        let prometheus = "application/openmetrics-text;version=1.0.0,\
                          application/openmetrics-text;version=0.0.1;q=0.75,\
                          text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        for (accept, expected) in [
            (&[][..], Some(0)),
            (&["*/*"], Some(0)),
            (&["application/json"], Some(0)),
            (&["text/csv"], Some(1)),
            (&["Text/CSV ; header=present; Q=0.5"], Some(1)),
            (&["text/*"], Some(1)),
            (&["text/plain"], Some(2)),
            (&["text/csv, */*"], Some(1)),
            (&["text/csv", "*/*"], Some(1)),
            (&["application/json, text/plain, */*"], Some(0)),
            (&["application/json, text/csv"], Some(0)),
            (&["text/csv;q=0.9, application/json"], Some(0)),
            (&["text/csv, application/json;q=0.9"], Some(1)),
            (&["text/csv;q=0.5", "text/plain;q=0.6", "*/*;q=0.1"], Some(2)),
            (&["text/csv;q=0.1, */*;q=0.5"], Some(0)),
            (&["text/csv;q=0.1, text/csv"], Some(1)),
            (&["text/csv;q=0"], None),
            (&["text/csv;q=0, */*"], Some(0)),
            (&["application/json;q=0, */*"], Some(1)),
            (&["text/csv;q=2"], None),
            (&[browser], Some(0)),
            (&[prometheus], Some(2)),
            (&["text/plain;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.4"], Some(2)),
            (&["image/png"], None),
            (&[",;;q=,"], Some(0)),
        ] {
            let found = preferred_type(&headers(ACCEPT, accept), &OFFERED);
            assert_eq!(found, expected, "{accept:?}");
        }
    }

    #[test]
    fn gzip_is_for_clients_that_take_it_and_do_not_prefer_none() {
        for (accepted, expected) in [
            (&[][..], false),
            (&["gzip"], true),
            (&["GZip"], true),
            (&["x-gzip"], true),
            (&["deflate, gzip, br, zstd"], true),
            (&["br", "gzip;q=0.1"], true),
            (&["*"], true),
            (&["gzip;q=0"], false),
            (&["gzip;q=0, *"], false),
            (&["gzip; q=0.000"], false),
            (&["*;q=0"], false),
            (&["br;q=1, identity"], false),
            (&["identity, gzip;q=0.5"], false),
            (&["identity;q=0.5, gzip;q=0.5"], true),
            (&["identity;q=0, gzip"], true),
            (&["gzipped"], false),
            (&[""], false),
        ] {
            assert_eq!(takes_gzip(&headers(ACCEPT_ENCODING, accepted)), expected, "{accepted:?}");
        }
    }
}
