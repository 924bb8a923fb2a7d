//! Queries, from events to responses.

#![allow(
    missing_docs,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::indexing_slicing,
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
        self.post_as("id", now, body).await;
    }

    async fn post_as(&self, id: &str, now: u64, body: &str) {
        let update = Update::from_json(body.as_bytes()).unwrap();
        let id = Id::new(id).unwrap();
        let call = call_at(now);
        self.writer.update(&id, &update, None, call.now, call.deadline).await.unwrap();
    }

    async fn get(&self, now: u64, path: &str) -> ApiGatewayV2httpResponse {
        self.send(now, "GET", path).await
    }

    async fn send(&self, now: u64, method: &str, path: &str) -> ApiGatewayV2httpResponse {
        self.ask(now, method, path, json!({})).await
    }

    /// Asks for a path with parameters, by these headers.
    async fn ask(
        &self,
        now: u64,
        method: &str,
        path: &str,
        headers: Value,
    ) -> ApiGatewayV2httpResponse {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let event = json!({
            "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": query,
            "headers": headers,
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

fn text(response: &ApiGatewayV2httpResponse) -> String {
    String::from_utf8(response.body.as_deref().unwrap().to_vec()).unwrap()
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
async fn the_dimensions_are_listed_without_reading_their_keys() {
    let service = Service::new().await;
    let nothing = json!({"Succeeded": true, "Error": "", "dimensions": []});
    assert_eq!(body(&service.get(3_600, "/dimensions").await), nothing);
    for number in 0..50 {
        let counters = format!("\"{}{number}\":1", "x".repeat(200));
        let update =
            format!(r#"{{"dims":{{"user":"k{number}","País":"ES"}},"counters":{{{counters}}}}}"#);
        service.post_as(&number.to_string(), 3_600, &update).await;
    }
    let answer = service.get(3_600, "/dimensions").await;
    let both = json!({"Succeeded": true, "Error": "", "dimensions": ["país", "user"]});
    assert_eq!(body(&answer), both);
    assert_eq!(header(&answer, "x-statshub-units"), Some("read=1; write=0"));
    assert_eq!(header(&answer, "cache-control"), Some("private, no-cache"));
    let known = json!({"if-none-match": header(&answer, "etag").unwrap()});
    assert_eq!(service.ask(3_600, "GET", "/dimensions", known).await.status_code, 304);
    assert_eq!(service.get(3_600, "/dimensions?format=csv").await.status_code, 400);
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
    assert_eq!(header(&user, "cache-control"), Some("private, no-cache"));

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
        let response = service.get(0, &format!("{path}?kye=bob")).await;
        assert_eq!(response.status_code, 400);
        let text = text(&response);
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

/// Five keys: `k0` to `k4`. The counter `n` falls from key to key, and only even ones have `even`.
async fn with_keys() -> Service {
    let service = Service::new().await;
    for index in 0..5 {
        let even = if index % 2 == 0 { r#","even":1"# } else { "" };
        let n = 10 - index;
        let body = format!(r#"{{"dims":{{"d":"k{index}"}},"counters":{{"n":{n}{even}}}}}"#);
        service.post_as(&format!("i{index}"), 3_600, &body).await;
    }
    service
}

/// The dimension `d` in an answer in JSON: its keys in their order, and the counter `n` of its
/// total.
async fn shown(service: &Service, query: &str) -> (Vec<String>, Option<u64>) {
    let response = service.get(3_600, &format!("/stats/d?{query}")).await;
    assert_eq!(response.status_code, 200, "{query}: {}", text(&response));
    let body: Value = serde_json::from_str(&text(&response)).unwrap();
    let total = body["dims"]["d"].get("total").map(|total| total["counters"]["n"].as_u64());
    let keys = body["dims"]["d"].as_object().unwrap().keys().filter(|key| *key != "total");
    let mut keys: Vec<_> = keys.cloned().collect();
    // The JSON of this test does not keep the order.
    let place = |key: &String| text(&response).find(&format!("\"{key}\":{{")).unwrap();
    keys.sort_by_key(place);
    (keys, total.map(Option::unwrap_or_default))
}

#[tokio::test]
async fn each_parameter_chooses_keys_and_order_and_a_total_is_whole_or_absent() {
    let service = with_keys().await;
    for (query, keys, total) in [
        ("", "k0 k1 k2 k3 k4", Some(40)),
        ("total=false", "k0 k1 k2 k3 k4", None),
        ("sort=-key", "k4 k3 k2 k1 k0", Some(40)),
        ("sort=counter.n", "k4 k3 k2 k1 k0", Some(40)),
        ("sort=-counter.n", "k0 k1 k2 k3 k4", Some(40)),
        ("sort=-counter.even", "k0 k2 k4 k1 k3", Some(40)),
        ("sort=gauge.nothing", "k0 k1 k2 k3 k4", Some(40)),
        ("sort=counter.n&limit=2", "k4 k3", Some(40)),
        ("sort=counter.n&limit=2&total=false", "k4 k3", None),
        ("limit=2", "k0 k1", None),
        ("limit=2&total=true", "k0 k1", Some(40)),
        ("limit=2&sort=-key", "k4 k3", None),
        ("limit=5", "k0 k1 k2 k3 k4", Some(40)),
        ("limit=4", "k0 k1 k2 k3", None),
        ("limit=0", "", Some(40)),
        ("limit=0&key=k1", "", Some(40)),
        ("key=K1&key=k3&key=none", "k1 k3", None),
        ("key=k1&total=true", "k1", Some(40)),
        ("prefix=K", "k0 k1 k2 k3 k4", None),
        ("prefix=k1", "k1", None),
        ("prefix=x", "", None),
        ("prefix=x&total=true", "", Some(40)),
        ("key=k1&key=k2&sort=counter.n&limit=1", "k2", None),
        ("stat=even", "k0 k2 k4", Some(0)),
        ("stat=even&limit=2", "k0 k2", None),
        ("stat=none", "", Some(0)),
    ] {
        let keys: Vec<_> = keys.split_whitespace().map(str::to_owned).collect();
        assert_eq!(shown(&service, query).await, (keys, total), "{query}");
    }
}

#[tokio::test]
async fn some_stats_are_those_alone_in_keys_and_total() {
    let service = with_keys().await;
    let body = body(&service.get(3_600, "/stats/d?stat=even&limit=0").await);
    assert_eq!(body["dims"]["d"], json!({"total": {"counters": {"even": 3}}}));
    assert_eq!(body["next"], "");
}

#[tokio::test]
async fn pages_go_on_where_the_last_one_ended_in_every_order() {
    let service = with_keys().await;
    for (order, all) in [
        ("", "k0 k1 k2 k3 k4"),
        ("&sort=-key", "k4 k3 k2 k1 k0"),
        ("&sort=counter.n", "k4 k3 k2 k1 k0"),
        ("&sort=-counter.even", "k0 k2 k4 k1 k3"),
        ("&stat=even", "k0 k2 k4"),
        ("&key=k4&key=k0&key=k3", "k0 k3 k4"),
        ("&prefix=k", "k0 k1 k2 k3 k4"),
    ] {
        for limit in [1, 2, 3, 5, 6] {
            let (mut read, mut page, mut pages) = (Vec::new(), String::new(), 0);
            loop {
                let query = format!("limit={limit}{order}{page}");
                read.extend(shown(&service, &query).await.0);
                pages += 1;
                let response = service.get(3_600, &format!("/stats/d?{query}")).await;
                let next = body(&response)["next"].as_str().unwrap().to_owned();
                assert_eq!(header(&response, "x-statshub-next"), Some(next.as_str()));
                let link = header(&response, "link");
                if next.is_empty() {
                    assert_eq!(link, None);
                    break;
                }
                assert!(link.unwrap().ends_with(&format!("&page={next}>; rel=\"next\"")));
                page = format!("&page={next}");
            }
            let all: Vec<_> = all.split_whitespace().collect();
            assert_eq!(read, all, "limit={limit}{order}");
            assert_eq!(pages, all.len().div_ceil(limit), "limit={limit}{order}");
        }
    }
}

#[tokio::test]
async fn without_a_limit_there_are_no_pages() {
    let service = with_keys().await;
    let response = service.get(3_600, "/stats/d?stat=n").await;
    assert!(body(&response).get("next").is_none());
    assert_eq!((header(&response, "link"), header(&response, "x-statshub-next")), (None, None));
}

#[tokio::test]
async fn each_format_has_the_same_numbers() {
    let service = Service::new().await;
    service.post(3_600, r#"{"dims":{"d":"k,1"},"counters":{"a":-5},"gauges":{"g":2}}"#).await;
    let row = |key: &str, kind: &str, stat: &str, value: i64| json!({"dim": "d", "key": key, "kind": kind, "stat": stat, "value": value});
    let rows = json!([
        row("k,1", "counter", "a", -5),
        row("k,1", "current", "g", 2),
        row("total", "counter", "a", -5),
        row("total", "current", "g", 2)
    ]);
    let by_format = service.get(3_600, "/stats/d?format=rows").await;
    assert_eq!(body(&by_format), rows);
    assert_eq!(header(&by_format, "content-type"), Some("application/json"));

    let csv = "dim,key,kind,stat,value\r\nd,\"k,1\",counter,a,-5\r\nd,\"k,1\",current,g,2\r\n\
               d,total,counter,a,-5\r\nd,total,current,g,2\r\n";
    let by_format = service.get(3_600, "/stats/d?format=csv").await;
    let by_header = service.ask(3_600, "GET", "/stats/d", json!({"accept": "text/csv"})).await;
    let all = service.get(3_600, "/stats/?format=csv").await;
    for response in [by_format, by_header, all] {
        assert_eq!(text(&response), csv);
        assert_eq!(header(&response, "content-type"), Some("text/csv; charset=utf-8"));
        assert_eq!(header(&response, "vary"), Some("accept, accept-encoding"));
    }

    let by_format = service.get(3_600, "/stats/d?format=prometheus").await;
    let by_header = service.ask(3_600, "GET", "/stats/d", json!({"accept": "text/plain"})).await;
    let metrics = service.get(3_600, "/metrics?dim=d&dim=unknown").await;
    let all = service.get(3_600, "/metrics").await;
    for response in [by_format, by_header, metrics, all] {
        let samples = text(&response);
        let samples: Vec<_> = samples.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            samples,
            ["statshub_counter_a{d=\"k,1\"} -5", "statshub_current_g{d=\"k,1\"} 2"]
        );
        let content_type = Some("text/plain; version=0.0.4; charset=utf-8");
        assert_eq!(header(&response, "content-type"), content_type);
    }
}

#[tokio::test]
async fn the_plain_answer_has_the_same_bytes_as_ever() {
    let service = Service::new().await;
    for key in ["é", "b", "~", "B#", "a"] {
        service
            .post_as(key, 3_600, &format!(r#"{{"dims":{{"d":"{key}"}},"counters":{{"x":1}}}}"#))
            .await;
    }
    let stats = r#"{"counters":{"x":1}}"#;
    let total = r#"{"counters":{"x":5}}"#;
    let expected = format!(
        r#"{{"Succeeded":true,"Error":"","dims":{{"d":{{"a":{stats},"b":{stats},"b#":{stats},"~":{stats},"é":{stats},"total":{total}}}}}}}"#
    );
    for path in ["/stats/d", "/stats/d/", "/stats/", "/stats/d?total=true", "/stats/d?format=json"]
    {
        assert_eq!(text(&service.get(3_600, path).await), expected, "{path}");
    }
}

#[tokio::test]
async fn of_all_dimensions_only_the_format_can_be_chosen() {
    let service = Service::new().await;
    for query in ["limit=5", "key=a", "sort=key", "total=false", "page=x", "stat=x", "prefix=x"] {
        for path in ["/stats/", "/metrics"] {
            let refused = service.get(0, &format!("{path}?{query}")).await;
            let name = query.split('=').next().unwrap();
            assert_eq!(refused.status_code, 400, "{path}?{query}");
            let expected = format!(r#"there is no parameter \"{name}\""#);
            assert!(text(&refused).contains(&expected), "{}", text(&refused));
        }
    }
    for path in ["/metrics?dim=", "/metrics?dim=a%60b", "/stats/d?limit=x", "/stats/?format=x"] {
        assert_eq!(service.get(0, path).await.status_code, 400, "{path}");
    }
}

#[tokio::test]
async fn what_is_filtered_of_a_cached_dimension_is_fresh_and_not_kept() {
    let service = Service::new().await;
    let value = async |now, query: &str| {
        let response = service.get(now, &format!("/stats/country{query}")).await;
        let cache = header(&response, "cache-control").unwrap().to_owned();
        (body(&response)["dims"]["country"]["es"]["counters"]["x"].clone(), cache)
    };
    service.post(3_600, r#"{"dims":{"country":"es"},"counters":{"x":1}}"#).await;
    assert_eq!(value(3_600, "").await, (json!(1), "max-age=60".to_owned()));
    service.post(3_600, r#"{"dims":{"country":"es"},"counters":{"x":2}}"#).await;
    assert_eq!(value(3_601, "?key=es").await, (json!(2), "private, no-cache".to_owned()));
    assert_eq!(value(3_601, "").await, (json!(1), "max-age=60".to_owned()));
}

#[tokio::test]
async fn who_has_an_answer_already_gets_a_304_with_its_headers() {
    let service = Service::new().await;
    service.post(3_600, r#"{"dims":{"d":"k","country":"es"},"counters":{"x":1}}"#).await;
    for path in [
        "/stats/d",
        "/stats/country",
        "/stats/d?limit=1&format=csv",
        "/metrics?dim=d",
        "/openapi.yaml",
    ] {
        let whole = service.get(3_600, path).await;
        let tag = header(&whole, "etag").unwrap();
        assert!(tag.starts_with('"') && tag.ends_with('"'), "{tag}");
        for (method, known) in
            [("GET", tag.to_owned()), ("HEAD", format!("\"x\", W/{tag}")), ("GET", "*".to_owned())]
        {
            let known = json!({"if-none-match": known});
            let unchanged = service.ask(3_600, method, path, known).await;
            assert_eq!(unchanged.status_code, 304, "{path}");
            assert_eq!(text(&unchanged), "");
            assert_eq!(header(&unchanged, "content-type"), None);
            for name in ["etag", "vary", "cache-control", "age", "x-statshub-next"] {
                assert_eq!(header(&unchanged, name), header(&whole, name), "{path} {name}");
            }
        }
        let other = service.ask(3_600, "GET", path, json!({"if-none-match": "\"x\""})).await;
        assert_eq!((other.status_code, text(&other)), (200, text(&whole)));
    }
    let before = service.get(3_600, "/stats/d").await;
    service.post(3_600, r#"{"dims":{"d":"k"},"counters":{"x":2}}"#).await;
    let known = json!({"if-none-match": header(&before, "etag").unwrap()});
    assert_eq!(service.ask(3_600, "GET", "/stats/d", known).await.status_code, 200);
}

#[tokio::test]
async fn an_answer_is_compressed_for_those_who_take_that() {
    let service = with_keys().await;
    let plain = service.get(3_600, "/stats/d").await;
    let gzip = json!({"accept-encoding": "br, gzip"});
    let compressed = service.ask(3_600, "GET", "/stats/d", gzip.clone()).await;
    assert_eq!(header(&compressed, "content-encoding"), Some("gzip"));
    assert!(compressed.is_base64_encoded);
    let bytes = compressed.body.as_deref().unwrap().to_vec();
    let decoded = std::io::read_to_string(flate2::read::GzDecoder::new(&bytes[..])).unwrap();
    assert_eq!(decoded, text(&plain));
    // Other bytes have another validator.
    assert_ne!(header(&compressed, "etag"), header(&plain, "etag"));
    let known = json!({"accept-encoding": "gzip", "if-none-match": header(&compressed, "etag")});
    let unchanged = service.ask(3_600, "GET", "/stats/d", known).await;
    assert_eq!((unchanged.status_code, header(&unchanged, "content-encoding")), (304, None));
    for refused in [json!({"accept-encoding": "gzip;q=0"}), json!({"accept-encoding": "br"})] {
        let answer = service.ask(3_600, "GET", "/stats/d", refused).await;
        assert_eq!(header(&answer, "content-encoding"), None);
        assert_eq!(text(&answer), text(&plain));
    }
    let head = service.ask(3_600, "HEAD", "/stats/d", gzip).await;
    assert_eq!(head.headers, compressed.headers);
}

#[tokio::test]
async fn the_description_of_the_api_is_the_file_of_the_docs_and_is_compressed_where_asked_for() {
    let service = Service::new().await;
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/openapi.yaml");
    let file = std::fs::read_to_string(file).unwrap();
    let plain = service.get(3_600, "/openapi.yaml").await;
    assert_eq!((plain.status_code, text(&plain)), (200, file.clone()));
    assert_eq!(header(&plain, "content-type"), Some("application/yaml; charset=utf-8"));
    let gzip = json!({"accept-encoding": "gzip"});
    let compressed = service.ask(3_600, "GET", "/openapi.yaml", gzip).await;
    let bytes = compressed.body.as_deref().unwrap().to_vec();
    let decoded = std::io::read_to_string(flate2::read::GzDecoder::new(&bytes[..])).unwrap();
    assert_eq!(decoded, file);
    // The description of a part would be none.
    assert_eq!(service.get(3_600, "/openapi.yaml?path=x").await.status_code, 400);
}

#[tokio::test]
async fn an_id_shows_what_it_last_reported() {
    let service = Service::new().await;
    assert_eq!(service.get(3_600, "/ids/a%2Fb").await.status_code, 404);
    let report =
        r#"{"dims":{"country":"ES"},"counters":{"c-1":5},"gauges":{"g":7},"members":{"m":"x"}}"#;
    service.post_as("a/b", 3_700, report).await;
    service.post_as("a/b", 3_700, r#"{"dims":{"user":"bob"},"increments":{"c-1":1}}"#).await;
    for path in ["/ids/a%2Fb", "/ids/a/b"] {
        let answer = service.get(9_999, path).await;
        assert_eq!(
            body(&answer),
            json!({"Succeeded": true, "Error": "", "id": "a/b",
                "dims": {"country": "es", "user": "bob"},
                "counters": {"c_1": 6}, "gauges": {"g": 7}, "gaugesPeriod": 3_600})
        );
        assert_eq!(header(&answer, "cache-control"), Some("no-store"));
    }
    let bare = r#"{"counters":{"c":0}}"#;
    service.post_as("bare", 3_700, bare).await;
    let bare = body(&service.get(3_700, "/ids/bare").await);
    assert_eq!(bare["counters"], json!({"c": 0}));
    assert!(bare.get("gauges").is_none() && bare.get("dims").is_none());
    assert_eq!(service.get(0, "/ids/").await.status_code, 400);
    assert_eq!(service.get(0, "/ids/a?limit=1").await.status_code, 400);
}

#[tokio::test]
async fn a_stream_is_one_event_of_the_keys_that_have_the_stat() {
    let service = with_keys().await;
    service.post_as("g", 3_000, r#"{"dims":{"d":"k0"},"gauges":{"g":3}}"#).await;
    for (path, values) in [
        ("k1/counter/n", json!({"k1": 9})),
        ("*/counter/even", json!({"k0": 1, "k2": 1, "k4": 1})),
        ("total/counter/n", json!({"total": 40})),
        ("k0/gauge/g", json!({"k0": 3})),
        ("unknown/counter/n", json!({})),
        ("*/counter/none", json!({})),
    ] {
        let answer = service.get(3_300, &format!("/stream/d/{path}")).await;
        assert_eq!(header(&answer, "content-type"), Some("text/event-stream; charset=utf-8"));
        assert_eq!(header(&answer, "cache-control"), Some("no-store"));
        let text = text(&answer);
        let data = text.strip_prefix("retry: 30000\ndata: ").unwrap();
        let data: Value = serde_json::from_str(data.strip_suffix("\n\n").unwrap()).unwrap();
        let interval = json!({"asOfSeconds": 3_300, "values": values});
        assert_eq!(data, json!({"intervals": [interval]}), "{path}");
    }
    assert_eq!(service.get(0, "/stream/d/k/rate/n").await.status_code, 400);
    assert_eq!(service.get(0, "/stream/d/k/counter/n?x=1").await.status_code, 400);
}

/// The defaults, open to anyone.
fn config() -> Config {
    Config::from_variables(|name| (name == "STATSHUB_AUTH").then(|| "off".to_owned())).unwrap()
}

fn settings() -> Settings {
    Settings::new("statshub", PeriodLength::DEFAULT)
}
