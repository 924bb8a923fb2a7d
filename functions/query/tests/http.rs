//! Queries, from events to responses.

#![allow(
    missing_docs,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

use std::time::{Duration, SystemTime};

use aws_lambda_events::event::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse};
use lambda_runtime::Context;
use serde_json::{Value, json};
use shared::{
    auth::Auth,
    config::Config,
    domain::{Id, PeriodLength, UnixSeconds, Update},
    lambda::{Call, answer_event},
    store::{Settings, Store},
};

struct Service {
    function: query::Function,
    writer: Store,
}

impl Service {
    async fn new() -> Self {
        let client = local_dynamodb::in_memory_with_table("statshub").await.unwrap();
        let store = || Store::new(client.clone(), settings(), fastrand::Rng::new());
        Self { function: query::Function::new(&config(), store()), writer: store() }
    }

    async fn post(&self, now: u64, body: &str) {
        let update = Update::from_json(body.as_bytes()).unwrap();
        let id = Id::new("id").unwrap();
        let call = call_at(now);
        self.writer.update(&id, &update, None, call.now, call.deadline).await.unwrap();
    }

    async fn get(&self, now: u64, path: &str) -> ApiGatewayV2httpResponse {
        self.send(now, "GET", path).await
    }

    async fn send(&self, now: u64, method: &str, path: &str) -> ApiGatewayV2httpResponse {
        self.ask(now, method, path, "").await
    }

    async fn ask(
        &self,
        now: u64,
        method: &str,
        path: &str,
        query: &str,
    ) -> ApiGatewayV2httpResponse {
        let event = json!({
            "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": query,
            "headers": {},
            "requestContext": {"stage": "$default", "http": {"method": method, "path": path}},
            "isBase64Encoded": false
        });
        let event: ApiGatewayV2httpRequest = serde_json::from_value(event).unwrap();
        answer_event(&self.function, &Auth::Off, event, call_at(now)).await
    }
}

fn call_at(now: u64) -> Call {
    let mut call = Call::of(&Context::default(), SystemTime::now());
    call.now = UnixSeconds(now);
    call
}

fn body(response: &ApiGatewayV2httpResponse) -> Value {
    assert_eq!(response.status_code, 200);
    serde_json::from_slice(response.body.as_deref().unwrap()).unwrap()
}

fn header<'a>(response: &'a ApiGatewayV2httpResponse, name: &str) -> Option<&'a str> {
    response.headers.get(name).map(|value| value.to_str().unwrap())
}

#[tokio::test]
async fn a_dimension_and_all_dimensions() {
    let service = Service::new().await;
    assert_eq!(
        body(&service.get(3_600, "/stats/").await),
        json!({"Succeeded": true, "Error": "", "dims": {}})
    );
    service.post(3_600, r#"{"dims":{"user":"bob","País":"ES"},"counters":{"x":1},"gauges":{"g":2},"members":{"m":"a"}}"#).await;
    let stats = json!({"counters": {"x": 1}, "gauges": {"m": 1}, "gaugesCurrent": {"g": 2}});
    let user = json!({"bob": stats, "total": stats});
    let answer = service.get(3_600, "/stats/user").await;
    assert_eq!(body(&answer), json!({"Succeeded": true, "Error": "", "dims": {"user": user}}));
    let all = json!({"user": user, "país": {"es": stats, "total": stats}});
    for path in ["/stats/", "/stats"] {
        assert_eq!(body(&service.get(3_600, path).await)["dims"], all);
    }
    let pais = body(&service.get(3_600, "/stats/Pa%C3%ADs").await);
    assert_eq!(pais["dims"]["país"]["es"], stats);
}

#[tokio::test]
async fn an_unknown_dimension_has_an_empty_total_and_an_invalid_one_is_refused() {
    let service = Service::new().await;
    let unknown = body(&service.get(0, "/stats/nowhere").await);
    assert_eq!(unknown["dims"], json!({"nowhere": {"total": {}}}));
    assert_eq!(service.get(0, "/stats/a%2Fb").await.status_code, 400);
}

#[tokio::test]
async fn country_is_cached_for_a_minute_and_says_so() {
    let service = Service::new().await;
    let counter = async |now| {
        let response = service.get(now, "/stats/country").await;
        let counter = body(&response)["dims"]["country"]["total"]["counters"]["x"].clone();
        let headers =
            ["cache-control", "age"].map(|name| header(&response, name).unwrap().to_owned());
        (counter, headers.join(" "))
    };
    service.post(3_600, r#"{"dims":{"country":"es","user":"bob"},"counters":{"x":1}}"#).await;
    assert_eq!(counter(3_600).await, (json!(1), "max-age=60 0".to_owned()));
    service.post(3_610, r#"{"dims":{"country":"es","user":"bob"},"counters":{"x":2}}"#).await;
    assert_eq!(counter(3_659).await, (json!(1), "max-age=60 59".to_owned()));

    let all = service.get(3_659, "/stats/").await;
    assert_eq!(body(&all)["dims"]["country"]["total"]["counters"]["x"], 1);
    let user = service.get(3_659, "/stats/user").await;
    assert_eq!(body(&user)["dims"]["user"]["total"]["counters"]["x"], 2);
    assert_eq!(header(&user, "cache-control"), Some("no-store"));

    assert_eq!(counter(3_660).await, (json!(2), "max-age=60 0".to_owned()));
}

#[tokio::test]
async fn the_answer_to_head_has_the_body_and_so_the_length_of_get() {
    let service = Service::new().await;
    let [head, get] = ["HEAD", "GET"].map(|method| service.send(0, method, "/stats/user"));
    let (head, get) = (head.await, get.await);
    assert_eq!((head.status_code, &head.headers), (get.status_code, &get.headers));
    assert!(!get.body.as_deref().unwrap().is_empty());
    assert_eq!(head.body.as_deref(), get.body.as_deref());
}

#[tokio::test]
async fn a_slash_at_the_end_changes_nothing() {
    let service = Service::new().await;
    service.post(0, r#"{"dims":{"user":"bob"},"counters":{"x":1}}"#).await;
    let plain = body(&service.get(0, "/stats/user").await);
    assert_eq!(body(&service.get(0, "/stats/user/").await), plain);
    assert_eq!(plain["dims"]["user"]["bob"]["counters"]["x"], 1);
}

#[tokio::test]
async fn a_parameter_with_a_typing_error_is_refused_rather_than_ignored() {
    let service = Service::new().await;
    for path in ["/stats/user", "/stats/"] {
        let response = service.ask(0, "GET", path, "kye=bob").await;
        assert_eq!(response.status_code, 400);
        let text = String::from_utf8(response.body.as_deref().unwrap().to_vec()).unwrap();
        assert!(text.contains(r#"there is no parameter \"kye\""#), "{text}");
    }
}

#[tokio::test]
async fn a_deadline_in_the_past_is_no_deadline() {
    let mut context = Context::default();
    context.deadline = 600_000;
    let call = Call::of(&context, SystemTime::now());
    let service = Service::new().await;
    let summary = service.writer.dimensions(call.deadline).await;
    assert!(summary.is_ok());
    let gone = Call::of(&context, SystemTime::UNIX_EPOCH + Duration::from_millis(599_500));
    assert!(service.writer.dimensions(gone.deadline).await.is_err());
}

/// The defaults, open to anyone.
fn config() -> Config {
    Config::from_variables(|name| (name == "STATSHUB_AUTH").then(|| "off".to_owned())).unwrap()
}

fn settings() -> Settings {
    Settings::new("statshub", PeriodLength::DEFAULT)
}
