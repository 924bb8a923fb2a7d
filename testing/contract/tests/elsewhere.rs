//! Requests that reach a function which does not answer them: all functions refuse them alike.
//!
//! By the routes of `template.yaml`, `query` gets whatever no route takes. By its URL, each
//! function can get anything.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::time::SystemTime;

use aws_lambda_events::event::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse};
use lambda_runtime::Context;
use serde_json::{Value, json};
use shared::{
    auth::Auth,
    config::Config,
    domain::PeriodLength,
    http::{Endpoint, endpoints},
    lambda::{Call, answer_event},
    store::{Settings, Store},
};

const NOTHING: &str = "there is nothing at this path; see POST /stats/{id}, POST /stats, GET /stats/{dim}, GET \
                       /stats/, GET /dimensions, GET /ids/{id}, GET /metrics, GET \
                       /stream/{dim}/{key}/{counter|gauge}/{stat}, GET \
                       /history/{dim}/{key}/{counter|gauge}/{stat}, GET /openapi.yaml, GET / and \
                       GET /page/{file}";

struct AllFunctions {
    update: update::Function,
    query: query::Function,
    history: history::Function,
    dashboard: dashboard::Function,
}

impl AllFunctions {
    async fn new() -> Self {
        let client = local_dynamodb::in_memory_with_table("statshub").await.unwrap();
        let store = || {
            let settings = Settings::new("statshub", PeriodLength::DEFAULT);
            Store::new(client.clone(), settings, fastrand::Rng::new())
        };
        let open = |name: &str| (name == "STATSHUB_AUTH").then(|| "off".to_owned());
        let config = Config::from_variables(open).unwrap();
        let random = fastrand::Rng::with_seed(1);
        Self {
            update: update::Function::new(&config, store()),
            query: query::Function::new(&config, store()),
            history: history::Function::new(None, history::ScanLimit::default(), random),
            dashboard: dashboard::Function::new().unwrap(),
        }
    }

    /// The answers of `update`, `query`, `history` and `dashboard`: the status, the methods that the path takes,
    /// and the error.
    async fn answers(&self, method: &str, path: &str) -> [(i64, Option<String>, String); 4] {
        let event = json!({
            "version": "2.0", "routeKey": "$default", "rawPath": path, "headers": {},
            "requestContext": {"stage": "$default", "http": {"method": method, "path": path}},
            "body": "{}", "isBase64Encoded": false
        });
        let event: ApiGatewayV2httpRequest = serde_json::from_value(event).unwrap();
        let call = Call::of(&Context::default(), SystemTime::now());
        [
            answer_event(&self.update, &Auth::Off, event.clone(), call).await,
            answer_event(&self.query, &Auth::Off, event.clone(), call).await,
            answer_event(&self.history, &Auth::Off, event.clone(), call).await,
            answer_event(&self.dashboard, &Auth::Off, event, call).await,
        ]
        .map(|answer| (answer.status_code, allow(&answer), error(&answer)))
    }
}

fn allow(response: &ApiGatewayV2httpResponse) -> Option<String> {
    response.headers.get("allow").map(|value| value.to_str().unwrap().to_owned())
}

fn error(response: &ApiGatewayV2httpResponse) -> String {
    // Not every answer is JSON.
    let body = serde_json::from_slice(response.body.as_deref().unwrap()).unwrap_or(Value::Null);
    body["Error"].as_str().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn what_no_function_answers_all_refuse_alike() {
    let functions = AllFunctions::new().await;
    for (method, path, status, allow, text) in [
        ("GET", "/nowhere", 404, None, NOTHING),
        ("POST", "/", 405, Some("GET, HEAD"), "this path takes GET, HEAD"),
        ("PUT", "/page/x", 405, Some("GET, HEAD"), "this path takes GET, HEAD"),
        ("GET", "/page/a%2Fb", 400, None, "\"a/b\" is not the name of a file: "),
        ("BREW", "/nowhere/at/all", 404, None, NOTHING),
        ("GET", "/history/country/es/counter", 404, None, NOTHING),
        ("PUT", "/stats/x", 405, Some("GET, HEAD, POST"), "this path takes GET, HEAD, POST"),
        ("DELETE", "/stats/a/b", 405, Some("GET, HEAD, POST"), "this path takes GET, HEAD, POST"),
        ("OPTIONS", "/stats/", 405, Some("GET, HEAD, POST"), "this path takes GET, HEAD, POST"),
        ("POST", "/history/d/k/counter/x", 405, Some("GET, HEAD"), "this path takes GET, HEAD"),
        ("DELETE", "/history/d/%FF/counter/x", 405, Some("GET, HEAD"), "this path takes GET, HEAD"),
        ("POST", "/stats/%00", 400, None, "\"\\0\" is not a valid id: "),
        ("PUT", "/stats/%FF", 400, None, "the path is not UTF-8"),
        ("GET", "/stats/a%2Fb", 400, None, "\"a/b\" is not a valid dimension name: "),
        ("GET", "/history/d/k/counters/x", 400, None, "\"counters\" is not a kind of stat: "),
        ("POST", "/ids/a", 405, Some("GET, HEAD"), "this path takes GET, HEAD"),
        ("POST", "/metrics", 405, Some("GET, HEAD"), "this path takes GET, HEAD"),
        ("GET", "/metrics/d", 404, None, NOTHING),
        ("PUT", "/stream/d/*/gauge/x", 405, Some("GET, HEAD"), "this path takes GET, HEAD"),
        ("GET", "/stream/d/*/rate/x", 400, None, "\"rate\" is not a kind of stat: "),
        ("GET", "/ids/", 400, None, "\"\" is not a valid id: "),
    ] {
        for (found, found_allow, error) in functions.answers(method, path).await {
            assert_eq!(
                (found, found_allow.as_deref()),
                (status, allow),
                "{method} {path}: {error}"
            );
            assert!(error.starts_with(text), "{method} {path}: {error}");
        }
    }
}

#[tokio::test]
async fn for_all_but_the_function_that_answers_there_is_nothing() {
    let functions = AllFunctions::new().await;
    for (method, path, answering) in [
        ("POST", "/stats/x", 0),
        ("POST", "/stats", 0),
        ("GET", "/stats/country", 1),
        ("HEAD", "/stats/country/", 1),
        ("GET", "/stats", 1),
        ("GET", "/ids/a/b", 1),
        ("GET", "/metrics", 1),
        ("HEAD", "/metrics/", 1),
        ("GET", "/openapi.yaml", 1),
        ("HEAD", "/openapi.yaml/", 1),
        ("GET", "/stream/country/a/b/gauge/x", 1),
        ("GET", "/history/country/*/gauge/x", 2),
        ("HEAD", "/history/country/a/b/gauge/x", 2),
        ("GET", "/dimensions", 1),
        ("GET", "/", 3),
        ("HEAD", "/", 3),
        ("GET", "/page/x", 3),
    ] {
        let answers = functions.answers(method, path).await;
        for (function, (status, _, error)) in answers.iter().enumerate() {
            if function == answering {
                assert_ne!(error, NOTHING, "{method} {path}");
            } else {
                assert_eq!((*status, error.as_str()), (404, NOTHING), "{method} {path}");
            }
        }
    }
}

#[tokio::test]
async fn each_endpoint_is_answered_by_the_function_that_the_table_names_and_by_no_other() {
    let functions = AllFunctions::new().await;
    for Endpoint { method, path, function, .. } in endpoints() {
        let sample = path.replace("{counter|gauge}", "gauge");
        let segments = sample.split('/').map(|it| if it.starts_with('{') { "x" } else { it });
        let sample = segments.collect::<Vec<_>>().join("/");
        let answers = functions.answers(method.as_str(), &sample).await;
        let answering = answers.iter().zip(["update", "query", "history", "dashboard"]);
        let answering = answering.filter(|((.., error), _)| error != NOTHING);
        let answering: Vec<_> = answering.map(|(_, name)| name).collect();
        assert_eq!(answering, [function], "{method} {path}");
    }
}
