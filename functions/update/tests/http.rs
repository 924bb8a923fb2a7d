//! Events of API Gateway and of `cargo lambda`, through the function, to responses.

#![allow(
    missing_docs,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::{
    collections::BTreeMap,
    io::Write,
    time::{Duration, Instant, SystemTime},
};

use aws_lambda_events::event::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse};
use base64::{Engine, prelude::BASE64_STANDARD};
use fault_proxy::Proxy;
use flate2::{Compression, write::GzEncoder};
use futures_util::future::join_all;
use lambda_runtime::Context;
use serde_json::{Value, json};
use shared::{
    auth::Auth,
    config::Config,
    domain::{DimensionName, PeriodLength, StatName, Sum},
    lambda::{Call, answer_event},
    store::{Deadline, Settings, Store},
};

struct Service {
    endpoint: String,
    function: update::Function,
    reader: Store,
}

impl Service {
    async fn new() -> Self {
        let endpoint = local_dynamodb::start_in_memory().await.unwrap();
        let client = local_dynamodb::client(&endpoint);
        local_dynamodb::create_table(&client, "statshub").await.unwrap();
        let store = || Store::new(client.clone(), settings(), fastrand::Rng::new());
        Self { endpoint, function: update::Function::new(&config(), store()), reader: store() }
    }

    async fn send(&self, event: &Value) -> ApiGatewayV2httpResponse {
        let event: ApiGatewayV2httpRequest = serde_json::from_value(event.clone()).unwrap();
        answer_event(&self.function, &Auth::Off, event, call()).await
    }

    /// The total of a counter in the dimension `d`.
    async fn total(&self, stat: &str) -> i64 {
        let (dimension, call) = (DimensionName::new("d").unwrap(), call());
        let summary = self.reader.summary(&dimension, call.now, call.deadline).await.unwrap();
        summary.total().counters[&StatName::new(stat).unwrap()].to_string().parse().unwrap()
    }

    /// The keys of a dimension.
    async fn keys(&self, dimension: &str) -> Vec<String> {
        let dimension = DimensionName::new(dimension).unwrap();
        let call = call();
        let summary = self.reader.summary(&dimension, call.now, call.deadline).await.unwrap();
        summary.keys().map(|(key, _)| key.to_string()).collect()
    }
}

fn call() -> Call {
    Call::of(&Context::default(), SystemTime::now())
}

fn routed(body: &str) -> Value {
    let mut event: Value = serde_json::from_str(include_str!("events/post.json")).unwrap();
    event["body"] = body.into();
    event
}

/// As `cargo lambda watch` makes them: no route, nothing decoded, the body in base64.
fn local(method: &str, path: &str, body_in_base64: &str) -> Value {
    json!({
        "version": "2.0", "routeKey": "$default", "rawPath": path, "headers": {},
        "requestContext": {
            "routeKey": "$default", "stage": "$default",
            "http": {"method": method, "path": path, "protocol": "http"}
        },
        "body": body_in_base64, "isBase64Encoded": true
    })
}

fn text(response: &ApiGatewayV2httpResponse) -> String {
    String::from_utf8(response.body.as_deref().unwrap_or_default().to_vec()).unwrap()
}

#[tokio::test]
async fn a_recorded_event_is_counted_and_answered() {
    let service = Service::new().await;
    let response = service.send(&routed(r#"{"dims":{"country":"es"},"counters":{"x":1}}"#)).await;
    assert_eq!(response.status_code, 200);
    assert_eq!(response.headers["content-type"], "application/json");
    assert_eq!(text(&response), r#"{"Succeeded":true,"Error":""}"#);
    assert_eq!(service.keys("country").await, ["es"]);
}

/// With the fields of captures on AWS: `testing/gateway/src/event.rs` names the sources.
#[tokio::test]
async fn a_recorded_event_of_the_functions_url_is_an_update_of_the_id_that_its_path_encodes() {
    let service = Service::new().await;
    let by_url: Value = serde_json::from_str(include_str!("events/post_by_url.json")).unwrap();
    assert_eq!(service.send(&by_url).await.status_code, 200);
    assert_eq!(service.keys("country").await, ["es"]);
    // By the API, the same update of the same id changes nothing.
    let mut by_api = routed(r#"{"dims":{"country":"es"},"counters":{"x":1}}"#);
    by_api["rawPath"] = "/stats/my/id 1".into();
    by_api["pathParameters"]["id"] = "my/id 1?".into();
    let answer = service.send(&by_api).await;
    assert_eq!(answer.headers["x-statshub-units"], "read=1; write=0");
}

#[tokio::test]
async fn by_the_functions_url_too_a_question_mark_in_an_id_must_be_encoded() {
    let service = Service::new().await;
    let mut event: Value = serde_json::from_str(include_str!("events/post_by_url.json")).unwrap();
    event["rawPath"] = "/stats/my%2Fid%201".into();
    event["rawQueryString"] = "b=%20".into();
    event["queryStringParameters"] = json!({"b": " "});
    let answer = service.send(&event).await;
    assert_eq!(answer.status_code, 400);
    assert!(text(&answer).contains("%3F"), "{}", text(&answer));
    assert!(service.keys("country").await.is_empty());
}

#[tokio::test]
async fn a_refused_update_says_why_and_leaves_nothing_behind() {
    let service = Service::new().await;
    for (body, status, error) in [
        ("{", 400, "the body is not a JSON object"),
        (r#"{"dims":{"d":"total"},"counters":{"x":1}}"#, 400, "dims: \"total\" is not a valid"),
        (
            r#"{"dims":{"d":"k"},"counters":{"x":1},"gauges":{"y":1.5}}"#,
            400,
            "gauges.y: 1.5 is not",
        ),
        (
            &format!(
                "{{\"dims\":{{\"d\":\"k\"}},\"counters\":{{\"x\":1}}}}{}",
                " ".repeat(1_048_576)
            ),
            413,
            "the body has",
        ),
        (
            &format!(
                r#"{{"dims":{{"d":"k","e":"k"}},"multiMembers":{{"m":[{}]}}}}"#,
                (0..5_001).map(|i| format!("\"{i}\"")).collect::<Vec<_>>().join(",")
            ),
            413,
            "the update has 5001 members under 2 dimensions",
        ),
    ] {
        let response = service.send(&routed(body)).await;
        assert_eq!(response.status_code, status, "{error}");
        let body: Value = serde_json::from_str(&text(&response)).unwrap();
        assert_eq!(body["Succeeded"], false);
        assert!(body["Error"].as_str().unwrap().starts_with(error), "{body}");
    }
    assert!(service.keys("d").await.is_empty());
}

#[tokio::test]
async fn ids_are_decoded_once_wherever_the_event_comes_from() {
    let service = Service::new().await;
    // An HTTP API decodes the path, and cuts rawPath at a decoded question mark.
    let mut event = routed(r#"{"increments":{"x":1},"dims":{"d":"k"}}"#);
    event["rawPath"] = "/stats/a%20b".into();
    event["pathParameters"]["id"] = "a%20b?c/d".into();
    assert_eq!(service.send(&event).await.status_code, 200);
    let path = "/stats/a%2520b%3Fc%2Fd";
    // {"counters":{"x":1},"dims":{"d":"k"}}: if it is the same id, its x is 1 already.
    let body = "eyJjb3VudGVycyI6eyJ4IjoxfSwiZGltcyI6eyJkIjoiayJ9fQ==";
    assert_eq!(service.send(&local("POST", path, body)).await.status_code, 200);
    let dimension = DimensionName::new("d").unwrap();
    let summary = service.reader.summary(&dimension, call().now, call().deadline).await.unwrap();
    let sums: Vec<_> = summary.total().counters.values().map(ToString::to_string).collect();
    assert_eq!(sums, ["1"]);
}

/// Ids as they are, as a client encodes them, and as an HTTP API has decoded them in `rawPath`.
const ODD_IDS: [(&str, &str, &str); 12] = [
    ("a/b", "a%2Fb", "a/b"),
    ("/", "%2F", "/"),
    ("a//b/", "a%2F%2Fb%2F", "a//b/"),
    ("..", "..", ".."),
    (".", "%2E", "."),
    ("a?b=c", "a%3Fb%3Dc", "a"),
    ("a#b", "a%23b", "a#b"),
    ("a%2Fb", "a%252Fb", "a%2Fb"),
    ("a+b c", "a+b%20c", "a+b c"),
    ("é\u{202e}🦀", "%C3%A9%E2%80%AE%F0%9F%A6%80", "é\u{202e}🦀"),
    ("total", "total", "total"),
    ("{id+}", "%7Bid+%7D", "{id+}"),
];

#[tokio::test]
async fn an_odd_id_is_one_id_through_an_http_api_and_through_a_function_url() {
    let service = Service::new().await;
    for (number, (id, encoded, raw)) in (1..).zip(ODD_IDS) {
        let body = r#"{"counters":{"x":1},"dims":{"d":"k"}}"#;
        let mut routed = routed(body);
        routed["rawPath"] = format!("/stats/{raw}").into();
        routed["pathParameters"]["id"] = id.into();
        assert_eq!(service.send(&routed).await.status_code, 200, "{id}");
        let mut local = local("POST", &format!("/stats/{encoded}"), "");
        local["body"] = body.into();
        local["isBase64Encoded"] = false.into();
        assert_eq!(service.send(&local).await.status_code, 200, "{id}");
        // The second update changes nothing if both have the same id.
        assert_eq!(service.total("x").await, number, "{id}");
    }
}

#[tokio::test]
async fn a_compressed_body_is_counted_and_another_coding_is_not() {
    let service = Service::new().await;
    let body = r#"{"dims":{"d":"k"},"increments":{"x":1}}"#;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body.as_bytes()).unwrap();
    let gzip = BASE64_STANDARD.encode(encoder.finish().unwrap());
    for (coding, sent, status) in [
        ("gzip", gzip.as_str(), 200),
        ("br", gzip.as_str(), 415),
        ("gzip", "e30=", 400),
        ("", gzip.as_str(), 400),
    ] {
        let mut event = local("POST", "/stats/a", sent);
        event["headers"]["content-encoding"] = coding.into();
        let response = service.send(&event).await;
        assert_eq!(response.status_code, status, "{}", text(&response));
        let accepted = response.headers.get("accept-encoding").map(|value| value.to_str().unwrap());
        assert_eq!(accepted, (status == 415).then_some("gzip"));
    }
    assert_eq!(service.total("x").await, 1);
}

#[tokio::test]
async fn a_parameter_is_refused_since_it_may_be_a_part_of_the_id() {
    let service = Service::new().await;
    let mut event = local("POST", "/stats/a", "e30=");
    event["rawQueryString"] = "b".into();
    let response = service.send(&event).await;
    assert_eq!(response.status_code, 400);
    assert!(text(&response).contains("%3F"), "{}", text(&response));
}

#[tokio::test]
async fn paths_and_methods_that_the_api_does_not_have() {
    let service = Service::new().await;
    for (method, path, status) in [
        ("POST", "/nowhere", 404),
        ("POST", "/stat/x", 404),
        ("POST", "/stats/", 400),
        ("POST", "/stats", 400),
        ("POST", "/stats/%FF", 400),
        ("POST", "/stats/%00", 400),
        ("PUT", "/stats/x", 405),
        ("OPTIONS", "/stats/", 405),
        ("BREW", "/stats/x", 405),
    ] {
        let response = service.send(&local(method, path, "e30=")).await;
        assert_eq!(response.status_code, status, "{method} {path}");
        let allow = response.headers.get("allow").map(|value| value.to_str().unwrap());
        let expected = (status == 405).then_some("GET, HEAD, POST");
        assert_eq!(allow, expected, "{method} {path}");
        assert!(text(&response).starts_with(r#"{"Succeeded":false,"#));
    }
}

/// A batch of NDJSON, as a client sends it to `path`.
fn batch(path: &str, lines: &[&str]) -> Value {
    local("POST", path, &BASE64_STANDARD.encode(lines.join("\n")))
}

#[tokio::test]
async fn a_batch_has_a_result_for_each_entry_in_their_order() {
    let service = Service::new().await;
    let one = r#"{"id":"b/c","idempotencyKey":"1","dims":{"d":"k"},"increments":{"x":1}}"#;
    let other = r#"{"id":"b/c","idempotencyKey":"1","dims":{"d":"k"},"increments":{"x":9}}"#;
    let entries = [r#"{"id":"a","dims":{"d":"k"},"counters":{"x":5}}"#, one, other];
    for path in ["/stats", "/stats/"] {
        let response = service.send(&batch(path, &entries)).await;
        assert_eq!(response.status_code, 200);
        let answer: Value = serde_json::from_str(&text(&response)).unwrap();
        let reused = &answer["items"][2]["Error"];
        assert!(reused.as_str().unwrap().contains("use a new one for each update"), "{reused}");
        let expected = json!({
            "Succeeded": false,
            "Error": "1 of 3 failed",
            "items": [
                {"id": "a", "status": 200, "Error": ""},
                {"id": "b/c", "status": 200, "Error": ""},
                {"id": "b/c", "status": 422, "Error": reused},
            ],
        });
        assert_eq!(answer, expected);
        assert!(!response.headers.contains_key("retry-after"));
    }
    assert_eq!(service.total("x").await, 6);
    let array = format!("[{one}]");
    let response = service.send(&batch("/stats", &[&array])).await;
    let all = r#"{"Succeeded":true,"Error":"","items":[{"id":"b/c","status":200,"Error":""}]}"#;
    assert_eq!(text(&response), all);
    let none = service.send(&batch("/stats", &["[]"])).await;
    assert_eq!(text(&none), r#"{"Succeeded":true,"Error":"","items":[]}"#);
}

#[tokio::test]
async fn a_batch_with_an_entry_that_is_not_valid_counts_nothing() {
    let service = Service::new().await;
    let ok = r#"{"id":"a","dims":{"d":"k"},"increments":{"x":1}}"#;
    let many = vec![ok; 1_001];
    let members: Vec<_> = (0..5_001).map(|i| format!("\"{i}\"")).collect();
    let large = format!(
        r#"{{"id":"a","dims":{{"d":"k","e":"k"}},"multiMembers":{{"m":[{}]}}}}"#,
        members.join(",")
    );
    for (entries, status, error) in [
        (vec![ok, "{}"], 400, "entry 1 (line 2): there is no \\\"id\\\""),
        (vec![ok, ok, r#"{"id":"a","gauges":{"x":1.5}}"#], 400, "entry 2 (line 3): gauges.x"),
        (vec![ok, r#"{"id":"a","dims":{"d":"Total"}}"#], 400, "entry 1 (line 2): dims"),
        (vec![ok, &large], 413, "entry 1 (line 2): the update has 5001 members"),
        (many, 413, "the batch has 1001 entries"),
        (vec![""], 400, "the body has no entries"),
        (vec!["7"], 400, "entry 0 (line 1): it is not a JSON object but 7"),
    ] {
        let response = service.send(&batch("/stats", &entries)).await;
        assert_eq!(response.status_code, status, "{}", text(&response));
        let expected = format!(r#"{{"Succeeded":false,"Error":"{error}"#);
        assert!(text(&response).starts_with(&expected), "{}", text(&response));
    }
    assert!(service.keys("d").await.is_empty());
}

#[tokio::test]
async fn a_batch_takes_no_key_and_no_parameters_for_all_of_its_entries_but_gzip() {
    let service = Service::new().await;
    let entry = r#"{"id":"a","dims":{"d":"k"},"increments":{"x":1}}"#;
    let mut event = batch("/stats", &[entry]);
    event["headers"]["idempotency-key"] = "one".into();
    let response = service.send(&event).await;
    assert_eq!(response.status_code, 400);
    assert!(text(&response).contains("idempotencyKey"), "{}", text(&response));
    let mut event = batch("/stats", &[entry]);
    event["rawQueryString"] = "b".into();
    assert_eq!(service.send(&event).await.status_code, 400);

    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(entry.as_bytes()).unwrap();
    let gzip = BASE64_STANDARD.encode(encoder.finish().unwrap());
    let mut event = local("POST", "/stats", &gzip);
    event["headers"]["content-encoding"] = "gzip".into();
    assert_eq!(service.send(&event).await.status_code, 200);
    assert_eq!(service.total("x").await, 1);
}

#[tokio::test]
async fn entries_that_failed_for_lack_of_a_database_may_come_again_later() {
    let service = Service::new().await;
    let proxy = Proxy::start(&service.endpoint).await.unwrap();
    proxy.set_away(true);
    let client = local_dynamodb::client(proxy.endpoint());
    let function =
        update::Function::new(&config(), Store::new(client, settings(), fastrand::Rng::new()));
    let entry = r#"{"id":"a","dims":{"d":"k"},"increments":{"x":1}}"#;
    let event: ApiGatewayV2httpRequest =
        serde_json::from_value(batch("/stats", &[entry, entry])).unwrap();
    let call = Call { deadline: Deadline::after(Duration::from_millis(300)), ..call() };
    let response = answer_event(&function, &Auth::Off, event, call).await;
    assert_eq!(response.status_code, 200);
    assert_eq!(response.headers["retry-after"], "2");
    let answer: Value = serde_json::from_str(&text(&response)).unwrap();
    assert_eq!(answer["Error"], "2 of 2 failed");
    for item in answer["items"].as_array().unwrap() {
        assert_eq!(item["status"], 503, "{item}");
        assert!(item["Error"].as_str().unwrap().contains("try again later"), "{item}");
    }
}

#[tokio::test]
async fn idempotency_keys_come_in_a_header() {
    let service = Service::new().await;
    let mut event = routed(r#"{"dims":{"d":"k"},"increments":{"x":1}}"#);
    event["headers"]["idempotency-key"] = "one".into();
    assert_eq!(service.send(&event).await.status_code, 200);
    assert_eq!(service.send(&event).await.status_code, 200);
    event["body"] = "{}".into();
    let reused = service.send(&event).await;
    assert_eq!(reused.status_code, 422);
    assert!(text(&reused).contains("Idempotency-Key"));
    for key in ["", "a b", "é", "one,one", "one, one"] {
        event["headers"]["idempotency-key"] = key.into();
        assert_eq!(service.send(&event).await.status_code, 400, "{key:?}");
    }
}

#[tokio::test]
async fn a_database_that_is_away_is_a_503_before_the_deadline_and_no_restart_is_needed_after_it() {
    let service = Service::new().await;
    let proxy = Proxy::start(&service.endpoint).await.unwrap();
    let client = local_dynamodb::client(proxy.endpoint());
    let store = Store::new(client, settings(), fastrand::Rng::new());
    let function = update::Function::new(&config(), store);
    let event: ApiGatewayV2httpRequest = serde_json::from_value(routed(
        r#"{"dims":{"d":"k"},"increments":{"x":1},"members":{"s":"m"}}"#,
    ))
    .unwrap();
    let time = Duration::from_millis(600);
    let answer = async || {
        let call = Call { deadline: Deadline::after(time), ..call() };
        answer_event(&function, &Auth::Off, event.clone(), call).await
    };

    for counted in [1, 2] {
        proxy.set_away(true);
        let started = Instant::now();
        let response = answer().await;
        // It waited until the deadline, and a busy machine may have taken some more.
        assert!(started.elapsed() < time + Duration::from_secs(5), "{:?}", started.elapsed());
        assert_eq!(response.status_code, 503);
        assert_eq!(response.headers["retry-after"], "2");
        assert!(text(&response).contains("try again later"), "{}", text(&response));
        assert!(!text(&response).contains("127.0.0.1"));

        proxy.set_away(false);
        let response = loop {
            let response = answer().await;
            if response.status_code == 200 {
                break response;
            }
        };
        assert_eq!(text(&response), r#"{"Succeeded":true,"Error":""}"#);
        let dimension = DimensionName::new("d").unwrap();
        let summary = service.reader.summary(&dimension, call().now, call().deadline).await;
        let total = summary.unwrap().total().clone();
        let sums = |sums: &BTreeMap<StatName, Sum>| {
            sums.values().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(
            (sums(&total.counters), sums(&total.members)),
            (vec![counted.to_string()], vec!["1".to_owned()])
        );
    }
}

#[tokio::test]
async fn copies_sent_at_the_same_moment_are_counted_once_and_get_the_same_answer() {
    let service = Service::new().await;
    let mut event = routed(r#"{"dims":{"d":"k"},"increments":{"x":1}}"#);
    event["headers"]["idempotency-key"] = "the-same".into();
    let copies = (0..8).map(|_| service.send(&event));
    for response in join_all(copies).await {
        assert_eq!(response.status_code, 200);
        assert_eq!(text(&response), r#"{"Succeeded":true,"Error":""}"#);
    }
    let dimension = DimensionName::new("d").unwrap();
    let summary = service.reader.summary(&dimension, call().now, call().deadline).await.unwrap();
    assert_eq!(summary.total().counters.values().next(), Some(&Sum::from(1)));
}

/// The defaults, open to anyone.
fn config() -> Config {
    Config::from_variables(|name| (name == "STATSHUB_AUTH").then(|| "off".to_owned())).unwrap()
}

fn settings() -> Settings {
    Settings::new("statshub", PeriodLength::DEFAULT)
}
