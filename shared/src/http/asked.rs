//! What a request asks for.
//!
//! A request may reach a function that does not answer it, by the route `$default` or by the URL of
//! a function. What is wrong with it is therefore found here, in the same words for all functions.

use std::collections::BTreeSet;

use http::Method;

use super::{
    PathName, RequestError,
    endpoints::{Endpoint, endpoints, table_method},
    request_path::RequestPath,
};

/// What a request asks for: a method and a path of the table in `endpoints.rs`, and the names in
/// the request's path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    /// The method; `GET` for a `HEAD`, too.
    pub method: Method,
    /// The path as the table has it, such as `/stats/{id+}`.
    pub path: &'static str,
    /// The names in the path, in their order.
    pub names: Vec<PathName>,
}

/// What a method and a path ask for.
///
/// # Errors
/// The API has no such path, the path does not take the method, or a name in it is not valid.
pub(super) fn find(method: &Method, path: &RequestPath) -> Result<Asked, RequestError> {
    let mut candidates = Vec::new();
    for Endpoint { method, path: pattern, .. } in endpoints() {
        if let Some(parts) = path.parts(pattern)? {
            candidates.push(Candidate { method, pattern, parts });
        }
    }
    let method = table_method(method);
    let of_method = candidates.iter().filter(|candidate| candidate.method == *method);
    // `/stats/` is all dimensions or a batch, rather than a dimension or an id without a name.
    match of_method.min_by_key(|candidate| candidate.parts.len()) {
        Some(candidate) => candidate.asked(path),
        None => Err(refusal(&candidates)),
    }
}

/// An entry of the table whose path a request's path fits.
struct Candidate<'a> {
    method: Method,
    pattern: &'static str,
    /// The names of the pattern, and what the request's path has in their places.
    parts: Vec<(&'static str, &'a str)>,
}

impl Candidate<'_> {
    fn asked(&self, path: &RequestPath) -> Result<Asked, RequestError> {
        let texts = self.parts.iter().map(|(name, text)| Ok((*name, path.decode(text)?)));
        let texts = texts.collect::<Result<Vec<_>, RequestError>>()?;
        let names = texts.iter().map(|(name, text)| PathName::parse(name, text));
        Ok(Asked {
            method: self.method.clone(),
            path: self.pattern,
            names: names.collect::<Result<_, _>>()?,
        })
    }

    /// Whether the path lacks the one name that it should have.
    fn names_nothing(&self) -> bool {
        matches!(self.parts[..], [(_, "")])
    }
}

/// The error for a method that no candidate has.
fn refusal(candidates: &[Candidate<'_>]) -> RequestError {
    let mut methods = BTreeSet::new();
    for candidate in candidates.iter().filter(|candidate| !candidate.names_nothing()) {
        methods.insert(candidate.method.as_str());
        if candidate.method == Method::GET {
            methods.insert(Method::HEAD.as_str());
        }
    }
    if methods.is_empty() {
        return RequestError::NotFound;
    }
    let methods: Vec<_> = methods.into_iter().collect();
    RequestError::MethodNotAllowed { allow: methods.join(", ") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        domain::{DimensionKey, DimensionName, Group, Id, StatName},
        http::KeyChoice,
    };

    const HISTORY: &str = "/history/{dim}/{key+}/{counter|gauge}/{stat}";

    fn asked(method: Method, path: &'static str, names: &[PathName]) -> Asked {
        Asked { method, path, names: names.to_vec() }
    }

    fn find(method: &Method, path: &[&str]) -> Result<Asked, String> {
        let path = RequestPath::decoded(path.join("/"));
        super::find(method, &path).map_err(|error| error.to_string())
    }

    fn dimension(name: &str) -> PathName {
        PathName::Dimension(DimensionName::new(name).unwrap())
    }

    fn history(dim: &str, keys: KeyChoice, group: Group, stat: &str) -> Asked {
        let stat = PathName::Stat(StatName::new(stat).unwrap());
        let names = [dimension(dim), PathName::Keys(keys), PathName::Kind(group), stat];
        asked(Method::GET, HISTORY, &names)
    }

    #[test]
    fn a_name_with_slashes_is_one_name_whoever_decodes_the_path() {
        for (encoded, decoded, name) in [
            ("a%2Fb", "a/b", "a/b"),
            ("a/b", "a/b", "a/b"),
            ("%2F", "/", "/"),
            ("a%2F%2Fb%2F", "a//b/", "a//b/"),
            ("..", "..", ".."),
            ("a%252Fb", "a%2Fb", "a%2Fb"),
            ("a%3Fb%23", "a?b#", "a?b#"),
            ("%C3%A9+%20", "é+ ", "é+ "),
        ] {
            let update =
                asked(Method::POST, "/stats/{id+}", &[PathName::Id(Id::new(name).unwrap())]);
            let post = |path| super::find(&Method::POST, &path).unwrap();
            assert_eq!(post(RequestPath::encoded(format!("stats/{encoded}"))), update, "{encoded}");
            assert_eq!(post(RequestPath::decoded(format!("stats/{decoded}"))), update, "{decoded}");

            let key = KeyChoice::One(DimensionKey::new(name).unwrap());
            let history = history("d", key, Group::Counter, "x");
            let get = |path| super::find(&Method::GET, &path).unwrap();
            let path = |name| format!("history/d/{name}/counter/x");
            assert_eq!(get(RequestPath::encoded(path(encoded))), history, "{encoded}");
            assert_eq!(get(RequestPath::decoded(path(decoded))), history, "{decoded}");
        }
    }

    #[test]
    fn the_dimension_may_end_with_one_slash() {
        let country = asked(Method::GET, "/stats/{dim+}", &[dimension("country")]);
        for path in [&["stats", "country"][..], &["stats", "country", ""]] {
            assert_eq!(find(&Method::GET, path).as_ref(), Ok(&country));
            assert_eq!(find(&Method::HEAD, path).as_ref(), Ok(&country));
        }
        for path in [&["stats", "country", "", ""][..], &["stats", "", ""], &["stats", "a", "b"]] {
            let refused = find(&Method::GET, path).unwrap_err();
            assert!(refused.contains("is not a valid dimension name"), "{refused}");
        }
    }

    #[test]
    fn without_a_name_it_is_all_dimensions_or_a_batch() {
        for path in [&["stats"][..], &["stats", ""]] {
            assert_eq!(find(&Method::GET, path), Ok(asked(Method::GET, "/stats/", &[])));
            assert_eq!(find(&Method::POST, path), Ok(asked(Method::POST, "/stats", &[])));
            assert_eq!(find(&Method::PUT, path).unwrap_err(), "this path takes GET, HEAD, POST");
        }
    }

    #[test]
    fn a_history_is_of_a_key_of_all_keys_or_of_the_total() {
        for (text, keys) in [
            ("*", KeyChoice::All),
            ("Total", KeyChoice::Total),
            ("ES", KeyChoice::One(DimensionKey::new("es").unwrap())),
            ("**", KeyChoice::One(DimensionKey::new("**").unwrap())),
            ("'; DROP", KeyChoice::One(DimensionKey::new("'; drop").unwrap())),
        ] {
            let found = find(&Method::GET, &["history", "Country", text, "gauge", "a-b"]);
            assert_eq!(found, Ok(history("country", keys, Group::Gauge, "a_b")), "{text}");
        }
    }

    #[test]
    fn a_history_of_what_cannot_be_is_refused_in_words() {
        for (path, error) in [
            (["a`b", "*", "counter", "x"], "\"a`b\" is not a valid dimension name"),
            (["d", "a\0", "counter", "x"], "\"a\\0\" is not a valid dimension key"),
            (["d", "", "counter", "x"], "\"\" is not a valid dimension key"),
            (["d", "*", "counters", "x"], "\"counters\" is not a kind of stat"),
            (["d", "*", "counter", "x` FROM y"], "\"x` FROM y\" is not a valid stat name"),
            (["d", "*", "counter", ""], "\"\" is not a valid stat name"),
        ] {
            let mut path = path.to_vec();
            path.insert(0, "history");
            let refused = find(&Method::GET, &path).unwrap_err();
            assert!(refused.starts_with(error), "{refused}");
        }
        for path in [&["history"][..], &["history", "d", "*", "counter"]] {
            assert!(find(&Method::GET, path).unwrap_err().starts_with("there is nothing"));
        }
    }

    #[test]
    fn a_path_says_which_methods_it_takes() {
        for (method, path, allow) in [
            (Method::PUT, "stats/x", "GET, HEAD, POST"),
            (Method::DELETE, "stats/a/b", "GET, HEAD, POST"),
            (Method::OPTIONS, "stats/", "GET, HEAD, POST"),
            (Method::POST, "history/d/*/counter/x", "GET, HEAD"),
            (Method::PATCH, "history/d//counters/", "GET, HEAD"),
        ] {
            let refused = super::find(&method, &RequestPath::encoded(path));
            assert!(
                matches!(&refused, Err(RequestError::MethodNotAllowed { allow: found }) if found == allow),
                "{method} {path}: {refused:?}"
            );
        }
    }

    #[test]
    fn a_path_that_is_not_utf_8_is_refused() {
        for path in ["%FF", "%FF/x", "stats/%FF", "history/d/%FF/counter/x"] {
            let refused = super::find(&Method::GET, &RequestPath::encoded(path)).unwrap_err();
            assert_eq!(refused.to_string(), "the path is not UTF-8", "{path}");
        }
    }

    #[test]
    fn every_name_of_the_table_is_a_kind_of_name() {
        for Endpoint { path: pattern, .. } in endpoints() {
            for name in pattern.split('/').filter(|segment| segment.starts_with('{')) {
                let refused = PathName::parse(name, "\0").unwrap_err();
                assert!(!matches!(refused, RequestError::NotFound), "{pattern}: {name}");
            }
        }
    }
}
