//! Which route of an HTTP API a request takes.
//!
//! *Documented* (Create routes for HTTP APIs): of the routes that match a path and method, one
//! without a greedy parameter comes before one with it, and `$default` comes last. A greedy
//! parameter (`{id+}`) is the last segment, and takes the rest of the path. Without a route, the
//! answer is 404.
//!
//! *Observed* (by the emulator `MiniStack` against AWS): several slashes at the start are routed as
//! one.
//!
//! *Assumed*: of two such routes, the one with more literal segments comes first, then
//! the one that names the method instead of `ANY`; a trailing slash counts: `/stats/` is not
//! `/stats`, and a greedy parameter keeps it.

use std::cmp::Reverse;

use http::Method;

/// The key of the route for requests that no other route takes.
pub const DEFAULT: &str = "$default";

/// The routes of an API.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Routes(Vec<HttpApiRoute>);

/// A route: which requests it takes, and which function answers them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpApiRoute {
    /// Its key, such as `POST /stats/{id+}`.
    pub key: String,
    /// The function that answers.
    pub function: String,
    pattern: Pattern,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Pattern {
    Default,
    Path { method: Option<Method>, segments: Vec<Segment> },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Parameter(String),
    Greedy(String),
}

/// The path parameters of a request, by name.
pub type PathParameters = Vec<(String, String)>;

/// API Gateway would refuse this route.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no key of a route")]
pub struct InvalidKey(String);

impl Routes {
    /// Reads routes from their keys, each with the function that answers.
    ///
    /// # Errors
    /// A key is neither `$default` nor a method and a path.
    pub fn new<K: Into<String>, F: Into<String>>(
        routes: impl IntoIterator<Item = (K, F)>,
    ) -> Result<Self, InvalidKey> {
        let routes = routes.into_iter();
        let routes = routes.map(|(key, function)| HttpApiRoute::new(key.into(), function.into()));
        Ok(Self(routes.collect::<Result<_, _>>()?))
    }

    /// All routes.
    #[must_use]
    pub fn all(&self) -> &[HttpApiRoute] {
        &self.0
    }

    /// The route of a request, and its path parameters. The path is decoded once:
    /// [`ReadPath::routed`](crate::read_path::ReadPath::routed).
    #[must_use]
    pub fn find(&self, method: &Method, path: &str) -> Option<(&HttpApiRoute, PathParameters)> {
        let path: Vec<_> = path.trim_start_matches('/').split('/').collect();
        let matching =
            self.0.iter().filter_map(|route| Some((route, route.parameters(method, &path)?)));
        // Of two equal routes, the first.
        matching.min_by_key(|(route, _)| Reverse(route.rank()))
    }
}

impl HttpApiRoute {
    fn new(key: String, function: String) -> Result<Self, InvalidKey> {
        let pattern = Pattern::parse(&key).ok_or_else(|| InvalidKey(key.clone()))?;
        Ok(Self { key, function, pattern })
    }

    /// The path parameters of a request, if this route takes it.
    fn parameters(&self, method: &Method, path: &[&str]) -> Option<PathParameters> {
        match &self.pattern {
            Pattern::Default => Some(Vec::new()),
            Pattern::Path { method: of_route, segments } => {
                let is_method = of_route.as_ref().is_none_or(|of_route| of_route == method);
                is_method.then(|| captured(segments, path))?
            }
        }
    }

    /// The higher of two comes first.
    fn rank(&self) -> (u8, usize, bool) {
        match &self.pattern {
            Pattern::Default => (0, 0, false),
            Pattern::Path { method, segments } => {
                let is_greedy = matches!(segments.last(), Some(Segment::Greedy(_)));
                let literals =
                    segments.iter().filter(|segment| matches!(segment, Segment::Literal(_)));
                (if is_greedy { 1 } else { 2 }, literals.count(), method.is_some())
            }
        }
    }
}

impl Pattern {
    fn parse(key: &str) -> Option<Self> {
        if key == DEFAULT {
            return Some(Self::Default);
        }
        let (method, path) = key.split_once(' ')?;
        let method = match method {
            "ANY" => None,
            method => Some(Method::from_bytes(method.as_bytes()).ok()?),
        };
        let segments: Vec<_> = path.strip_prefix('/')?.split('/').map(Segment::parse).collect();
        let (_, all_but_last) = segments.split_last()?;
        let is_greedy = |segment: &Segment| matches!(segment, Segment::Greedy(_));
        (!all_but_last.iter().any(is_greedy)).then_some(Self::Path { method, segments })
    }
}

impl Segment {
    fn parse(text: &str) -> Self {
        let inner = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
        match inner.map(|name| (name, name.strip_suffix('+'))) {
            None => Self::Literal(text.to_owned()),
            Some((_, Some(name))) => Self::Greedy(name.to_owned()),
            Some((name, None)) => Self::Parameter(name.to_owned()),
        }
    }
}

fn captured(segments: &[Segment], path: &[&str]) -> Option<PathParameters> {
    let mut parameters = Vec::new();
    let mut rest = path;
    for segment in segments {
        let (first, others) = rest.split_first()?;
        let (name, value) = match segment {
            Segment::Literal(literal) if literal == first => {
                rest = others;
                continue;
            }
            Segment::Literal(_) => return None,
            Segment::Parameter(name) => {
                rest = others;
                (name, (*first).to_owned())
            }
            Segment::Greedy(name) => {
                let all = rest.join("/");
                rest = &[];
                (name, all)
            }
        };
        if value.is_empty() {
            return None;
        }
        parameters.push((name.clone(), value));
    }
    rest.is_empty().then_some(parameters)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(routes: &[&str], method: &Method, path: &str) -> Option<(String, PathParameters)> {
        let routes = Routes::new(routes.iter().map(|key| (*key, "f"))).unwrap();
        let (route, parameters) = routes.find(method, path)?;
        Some((route.key.clone(), parameters))
    }

    #[test]
    fn a_greedy_parameter_takes_all_that_is_left() {
        for (path, id) in [
            ("/stats/a", Some("a")),
            ("/stats/a/b", Some("a/b")),
            ("/stats/a/", Some("a/")),
            ("/stats//a", Some("/a")),
            ("//stats/a", Some("a")),
            ("/stats/a?b", Some("a?b")),
            ("/stats/..", Some("..")),
            ("/stats/", None),
            ("/stats", None),
            ("/other/a", None),
        ] {
            let found = found(&["POST /stats/{id+}"], &Method::POST, path);
            let parameters = id.map(|id| vec![("id".to_owned(), id.to_owned())]);
            assert_eq!(found.map(|(_, parameters)| parameters), parameters, "{path}");
        }
    }

    #[test]
    fn a_plain_parameter_takes_one_segment() {
        let key = "GET /stats/{dim}/keys";
        let found = |path| found(&[key], &Method::GET, path).map(|(_, parameters)| parameters);
        assert_eq!(found("/stats/a/keys"), Some(vec![("dim".to_owned(), "a".to_owned())]));
        for other in ["/stats//keys", "/stats/a/b/keys", "/stats/a/keys/", "/stats/a"] {
            assert_eq!(found(other), None, "{other}");
        }
    }

    /// The example of AWS's documentation, and what it says of each path.
    #[test]
    fn routes_are_chosen_as_documented() {
        let routes = [
            "$default",
            "ANY /{proxy+}",
            "GET /pets/{proxy+}",
            "GET /pets/dog/{id}",
            "GET /pets/dog/1",
        ];
        for (method, path, key) in [
            (Method::GET, "/pets/dog/1", "GET /pets/dog/1"),
            (Method::GET, "/pets/dog/2", "GET /pets/dog/{id}"),
            (Method::GET, "/pets/cat/1", "GET /pets/{proxy+}"),
            (Method::POST, "/test/5", "ANY /{proxy+}"),
            (Method::GET, "/", "$default"),
        ] {
            let (found, _) = found(&routes, &method, path).unwrap();
            assert_eq!(found, key, "{method} {path}");
        }
    }

    #[test]
    fn a_method_comes_before_any_and_without_a_route_there_is_none() {
        let routes = ["ANY /a", "GET /a"];
        assert_eq!(found(&routes, &Method::GET, "/a").unwrap().0, "GET /a");
        assert_eq!(found(&routes, &Method::PUT, "/a").unwrap().0, "ANY /a");
        assert_eq!(found(&routes, &Method::GET, "/b"), None);
    }

    #[test]
    fn keys_that_api_gateway_would_refuse_are_refused() {
        for key in ["", "/stats", "GET stats", "GET /{a+}/b", "G(T /a"] {
            assert!(Routes::new([(key, "f")]).is_err(), "{key:?}");
        }
    }
}
