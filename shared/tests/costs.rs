//! What updates and queries cost, in DynamoDB's own figures: the table in ARCHITECTURE.md.
//!
//! This uses the embedded DynamoDB in any case: DynamoDB Local reports 4 units for any transaction.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::float_cmp,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use shared::{
    domain::{DimensionKey, DimensionName, Member, MemberSet, RollupKey, StatName},
    table::{Item, ItemKey, Shard},
    usage::{Usage, measured},
};
use support::{NOW, TestStore, post, soon};

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

/// The part `dims` with so many dimensions.
fn dims(count: usize) -> String {
    let dims: Vec<_> = (0..count).map(|i| format!(r#""d{i}":"k""#)).collect();
    format!(r#""dims":{{{}}}"#, dims.join(","))
}

#[tokio::test]
async fn an_update_costs_two_write_units_for_its_detail_and_two_for_each_dimension() {
    for dimensions in [1, 2, 3, 5] {
        let costs = Costs::new().await;
        let dims = dims(dimensions);
        costs.of("other", &format!(r#"{{{dims},"counters":{{"a":1}}}}"#)).await;

        // Under keys that the process knows.
        let expected = 2.0 + 2.0 * count(dimensions);
        let counters = costs.of("i", &format!(r#"{{{dims},"counters":{{"a":1}}}}"#)).await;
        assert_eq!(units(&counters), (1.0, expected));
        assert_eq!(counters.dimensions_updated, u64::try_from(dimensions).unwrap());
        let both =
            costs.of("i", &format!(r#"{{{dims},"counters":{{"a":2}},"gauges":{{"g":1}}}}"#)).await;
        assert_eq!(units(&both).1, expected, "gauges cost nothing more");
        let first = 1.0 + count(dimensions);
        assert_eq!(
            units(&both).0,
            first,
            "the process looks for a stat that it has not seen there"
        );
        let again =
            costs.of("i", &format!(r#"{{{dims},"counters":{{"a":2}},"gauges":{{"g":2}}}}"#)).await;
        assert_eq!(units(&again), (1.0, expected));
        let unchanged = costs.of("i", &format!(r#"{{{dims},"counters":{{"a":2}}}}"#)).await;
        assert_eq!(units(&unchanged), (1.0, 0.0));
        assert_eq!(unchanged.updates_unchanged, 1);
    }
}

fn count(dimensions: usize) -> f64 {
    u32::try_from(dimensions).unwrap().into()
}

#[tokio::test]
async fn members_cost_half_a_unit_to_look_for_and_two_to_add() {
    let costs = Costs::new().await;
    let dims = dims(2);
    costs.of("i", &format!(r#"{{{dims},"counters":{{"a":1}}}}"#)).await;
    let first = costs.of("i", &format!(r#"{{{dims},"members":{{"m":"w"}}}}"#)).await;
    // Its rollups and dimensions too, since the process has not seen the stat there.
    assert_eq!(units(&first), (1.0 + 2.0 * (0.5 + 1.0), 2.0 * (2.0 + 2.0)));
    let member = format!(r#"{{{dims},"members":{{"m":"x"}}}}"#);
    let new = costs.of("i", &member).await;
    assert_eq!((new.members_new, new.members_known), (2, 0));
    // Two to add it, a dimension, and two for the number of members.
    assert_eq!(units(&new), (1.0 + 2.0 * 0.5, 2.0 * (2.0 + 2.0)));
    let known = costs.of("i", &member).await;
    assert_eq!((known.members_new, known.members_known), (0, 2));
    assert_eq!(units(&known), (1.0 + 2.0 * 0.5, 0.0));
}

/// A set's members are spread over 2^20 shards. The fullest of them has about 8 members when the
/// set has a million, and about 30 when it has ten million.
#[tokio::test]
async fn a_new_member_costs_the_same_in_a_set_of_any_size() {
    for members_of_shard in [0_usize, 1, 8, 30] {
        let costs = Costs::new().await;
        costs.of("i", r#"{"dims":{"d":"k"},"counters":{"a":1}}"#).await;
        let member = Member::new("new-member").unwrap();
        let set = MemberSet {
            of: RollupKey {
                dimension: DimensionName::new("d").unwrap(),
                key: DimensionKey::new("k").unwrap(),
            },
            stat: StatName::new("m").unwrap(),
        };
        if members_of_shard > 0 {
            let mut item = ItemKey::members(&set, Shard::of(&member)).attributes();
            let others = (0..members_of_shard).map(|i| format!("another-member-{i}"));
            item.insert("members".to_owned(), AttributeValue::Ss(others.collect()));
            let put = costs.test.client.put_item().table_name(&costs.test.settings.table);
            put.set_item(Some(item)).send().await.unwrap();
        }
        costs.of("i", r#"{"dims":{"d":"k"},"members":{"m":"first-member"}}"#).await;
        let new = costs.of("i", r#"{"dims":{"d":"k"},"members":{"m":"new-member"}}"#).await;
        assert_eq!(units(&new), (1.5, 4.0), "{members_of_shard} in the shard");
        assert_eq!(new.members_new, 1);
    }
}

#[tokio::test]
async fn a_new_key_costs_two_write_units_more_and_a_new_dimension_two() {
    let costs = Costs::new().await;
    let body = |dimension: &str, key: &str| {
        format!(r#"{{"dims":{{"{dimension}":"{key}"}},"counters":{{"a":1}}}}"#)
    };
    let new_dimension = costs.of("i1", &body("d", "k1")).await;
    assert_eq!(new_dimension.write_units, 4.0 + 2.0 + 2.0);
    let new_key = costs.of("i2", &body("d", "k2")).await;
    assert_eq!(new_key.write_units, 4.0 + 2.0);
    let known_key = costs.of("i3", &body("d", "k2")).await;
    assert_eq!(known_key.write_units, 4.0);
    let items = costs.test.client.scan().table_name(&costs.test.settings.table);
    let items = items.send().await.unwrap().count();
    assert_eq!(items, 3 + 2 + 1 + 1, "details, rollups, the dimension, the number of keys");
}

/// The period is in the name of a gauge, so what has expired has to go: else rollups would grow for
/// ever.
#[tokio::test]
async fn a_key_that_is_reported_every_period_keeps_few_gauges() {
    let costs = Costs::new().await;
    let mut units = Vec::new();
    for report in 0..50_u64 {
        let now = NOW.after(Duration::from_secs(report * 300));
        let body =
            format!(r#"{{"dims":{{"d":"k"}},"counters":{{"a":{report}}},"gauges":{{"g":1}}}}"#);
        let (outcome, usage) = measured(post(&costs.test.store, now, "i", &body)).await;
        outcome.unwrap();
        units.push(usage.write_units);
    }
    assert!(units.iter().skip(1).all(|units| *units == 4.0), "{units:?}");
    let rollups = costs.test.client.query().table_name(&costs.test.settings.table);
    let rollups = rollups
        .key_condition_expression("pk = :p")
        .expression_attribute_values(":p", AttributeValue::S("dim#d#0".to_owned()));
    let rollups = rollups.send().await.unwrap();
    let gauges = rollups.items()[0].keys().filter(|name| name.starts_with('g')).count();
    assert!((2..=5).contains(&gauges), "{gauges}");
}

/// Where gauges of several periods make the item larger than 1 KB, an update costs more:
/// ARCHITECTURE.md says from when on.
#[tokio::test]
async fn an_update_costs_by_the_started_kb_of_its_rollups() {
    for (stats, expected) in [(5, 4.0), (10, 4.0), (20, 6.0), (50, 10.0)] {
        let costs = Costs::new().await;
        let mut last = 0.0;
        for report in 0..10_u64 {
            let now = NOW.after(Duration::from_secs(report * 300));
            let entries = |part: &str| {
                let entries: Vec<_> =
                    (0..stats).map(|i| format!(r#""{part}{i:02}":{}"#, 10_000 + report)).collect();
                entries.join(",")
            };
            let body = format!(
                r#"{{"dims":{{"d":"k"}},"counters":{{{}}},"gauges":{{{}}}}}"#,
                entries("counter_"),
                entries("gauge_"),
            );
            let (outcome, usage) = measured(post(&costs.test.store, now, "i", &body)).await;
            outcome.unwrap();
            last = usage.write_units;
        }
        println!("{stats} counters and gauges: {last}");
        assert!(last <= expected, "{stats} counters and {stats} gauges: {last}");
    }
}

/// The size of an item by DynamoDB's rules, as far as rollups need them. Source: *`DynamoDB` item
/// sizes and formats*, Developer Guide.
fn bytes(item: &Item) -> usize {
    let size = |value: &AttributeValue| match value {
        AttributeValue::S(text) => text.len(),
        AttributeValue::N(digits) => digits.len().div_ceil(2) + 1,
        other => panic!("{other:?}"),
    };
    item.iter().map(|(name, value)| name.len() + size(value)).sum()
}

#[tokio::test]
async fn a_query_costs_by_the_bytes_of_its_dimension() {
    const KEYS: usize = 1_000;
    let costs = Costs::new().await;
    let counters: Vec<_> =
        (0..20).map(|i| format!(r#""a_counter_{i:02}":{}"#, i * 1_000)).collect();
    let body = |dimension: &str, key: usize| {
        let counters = counters.join(",");
        format!(r#"{{"dims":{{"{dimension}":"key-{key}"}},"counters":{{{counters}}}}}"#)
    };
    for key in 0..KEYS {
        costs.of(&format!("d-{key}"), &body("d", key)).await;
    }
    let of_query = async || {
        let d = DimensionName::new("d").unwrap();
        let summary = Box::pin(costs.test.store.summary(&d, NOW, soon()));
        let (summary, usage) = measured(summary).await;
        assert_eq!(summary.unwrap().keys().count(), KEYS);
        assert_eq!(usage.write_units, 0.0);
        usage.read_units
    };
    let rollups = costs.test.client.query().table_name(&costs.test.settings.table);
    let rollups = rollups
        .key_condition_expression("pk = :p")
        .expression_attribute_values(":p", AttributeValue::S("dim#d#0".to_owned()))
        .into_paginator()
        .items()
        .send();
    let rollups = rollups.try_collect().await.unwrap();
    assert_eq!(rollups.len(), KEYS);
    let bytes: usize = rollups.iter().map(bytes).sum();
    let units = of_query().await;
    println!("{KEYS} keys of 20 counters, {bytes} bytes: {units} read units");
    assert!(units <= f64::from(u32::try_from(bytes.div_ceil(4_096)).unwrap()) + 2.0, "{units}");
    for key in 0..500 {
        costs.of(&format!("e-{key}"), &body("e", key)).await;
    }
    assert_eq!(of_query().await, units, "keys of another dimension change nothing");
}
