//! The preflights of browsers: may a page of another origin send this request?
//!
//! API Gateway knows the answer (docs/auth.md), and adds the headers that say so. But its route
//! `$default` gets the preflight first, and a browser accepts only a success. A preflight never has
//! a token (Fetch Standard, section 4.8), so none is asked for.

use http::{
    HeaderMap, HeaderName, Method, StatusCode,
    header::{ACCESS_CONTROL_REQUEST_METHOD, ORIGIN},
};

use super::Response;

/// What makes an `OPTIONS` a preflight.
const NEEDED: [HeaderName; 2] = [ORIGIN, ACCESS_CONTROL_REQUEST_METHOD];

/// The answer to a preflight, if this is one. It is empty, and the same for any path. Unless API
/// Gateway adds its headers, it means no.
pub(crate) fn answer_preflight(method: &Method, headers: &HeaderMap) -> Option<Response> {
    let is_preflight =
        method == Method::OPTIONS && NEEDED.iter().all(|name| headers.contains_key(name));
    is_preflight.then(|| Response::empty(StatusCode::NO_CONTENT))
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn a_preflight_is_an_options_with_both_headers() {
        let headers = |names: &[HeaderName]| -> HeaderMap {
            names.iter().map(|name| (name.clone(), HeaderValue::from_static("x"))).collect()
        };
        let answer = answer_preflight(&Method::OPTIONS, &headers(&NEEDED)).unwrap();
        assert_eq!(answer.status, StatusCode::NO_CONTENT);
        assert!(answer.headers.is_empty() && answer.body.is_empty());
        for names in [&[][..], &[ORIGIN], &[ACCESS_CONTROL_REQUEST_METHOD]] {
            assert!(answer_preflight(&Method::OPTIONS, &headers(names)).is_none());
        }
        for method in [Method::GET, Method::POST, Method::HEAD, Method::PUT] {
            assert!(answer_preflight(&method, &headers(&NEEDED)).is_none());
        }
    }
}
