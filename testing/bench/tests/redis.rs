//! statshub beside two services on Redis: all three answer alike, and what they send is what
//! docs/benchmarks.md has.
//!
//! `cargo xtask test redis` starts the Redis that `STATSHUB_TEST_REDIS` names.

#![allow(missing_docs, clippy::expect_used, clippy::unwrap_used)]

use std::collections::BTreeSet;

use bench::{
    benchmarks::check,
    beside_redis::{Contenders, Stores, count_small},
};
use http::Method;
use serde_json::{Value, json};

const IGNORED: &str = "the test step `redis` starts Redis";

/// The URL of a database of the test's own.
fn database(number: u8) -> String {
    let host = std::env::var("STATSHUB_TEST_REDIS").expect(IGNORED);
    format!("redis://{host}/{number}")
}

/// A random update of a few ids, which meet under a few keys.
fn update(random: &mut fastrand::Rng) -> (String, Value) {
    let mut dims = serde_json::Map::new();
    for dimension in ["country", "user"] {
        if random.u8(..4) > 0 {
            dims.insert(dimension.to_owned(), format!("k{}", random.u8(..4)).into());
        }
    }
    let body = json!({
        "dims": dims,
        "counters": {format!("c{}", random.u8(..3)): random.i64(-1_000..1_000_000_000)},
        // A counter may be set and raised at once.
        "increments": {format!("c{}", random.u8(..4)): random.i64(-5..100)},
        "gauges": {format!("g{}", random.u8(..2)): random.i64(0..50)},
        "members": {"m": format!("member {}", random.u8(..20))},
        "multiMembers": {"n": [format!("{}", random.u8(..9)), "both"]},
    });
    (format!("id{}", random.u8(..10)), body)
}

#[tokio::test]
#[ignore = "the test step `redis` starts Redis"]
async fn all_three_answer_alike() {
    let dynamodb = local_dynamodb::start_in_memory().await.unwrap();
    let stores = Stores { dynamodb, first: database(8), hashes: database(9) };
    let mut contenders = Contenders::open(&stores).await.unwrap();
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    for _ in 0..150 {
        let (id, body) = update(&mut random);
        let path = format!("/stats/{id}");
        contenders.answers(&Method::POST, &path, &body.to_string()).await.unwrap();
    }
    for path in ["/stats/country", "/stats/user", "/stats/", "/stats/unknown"] {
        let [statshub, first, hashes] = contenders.answers(&Method::GET, path, "").await.unwrap();
        assert_eq!(statshub, first, "{path}, seed {seed}");
        assert_eq!(statshub, hashes, "{path}, seed {seed}");
    }
    let [statshub, ..] = contenders.answers(&Method::GET, "/stats/country", "").await.unwrap();
    let total = statshub.pointer("/dims/country/total").and_then(Value::as_object).unwrap();
    let groups: BTreeSet<_> = total.keys().map(String::as_str).collect();
    assert_eq!(groups, ["counters", "gauges", "gaugesCurrent"].into(), "seed {seed}");
}

#[test]
#[ignore = "the test step `redis` starts Redis"]
fn calls_send_no_more_than_is_committed() {
    let counted = count_small(&database(10), &database(11)).unwrap().counted().unwrap();
    assert!(counted.iter().all(|table| !table.rows.is_empty()), "{counted:?}");
    check(&counted).unwrap();
}
