//! Who may do what: every endpoint of the service, for everyone who may come.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::{collections::BTreeSet, time::SystemTime};

use aws_lambda_events::event::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse};
use fault_proxy::Proxy;
use lambda_runtime::Context;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use shared::{
    auth::{Auth, Scope},
    config::Config,
    http::{Endpoint, endpoints},
    lambda::{Call, answer_event},
    store::{Settings, Store},
};

/// The functions, on a DynamoDB whose requests are counted.
struct Service {
    update: update::Function,
    query: query::Function,
    history: history::Function,
    dashboard: dashboard::Function,
    proxy: Proxy,
}

#[derive(Debug, Clone, Copy)]
enum Name {
    Update,
    Query,
    History,
    Dashboard,
}

/// A request, and the status that its function answers with if the request may pass.
#[derive(Debug, Clone, Copy)]
struct Probe {
    function: Name,
    method: &'static str,
    path: &'static str,
    status: i64,
}

const fn route(function: Name, method: &'static str, path: &'static str, status: i64) -> Probe {
    Probe { function, method, path, status }
}

/// What needs `write`: every `POST`.
const WRITES: &[Probe] = &[
    route(Name::Update, "POST", "/stats/known", 200),
    route(Name::Update, "POST", "/stats/unknown", 200),
    // The body is one update, without an id.
    route(Name::Update, "POST", "/stats", 400),
    route(Name::Update, "POST", "/stats/", 400),
    route(Name::Update, "POST", "/stats/%00", 400),
    route(Name::Update, "POST", "/stats/%FF", 400),
    route(Name::Query, "POST", "/nowhere", 404),
    route(Name::Dashboard, "POST", "/", 405),
    route(Name::Dashboard, "POST", "/page/x", 405),
    route(Name::Query, "POST", "/nowhere/at/all", 404),
    route(Name::Query, "POST", "/openapi.yaml", 405),
    route(Name::Query, "POST", "/history/country/es/counter/x", 405),
];

/// What needs `read`: everything else.
const READS: &[Probe] = &[
    route(Name::Query, "GET", "/stats/country", 200),
    route(Name::Query, "HEAD", "/stats/country", 200),
    route(Name::Query, "GET", "/stats/unknown", 200),
    route(Name::Query, "GET", "/stats/a%2Fb", 400),
    route(Name::Query, "GET", "/stats/", 200),
    route(Name::Query, "HEAD", "/stats/", 200),
    route(Name::Query, "GET", "/stats", 200),
    route(Name::Query, "GET", "/dimensions", 200),
    route(Name::Query, "HEAD", "/dimensions", 200),
    route(Name::Query, "GET", "/ids/known", 200),
    route(Name::Query, "HEAD", "/ids/known", 200),
    route(Name::Query, "GET", "/ids/nobody", 404),
    route(Name::Query, "GET", "/metrics", 200),
    route(Name::Query, "HEAD", "/metrics", 200),
    route(Name::Query, "GET", "/stream/country/*/counter/x", 200),
    route(Name::Query, "HEAD", "/stream/country/*/counter/x", 200),
    route(Name::Query, "GET", "/nowhere/at/all", 404),
    route(Name::Query, "HEAD", "/nowhere", 404),
    route(Name::Query, "PUT", "/stats/known", 405),
    route(Name::Query, "DELETE", "/stats/unknown", 405),
    route(Name::Query, "OPTIONS", "/stats/", 405),
    route(Name::Query, "PUT", "/openapi.yaml", 405),
    route(Name::Dashboard, "PUT", "/", 405),
    route(Name::Dashboard, "GET", "/nowhere", 404),
    route(Name::Query, "GET", "/openapi.yaml/x", 404),
    // Nothing is archived here.
    route(Name::History, "GET", "/history/country/es/counter/x", 404),
    route(Name::History, "HEAD", "/history/country/es/counter/x", 404),
    route(Name::History, "GET", "/history/country/unknown/counter/x", 404),
    route(Name::History, "GET", "/history/country/es/nothing/x", 400),
];

/// What anyone may read, whatever is configured: it has nothing that was reported.
const PUBLIC: &[Probe] = &[
    route(Name::Query, "GET", "/openapi.yaml", 200),
    route(Name::Query, "HEAD", "/openapi.yaml", 200),
    route(Name::Query, "GET", "/openapi.yaml/", 200),
    route(Name::Dashboard, "GET", "/", 200),
    route(Name::Dashboard, "HEAD", "/", 200),
    route(Name::Dashboard, "GET", "/page/x", 404),
    route(Name::Dashboard, "GET", "/page/a%2Fb", 400),
    // Another function has no answer to that.
    route(Name::Update, "GET", "/openapi.yaml", 404),
    route(Name::Query, "GET", "/", 404),
];

/// The tokens that are configured, by name. A token is `token-of-<name>`.
const CONFIGURED: &[(&str, &str)] = &[
    ("reader", "read"),
    ("writer", "write"),
    ("writer-2", "write"),
    ("both", "read+write"),
    ("admin", "admin"),
];

/// How a request ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Passes,
    /// 401, without an error.
    Asked,
    /// 401
    Invalid,
    /// 403, which names the missing scope.
    Lacks(&'static str),
}

use Fate::{Asked, Invalid, Lacks, Passes};

/// Who may come: the header `Authorization`, and how a read and a write end.
fn visitors() -> Vec<(Option<String>, Fate, Fate)> {
    let mut visitors: Vec<_> = [
        ("token-of-reader", Passes, Lacks("write")),
        ("token-of-writer", Lacks("read"), Passes),
        ("token-of-writer-2", Lacks("read"), Passes),
        ("token-of-both", Passes, Passes),
        ("token-of-admin", Passes, Passes),
        ("token-of-nobody", Invalid, Invalid),
        // This one was configured until a moment ago.
        ("token-of-removed", Invalid, Invalid),
        // The configuration has hashes, which are not tokens.
        (&sha256("token-of-admin"), Invalid, Invalid),
        ("token-of-admin=", Invalid, Invalid),
        ("token-of-admi", Invalid, Invalid),
        ("token-of-admin,token-of-admin", Invalid, Invalid),
        ("", Invalid, Invalid),
        (&"x".repeat(2_000), Invalid, Invalid),
    ]
    .into_iter()
    .map(|(token, read, write)| (Some(format!("Bearer {token}")), read, write))
    .collect();
    visitors.push((None, Asked, Asked));
    visitors.push((Some("Basic dG9rZW4tb2YtYWRtaW4=".to_owned()), Asked, Asked));
    visitors.push((Some("token-of-admin".to_owned()), Asked, Asked));
    visitors.push((Some("bEARER   token-of-admin".to_owned()), Passes, Passes));
    visitors
}

fn sha256(token: &str) -> String {
    hex::encode(Sha256::digest(token))
}

/// The configuration with these tokens.
fn auth<'a>(tokens: impl IntoIterator<Item = &'a (&'a str, &'a str)>, public_read: &str) -> Auth {
    let entries = tokens.into_iter().map(|(name, scopes)| {
        let hash = sha256(&format!("token-of-{name}"));
        format!("{name}:{scopes}:{hash}")
    });
    let list = entries.collect::<Vec<_>>().join(",");
    config(&list, public_read).auth
}

fn config(auth: &str, public_read: &str) -> Config {
    // With a cache, only one query a minute would go to DynamoDB.
    config_with_cache(auth, public_read, "off")
}

fn config_with_cache(auth: &str, public_read: &str, cache: &str) -> Config {
    Config::from_variables(|name| match name {
        "STATSHUB_AUTH" => Some(auth.to_owned()),
        "STATSHUB_PUBLIC_READ" => Some(public_read.to_owned()),
        "QUERY_CACHE" => Some(cache.to_owned()),
        _ => None,
    })
    .unwrap()
}

impl Service {
    async fn new() -> Self {
        let endpoint = local_dynamodb::start_in_memory().await.unwrap();
        local_dynamodb::create_table(&local_dynamodb::client(&endpoint), "statshub").await.unwrap();
        let proxy = Proxy::start(&endpoint).await.unwrap();
        let client = local_dynamodb::client(proxy.endpoint());
        let config = config("off", "");
        let store = || {
            let settings = Settings::new(&config.table_name, config.period_length);
            Store::new(client.clone(), settings, fastrand::Rng::new())
        };
        let service = Self {
            update: update::Function::new(&config, store()),
            query: query::Function::new(&config, store()),
            history: history::Function::new(
                None,
                history::ScanLimit::default(),
                fastrand::Rng::with_seed(1),
            ),
            dashboard: dashboard::Function::new().unwrap(),
            proxy,
        };
        // From now on the id `known` is known.
        let known = route(Name::Update, "POST", "/stats/known", 200);
        let response = service.send(&Auth::Off, known, None).await;
        assert_eq!(response.status_code, 200);
        service
    }

    async fn send(
        &self,
        auth: &Auth,
        route: Probe,
        authorization: Option<&str>,
    ) -> ApiGatewayV2httpResponse {
        let Probe { function, method, path, .. } = route;
        let event: ApiGatewayV2httpRequest =
            serde_json::from_value(event(method, path, authorization)).unwrap();
        let call = Call::of(&Context::default(), SystemTime::now());
        match function {
            Name::Update => answer_event(&self.update, auth, event, call).await,
            Name::Query => answer_event(&self.query, auth, event, call).await,
            Name::History => answer_event(&self.history, auth, event, call).await,
            Name::Dashboard => answer_event(&self.dashboard, auth, event, call).await,
        }
    }

    /// The answer, and the number of requests to DynamoDB that it took.
    async fn counted(
        &self,
        auth: &Auth,
        route: Probe,
        authorization: Option<&str>,
    ) -> (ApiGatewayV2httpResponse, u64) {
        let before = self.proxy.counts().total_requests();
        let response = self.send(auth, route, authorization).await;
        (response, self.proxy.counts().total_requests() - before)
    }
}

fn event(method: &str, path: &str, authorization: Option<&str>) -> Value {
    let mut event = json!({
        "version": "2.0", "routeKey": "$default", "rawPath": path, "headers": {},
        "requestContext": {
            "routeKey": "$default", "stage": "$default",
            "http": {"method": method, "path": path, "protocol": "http"}
        },
        "body": r#"{"dims":{"country":"es"},"increments":{"x":1}}"#, "isBase64Encoded": false
    });
    if let Some(value) = authorization {
        // An HTTP API sends header names in lower case; others send them as they came.
        let name = if path.len().is_multiple_of(2) { "authorization" } else { "Authorization" };
        event["headers"][name] = value.into();
    }
    event
}

fn challenge(response: &ApiGatewayV2httpResponse) -> Option<&str> {
    response.headers.get("www-authenticate").map(|value| value.to_str().unwrap())
}

fn body(response: &ApiGatewayV2httpResponse) -> String {
    String::from_utf8(response.body.as_deref().unwrap_or_default().to_vec()).unwrap()
}

/// All that a client sees of an answer to `HEAD`.
fn head(response: &ApiGatewayV2httpResponse) -> String {
    format!("{} {:?}", response.status_code, response.headers)
}

fn check(fate: Fate, route: Probe, response: &ApiGatewayV2httpResponse, requests: u64, what: &str) {
    let (status, expected) = match fate {
        Passes => (route.status, None),
        Asked => (401, Some(String::new())),
        Invalid => (401, Some(", error=\"invalid_token\"".to_owned())),
        Lacks(scope) => (403, Some(format!(", error=\"insufficient_scope\", scope=\"{scope}\""))),
    };
    let expected = expected.map(|error| format!("Bearer realm=\"statshub\"{error}"));
    assert_eq!(response.status_code, status, "{what}");
    assert_eq!(challenge(response), expected.as_deref(), "{what}");
    if fate == Passes {
        // That an id is unknown has to be read.
        let asks_the_table = status == 200 || route.path == "/ids/nobody";
        assert_eq!(requests > 0, asks_the_table, "{what}");
        return;
    }
    assert_eq!(requests, 0, "{what}");
    let body = body(response);
    assert!(body.starts_with(r#"{"Succeeded":false,"Error":"this "#), "{body}");
}

#[tokio::test]
async fn every_endpoint_for_everyone() {
    let service = Service::new().await;
    for public_read in ["off", "stats", "on"] {
        let auth = auth(CONFIGURED, public_read);
        for (authorization, read, write) in visitors() {
            let (of_history, current): (Vec<_>, Vec<_>) =
                READS.iter().partition(|route| matches!(route.function, Name::History));
            // What a single reporter has sent is for holders of a token alone.
            let (of_ids, of_stats): (Vec<_>, Vec<_>) =
                current.into_iter().partition(|route: &&Probe| route.path.starts_with("/ids/"));
            let stats = if public_read == "off" { read } else { Passes };
            let history = if public_read == "on" { Passes } else { read };
            let writes = WRITES.iter().collect();
            let groups =
                [(of_stats, stats), (of_ids, read), (of_history, history), (writes, write)];
            for (routes, fate) in groups {
                let (mut heads, mut bodies) = (BTreeSet::new(), BTreeSet::new());
                for route in routes {
                    let authorization = authorization.as_deref();
                    let (response, requests) = service.counted(&auth, *route, authorization).await;
                    let what = format!("{authorization:?} {route:?} public read {public_read}");
                    check(fate, *route, &response, requests, &what);
                    heads.insert(head(&response));
                    bodies.insert(body(&response));
                }
                if fate != Passes {
                    // Whether the request asks for something known, unknown or impossible, the
                    // answer is the same.
                    bodies.remove("");
                    assert_eq!((heads.len(), bodies.len()), (1, 1), "{heads:?} {bodies:?}");
                }
            }
        }
    }
}

/// The units of an update show whether a member is known.
#[tokio::test]
async fn what_an_answer_has_cost_is_for_those_who_may_read() {
    let service = Service::new().await;
    let post = route(Name::Update, "POST", "/stats/known", 200);
    for (name, public_read, shown) in [
        ("writer", "off", false),
        ("writer", "stats", true),
        ("both", "off", true),
        ("admin", "off", true),
        ("nobody", "off", false),
    ] {
        let auth = auth(CONFIGURED, public_read);
        let token = format!("Bearer token-of-{name}");
        let response = service.send(&auth, post, Some(&token)).await;
        let found = response.headers.contains_key("x-statshub-units");
        assert_eq!(found, shown, "{name}, public read {public_read}");
    }
    let open = service.send(&Auth::Off, post, None).await;
    assert!(open.headers.contains_key("x-statshub-units"));
}

#[tokio::test]
async fn the_page_and_the_description_of_the_api_are_for_everyone_and_for_shared_caches() {
    let service = Service::new().await;
    for public_read in ["off", "stats", "on"] {
        let auth = auth(CONFIGURED, public_read);
        for (authorization, ..) in visitors() {
            for route in PUBLIC {
                let authorization = authorization.as_deref();
                let (response, requests) = service.counted(&auth, *route, authorization).await;
                let what = format!("{authorization:?} {route:?} public read {public_read}");
                assert_eq!((response.status_code, requests), (route.status, 0), "{what}");
                if route.status == 200 {
                    let kept = match route.function {
                        Name::Dashboard => "no-cache",
                        _ => "max-age=300",
                    };
                    assert_eq!(response.headers["cache-control"], kept, "{what}");
                    assert_eq!(response.headers["vary"], "accept-encoding", "{what}");
                }
            }
        }
    }
}

/// A new endpoint has to be tried above.
#[test]
fn every_endpoint_is_among_those_that_are_tried() {
    for Endpoint { method, path, function, scope } in endpoints() {
        let probes = match scope {
            None => PUBLIC,
            Some(Scope::Write) => WRITES,
            Some(Scope::Read | Scope::Admin) => READS,
        };
        let first = path.split('{').next().unwrap();
        let is_tried = probes.iter().any(|probe| {
            let of_function = format!("{:?}", probe.function).to_lowercase() == function;
            of_function && probe.method == method.as_str() && probe.path.starts_with(first)
        });
        assert!(is_tried, "{method} {path}");
    }
}

#[tokio::test]
async fn what_needs_a_token_is_not_for_shared_caches_and_what_anybody_may_read_is() {
    let mut service = Service::new().await;
    let client = local_dynamodb::client(service.proxy.endpoint());
    let config = config_with_cache("off", "", "country=60");
    let settings = Settings::new(&config.table_name, config.period_length);
    let store = Store::new(client, settings, fastrand::Rng::new());
    service.query = query::Function::new(&config, store);
    let get = route(Name::Query, "GET", "/stats/country", 200);
    for (auth, kept, vary) in [
        (auth(CONFIGURED, "off"), "private, max-age=60", "accept, accept-encoding, authorization"),
        (auth(CONFIGURED, "stats"), "max-age=60", "accept, accept-encoding"),
        (auth(CONFIGURED, "on"), "max-age=60", "accept, accept-encoding"),
        (Auth::Off, "max-age=60", "accept, accept-encoding"),
    ] {
        let response = service.send(&auth, get, Some("Bearer token-of-reader")).await;
        let header = |name| response.headers.get(name).map(|value| value.to_str().unwrap());
        assert_eq!((header("cache-control"), header("vary")), (Some(kept), Some(vary)), "{auth:?}");
    }
    let auth = auth(CONFIGURED, "off");
    let refused = service.send(&auth, get, None).await;
    assert_eq!(refused.headers["cache-control"], "no-store");
    assert_eq!(refused.headers["vary"], "authorization");
}

#[tokio::test]
async fn while_a_token_is_replaced_one_of_both_is_always_valid() {
    let service = Service::new().await;
    let post = route(Name::Update, "POST", "/stats/known", 200);
    let (old, new) = (("old", "write"), ("new", "write"));
    for (configured, old_passes, new_passes) in
        [(&[old][..], true, false), (&[old, new], true, true), (&[new], false, true)]
    {
        let auth = auth(configured, "off");
        for (token, passes) in [("old", old_passes), ("new", new_passes)] {
            let authorization = format!("Bearer token-of-{token}");
            let response = service.send(&auth, post, Some(&authorization)).await;
            let expected = if passes { 200 } else { 401 };
            assert_eq!(response.status_code, expected, "{configured:?} {token}");
        }
    }
}

#[tokio::test]
async fn off_is_open_with_any_header_or_none() {
    let service = Service::new().await;
    for (authorization, ..) in visitors() {
        for route in READS.iter().chain(WRITES) {
            let authorization = authorization.as_deref();
            let (response, requests) = service.counted(&Auth::Off, *route, authorization).await;
            check(Passes, *route, &response, requests, &format!("{authorization:?} {route:?}"));
        }
    }
}

#[tokio::test]
async fn a_denied_request_is_not_read() {
    let service = Service::new().await;
    let auth = auth(CONFIGURED, "off");
    // Each of them would be refused for another reason if it were looked at.
    for (field, value) in [
        ("body", json!("{")),
        ("body", json!("x".repeat(2_000_000))),
        ("isBase64Encoded", json!(true)),
        ("rawPath", json!("/stats/%FF")),
        ("rawPath", Value::Null),
        ("rawQueryString", json!("page=x")),
    ] {
        let mut event = event("POST", "/stats/known", None);
        event[field] = value;
        let event: ApiGatewayV2httpRequest = serde_json::from_value(event).unwrap();
        let call = Call::of(&Context::default(), SystemTime::now());
        let response = answer_event(&service.update, &auth, event, call).await;
        assert_eq!(response.status_code, 401, "{field}");
        assert_eq!(challenge(&response), Some("Bearer realm=\"statshub\""));
    }
}

#[tokio::test]
async fn preflights_need_no_token_and_get_an_empty_answer() {
    let service = Service::new().await;
    let auth = auth(CONFIGURED, "off");
    let before = service.proxy.counts().total_requests();
    for route in READS.iter().chain(WRITES) {
        let mut event = event("OPTIONS", route.path, None);
        event["headers"]["origin"] = "https://dashboard.example.com".into();
        event["headers"]["access-control-request-method"] = route.method.into();
        event["headers"]["access-control-request-headers"] = "authorization".into();
        let event: ApiGatewayV2httpRequest = serde_json::from_value(event).unwrap();
        let call = Call::of(&Context::default(), SystemTime::now());
        let response = answer_event(&service.query, &auth, event, call).await;
        assert_eq!(response.status_code, 204, "{route:?}");
        // Only API Gateway knows which origins may ask.
        assert!(response.headers.is_empty() && body(&response).is_empty());
    }
    assert_eq!(service.proxy.counts().total_requests(), before);
}
