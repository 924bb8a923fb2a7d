//! A request means the same whether an HTTP API hands it to a function, by the routes of
//! `template.yaml`, or the URL of the function does.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::{io::Write, time::SystemTime};

use aws_lambda_events::event::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse};
use bytes::Bytes;
use contract::read;
use flate2::{Compression, write::GzEncoder};
use gateway::{
    deployed_template::Template,
    event::{Arrival, Refusal, function_url, http_api},
};
use http::{Request, request::Builder};
use lambda_runtime::Context;
use serde_json::{Value, json};
use shared::{
    auth::Auth,
    config::Config,
    domain::PeriodLength,
    lambda::{Call, answer_event},
    store::{Settings, Store},
};

/// Names, each with a way that a client may write it in a URL.
const ODD_NAMES: [(&str, &str); 16] = [
    ("a", "a"),
    ("a/b", "a%2Fb"),
    ("a/b", "a/b"),
    ("/", "%2F"),
    ("a//b/", "a%2F%2Fb%2F"),
    ("..", ".."),
    ("..", "%2E%2E"),
    ("../x", "..%2Fx"),
    ("a?b=c", "a%3Fb%3Dc"),
    ("a?x", "a%3Fx"),
    ("a#b", "a%23b"),
    ("a%2Fb", "a%252Fb"),
    ("a+b c", "a+b%20c"),
    ("\u{e9}\u{202e}\u{1f980}", "%C3%A9%E2%80%AE%F0%9F%A6%80"),
    ("{id+}", "%7Bid+%7D"),
    ("$default", "$default"),
];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gateway {
    HttpApi,
    FunctionUrl,
}

const BOTH: [Gateway; 2] = [Gateway::HttpApi, Gateway::FunctionUrl];

struct Service {
    update: update::Function,
    query: query::Function,
    history: history::Function,
    dashboard: dashboard::Function,
    template: Template,
}

impl Service {
    async fn new() -> Self {
        let client = local_dynamodb::in_memory_with_table("statshub").await.unwrap();
        let store = || {
            let settings = Settings::new("statshub", PeriodLength::DEFAULT);
            Store::new(client.clone(), settings, fastrand::Rng::new())
        };
        let auth = |name: &str| match name {
            "STATSHUB_AUTH" | "QUERY_CACHE" => Some("off".to_owned()),
            _ => None,
        };
        let config = Config::from_variables(auth).unwrap();
        let random = fastrand::Rng::with_seed(1);
        Self {
            update: update::Function::new(&config, store()),
            query: query::Function::new(&config, store()),
            history: history::Function::new(None, history::ScanLimit::default(), random),
            dashboard: dashboard::Function::new().unwrap(),
            template: Template::parse(&read("template.yaml")).unwrap(),
        }
    }

    /// The answer to a request that comes through a gateway.
    async fn send(
        &self,
        gateway: Gateway,
        request: Builder,
        body: impl Into<Bytes>,
    ) -> ApiGatewayV2httpResponse {
        let request: Request<Bytes> = request.body(body.into()).unwrap();
        let arrival = Arrival::default();
        let integration = http_api(&self.template.routes, &request, &arrival).unwrap();
        let event = match gateway {
            Gateway::HttpApi => integration.event,
            Gateway::FunctionUrl => function_url(&request, &arrival),
        };
        let event: ApiGatewayV2httpRequest = serde_json::from_value(event).unwrap();
        let call = Call::of(&Context::default(), SystemTime::now());
        match integration.function {
            "update" => answer_event(&self.update, &Auth::Off, event, call).await,
            "query" => answer_event(&self.query, &Auth::Off, event, call).await,
            "history" => answer_event(&self.history, &Auth::Off, event, call).await,
            "dashboard" => answer_event(&self.dashboard, &Auth::Off, event, call).await,
            other => panic!("{other}"),
        }
    }

    async fn post(&self, gateway: Gateway, path: &str, body: &str) -> i64 {
        let request = Request::post(path).header("content-type", "application/json");
        self.send(gateway, request, body.to_owned()).await.status_code
    }

    /// The total of the counter `x` in the dimension `d`.
    async fn total(&self) -> Value {
        let answer = self.send(Gateway::HttpApi, Request::get("/stats/d"), "").await;
        json(&answer)["dims"]["d"]["total"]["counters"]["x"].clone()
    }
}

fn text(response: &ApiGatewayV2httpResponse) -> String {
    String::from_utf8(response.body.as_deref().unwrap_or_default().to_vec()).unwrap()
}

fn json(response: &ApiGatewayV2httpResponse) -> Value {
    serde_json::from_str(&text(response)).unwrap()
}

#[tokio::test]
async fn an_odd_id_is_one_id_through_both() {
    for (id, encoded) in ODD_NAMES {
        let service = Service::new().await;
        let body = r#"{"dims":{"d":"k"},"counters":{"x":1}}"#;
        for gateway in BOTH {
            let path = format!("/stats/{encoded}");
            assert_eq!(service.post(gateway, &path, body).await, 200, "{id}");
            // The second update changes nothing if both have the same id.
            assert_eq!(service.total().await, json!(1), "{id} through {gateway:?}");
        }
    }
}

/// As captured on AWS: after an HTTP API has decoded the path, it reads it as a URI once more.
#[tokio::test]
async fn a_percent_sign_that_begins_no_escape_passes_the_url_of_a_function_only() {
    let service = Service::new().await;
    let request = Request::post("/stats/100%25").body(Bytes::from("{}")).unwrap();
    let refused = http_api(&service.template.routes, &request, &Arrival::default());
    assert!(matches!(refused, Err(Refusal::Path(_))), "{refused:?}");
    let event: ApiGatewayV2httpRequest =
        serde_json::from_value(function_url(&request, &Arrival::default())).unwrap();
    let call = Call::of(&Context::default(), SystemTime::now());
    assert_eq!(answer_event(&service.update, &Auth::Off, event, call).await.status_code, 200);
}

/// What the URL of `Update` opens to the world, of all that the API has.
#[tokio::test]
async fn by_the_url_of_update_nothing_is_answered_but_its_own_routes() {
    let service = Service::new().await;
    let mut own = Vec::new();
    for route in service.template.routes.all() {
        let (method, path) = route.key.split_once(' ').unwrap_or(("GET", "/anything"));
        let names =
            [("{id+}", "a"), ("{dim+}", "d"), ("{path+}", "d/k/counter/x"), ("{file}", "main.js")];
        let path = names.iter().fold(path.to_owned(), |path, (name, it)| path.replace(name, it));
        let request = Request::builder().method(method).uri(&path);
        let is_batch = ["/stats", "/stats/"].contains(&&*path);
        let body = if is_batch { "[]" } else { r#"{"dims":{"d":"k"}}"# };
        let request = request.body(Bytes::from(body)).unwrap();
        let event = function_url(&request, &Arrival::default());
        let event: ApiGatewayV2httpRequest = serde_json::from_value(event).unwrap();
        let call = Call::of(&Context::default(), SystemTime::now());
        let answer = answer_event(&service.update, &Auth::Off, event, call).await;
        if route.function == "update" {
            assert_eq!(answer.status_code, 200, "{}: {}", route.key, text(&answer));
            own.push(&*route.key);
        } else {
            assert_eq!(answer.status_code, 404, "{}: {}", route.key, text(&answer));
        }
    }
    assert!(own.contains(&"POST /stats/{id+}"), "{own:?}");
}

#[tokio::test]
async fn an_odd_key_is_one_key_through_both() {
    let service = Service::new().await;
    for (_, encoded) in ODD_NAMES {
        for gateway in BOTH {
            let path = format!("/history/d/{encoded}/counter/x");
            let answer = service.send(gateway, Request::get(&path), "").await;
            // The path is that of a history, but nothing is archived here.
            assert_eq!(answer.status_code, 404, "{path}: {}", text(&answer));
            assert!(text(&answer).contains("there is no history"), "{path}: {}", text(&answer));
        }
    }
}

#[tokio::test]
async fn dimensions_are_found_with_and_without_a_slash_at_the_end() {
    let service = Service::new().await;
    let body = r#"{"dims":{"Pa\u00eds":"ES"},"counters":{"x":1}}"#;
    assert_eq!(service.post(Gateway::HttpApi, "/stats/a", body).await, 200);
    let mut answers = Vec::new();
    for gateway in BOTH {
        for path in ["/stats/Pa%C3%ADs", "/stats/Pa%C3%ADs/", "/stats/", "/stats"] {
            let answer = service.send(gateway, Request::get(path), "").await;
            assert_eq!(answer.status_code, 200, "{path}");
            answers.push(text(&answer));
        }
    }
    answers.dedup();
    assert_eq!(answers.len(), 1, "{answers:?}");
}

#[tokio::test]
async fn a_repeated_idempotency_key_is_refused_since_joined_it_is_another_one() {
    let service = Service::new().await;
    for gateway in BOTH {
        let request = Request::post("/stats/a").header("Idempotency-Key", "k");
        let request = request.header("Idempotency-Key", "k");
        let answer = service.send(gateway, request, r#"{"increments":{"x":1}}"#).await;
        assert_eq!(answer.status_code, 400);
        assert!(text(&answer).contains("Idempotency-Key"), "{}", text(&answer));
    }
}

#[tokio::test]
async fn several_lines_of_accept_are_one_list() {
    let service = Service::new().await;
    for gateway in BOTH {
        let request = Request::get("/stats/d").header("accept", "text/html;q=0.5");
        let answer = service.send(gateway, request.header("accept", "*/*"), "").await;
        assert_eq!(answer.status_code, 200);
    }
}

#[tokio::test]
async fn a_body_is_understood_or_refused_in_json_whatever_its_content_type() {
    let body = r#"{"dims":{"d":"k"},"increments":{"x":1}}"#;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body.as_bytes()).unwrap();
    let gzip = encoder.finish().unwrap();
    let utf_16: Vec<u8> = body.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let marked = format!("\u{feff}{body}");
    for gateway in BOTH {
        let service = Service::new().await;
        let mut counted = 0;
        for content_type in [
            None,
            Some("application/json"),
            Some("text/plain; charset=latin1"),
            Some("application/octet-stream"),
            Some("application/x-www-form-urlencoded"),
        ] {
            for (coding, body, status) in [
                (None, body.as_bytes(), 200),
                (None, marked.as_bytes(), 200),
                (Some("gzip"), &gzip, 200),
                (Some("br"), &gzip, 415),
                (Some("gzip"), body.as_bytes(), 400),
                (None, &gzip, 400),
                (None, &utf_16, 400),
                (None, b"{\"dims\":{\"d\":\"Espa\xf1a\"}}", 400),
            ] {
                let mut request = Request::post("/stats/a");
                for (name, value) in [("content-type", content_type), ("content-encoding", coding)]
                {
                    request = value.into_iter().fold(request, |r, value| r.header(name, value));
                }
                let answer = service.send(gateway, request, body.to_vec()).await;
                let what = format!("{gateway:?} {content_type:?} {coding:?}: {}", text(&answer));
                assert_eq!(answer.status_code, status, "{what}");
                assert_eq!(json(&answer)["Succeeded"], status == 200, "{what}");
                counted += i64::from(status == 200);
                assert_eq!(service.total().await, json!(counted), "{what}");
            }
        }
    }
}

#[tokio::test]
async fn the_page_and_its_files_are_found() {
    let service = Service::new().await;
    for gateway in BOTH {
        let page = service.send(gateway, Request::get("/"), "").await;
        assert_eq!(page.status_code, 200, "{gateway:?}");
        let page = text(&page);
        let files: Vec<_> = page.split("\"page/").skip(1).collect();
        assert!(files.len() >= 3, "{page}");
        for file in files {
            let path = format!("/page/{}", file.split('"').next().unwrap());
            let answer = service.send(gateway, Request::get(&*path), "").await;
            assert_eq!(answer.status_code, 200, "{gateway:?} {path}");
        }
    }
}
