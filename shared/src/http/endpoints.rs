//! What the whole API offers, whichever function answers: the one table of its methods and paths.
//!
//! The scope that a request needs, the text of the 404 and the `Allow` of the 405 come from here,
//! so they are the same in every function.

use http::Method;

use super::{listed::listed, request_path::RequestPath};
use crate::auth::Scope;

/// A method, and what the API offers under it.
pub(super) struct MethodEntry {
    pub(super) method: Method,
    /// The scope that the method needs, at any path: see `authorization.rs`.
    scope: Scope,
    /// The paths that take the method. Names are in braces. The one with a plus may have slashes.
    pub(super) paths: &'static [&'static str],
}

/// Each method once. `HEAD` is at every path of `GET`. Nobody can ask a function for anything that
/// is not in here.
pub(super) static TABLE: &[MethodEntry] = &[
    MethodEntry { method: Method::POST, scope: Scope::Write, paths: &["/stats/{id+}", "/stats"] },
    MethodEntry {
        method: Method::GET,
        scope: Scope::Read,
        paths: &[
            "/stats/{dim+}",
            "/stats/",
            "/ids/{id+}",
            "/metrics",
            "/stream/{dim}/{key+}/{counter|gauge}/{stat}",
            "/history/{dim}/{key+}/{counter|gauge}/{stat}",
        ],
    },
];

/// The scope that a method needs. A method that is not in the table gets nothing but 404 and 405,
/// for which `read` is enough.
pub(super) fn scope(method: &Method) -> Scope {
    let method = table_method(method);
    TABLE.iter().find(|entry| entry.method == *method).map_or(Scope::Read, |entry| entry.scope)
}

/// Whether what is at a path needs a token even where reading needs none: the data of a single
/// reporter. Whether there is anything at that path makes no difference.
pub(super) fn is_private(path: &RequestPath) -> bool {
    path.begins_with("ids")
}

/// All that the table has, in words.
pub(super) fn list() -> String {
    let all = TABLE.iter().flat_map(|entry| {
        entry.paths.iter().map(|path| format!("{} {}", entry.method, path.replace("+}", "}")))
    });
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
    fn only_post_writes() {
        for (method, needed) in [
            (Method::POST, Scope::Write),
            (Method::GET, Scope::Read),
            (Method::HEAD, Scope::Read),
            (Method::OPTIONS, Scope::Read),
            (Method::DELETE, Scope::Read),
        ] {
            assert_eq!(scope(&method), needed);
        }
    }

    #[test]
    fn each_method_is_in_the_table_once_and_head_is_not() {
        let methods = TABLE.iter().map(|entry| entry.method.as_str());
        let methods: Vec<_> = methods.chain([Method::HEAD.as_str()]).collect();
        let distinct: BTreeSet<_> = methods.iter().collect();
        assert_eq!(distinct.len(), methods.len(), "{methods:?}");
    }
}
