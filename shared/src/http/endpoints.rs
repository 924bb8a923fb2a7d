//! What the whole API offers, whichever function answers: the one table of its methods and paths.
//!
//! The scope that a request needs, the text of the 404 and the `Allow` of the 405 come from here,
//! so they are the same in every function. Tests hold against it what must repeat it:
//! `template.yaml`, the routes of each function, and `docs/openapi.yaml`.

use http::Method;

use super::{listed::listed, request_path::RequestPath};
use crate::auth::Scope;

/// A method, and what the API offers under it.
struct MethodEntry {
    method: Method,
    /// The scope that the method needs, at any path that is not public: see `authorization.rs`.
    scope: Scope,
    paths: &'static [PathEntry],
}

/// A path that takes a method.
struct PathEntry {
    /// Names are in braces. The one with a plus may have slashes.
    path: &'static str,
    function: &'static str,
    is_public: bool,
}

impl PathEntry {
    const fn new(function: &'static str, path: &'static str) -> Self {
        Self { path, function, is_public: false }
    }

    /// A path that anyone may ask for, since its answer has nothing that was reported.
    const fn public(function: &'static str, path: &'static str) -> Self {
        Self { path, function, is_public: true }
    }
}

/// Each method once. `HEAD` is at every path of `GET`. Nobody can ask a function for anything that
/// is not in here.
static TABLE: &[MethodEntry] = &[
    MethodEntry {
        method: Method::POST,
        scope: Scope::Write,
        paths: &[PathEntry::new("update", "/stats/{id+}"), PathEntry::new("update", "/stats")],
    },
    MethodEntry {
        method: Method::GET,
        scope: Scope::Read,
        paths: &[
            PathEntry::new("query", "/stats/{dim+}"),
            PathEntry::new("query", "/stats/"),
            PathEntry::new("query", "/dimensions"),
            PathEntry::new("query", "/ids/{id+}"),
            PathEntry::new("query", "/metrics"),
            PathEntry::new("query", "/stream/{dim}/{key+}/{counter|gauge}/{stat}"),
            PathEntry::new("history", "/history/{dim}/{key+}/{counter|gauge}/{stat}"),
            PathEntry::public("query", "/openapi.yaml"),
            PathEntry::public("dashboard", "/"),
            PathEntry::public("dashboard", "/page/{file}"),
        ],
    },
];

/// A method and a path that takes it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// The method. What takes `GET` also takes `HEAD`.
    pub method: Method,
    /// The path. Names are in braces. The one with a plus may have slashes.
    pub path: &'static str,
    /// The name of the function that answers.
    pub function: &'static str,
    /// The scope that a token must have; none if anyone may ask.
    pub scope: Option<Scope>,
}

/// All that the table has.
pub fn endpoints() -> impl Iterator<Item = Endpoint> {
    TABLE.iter().flat_map(|MethodEntry { method, scope, paths }| {
        paths.iter().map(|entry| Endpoint {
            method: method.clone(),
            path: entry.path,
            function: entry.function,
            scope: (!entry.is_public).then_some(*scope),
        })
    })
}

/// The scope that a request needs; none if anyone may ask for that. A method that is not in the
/// table gets nothing but 404 and 405, for which `read` is enough.
pub(super) fn scope(method: &Method, path: &RequestPath) -> Option<Scope> {
    let method = table_method(method);
    let Some(entry) = TABLE.iter().find(|entry| entry.method == *method) else {
        return Some(Scope::Read);
    };
    let mut public = entry.paths.iter().filter(|entry| entry.is_public);
    let is_public = public.any(|entry| matches!(path.parts(entry.path), Ok(Some(_))));
    (!is_public).then_some(entry.scope)
}

/// Whether what is at a path needs a token even where reading needs none: the data of a single
/// reporter. Whether there is anything at that path makes no difference.
pub(super) fn is_private(path: &RequestPath) -> bool {
    path.begins_with("ids")
}

/// All that the table has, in words.
pub(super) fn list() -> String {
    let all = endpoints()
        .map(|Endpoint { method, path, .. }| format!("{method} {}", path.replace("+}", "}")));
    let all: Vec<_> = all.collect();
    listed(&all.iter().map(String::as_str).collect::<Vec<_>>())
}

/// The method under which the table has a request's method.
pub(super) fn table_method(method: &Method) -> &Method {
    if *method == Method::HEAD { &Method::GET } else { method }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn only_post_writes_whatever_the_path() {
        for (method, needed) in [
            (Method::POST, Scope::Write),
            (Method::GET, Scope::Read),
            (Method::HEAD, Scope::Read),
            (Method::OPTIONS, Scope::Read),
            (Method::DELETE, Scope::Read),
        ] {
            for path in [
                "stats/x",
                "dimensions",
                "nowhere",
                "%FF",
                "openapi.yaml/x",
                "stats/openapi.yaml",
                "/page/x",
            ] {
                let path = RequestPath::encoded(path);
                assert_eq!(scope(&method, &path), Some(needed), "{method} {path:?}");
            }
        }
    }

    #[test]
    fn anyone_may_read_the_page_and_the_description_of_the_api_and_nobody_may_write_there() {
        for (method, needed) in [
            (Method::GET, None),
            (Method::HEAD, None),
            (Method::POST, Some(Scope::Write)),
            (Method::PUT, Some(Scope::Read)),
        ] {
            for path in ["openapi.yaml", "openapi.yaml/", "", "page/main.js", "page/"] {
                assert_eq!(scope(&method, &RequestPath::encoded(path)), needed, "{method} {path}");
            }
        }
        let public = endpoints().filter(|endpoint| endpoint.scope.is_none());
        let public: Vec<_> = public.map(|endpoint| endpoint.path).collect();
        assert_eq!(public, ["/openapi.yaml", "/", "/page/{file}"]);
    }

    #[test]
    fn each_method_is_in_the_table_once_and_head_is_not() {
        let methods = TABLE.iter().map(|entry| entry.method.as_str());
        let methods: Vec<_> = methods.chain([Method::HEAD.as_str()]).collect();
        let distinct: BTreeSet<_> = methods.iter().collect();
        assert_eq!(distinct.len(), methods.len(), "{methods:?}");
    }
}
