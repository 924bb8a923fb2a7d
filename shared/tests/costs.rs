//! What updates and queries cost, in DynamoDB's own figures: the table in ARCHITECTURE.md.
//!
//! This uses the embedded DynamoDB in any case: DynamoDB Local reports 4 units for any transaction.

#![allow(missing_docs, clippy::expect_used, clippy::float_cmp, clippy::panic, clippy::unwrap_used)]

mod support;

use shared::usage::{Usage, measured};
use support::{NOW, TestStore, post};

struct Costs {
    test: TestStore,
}

impl Costs {
    async fn new() -> Self {
        let endpoint = local_dynamodb::start_in_memory().await.unwrap();
        let client = local_dynamodb::client(&endpoint);
        Self { test: TestStore::on(&endpoint, client).await }
    }

    async fn of(&self, id: &str, body: &str) -> Usage {
        let (outcome, usage) = measured(post(&self.test.store, NOW, id, body)).await;
        outcome.unwrap();
        usage
    }
}

fn units(usage: &Usage) -> (f64, f64) {
    (usage.read_units, usage.write_units)
}

#[tokio::test]
async fn an_update_costs_what_the_architecture_says() {
    let costs = Costs::new().await;
    let dims = r#""dims":{"country":"es","user":"bob"}"#;
    costs.of("other", &format!(r#"{{{dims},"counters":{{"a":1}}}}"#)).await;

    // Under keys that the process knows: the detail, and a rollup for each of two dimensions.
    let first = costs.of("i", &format!(r#"{{{dims},"counters":{{"a":1}}}}"#)).await;
    assert_eq!(units(&first), (1.0, 2.0 + 2.0 * 2.0));
    assert_eq!(first.dimensions_updated, 2);
    let both =
        costs.of("i", &format!(r#"{{{dims},"counters":{{"a":2}},"gauges":{{"g":1}}}}"#)).await;
    assert_eq!(units(&both), (1.0, 2.0 + 4.0 * 2.0));
    let unchanged = costs.of("i", &format!(r#"{{{dims},"counters":{{"a":2}}}}"#)).await;
    assert_eq!(units(&unchanged), (1.0, 0.0));
    assert_eq!(unchanged.updates_unchanged, 1);

    // In each dimension, a new member costs half a unit to look for and two to add; its number
    // takes another write. A known one costs the look only.
    let member = format!(r#"{{{dims},"members":{{"m":"x"}}}}"#);
    let new = costs.of("i", &member).await;
    assert_eq!((new.members_new, new.members_known), (2, 0));
    assert_eq!(new.read_units, 1.0 + 2.0 * 0.5);
    let known = costs.of("i", &member).await;
    assert_eq!((known.members_new, known.members_known), (0, 2));
    assert_eq!(units(&known), (1.0 + 2.0 * 0.5, 0.0));
}

#[tokio::test]
async fn a_query_costs_by_bytes() {
    let costs = Costs::new().await;
    for id in 0..100 {
        let body = format!(r#"{{"dims":{{"d":"key-{id}"}},"counters":{{"a":1}}}}"#);
        costs.of(&id.to_string(), &body).await;
    }
    let (summary, usage) = measured(Box::pin(costs.test.summary_at(NOW, "d"))).await;
    assert_eq!(summary.keys().count(), 100);
    // 100 small items are some 4 KB. `summary_at` reads them twice, and two empty ranges.
    assert!(usage.read_units <= 12.0, "{usage}");
    assert_eq!(usage.write_units, 0.0);
}
