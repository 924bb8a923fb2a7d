//! Whether a request may pass. This is decided before anything else of the request is looked at.
//!
//! A bearer token comes in a header (RFC 6750, section 2.1). The RFC's two other ways, in a form or
//! in the URL, are not supported: URLs end up in logs.

use aws_lambda_events::event::apigw::ApiGatewayV2httpRequest;
use http::{HeaderMap, HeaderValue, header::AUTHORIZATION};

use super::{endpoints, request_path::RequestPath};
use crate::auth::{Auth, Caller, Denial, Scope};

/// The scheme of the header, in any case of letters (RFC 9110, section 11.1).
const SCHEME: &[u8] = b"bearer";
/// The longest token that is worth hashing, in bytes. Those of `cargo xtask token` have 52.
const MAX_TOKEN_BYTES: usize = 1_024;

/// Whether a request needs a token.
pub(crate) fn needs_token(auth: &Auth, request: &ApiGatewayV2httpRequest) -> bool {
    scope(request).is_some_and(|scope| auth.needs_token(scope))
}

/// Lets a request pass, or refuses it. This takes the token out of its header, so that nothing
/// later can show it.
///
/// Whatever is not public needs a scope that the method alone decides. So whoever may not pass gets
/// the same answer, after the same time, whether they ask for an id that exists, for one that does
/// not, or for a path that never did.
pub(super) fn authorize(
    auth: &Auth,
    request: &mut ApiGatewayV2httpRequest,
) -> Result<Caller, Denial> {
    let passed = match scope(request) {
        None => Ok(Caller::Anyone),
        Some(scope) if auth.needs_token(scope) => {
            Presented::of(&request.headers).check(auth, scope)
        }
        Some(scope) => auth.check(scope, None),
    };
    request.headers.remove(AUTHORIZATION);
    passed
}

/// The scope that a request needs; none if anyone may ask for that.
fn scope(request: &ApiGatewayV2httpRequest) -> Option<Scope> {
    endpoints::scope(&request.request_context.http.method, &RequestPath::of(request))
}

/// What the header presents.
#[derive(Debug, PartialEq, Eq)]
enum Presented<'a> {
    /// No token, or something of another scheme.
    Nothing,
    /// Something that can't be a token.
    Malformed,
    /// Something that may be a token.
    Token(&'a [u8]),
}

impl<'a> Presented<'a> {
    fn of(headers: &'a HeaderMap) -> Self {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        match (values.next(), values.next()) {
            (None, _) => Self::Nothing,
            (Some(value), None) => Self::of_value(value),
            // It may come once: nobody could know which one counts.
            (Some(_), Some(_)) => Self::Malformed,
        }
    }

    fn of_value(value: &'a HeaderValue) -> Self {
        let value = value.as_bytes().trim_ascii();
        let end = value.iter().position(|byte| *byte == b' ').unwrap_or(value.len());
        let (scheme, token) = value.split_at(end);
        let token = token.trim_ascii_start();
        if !scheme.eq_ignore_ascii_case(SCHEME) {
            Self::Nothing
        } else if is_token(token) {
            Self::Token(token)
        } else {
            Self::Malformed
        }
    }

    fn check(&self, auth: &Auth, scope: Scope) -> Result<Caller, Denial> {
        match self {
            Self::Nothing => auth.check(scope, None),
            // RFC 6750, section 3.1: a malformed token is an invalid one, and gets a 401.
            Self::Malformed => Err(Denial::InvalidToken),
            Self::Token(token) => auth.check(scope, Some(token)),
        }
    }
}

/// Whether this has the form `b64token` of RFC 6750, section 2.1, and is not too long.
fn is_token(text: &[u8]) -> bool {
    let padding = text.iter().rev().take_while(|byte| **byte == b'=').count();
    let (digits, _) = text.split_at(text.len() - padding);
    !digits.is_empty()
        && text.len() <= MAX_TOKEN_BYTES
        && digits.iter().all(|byte| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(values: &[&str]) -> HeaderMap {
        let values = values.iter().map(|value| HeaderValue::from_bytes(value.as_bytes()).unwrap());
        values.map(|value| (AUTHORIZATION, value)).collect::<Vec<_>>().into_iter().fold(
            HeaderMap::new(),
            |mut headers, (name, value)| {
                headers.append(name, value);
                headers
            },
        )
    }

    #[test]
    fn a_token_comes_after_its_scheme_in_any_case_and_spaces() {
        for value in ["Bearer a-B", "bearer a-B", "BEARER   a-B", " Bearer a-B  "] {
            assert_eq!(Presented::of(&headers(&[value])), Presented::Token(b"a-B"), "{value}");
        }
        let longest = format!("Bearer {}", "x".repeat(1_024));
        for value in ["Bearer a==", "Bearer -._~+/9Z", &longest] {
            assert!(matches!(Presented::of(&headers(&[value])), Presented::Token(_)), "{value}");
        }
    }

    #[test]
    fn text_that_is_not_a_token_is_malformed_and_another_scheme_is_no_token() {
        let too_long = format!("Bearer {}", "x".repeat(1_025));
        for value in [
            "Bearer",
            "Bearer ",
            "Bearer a b",
            "Bearer a, Bearer b",
            "Bearer a,b",
            "Bearer =",
            "Bearer a=b",
            "Bearer \"a\"",
            "Bearer é",
            "Bearer a\tb",
            &too_long,
        ] {
            assert_eq!(Presented::of(&headers(&[value])), Presented::Malformed, "{value}");
        }
        assert_eq!(Presented::of(&headers(&["Bearer a", "Bearer a"])), Presented::Malformed);
        for value in ["", "Basic YTpi", "Bearera", "a", "AWS4-HMAC-SHA256 Credential=a"] {
            assert_eq!(Presented::of(&headers(&[value])), Presented::Nothing, "{value}");
        }
        assert_eq!(Presented::of(&HeaderMap::new()), Presented::Nothing);
    }

    #[test]
    fn a_request_that_passed_carries_no_token() {
        for path in ["/stats/x", "/openapi.yaml"] {
            let mut request = ApiGatewayV2httpRequest::default();
            request.raw_path = Some(path.to_owned());
            request.headers = headers(&["Bearer secret"]);
            assert_eq!(authorize(&Auth::Off, &mut request).unwrap(), Caller::Anyone);
            assert!(request.headers.is_empty(), "{path}");
        }
    }
}
