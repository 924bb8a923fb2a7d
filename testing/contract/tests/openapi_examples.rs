//! The examples of `docs/openapi.yaml`, played: each gets the answer that it has there.
//!
//! An example of an answer belongs to the examples of the parameters and of the body that have its
//! name.

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
#[path = "openapi/service.rs"]
mod service;

use std::collections::BTreeSet;

use description::{Description, Exchange, Operation};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use service::Service;

/// An example of an answer.
struct Example<'a> {
    operation: Operation<'a>,
    name: &'a str,
    status: &'a str,
    answer: &'a Value,
}

fn entries(value: Option<&Value>) -> impl Iterator<Item = (&str, &Value)> {
    let entries = value.and_then(Value::as_object).into_iter().flatten();
    entries.map(|(name, value)| (name.as_str(), value))
}

fn examples(description: &Description) -> Vec<Example<'_>> {
    let mut found = Vec::new();
    for operation in description.operations() {
        for (status, response) in entries(operation.value.get("responses")) {
            for (_, media) in entries(description.resolve(response).get("content")) {
                for (name, example) in entries(media.get("examples")) {
                    found.push(Example { operation, name, status, answer: &example["value"] });
                }
            }
        }
    }
    found
}

/// The text of a value in a URL or a header.
fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

fn encoded(value: &Value) -> String {
    utf8_percent_encode(&text(value), NON_ALPHANUMERIC).to_string()
}

impl Example<'_> {
    fn request(&self, description: &Description) -> Exchange {
        let mut exchange = Exchange {
            method: self.operation.method.to_uppercase(),
            path: self.operation.path.to_owned(),
            ..Exchange::default()
        };
        let mut query = Vec::new();
        for parameter in description.parameters(self.operation) {
            let Some(value) = parameter["examples"].get(self.name).map(|it| &it["value"]) else {
                continue;
            };
            let name = parameter["name"].as_str().unwrap();
            match parameter["in"].as_str().unwrap() {
                "path" => {
                    exchange.path = exchange.path.replace(&format!("{{{name}}}"), &encoded(value));
                }
                "query" => {
                    let several = value.as_array().cloned();
                    let values = several.unwrap_or_else(|| vec![value.clone()]);
                    query.extend(values.iter().map(|it| format!("{name}={}", encoded(it))));
                }
                _ => {
                    exchange.request_headers.insert(name.to_lowercase(), text(value));
                }
            }
        }
        exchange.query = query.join("&");
        for (_, media) in entries(self.operation.value.pointer("/requestBody/content")) {
            if let Some(body) = media.get("examples").and_then(|it| it.get(self.name)) {
                exchange.request_body = body["value"].to_string().into_bytes();
            }
        }
        assert!(!exchange.path.contains('{'), "{}: {} names all", exchange.path, self.name);
        exchange
    }
}

#[tokio::test]
async fn each_example_gets_the_answer_that_it_has() {
    let (description, service) = (Description::load(), Service::new().await);
    let mut examples = examples(&description);
    // What is reported comes before what is asked for.
    examples.sort_by_key(|example| example.operation.method != "post");
    for example in &examples {
        let exchange = service.answer(example.request(&description)).await;
        let body = String::from_utf8(exchange.body.clone()).unwrap();
        let what = format!("{} {}: {body}", example.operation.path, example.name);
        assert_eq!(exchange.status.to_string(), example.status, "{what}");
        match example.answer {
            Value::String(text) => assert_eq!(&body, text, "{what}"),
            answer => assert_eq!(&serde_json::from_str::<Value>(&body).unwrap(), answer, "{what}"),
        }
        assert_eq!(description.check(&exchange), Ok(()), "{what}");
    }
    assert!(examples.len() > 10, "{}", examples.len());
}

#[test]
fn each_example_of_a_request_has_an_answer_and_every_operation_has_an_example() {
    let description = Description::load();
    let examples = examples(&description);
    for operation in description.operations().iter().filter(|it| it.method != "head") {
        let of_operation = examples.iter().filter(|it| {
            (it.operation.path, it.operation.method) == (operation.path, operation.method)
        });
        let answered: BTreeSet<_> = of_operation.map(|it| it.name).collect();
        // The answer would be the whole description, or the page.
        let is_a_file = ["/openapi.yaml", "/"].contains(&operation.path);
        assert!(!answered.is_empty() || is_a_file, "{}", operation.path);
        for (_, media) in entries(operation.value.pointer("/requestBody/content")) {
            for (name, _) in entries(media.get("examples")) {
                assert!(answered.contains(name), "{} {name}", operation.path);
            }
        }
    }
    // Operations share some parameters.
    let all: BTreeSet<_> = examples.iter().map(|it| it.name).collect();
    for operation in description.operations() {
        for parameter in description.parameters(operation) {
            for (name, _) in entries(parameter.get("examples")) {
                assert!(all.contains(name), "{} {name}", operation.path);
            }
        }
    }
}
