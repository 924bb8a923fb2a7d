//! Google's token endpoints, and the AWS metadata that external accounts need.

use std::{
    collections::BTreeMap,
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hyper::StatusCode;
use serde_json::{Map, Value, json};
use time::{Duration, OffsetDateTime};

use crate::http::{self, Answer, Closed, Handler, Received, Server};

const JWT_BEARER: &str = "urn:ietf:params:oauth:grant-type:jwt-bearer";
const TOKEN_EXCHANGE: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const DEFAULT_EXPIRES_IN: u64 = 3600;

/// An endpoint for access tokens, over plain HTTP on a loopback port: `token-1`, `token-2`, and so
/// on. It ends when it is dropped.
///
/// Its answers depend on the grant, not on the path: it is both Google's `/token` and the
/// `/sts/v1/token` of workload identity federation. A path that ends with `:generateAccessToken`
/// impersonates a service account. Below `/latest` there is the metadata of an EC2 instance.
#[derive(Debug)]
pub struct FakeTokenEndpoint {
    server: Server,
    shared: Arc<SharedEndpoint>,
}

/// How a client asks for a token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grant {
    /// By a service account, with a signed assertion.
    JwtBearer,
    /// By a user, with a refresh token.
    RefreshToken,
    /// With a token of another issuer, such as AWS (RFC 8693).
    TokenExchange,
    /// For a service account, by a client that may impersonate it.
    GenerateAccessToken,
    /// For the metadata of an EC2 instance, which needs no access token.
    AwsMetadata,
    /// In a way that this endpoint does not know. The answer is 400.
    Unknown,
}

/// A request that arrived at a token endpoint.
#[derive(Debug, Clone, PartialEq)]
pub struct TokenRequest {
    /// How it asks for a token.
    pub grant: Grant,
    /// Its method.
    pub method: String,
    /// Its path.
    pub path: String,
    /// Its headers, with names in lower case.
    pub headers: BTreeMap<String, String>,
    /// Its body as an object, even if it is a form.
    pub body: Value,
    /// The access token in the answer.
    pub token: Option<String>,
}

impl FakeTokenEndpoint {
    /// Starts it.
    ///
    /// # Errors
    /// There is no port left.
    pub async fn start() -> io::Result<Self> {
        let shared = Arc::default();
        Ok(Self { server: Server::start(&shared).await?, shared })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// The URL of this path, such as `/token`.
    #[must_use]
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address())
    }

    /// For how many seconds tokens are valid from now on, as answers say; at first 3600.
    pub fn set_expires_in(&self, seconds: u64) {
        self.shared.state().expires_in = seconds;
    }

    /// Answers the next so many requests with this status and body, which is JSON if it looks like
    /// it.
    pub fn fail_next(&self, count: usize, status: u16, body: &str) {
        self.shared.state().failure = (count, status, body.to_owned());
    }

    /// All requests that arrived, in that order.
    #[must_use]
    pub fn requests(&self) -> Vec<TokenRequest> {
        self.shared.state().requests.clone()
    }

    /// How many tokens it gave: the last one was `token-` and this number.
    #[must_use]
    pub fn tokens_given(&self) -> usize {
        self.shared.state().tokens
    }
}

#[derive(Debug, Default)]
struct SharedEndpoint(Mutex<EndpointState>);

#[derive(Debug)]
struct EndpointState {
    expires_in: u64,
    /// How many requests are to fail, and how.
    failure: (usize, u16, String),
    tokens: usize,
    requests: Vec<TokenRequest>,
}

impl Default for EndpointState {
    fn default() -> Self {
        Self {
            expires_in: DEFAULT_EXPIRES_IN,
            failure: (0, 0, String::new()),
            tokens: 0,
            requests: Vec::new(),
        }
    }
}

impl SharedEndpoint {
    fn state(&self) -> MutexGuard<'_, EndpointState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Handler for SharedEndpoint {
    async fn answer(&self, request: Received) -> Result<Answer, Closed> {
        Ok(self.state().answer(&request))
    }
}

impl EndpointState {
    fn answer(&mut self, request: &Received) -> Answer {
        let body = request.json().filter(Value::is_object).unwrap_or_else(|| as_form(request));
        let grant = Grant::of(request, &body);
        let headers = request.headers.iter().map(|(name, value)| {
            (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned())
        });
        let mut record = TokenRequest {
            grant,
            method: request.method.as_str().to_owned(),
            path: request.path.clone(),
            headers: headers.collect(),
            body,
            token: None,
        };
        let answer = match self.fails() {
            Some(failure) => failure,
            None => {
                record.token = self.next_token(grant);
                self.grant(&record)
            }
        };
        self.requests.push(record);
        answer
    }

    fn fails(&mut self) -> Option<Answer> {
        let (count, status, body) = &mut self.failure;
        *count = count.checked_sub(1)?;
        let status = StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let kind = match body.starts_with('{') {
            true => "application/json; charset=UTF-8",
            false => "text/html; charset=UTF-8",
        };
        Some(http::text(status, kind, body.clone()))
    }

    fn next_token(&mut self, grant: Grant) -> Option<String> {
        if matches!(grant, Grant::AwsMetadata | Grant::Unknown) {
            return None;
        }
        self.tokens += 1;
        Some(format!("token-{}", self.tokens))
    }

    fn grant(&self, request: &TokenRequest) -> Answer {
        let (token, expires_in) = (&request.token, self.expires_in);
        let plain = json!({
            "access_token": token, "expires_in": expires_in, "token_type": "Bearer",
        });
        let body = match request.grant {
            Grant::JwtBearer => plain,
            Grant::RefreshToken => with(plain, "scope", "https://www.googleapis.com/auth/bigquery"),
            Grant::TokenExchange => with(plain, "issued_token_type", ACCESS_TOKEN),
            Grant::GenerateAccessToken => {
                json!({"accessToken": token, "expireTime": in_seconds(expires_in)})
            }
            Grant::AwsMetadata => return aws_metadata(&request.method, &request.path),
            Grant::Unknown => {
                let body = json!({
                    "error": "unsupported_grant_type",
                    "error_description": "fake-bigquery does not know this grant",
                });
                return http::json(StatusCode::BAD_REQUEST, &body);
            }
        };
        http::json(StatusCode::OK, &body)
    }
}

impl Grant {
    fn of(request: &Received, body: &Value) -> Self {
        if request.path.starts_with("/latest/") {
            return Self::AwsMetadata;
        }
        let grant = body.get("grant_type").and_then(Value::as_str).unwrap_or_default();
        match (request.method.as_str(), grant) {
            ("POST", _) if request.path.ends_with(":generateAccessToken") => {
                Self::GenerateAccessToken
            }
            ("POST", JWT_BEARER) => Self::JwtBearer,
            ("POST", "refresh_token") => Self::RefreshToken,
            ("POST", TOKEN_EXCHANGE) => Self::TokenExchange,
            _ => Self::Unknown,
        }
    }
}

fn as_form(request: &Received) -> Value {
    let form = http::form(&String::from_utf8_lossy(&request.body));
    let form: Map<_, _> = form.into_iter().map(|(name, value)| (name, value.into())).collect();
    form.into()
}

fn with(mut body: Value, name: &str, value: &str) -> Value {
    if let Some(body) = body.as_object_mut() {
        body.insert(name.to_owned(), value.into());
    }
    body
}

/// The moment in so many seconds, by RFC 3339.
fn in_seconds(seconds: u64) -> String {
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    let now = OffsetDateTime::now_utc();
    let then = now.checked_add(Duration::seconds(seconds)).unwrap_or(now);
    let (year, month, day) = then.to_calendar_date();
    let (hour, minute, second) = then.to_hms();
    let month = u8::from(month);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z")
}

/// What an EC2 instance in the zone `us-east-1a` with the role `statshub` has.
fn aws_metadata(method: &str, path: &str) -> Answer {
    let text = |body: &str| http::text(StatusCode::OK, "text/plain", body.to_owned());
    match (method, path.trim_end_matches('/')) {
        ("PUT", "/latest/api/token") => text("metadata-token"),
        ("GET", "/latest/meta-data/placement/availability-zone") => text("us-east-1a"),
        ("GET", "/latest/meta-data/iam/security-credentials") => text("statshub"),
        ("GET", "/latest/meta-data/iam/security-credentials/statshub") => {
            let credentials = json!({
                "Code": "Success",
                "Type": "AWS-HMAC",
                "AccessKeyId": "access-key",
                "SecretAccessKey": "secret-key",
                "Token": "session-token",
            });
            http::json(StatusCode::OK, &credentials)
        }
        _ => http::text(StatusCode::NOT_FOUND, "text/plain", "Not Found".to_owned()),
    }
}
