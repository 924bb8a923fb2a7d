//! Sends requests to the function, and reads its responses.

#![allow(dead_code, reason = "not every test uses all of it")]

use std::time::Duration;

use aws_lambda_events::event::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse};
use history::Function;
use serde_json::{Value, json};
use shared::{
    auth::Auth,
    deadline::Deadline,
    domain::UnixSeconds,
    lambda::{Call, answer_event},
};

/// 2026-11-24T11:30:00Z
pub const NOW: UnixSeconds = UnixSeconds(1_795_519_800);

pub async fn send(
    function: &Function,
    path: &str,
    query: &str,
    accept: &str,
    call: Call,
) -> ApiGatewayV2httpResponse {
    let event = json!({
        "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": query,
        "headers": {"accept": accept},
        "requestContext": {"stage": "$default", "http": {"method": "GET", "path": path}},
        "isBase64Encoded": false
    });
    let event: ApiGatewayV2httpRequest = serde_json::from_value(event).unwrap();
    answer_event(function, &Auth::Off, event, call).await
}

pub fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

pub fn text(response: &ApiGatewayV2httpResponse) -> String {
    String::from_utf8(response.body.as_deref().unwrap().to_vec()).unwrap()
}

pub fn json(response: &ApiGatewayV2httpResponse) -> Value {
    assert_eq!(response.status_code, 200, "{}", text(response));
    serde_json::from_str(&text(response)).unwrap()
}

pub fn header<'a>(response: &'a ApiGatewayV2httpResponse, name: &str) -> Option<&'a str> {
    response.headers.get(name).map(|value| value.to_str().unwrap())
}

/// The query string of the next page.
pub fn next(response: &ApiGatewayV2httpResponse) -> Option<String> {
    let link = header(response, "link")?;
    let query = link.strip_prefix("<?").unwrap().strip_suffix(">; rel=\"next\"").unwrap();
    Some(query.to_owned())
}
