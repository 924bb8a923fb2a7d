//! Access tokens of each kind of credentials: obtained, replaced, refused and expired.

#![allow(
    missing_docs,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::time::Duration;

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use bigquery::{BigQuery, BigQueryError, Config, Pace, TableId};
use fake_bigquery::{FakeBigQuery, FakeTokenEndpoint, Grant};
use serde_json::{Value, json};
use shared::{deadline::Deadline, domain::DimensionName};

/// Made for these tests. No account has it.
const KEY_OF_NO_ACCOUNT: &str = include_str!("key_of_no_account.pem");

struct Test {
    google: FakeBigQuery,
    tokens: FakeTokenEndpoint,
}

impl Test {
    async fn new() -> Self {
        let google = FakeBigQuery::start().await.unwrap();
        Self { google, tokens: FakeTokenEndpoint::start().await.unwrap() }
    }

    fn bigquery(&self, credentials: &Value) -> BigQuery {
        let config = Config::from_variables(|name| match name {
            "GOOGLE_PROJECT" => Some("p".to_owned()),
            "GOOGLE_TOKEN" => Some(credentials.to_string()),
            _ => None,
        });
        let address = format!("http://{}", self.google.address());
        let config = config.unwrap().unwrap().with_address(address);
        let pace = Pace { first_wait: Duration::from_millis(1), ..Pace::default() };
        BigQuery::new(&config, pace, fastrand::Rng::new()).unwrap()
    }

    fn authorized_user(&self) -> Value {
        json!({
            "type": "authorized_user", "client_id": "id", "client_secret": "secret",
            "refresh_token": "refresh", "token_uri": self.tokens.url("/token"),
        })
    }

    /// What `gcloud iam workload-identity-pools create-cred-config … --aws` makes.
    fn external_account(&self) -> Value {
        let pool = "//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p";
        json!({
            "type": "external_account",
            "audience": format!("{pool}/providers/aws"),
            "subject_token_type": "urn:ietf:params:aws:token-type:aws4_request",
            "token_url": self.tokens.url("/sts/v1/token"),
            "credential_source": {
                "environment_id": "aws1",
                "region_url": self.tokens.url("/latest/meta-data/placement/availability-zone"),
                "url": self.tokens.url("/latest/meta-data/iam/security-credentials"),
                "regional_cred_verification_url":
                    "https://sts.{region}.amazonaws.com?Action=GetCallerIdentity&Version=2011-06-15",
            },
        })
    }

    /// The grants by which tokens were requested.
    fn grants(&self) -> Vec<Grant> {
        let grants = self.tokens.requests().into_iter().map(|request| request.grant);
        grants.filter(|grant| *grant != Grant::AwsMetadata).collect()
    }
}

/// Sends a request, for whether there is a table.
async fn ask(bigquery: &BigQuery) -> Result<bool, BigQueryError> {
    let table = TableId::from(&DimensionName::new("country").unwrap());
    let deadline = Deadline::after(Duration::from_secs(60));
    bigquery.table(&table, deadline).await.map(|table| table.is_some())
}

/// The client uses a token until BigQuery refuses it, then gets another.
async fn an_expired_token_is_replaced(test: &Test, credentials: &Value, grant: Grant) {
    test.google.require_token(Some("token-1"));
    let bigquery = test.bigquery(credentials);
    assert!(!ask(&bigquery).await.unwrap());
    assert!(!ask(&bigquery).await.unwrap());
    assert_eq!(test.grants(), [grant]);

    test.google.require_token(Some("token-2"));
    assert!(!ask(&bigquery).await.unwrap());
    assert_eq!(test.grants(), [grant, grant]);

    // If BigQuery refuses the new token too, no third one is requested.
    test.google.require_token(Some("another"));
    let error = ask(&bigquery).await.unwrap_err();
    assert!(matches!(error, BigQueryError::Refused { .. }), "{error:?}");
    assert_eq!(test.grants(), [grant; 3]);
}

#[tokio::test]
async fn an_authorized_user_refreshes_its_token() {
    let test = Test::new().await;
    an_expired_token_is_replaced(&test, &test.authorized_user(), Grant::RefreshToken).await;
}

#[tokio::test]
async fn an_aws_account_exchanges_its_signature_for_a_token() {
    let test = Test::new().await;
    an_expired_token_is_replaced(&test, &test.external_account(), Grant::TokenExchange).await;
    let exchanges = test.tokens.requests().into_iter().filter(|r| r.grant == Grant::TokenExchange);
    for request in exchanges {
        let subject = request.body["subject_token"].as_str().unwrap().to_owned();
        assert!(subject.contains("GetCallerIdentity"), "{subject}");
    }
}

#[tokio::test]
async fn an_aws_account_may_act_as_a_service_account() {
    let test = Test::new().await;
    let mut credentials = test.external_account();
    let address = "/v1/projects/-/serviceAccounts/a@p.iam.gserviceaccount.com:generateAccessToken";
    credentials["service_account_impersonation_url"] = test.tokens.url(address).into();
    test.google.require_token(Some("token-2"));
    assert!(!ask(&test.bigquery(&credentials)).await.unwrap());
    assert_eq!(test.grants(), [Grant::TokenExchange, Grant::GenerateAccessToken]);
}

#[tokio::test]
async fn a_service_account_signs_its_tokens_itself() {
    let test = Test::new().await;
    let credentials = json!({
        "type": "service_account", "client_email": "archive@p.iam.gserviceaccount.com",
        "private_key_id": "k", "private_key": KEY_OF_NO_ACCOUNT, "project_id": "p",
        "token_uri": test.tokens.url("/token"),
    });
    let bigquery = test.bigquery(&credentials);
    assert!(!ask(&bigquery).await.unwrap());
    let token = test.google.requests().last().unwrap().token.clone().unwrap();
    let claims = BASE64_URL_SAFE_NO_PAD.decode(token.split('.').nth(1).unwrap()).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    assert_eq!(claims["iss"], "archive@p.iam.gserviceaccount.com");
    assert_eq!(claims["scope"], "https://www.googleapis.com/auth/bigquery");
    let lifetime = claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap();
    assert!((600..=3_700).contains(&lifetime), "{lifetime}");
    // If the token is refused, it signs another one, once.
    let before = test.google.request_count();
    test.google.require_token(Some("another"));
    assert!(ask(&bigquery).await.is_err());
    assert_eq!(test.google.request_count(), before + 2);
    // It needs no endpoint, only a clock.
    assert_eq!(test.tokens.tokens_given(), 0);
    test.google.require_token(None);
    assert!(!ask(&bigquery).await.unwrap());
}

#[tokio::test]
async fn an_endpoint_that_fails_for_a_moment_is_asked_again() {
    let test = Test::new().await;
    for credentials in [test.authorized_user(), test.external_account()] {
        let bigquery = test.bigquery(&credentials);
        test.tokens.fail_next(2, 503, "<html>");
        assert!(!ask(&bigquery).await.unwrap(), "{credentials}");
    }
}

#[tokio::test]
async fn credentials_that_are_refused_are_an_error_until_they_are_good_again() {
    let test = Test::new().await;
    let bigquery = test.bigquery(&test.authorized_user());
    let refusal = r#"{"error":"invalid_grant","error_description":"Token has been revoked."}"#;
    test.tokens.fail_next(1_000, 400, refusal);
    let table = TableId::from(&DimensionName::new("country").unwrap());
    let soon = Deadline::after(Duration::from_secs(2));
    let error = bigquery.table(&table, soon).await.unwrap_err();
    assert!(matches!(error, BigQueryError::Credentials(_)), "{error:?}");
    assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    test.tokens.fail_next(0, 400, "");
    assert!(!ask(&bigquery).await.unwrap());
}
