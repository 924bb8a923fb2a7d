//! The path of a request, whoever has decoded it.

use std::borrow::Cow;

use aws_lambda_events::event::apigw::ApiGatewayV2httpRequest;

use super::RequestError;

/// The path of a request, without its first slash. A name in it may have slashes, which a function
/// URL leaves encoded and an HTTP API does not. So one name of a path takes all that the others
/// leave, in both forms.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RequestPath {
    text: String,
    is_encoded: bool,
}

impl RequestPath {
    /// The path of an event.
    ///
    /// An HTTP API decodes `rawPath` before a function sees it, and cuts it at a decoded `?`. It
    /// decodes the path parameters of its route too, but keeps them whole. Without a route (`cargo
    /// lambda`, a function URL), `rawPath` is as the client sent it.
    pub(super) fn of(event: &ApiGatewayV2httpRequest) -> Self {
        if let Some(path) = routed_path(event) {
            return Self::decoded(path);
        }
        let path = event.raw_path.as_deref().unwrap_or("/");
        let stage = event.request_context.stage.as_deref().unwrap_or_default();
        let in_stage = path.strip_prefix('/').and_then(|path| path.strip_prefix(stage));
        let path =
            in_stage.filter(|rest| !stage.is_empty() && rest.starts_with('/')).unwrap_or(path);
        Self::encoded(path.strip_prefix('/').unwrap_or(path))
    }

    /// A path as a client sent it.
    pub(super) fn encoded(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_encoded: true }
    }

    /// A path that was percent-decoded on its way.
    pub(super) fn decoded(text: impl Into<String>) -> Self {
        Self { text: text.into(), is_encoded: false }
    }

    /// The names of a pattern such as `/history/{dim}/{key+}/{counter|gauge}/{stat}`, and what this
    /// path has in their places, not yet decoded; none if the path does not fit the pattern. The
    /// segment with a plus takes all that the others leave, else the last one does.
    ///
    /// # Errors
    /// What should be a literal is not UTF-8 when it is decoded.
    pub(super) fn parts<'a, 'p>(
        &'a self,
        pattern: &'p str,
    ) -> Result<Option<Vec<(&'p str, &'a str)>>, RequestError> {
        let (first, pattern) = split_first(pattern.strip_prefix('/').unwrap_or(pattern));
        let (own_first, rest) = split_first(&self.text);
        if self.decode(own_first)? != first {
            return Ok(None);
        }
        let pattern: Vec<_> = pattern.split('/').collect();
        let last = pattern.len() - 1;
        let widest = pattern.iter().position(|segment| segment.ends_with("+}")).unwrap_or(last);
        let Some(parts) = cut(rest, widest, last - widest) else {
            return Ok(None);
        };
        let mut names = Vec::new();
        for (segment, part) in pattern.into_iter().zip(parts) {
            if segment.starts_with('{') {
                names.push((segment, part));
            } else if self.decode(part)? != segment {
                return Ok(None);
            }
        }
        Ok(Some(names))
    }

    /// Whether this is its first segment.
    pub(super) fn begins_with(&self, segment: &str) -> bool {
        let (first, _) = split_first(&self.text);
        self.decode(first).is_ok_and(|first| first == segment)
    }

    /// A part of this path, decoded.
    ///
    /// # Errors
    /// It is not UTF-8 then.
    pub(super) fn decode<'a>(&self, part: &'a str) -> Result<Cow<'a, str>, RequestError> {
        if !self.is_encoded {
            return Ok(Cow::Borrowed(part));
        }
        let decoded = percent_encoding::percent_decode_str(part).decode_utf8();
        decoded.map_err(|_| RequestError::Malformed("the path is not UTF-8".to_owned()))
    }
}

/// The path of an event that came by a route such as `GET /stats/{dim+}`: the route's own path,
/// with each parameter in its place.
fn routed_path(event: &ApiGatewayV2httpRequest) -> Option<String> {
    // The key `$default` stands for no route.
    let (_, template) = event.route_key.as_deref()?.split_once(' ')?;
    let segments = template.strip_prefix('/')?.split('/').map(|segment| {
        let name = segment.strip_prefix('{').and_then(|segment| segment.strip_suffix('}'));
        let name = name.map(|name| name.strip_suffix('+').unwrap_or(name));
        name.map_or(Some(segment), |name| event.path_parameters.get(name).map(String::as_str))
    });
    Some(segments.collect::<Option<Vec<_>>>()?.join("/"))
}

/// The first segment, and what is behind its slash. Without a slash there is nothing behind it, as
/// with a slash at the end.
fn split_first(path: &str) -> (&str, &str) {
    path.split_once('/').unwrap_or((path, ""))
}

/// The segments `before` and `after` the one that takes the rest, with it in between; none if there
/// are fewer.
fn cut(mut rest: &str, before: usize, after: usize) -> Option<Vec<&str>> {
    let (mut front, mut back) = (Vec::new(), Vec::new());
    for _ in 0..after {
        let (init, last) = rest.rsplit_once('/')?;
        back.push(last);
        rest = init;
    }
    for _ in 0..before {
        let (head, tail) = rest.split_once('/')?;
        front.push(head);
        rest = tail;
    }
    front.push(rest);
    front.extend(back.into_iter().rev());
    Some(front)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_fits_a_pattern_if_its_literals_and_enough_segments_are_there() {
        let long = "/a/{x}/{y+}/b/{z}";
        for (pattern, path, expected) in [
            ("/a/{x+}", "a/1/2/", Some(&["1/2/"][..])),
            ("/a/{x+}", "a/", Some(&[""])),
            ("/a/{x+}", "a", Some(&[""])),
            ("/a/{x+}", "%61/%2F", Some(&["%2F"])),
            ("/a/{x+}", "b/1", None),
            ("/a/", "a", Some(&[])),
            ("/a/", "a/", Some(&[])),
            ("/a/", "a/1", None),
            ("/a/", "a//", None),
            (long, "a/1/2/b/3", Some(&["1", "2", "3"])),
            (long, "a/1/2/b/b/b/3", Some(&["1", "2/b/b", "3"])),
            (long, "a///%62/", Some(&["", "", ""])),
            (long, "a/1/b/3", None),
            (long, "a/1/2/c/3", None),
            (long, "a", None),
        ] {
            let path = RequestPath::encoded(path);
            let parts = path.parts(pattern).unwrap();
            let parts = parts.map(|parts| parts.iter().map(|(_, part)| *part).collect::<Vec<_>>());
            assert_eq!(parts.as_deref(), expected, "{pattern} {path:?}");
        }
    }

    #[test]
    fn a_path_begins_with_its_first_segment_however_it_is_encoded() {
        for (path, expected) in
            [("ids/a", true), ("%69ds/a", true), ("ids", true), ("idsa", false), ("a/ids", false)]
        {
            assert_eq!(RequestPath::encoded(path).begins_with("ids"), expected, "{path}");
        }
        assert!(!RequestPath::decoded("%69ds/a").begins_with("ids"));
    }

    #[test]
    fn what_is_decoded_already_is_not_decoded_again() {
        let path = RequestPath::decoded("a/%FF");
        assert_eq!(path.parts("/a/{x+}").unwrap(), Some(vec![("{x+}", "%FF")]));
        assert_eq!(path.decode("%FF").unwrap(), "%FF");
        assert!(RequestPath::encoded("a/%FF").decode("%FF").is_err());
        assert!(RequestPath::encoded("a/%FF").parts("/a/").is_err());
    }
}
