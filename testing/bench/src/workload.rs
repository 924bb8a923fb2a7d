//! What the functions are asked to do while they are measured.

use std::{ffi::OsString, path::Path};

use http::Method;
use serde_json::{Map, Value, json};

use crate::function_process::{FunctionProcess, program};

/// The table's name, which is the functions' default.
pub(crate) const TABLE: &str = "statshub";
/// How many updates a batch has.
const BATCH: usize = 100;

/// Starts a DynamoDB with the table. Returns the variables by which a function finds it.
pub(crate) async fn variables() -> anyhow::Result<Vec<(&'static str, OsString)>> {
    let endpoint = local_dynamodb::start_in_memory().await?;
    local_dynamodb::create_table(&local_dynamodb::client(&endpoint), TABLE).await?;
    Ok(variables_of(&endpoint))
}

/// The variables by which a function finds the DynamoDB at this endpoint.
pub(crate) fn variables_of(endpoint: &str) -> Vec<(&'static str, OsString)> {
    vec![
        ("AWS_ENDPOINT_URL_DYNAMODB", endpoint.into()),
        ("STATSHUB_AUTH", "off".into()),
        ("QUERY_CACHE", "off".into()),
        // With metrics, a process ends in order, which callgrind needs to write what it has counted.
        ("METRICS_NAMESPACE", "statshub".into()),
    ]
}

/// Reports keys of the dimension `large`, each once, by the function `update`.
pub(crate) async fn report_keys(
    functions: &Path,
    variables: &[(&str, OsString)],
    keys: usize,
    counters: usize,
) -> anyhow::Result<()> {
    let mut process = FunctionProcess::start(&program(functions, "update"), variables).await?;
    for body in batches_of_keys(keys, counters) {
        process.send(&Method::POST, "/stats", &body).await?;
    }
    Ok(())
}

/// An update of 2 dimensions.
pub(crate) fn update(value: usize) -> Value {
    json!({
        "dims": {"country": "es", "user": "u"},
        "counters": {"a": value, "b": 2 * value},
        "gauges": {"d": value, "e": 4},
    })
}

/// The same, which changes something however often it is sent.
pub(crate) fn changing_update(value: usize) -> Value {
    with(&update(value), "increments", json!({"c": 1}))
}

/// The body of a batch of updates of ids that are named after `name`.
pub(crate) fn batch(name: &str, update: &Value) -> String {
    let updates = (0..BATCH).map(|number| with(update, "id", format!("{name}-{number}").into()));
    Value::from(updates.collect::<Vec<_>>()).to_string()
}

/// The bodies of batches that report keys of the dimension `large`, each once, with so many
/// counters.
pub(crate) fn batches_of_keys(keys: usize, counters: usize) -> Vec<String> {
    let update = |key: usize| {
        let counters =
            (0..counters).map(|stat| (format!("a_counter_{stat:02}"), json!(key * stat)));
        let counters: Map<_, _> = counters.collect();
        json!({
            "id": format!("large-{key}"),
            "dims": {"large": format!("key-{key}")},
            "counters": counters,
        })
    };
    let keys: Vec<_> = (0..keys).collect();
    let batches = keys.chunks(BATCH).map(|keys| keys.iter().map(|key| update(*key)));
    batches.map(|updates| Value::from(updates.collect::<Vec<_>>()).to_string()).collect()
}

/// The same with another field.
pub(crate) fn with(update: &Value, field: &str, value: Value) -> Value {
    let mut update = update.clone();
    if let Some(fields) = update.as_object_mut() {
        fields.insert(field.to_owned(), value);
    }
    update
}
