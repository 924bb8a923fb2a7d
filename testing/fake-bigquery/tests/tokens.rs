//! The token endpoint.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use fake_bigquery::{FakeTokenEndpoint, Grant};
use hyper::Method;
use serde_json::{Value, json};
use support::{Answer, Http};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

const FORM: &str = "application/x-www-form-urlencoded";

async fn post(endpoint: &FakeTokenEndpoint, path: &str, kind: &str, body: &str) -> Answer {
    let headers = [("content-type", kind), ("authorization", "Bearer before")];
    let url = endpoint.url(path);
    Http::new().send(Method::POST, &url, &headers, body.to_owned()).await.unwrap()
}

#[tokio::test]
async fn each_grant_has_its_answer() {
    let endpoint = FakeTokenEndpoint::start().await.unwrap();
    endpoint.set_expires_in(60);
    let jwt = "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion=a.b+c%2B";
    let answer = post(&endpoint, "/token", FORM, jwt).await.ok();
    let expected = json!({"access_token": "token-1", "expires_in": 60, "token_type": "Bearer"});
    assert_eq!(answer, expected);

    let refresh = json!({"grant_type": "refresh_token", "refresh_token": "r"});
    let answer = post(&endpoint, "/token", "application/json", &refresh.to_string()).await.ok();
    assert_eq!(answer["access_token"], "token-2");
    let answer = post(&endpoint, "/token", FORM, "grant_type=refresh_token&refresh_token=r").await;
    assert_eq!(answer.ok()["access_token"], "token-3");

    let exchange = "grant_type=urn:ietf:params:oauth:grant-type:token-exchange&subject_token=s";
    let answer = post(&endpoint, "/sts/v1/token", FORM, exchange).await.ok();
    assert_eq!(answer["access_token"], "token-4");
    assert_eq!(answer["issued_token_type"], "urn:ietf:params:oauth:token-type:access_token");

    let path = "/v1/projects/-/serviceAccounts/a@b.com:generateAccessToken";
    let body = json!({"scope": ["s"], "lifetime": "60s"});
    let answer = post(&endpoint, path, "application/json", &body.to_string()).await.ok();
    assert_eq!(answer["accessToken"], "token-5");
    let expires = answer["expireTime"].as_str().unwrap();
    let expires = OffsetDateTime::parse(expires, &Rfc3339).unwrap();
    let seconds = (expires - OffsetDateTime::now_utc()).whole_seconds();
    assert!((0..=60).contains(&seconds), "{expires}");

    let requests = endpoint.requests();
    let grants: Vec<_> = requests.iter().map(|request| request.grant).collect();
    let [jwt, refresh] = [Grant::JwtBearer, Grant::RefreshToken];
    let others = [Grant::TokenExchange, Grant::GenerateAccessToken];
    assert_eq!(grants, [&[jwt, refresh, refresh], &others[..]].concat());
    assert_eq!(requests[0].body["assertion"], "a.b c+");
    assert_eq!(requests[1].body, json!({"grant_type": "refresh_token", "refresh_token": "r"}));
    assert_eq!(requests[2].body, requests[1].body);
    assert_eq!(requests[4].body, body);
    assert_eq!(requests[4].path, path);
    assert_eq!(requests[4].headers["authorization"], "Bearer before");
    assert_eq!(requests[4].token.as_deref(), Some("token-5"));
    assert_eq!(endpoint.tokens_given(), 5);
}

#[tokio::test]
async fn it_fails_as_often_as_it_is_told_to() {
    let endpoint = FakeTokenEndpoint::start().await.unwrap();
    let body = json!({"error": "invalid_grant"}).to_string();
    endpoint.fail_next(2, 400, &body);
    for _ in 0..2 {
        let answer = post(&endpoint, "/token", FORM, "grant_type=refresh_token").await;
        assert_eq!((answer.status.as_u16(), answer.body.as_ref()), (400, body.as_bytes()));
        assert!(answer.header("content-type").unwrap().starts_with("application/json"));
    }
    let answer = post(&endpoint, "/token", FORM, "grant_type=refresh_token").await.ok();
    assert_eq!(answer["access_token"], "token-1");
    let answer = post(&endpoint, "/token", FORM, "grant_type=password").await;
    assert_eq!(answer.status, 400);
    assert_eq!(answer.json()["error"], "unsupported_grant_type");
    let tokens: Vec<_> = endpoint.requests().into_iter().map(|request| request.token).collect();
    assert_eq!(tokens, [None, None, Some("token-1".to_owned()), None]);
}

#[tokio::test]
async fn it_has_the_metadata_of_an_instance() {
    let endpoint = FakeTokenEndpoint::start().await.unwrap();
    let http = Http::new();
    let ask = async |method: Method, path: &str| {
        http.send(method, &endpoint.url(path), &[], "").await.unwrap()
    };
    assert_eq!(ask(Method::PUT, "/latest/api/token").await.body, "metadata-token");
    let zone = "/latest/meta-data/placement/availability-zone";
    assert_eq!(ask(Method::GET, zone).await.body, "us-east-1a");
    let role = "/latest/meta-data/iam/security-credentials";
    assert_eq!(ask(Method::GET, role).await.body, "statshub");
    let credentials = ask(Method::GET, &format!("{role}/statshub")).await.ok();
    for name in ["AccessKeyId", "SecretAccessKey", "Token"] {
        assert!(credentials[name].is_string());
    }
    assert_eq!(ask(Method::GET, "/latest/other").await.status, 404);
    assert_eq!(endpoint.tokens_given(), 0);
    assert!(endpoint.requests().iter().all(|request| request.grant == Grant::AwsMetadata));
    assert_eq!(endpoint.requests()[0].body, Value::Object(serde_json::Map::new()));
}
