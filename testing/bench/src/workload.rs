//! What the functions are asked to do while they are measured.

use serde_json::{Map, Value, json};

/// The table's name, which is the functions' default.
pub(crate) const TABLE: &str = "statshub";
/// How many updates a batch has.
const BATCH: usize = 100;

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
