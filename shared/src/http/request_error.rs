//! Why a request is refused, whichever function it reached.

use http::{
    HeaderValue, StatusCode,
    header::{ACCEPT_ENCODING, ALLOW, WWW_AUTHENTICATE},
};

use super::{Problem, endpoints};
use crate::{
    auth::{Denial, Scope},
    domain::NameError,
};

/// Why a request is refused, whichever function it reached. Its text is for the client.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    /// The caller may not ask for this.
    #[error(transparent)]
    Denied(#[from] Denial),
    /// The API has no such path.
    #[error("there is nothing at this path; see {}", endpoints::list())]
    NotFound,
    /// The path does not take this method.
    #[error("this path takes {allow}")]
    MethodNotAllowed {
        /// The methods that it takes, as the header `Allow` has them.
        allow: String,
    },
    /// A name in the path is not valid.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The path, a parameter or the body is not valid.
    #[error("{0}")]
    Malformed(String),
    /// The body has more bytes than its kind may have, or would have if all of it were decoded.
    #[error("the body has more than {most} bytes, which is the most that {of} may have")]
    BodyTooLarge {
        /// What the body should be.
        of: &'static str,
        /// How many bytes it may have.
        most: usize,
    },
    /// The body has a coding that statshub does not understand.
    #[error(
        "the body's Content-Encoding \"{0}\" is not understood: send it as it is, or compressed by \
         gzip"
    )]
    UnknownCoding(String),
}

impl From<RequestError> for Problem {
    fn from(error: RequestError) -> Self {
        let text = error.to_string();
        match error {
            RequestError::Denied(denial) => {
                let status = match denial {
                    Denial::NoToken | Denial::InvalidToken => StatusCode::UNAUTHORIZED,
                    Denial::LacksScope(_) => StatusCode::FORBIDDEN,
                };
                Self::new(status, text).with_header(WWW_AUTHENTICATE, challenge(denial))
            }
            RequestError::NotFound => Self::new(StatusCode::NOT_FOUND, text),
            RequestError::MethodNotAllowed { allow } => {
                let problem = Self::new(StatusCode::METHOD_NOT_ALLOWED, text);
                // Methods and commas are fit for a header.
                match HeaderValue::try_from(allow) {
                    Ok(allow) => problem.with_header(ALLOW, allow),
                    Err(_) => problem,
                }
            }
            RequestError::Name(_) | RequestError::Malformed(_) => {
                Self::new(StatusCode::BAD_REQUEST, text)
            }
            RequestError::BodyTooLarge { .. } => Self::new(StatusCode::PAYLOAD_TOO_LARGE, text),
            RequestError::UnknownCoding(_) => {
                // What would be understood: RFC 9110, section 15.5.16.
                let known = HeaderValue::from_static("gzip");
                Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, text)
                    .with_header(ACCEPT_ENCODING, known)
            }
        }
    }
}

/// The challenge says to programs what to do about a denial: RFC 6750, section 3. By its section
/// 3.1, the challenge names no error if no token came.
fn challenge(denial: Denial) -> HeaderValue {
    HeaderValue::from_static(match denial {
        Denial::NoToken => r#"Bearer realm="statshub""#,
        Denial::InvalidToken => r#"Bearer realm="statshub", error="invalid_token""#,
        Denial::LacksScope(Scope::Read) => {
            r#"Bearer realm="statshub", error="insufficient_scope", scope="read""#
        }
        Denial::LacksScope(Scope::Write) => {
            r#"Bearer realm="statshub", error="insufficient_scope", scope="write""#
        }
        Denial::LacksScope(Scope::Admin) => {
            r#"Bearer realm="statshub", error="insufficient_scope", scope="admin""#
        }
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;
    use crate::{domain::Id, http::Response};

    #[test]
    fn a_denial_says_what_to_do_in_words_and_in_a_header() {
        for (denial, status, challenge, text) in [
            (Denial::NoToken, 401, "", "Authorization: Bearer <token>"),
            (Denial::InvalidToken, 401, r#", error="invalid_token""#, "not valid"),
            (
                Denial::LacksScope(Scope::Write),
                403,
                r#", error="insufficient_scope", scope="write""#,
                "lacks the scope write",
            ),
            (
                Denial::LacksScope(Scope::Read),
                403,
                r#", error="insufficient_scope", scope="read""#,
                "lacks the scope read",
            ),
            (
                Denial::LacksScope(Scope::Admin),
                403,
                r#", error="insufficient_scope", scope="admin""#,
                "lacks the scope admin",
            ),
        ] {
            let response = Response::from(Problem::from(RequestError::from(denial)));
            assert_eq!(response.status, status, "{denial:?}");
            let expected = format!("Bearer realm=\"statshub\"{challenge}");
            assert_eq!(response.headers[WWW_AUTHENTICATE], expected);
            assert!(response.body.contains(text), "{}", response.body);
            assert!(response.body.starts_with(r#"{"Succeeded":false,"Error":""#));
        }
    }

    #[test]
    fn what_is_wrong_with_a_request_has_a_status_and_a_header_and_no_cause() {
        let malformed = RequestError::Malformed("this is wrong".to_owned());
        let too_large = RequestError::BodyTooLarge { of: "an update", most: 5 };
        let not_allowed = RequestError::MethodNotAllowed { allow: "GET, HEAD".to_owned() };
        let coding = RequestError::UnknownCoding("br".to_owned());
        let name = RequestError::from(Id::new("").unwrap_err());
        let cases: [(_, _, _, Option<(HeaderName, &str)>); 6] = [
            (malformed, 400, "this is wrong", None),
            (name, 400, "\"\" is not a valid id: ", None),
            (
                too_large,
                413,
                "the body has more than 5 bytes, which is the most that an update may have",
                None,
            ),
            (not_allowed, 405, "this path takes GET, HEAD", Some((ALLOW, "GET, HEAD"))),
            (
                coding,
                415,
                "the body's Content-Encoding \"br\" is not understood: send it as it is, or \
                 compressed by gzip",
                Some((ACCEPT_ENCODING, "gzip")),
            ),
            (
                RequestError::NotFound,
                404,
                "there is nothing at this path; see POST /stats/{id}, POST /stats, GET /stats/{dim}, GET /stats/, \
                 GET /dimensions, GET /ids/{id}, GET /metrics, \
                 GET /stream/{dim}/{key}/{counter|gauge}/{stat}, \
                 GET /history/{dim}/{key}/{counter|gauge}/{stat}, GET /openapi.yaml, GET / and \
                 GET /page/{file}",
                None,
            ),
        ];
        for (error, status, text, header) in cases {
            let problem = Problem::from(error);
            assert!(problem.to_string().starts_with(text), "{problem}");
            assert!(problem.cause().is_none());
            let response = Response::from(problem);
            assert_eq!(response.status, status, "{text}");
            let found = [ALLOW, ACCEPT_ENCODING, WWW_AUTHENTICATE].into_iter().find_map(|name| {
                let value = response.headers.get(&name)?.to_str().unwrap();
                Some((name, value))
            });
            assert_eq!(found, header);
        }
    }
}
