//! The path of a request, as an HTTP API reads it.
//!
//! *Documented* (Create routes for HTTP APIs): parameters are decoded before a function gets them.
//!
//! *Observed* (live captures in hotsock/voker, `vokerhttp/testdata/ingress-paths.json`; also
//! fastify/aws-lambda-fastify issue 169): the path is decoded, then read as a URI, which cuts it at
//! a decoded `?`, refuses a `%` that begins no escape with 400, and decodes it a second time. Thus
//! `a%252Fb` becomes `a/b`, `a%3Fb` becomes `a`, and `100%25` is refused. A decoded `#` stays. (The
//! emulator `MiniStack` leaves `%25` as it is. By neither does an id with a `%` arrive.)
//!
//! *Assumed*: routes and their parameters are matched against the path that is decoded once and not
//! cut; bytes that are not UTF-8 become U+FFFD; dot segments and empty segments stay.

use percent_encoding::percent_decode_str;

/// A path that an HTTP API does not refuse.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadPath {
    /// What routes and path parameters are matched against: decoded once.
    pub routed: String,
    /// The event's path: decoded twice, and cut at a `?` in between.
    pub raw: String,
}

/// After the first decoding, the path has a `%` that begins no escape.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the path has a % that begins no escape, once it is decoded")]
pub struct MalformedPath;

impl ReadPath {
    /// Reads the path that a client sent.
    ///
    /// # Errors
    /// API Gateway answers 400 to it.
    pub fn of(sent: &str) -> Result<Self, MalformedPath> {
        let routed = decoded(sent);
        let uri = routed.split('?').next().unwrap_or_default();
        if !has_whole_escapes(uri) {
            return Err(MalformedPath);
        }
        Ok(Self { raw: decoded(uri), routed })
    }
}

/// A path that is decoded once.
pub(crate) fn decoded(text: &str) -> String {
    percent_decode_str(text).decode_utf8_lossy().into_owned()
}

fn has_whole_escapes(text: &str) -> bool {
    let is_escape = |rest: &str| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    text.split('%').skip(1).all(is_escape)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(sent: &str) -> Option<String> {
        ReadPath::of(sent).ok().map(|path| path.raw)
    }

    /// The table is that of the live captures.
    #[test]
    fn paths_are_read_as_they_were_captured() {
        for (sent, expected) in [
            ("/capture/plain", Some("/capture/plain")),
            ("/capture/space%20value", Some("/capture/space value")),
            ("/capture/question%3Fvalue", Some("/capture/question")),
            ("/capture/percent%25done", None),
            ("/capture/hash%23value", Some("/capture/hash#value")),
            ("/capture/slash%2Fvalue", Some("/capture/slash/value")),
            ("/capture/unicode-%CE%BB-%E4%B8%96", Some("/capture/unicode-λ-世")),
            ("/capture/literal%252Fvalue", Some("/capture/literal/value")),
            ("/capture/literal%253Fvalue", Some("/capture/literal?value")),
            ("/capture/literal%2525value", Some("/capture/literal%value")),
        ] {
            assert_eq!(raw(sent).as_deref(), expected, "{sent}");
        }
    }

    #[test]
    fn what_is_routed_is_decoded_once_and_whole() {
        for (sent, expected) in [
            ("/stats/a%2Fb", "/stats/a/b"),
            ("/stats/a%3Fb", "/stats/a?b"),
            ("/stats/a%2520b", "/stats/a%20b"),
            ("/stats/a+b", "/stats/a+b"),
            ("/stats/%2E%2E", "/stats/.."),
            ("/stats/../x", "/stats/../x"),
            ("//stats//a/", "//stats//a/"),
            ("/stats/%C3%A9", "/stats/é"),
            ("/stats/é", "/stats/é"),
            ("/stats/%FF", "/stats/\u{fffd}"),
        ] {
            assert_eq!(ReadPath::of(sent).unwrap().routed, expected, "{sent}");
        }
    }

    #[test]
    fn a_percent_sign_without_digits_is_refused_and_behind_a_cut_it_is_not_seen() {
        for refused in ["/%", "/a%2", "/%zz", "/100%25", "/%25%32", "/a%25é"] {
            assert_eq!(ReadPath::of(refused), Err(MalformedPath), "{refused}");
        }
        assert_eq!(raw("/a%3F100%25").as_deref(), Some("/a"));
        assert_eq!(raw("/%252").as_deref(), None);
        assert_eq!(raw("/%25%34%31").as_deref(), Some("/A"));
    }
}
