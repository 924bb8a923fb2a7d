//! The response of an HTTP API to a function's answer.
//!
//! *Documented* (Create AWS Lambda proxy integrations for HTTP APIs, payload format 2.0): an answer
//! with a `statusCode` is a response; any other JSON is the body of a 200; anything else is a 500.

use std::collections::BTreeMap;

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{
    HeaderName, HeaderValue, Response, StatusCode,
    header::{CONTENT_LENGTH, CONTENT_TYPE, SET_COOKIE},
};
use serde::Deserialize;
use serde_json::Value;

/// The answer of a function in payload format 2.0.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct FunctionAnswer {
    status_code: u16,
    #[serde(default)]
    headers: BTreeMap<String, Value>,
    #[serde(default)]
    cookies: Vec<String>,
    body: Option<String>,
    #[serde(default)]
    is_base64_encoded: bool,
}

/// The response to a client.
#[must_use]
pub fn response(answer: &Bytes) -> Response<Bytes> {
    let Ok(json) = serde_json::from_slice::<Value>(answer) else {
        return failure(StatusCode::INTERNAL_SERVER_ERROR);
    };
    if json.get("statusCode").is_none() {
        let mut response = Response::new(answer.clone());
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        return response;
    }
    let answer = serde_json::from_value(json).ok().and_then(structured);
    answer.unwrap_or_else(|| failure(StatusCode::INTERNAL_SERVER_ERROR))
}

fn structured(answer: FunctionAnswer) -> Option<Response<Bytes>> {
    let body = answer.body.unwrap_or_default();
    let body = match answer.is_base64_encoded {
        true => BASE64_STANDARD.decode(body).ok()?,
        false => body.into_bytes(),
    };
    let mut response = Response::new(Bytes::from(body));
    *response.status_mut() = StatusCode::from_u16(answer.status_code).ok()?;
    let headers = response.headers_mut();
    for (name, value) in answer.headers {
        let name = HeaderName::try_from(name).ok()?;
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        // The length follows from the body.
        if name != CONTENT_LENGTH {
            headers.insert(name, HeaderValue::try_from(text).ok()?);
        }
    }
    for cookie in answer.cookies {
        headers.append(SET_COOKIE, HeaderValue::try_from(cookie).ok()?);
    }
    Some(response)
}

/// A response of the HTTP API itself.
#[must_use]
pub fn failure(status: StatusCode) -> Response<Bytes> {
    let message = match status {
        StatusCode::PAYLOAD_TOO_LARGE => "Request Entity Too Large",
        other => other.canonical_reason().unwrap_or_default(),
    };
    let mut response = Response::new(Bytes::from(format!(r#"{{"message":"{message}"}}"#)));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(answer: &str) -> (u16, String) {
        let response = response(&Bytes::from(answer.to_owned()));
        (response.status().as_u16(), String::from_utf8(response.into_body().to_vec()).unwrap())
    }

    #[test]
    fn an_answer_with_a_status_is_a_response_and_other_json_is_a_body() {
        assert_eq!(text(r#"{"statusCode":404,"body":"x"}"#), (404, "x".to_owned()));
        assert_eq!(text(r#"{"statusCode":200}"#), (200, String::new()));
        let base64 = r#"{"statusCode":200,"body":"/w==","isBase64Encoded":true}"#;
        assert_eq!(*response(&Bytes::from_static(base64.as_bytes())).body(), b"\xff"[..]);
        assert_eq!(text(r#"{"a":1}"#), (200, r#"{"a":1}"#.to_owned()));
        let failed = (500, r#"{"message":"Internal Server Error"}"#.to_owned());
        for invalid in ["x", r#"{"statusCode":"x"}"#, r#"{"statusCode":200,"headers":{"a\n":"b"}}"#]
        {
            assert_eq!(text(invalid), failed, "{invalid}");
        }
    }

    #[test]
    fn headers_and_cookies_are_passed_on_and_the_length_is_that_of_the_body() {
        let answer = r#"{"statusCode":200,"headers":{"X-A":"b","age":5,"content-length":"9"},
            "cookies":["a=1","b=2"],"body":"x"}"#;
        let response = response(&Bytes::from_static(answer.as_bytes()));
        assert_eq!(
            (&response.headers()["x-a"], &response.headers()["age"]),
            (&"b".parse().unwrap(), &"5".parse().unwrap())
        );
        assert_eq!(response.headers().get_all(SET_COOKIE).iter().count(), 2);
        assert!(!response.headers().contains_key(CONTENT_LENGTH));
    }
}
