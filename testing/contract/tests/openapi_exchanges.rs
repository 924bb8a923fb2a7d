//! The exchanges of the end-to-end tests, which `docs/openapi.yaml` has to allow.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

#[allow(dead_code, reason = "other tests use all of it")]
#[path = "openapi/description.rs"]
mod description;

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io::{BufRead, BufReader},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use description::{Description, Exchange};
use serde_json::Value;

/// The file with the exchanges, a line of JSON for each.
const FILE: &str = "STATSHUB_TEST_EXCHANGES";

/// Headers that differ from one answer to the next.
const OF_EACH: [&str; 2] = ["apigw-requestid", "date"];

fn exchange(line: &str) -> Exchange {
    let json: Value = serde_json::from_str(line).unwrap();
    let text = |name: &str| json[name].as_str().unwrap().to_owned();
    let bytes = |name: &str| BASE64_STANDARD.decode(text(name)).unwrap();
    let headers = |name: &str| {
        let headers = json[name].as_object().unwrap().iter();
        let headers = headers.filter(|(name, _)| !OF_EACH.contains(&name.as_str()));
        headers
            .map(|(name, value)| (name.clone(), value.as_str().unwrap().to_owned()))
            .collect::<BTreeMap<_, _>>()
    };
    Exchange {
        method: text("method"),
        path: text("path"),
        query: text("query"),
        request_headers: headers("requestHeaders"),
        request_body: bytes("requestBody"),
        status: u16::try_from(json["status"].as_u64().unwrap()).unwrap(),
        headers: headers("headers"),
        body: bytes("body"),
    }
}

#[test]
#[ignore = "the step end-to-end of cargo xtask test makes the exchanges"]
fn the_description_allows_every_exchange_of_the_end_to_end_tests() {
    let description = Description::load();
    let lines = BufReader::new(File::open(std::env::var(FILE).expect(FILE)).unwrap()).lines();
    let exchanges = lines.map(|line| exchange(&line.unwrap()));
    let mut count = 0;
    let distinct: BTreeSet<_> = exchanges.inspect(|_| count += 1).collect();
    let statuses: BTreeSet<_> = distinct.iter().map(|exchange| exchange.status).collect();
    println!("{} of {count} exchanges are distinct; their statuses: {statuses:?}", distinct.len());
    let failures = distinct.iter().filter_map(|exchange| {
        let error = description.check(exchange).err()?;
        let Exchange { method, path, query, status, body, .. } = exchange;
        let body: String = String::from_utf8_lossy(body).chars().take(300).collect();
        Some(format!("{method} {path}?{query}: {status}: {error}\n    {body}"))
    });
    let failures: Vec<_> = failures.collect();
    assert!(
        failures.is_empty(),
        "{}:\n{}",
        failures.len(),
        failures[..failures.len().min(20)].join("\n")
    );
    assert!(distinct.len() > 100 && statuses.is_superset(&[200, 400, 401, 403, 404, 405].into()));
}
