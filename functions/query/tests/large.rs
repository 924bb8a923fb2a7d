//! Dimensions that are larger than an answer.

#![allow(
    missing_docs,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::time::SystemTime;

use aws_lambda_events::event::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse};
use lambda_runtime::Context;
use serde_json::{Map, Value, json};
use shared::{
    auth::Auth,
    config::Config,
    domain::{Id, PeriodLength, Update},
    lambda::{Call, answer_event},
    store::{Settings, Store},
};

/// Each key takes about 125 KB, so all of them take more than twice the 6 MB of an answer.
const KEYS: usize = 100;
const STATS: usize = 400;

async fn get(function: &query::Function, path: &str, query: &str) -> ApiGatewayV2httpResponse {
    let event = json!({
        "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": query,
        "headers": {}, "requestContext": {"stage": "$default", "http": {"method": "GET", "path": path}},
        "isBase64Encoded": false
    });
    let event: ApiGatewayV2httpRequest = serde_json::from_value(event).unwrap();
    let call = Call::of(&Context::default(), SystemTime::now());
    answer_event(function, &Auth::Off, event, call).await
}

/// A function on a table with a large dimension. The names of its stats are as long as they may be.
async fn with_large_dimension() -> query::Function {
    let client = local_dynamodb::in_memory_with_table("statshub").await.unwrap();
    // As somebody may have left it before there was a bound.
    let settings = Settings {
        max_bytes_per_id: u32::MAX,
        max_bytes_per_key: u32::MAX,
        ..Settings::new("statshub", PeriodLength::DEFAULT)
    };
    let store = || Store::new(client.clone(), settings.clone(), fastrand::Rng::new());
    let writer = store();
    for index in 0..KEYS {
        let counters: Map<_, _> =
            (0..STATS).map(|stat| (format!("s{stat:0>299}"), json!(index))).collect();
        let body = json!({"dims": {"large": format!("k{index:03}")}, "counters": counters});
        let update = Update::from_json(body.to_string().as_bytes()).unwrap();
        let call = Call::of(&Context::default(), SystemTime::now());
        let id = Id::new(&format!("id{index}")).unwrap();
        writer.update(&id, &update, None, call.now, call.deadline).await.unwrap();
    }
    let variables = |name: &str| (name == "STATSHUB_AUTH").then(|| "off".to_owned());
    query::Function::new(&Config::from_variables(variables).unwrap(), store())
}

fn text(response: &ApiGatewayV2httpResponse) -> String {
    String::from_utf8(response.body.as_deref().unwrap().to_vec()).unwrap()
}

fn read_units(response: &ApiGatewayV2httpResponse) -> f64 {
    let units = response.headers["x-statshub-units"].to_str().unwrap();
    units.split(['=', ';']).nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn an_answer_that_cannot_fit_is_not_read_to_its_end_and_pages_of_it_fit() {
    let function = with_large_dimension().await;
    let total = get(&function, "/stats/large", "limit=0").await;
    assert_eq!(total.status_code, 200);
    let whole = read_units(&total);

    for (path, query, help) in [
        ("/stats/large", "", "limit, for some keys with key or prefix, for some stats with stat"),
        ("/stats/large", "format=csv", "or for the total alone with limit=0"),
        ("/stats/large", "prefix=k&total=false", "ask for pages with limit"),
        ("/stats/large", "format=prometheus", "ask for pages with limit"),
        ("/stats/", "", "ask for single dimensions at /stats/{dim}, which come in pages"),
        ("/metrics", "dim=large", "ask for single dimensions"),
    ] {
        let refused = get(&function, path, query).await;
        assert_eq!(refused.status_code, 413, "{path}?{query}");
        let text = text(&refused);
        assert!(text.contains("the answer would exceed 6 MB: ") && text.contains(help), "{text}");
        let read = read_units(&refused);
        assert!(read < 0.7 * whole, "{path}?{query}: {read} of {whole} units");
    }

    for sort in ["", "&sort=-counter.s&total=false"] {
        let (mut keys, mut page, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let answer = get(&function, "/stats/large", &format!("limit=1000{sort}{page}")).await;
            assert_eq!(answer.status_code, 200, "{}", text(&answer));
            let answer: Value = serde_json::from_str(&text(&answer)).unwrap();
            let dimension = answer["dims"]["large"].as_object().unwrap();
            keys.extend(dimension.keys().cloned());
            pages += 1;
            match answer["next"].as_str().unwrap() {
                "" => break,
                next => page = format!("&page={next}"),
            }
        }
        let expected: Vec<_> = (0..KEYS).map(|index| format!("k{index:03}")).collect();
        assert_eq!(keys, expected, "{sort}");
        assert!(pages > 1);
    }
    let stat = format!("limit=1000&stat=s{:0>299}", 7);
    let some = get(&function, "/stats/large", &stat).await;
    assert_eq!(some.status_code, 200);
    assert!(text(&some).len() < 100_000);
}
