//! Answers to clients that have one already: `ETag` and `If-None-Match` (RFC 9110, section 13).

use http::{
    HeaderMap, HeaderName, HeaderValue, StatusCode,
    header::{CONTENT_TYPE, ETAG, IF_NONE_MATCH},
};
use sha2::{Digest, Sha256};

use super::{Request, Response, negotiation::takes_gzip};

/// Hex digits of a validator: 128 bits.
const DIGITS: usize = 32;

impl Response {
    /// The same with a strong validator. If the client has that representation already, the
    /// response is a 304 without a body.
    #[must_use]
    pub fn validated(mut self, request: &Request) -> Self {
        let tag = self.entity_tag(takes_gzip(&request.headers));
        let is_known = knows(&request.headers, &tag);
        // Hex digits in quotes are fit for a header.
        if let Ok(tag) = HeaderValue::from_str(&tag) {
            self.headers.insert(ETAG, tag);
        }
        if is_known {
            self.status = StatusCode::NOT_MODIFIED;
            self.headers.remove(CONTENT_TYPE);
            self.body.clear();
        }
        self
    }

    /// A compressed representation has other bytes, and so a tag of its own.
    fn entity_tag(&self, is_gzip: bool) -> String {
        let mut hash = Sha256::new();
        hash.update(self.headers.get(CONTENT_TYPE).map_or(&[][..], HeaderValue::as_bytes));
        hash.update([0]);
        hash.update(&self.body);
        let mut digits = hex::encode(hash.finalize());
        digits.truncate(DIGITS);
        format!("\"{digits}{}\"", if is_gzip { "-gzip" } else { "" })
    }
}

/// Whether the client has what this tag stands for. The comparison is weak (section 13.1.2), so
/// `W/` does not matter.
fn knows(headers: &HeaderMap, tag: &str) -> bool {
    let values = list(headers, &IF_NONE_MATCH);
    let mut known = values.iter().flat_map(|value| value.split(',')).map(str::trim);
    known.any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

fn list(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let values = headers.get_all(name).iter();
    values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TAG: &str = "\"abc\"";

    fn headers(values: &[&'static str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(IF_NONE_MATCH, HeaderValue::from_static(value));
        }
        headers
    }

    #[test]
    fn a_tag_is_known_from_a_list_weak_or_strong_or_by_a_star() {
        for values in [
            &["\"abc\""][..],
            &["W/\"abc\""],
            &["\"x\", \"abc\""],
            &["\"x\",W/\"abc\" ,\"y\""],
            &["\"x\"", "\"abc\""],
            &["*"],
        ] {
            assert!(knows(&headers(values), TAG), "{values:?}");
        }
        for values in [&[][..], &[""], &["abc"], &["\"abcd\""], &["\"ABC\""], &["w/\"abc\""]] {
            assert!(!knows(&headers(values), TAG), "{values:?}");
        }
    }

    #[test]
    fn other_bytes_types_and_codings_have_other_tags() {
        let json = |body: &str| Response::json(StatusCode::OK, body.to_owned());
        let plain = json("{}").entity_tag(false);
        assert_eq!(plain, json("{}").entity_tag(false));
        let text = Response::new(StatusCode::OK, "text/plain", "{}".to_owned());
        let others =
            [json("[]").entity_tag(false), json("{}").entity_tag(true), text.entity_tag(false)];
        assert!(others.iter().all(|other| *other != plain), "{others:?}");
    }
}
