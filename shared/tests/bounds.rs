//! What a client with a token can leave in the table: bounded, so that it does not raise the price of
//! others.
#![allow(missing_docs, clippy::float_cmp, clippy::panic, clippy::unwrap_used)]

mod support;

use aws_sdk_dynamodb::types::TransactWriteItem;
use proptest::{prelude::*, test_runner::Config};
use shared::{
    domain::{DimensionName, Spread},
    store::{DEFAULT_MAX_BYTES, StatsOf, StoreError},
    table::{ItemKey, decode_detail, detail_bytes, spread_write},
    usage::measured,
};
use support::{NOW, TestStore, id, post};

/// 250 counters with names of 280 letters, `part` of all.
fn flood(key: &str, part: usize) -> String {
    let name = |i: usize| format!("{}_{part}_{i}", "x".repeat(270));
    let counters: Vec<_> = (0..250).map(|i| format!(r#""{}":1"#, name(i))).collect();
    format!(r#"{{"dims":{{"country":"{key}"}},"counters":{{{}}}}}"#, counters.join(","))
}

fn honest(value: u64) -> String {
    format!(r#"{{"dims":{{"country":"es"}},"counters":{{"a":{value}}},"gauges":{{"g":{value}}}}}"#)
}

async fn units_of(test: &TestStore, id: &str, body: &str) -> f64 {
    let (result, usage) = measured(post(&test.store, NOW, id, body)).await;
    result.unwrap();
    usage.write_units
}

fn is_full(result: &Result<shared::store::Outcome, StoreError>) -> bool {
    matches!(result, Err(StoreError::TooManyStats { of: StatsOf::Key(_), .. }))
}

/// Before there was a bound, these five raised the honest update from 4 to 746 write units for good.
#[tokio::test]
async fn five_floods_of_long_names_leave_an_honest_update_its_price() {
    let test = TestStore::with(|settings| settings.max_bytes_per_id = 400_000).await;
    test.post("honest", &honest(1)).await;
    assert_eq!(units_of(&test, "honest", &honest(2)).await, 4.0);
    for part in 0..5 {
        let (result, usage) =
            measured(post(&test.store, NOW, &format!("attacker-{part}"), &flood("es", part))).await;
        assert!(is_full(&result), "{result:?}");
        assert_eq!((usage.write_units, usage.bounds_reached), (0.0, 1));
    }
    assert_eq!(units_of(&test, "honest", &honest(3)).await, 4.0);
    // A key of its own takes no more either.
    assert!(is_full(&post(&test.store, NOW, "attacker", &flood("mine", 0)).await));
}

/// What it can do stays below the bound: 2 units for each KB, for the rollup of the key.
#[tokio::test]
async fn small_steps_reach_the_bound_and_then_what_is_there_goes_on() {
    let test = TestStore::new().await;
    test.post("honest", &honest(1)).await;
    let counters = |from: usize| {
        let names: Vec<_> =
            (from..from + 50).map(|i| format!(r#""{}{i}":1"#, "x".repeat(100))).collect();
        format!(r#"{{"dims":{{"country":"es"}},"counters":{{{}}}}}"#, names.join(","))
    };
    let mut refused = 0;
    for step in 0..12 {
        let id = format!("attacker-{step}");
        refused +=
            usize::from(is_full(&post(&test.another(), NOW, &id, &counters(50 * step)).await));
    }
    assert!((5..12).contains(&refused), "{refused} refused");
    let most = 2.0 + 2.0 * f64::from(DEFAULT_MAX_BYTES.div_ceil(1_024) + 1);
    let units = units_of(&test, "honest", &honest(2)).await;
    assert!(units <= most, "{units} of {most}");
    // Others may begin to report what the key has, and the attacker to repeat it.
    test.post("another", &honest(7)).await;
    let known = counters(0).replace(":1", ":2");
    post(&test.another(), NOW, "attacker-0", &known).await.unwrap();
}

#[tokio::test]
async fn an_id_may_have_as_many_bytes_as_the_bound_says_and_not_one_more() {
    let body = r#"{"dims":{"d":"k"},"counters":{"a":1,"b":22},"gauges":{"g":3}}"#;
    let test = TestStore::new().await;
    test.post("i", body).await;
    let key = ItemKey::detail(&id("i")).attributes();
    let item = test.client.get_item().table_name(&test.settings.table).set_key(Some(key));
    let item = item.send().await.unwrap().item.unwrap();
    let bytes = detail_bytes(&id("i"), &decode_detail(&item).unwrap().detail);
    let bytes = u32::try_from(bytes).unwrap();
    for (most, has_room) in [(bytes, true), (bytes - 1, false)] {
        let test = TestStore::with(|settings| settings.max_bytes_per_id = most).await;
        let result = post(&test.store, NOW, "i", body).await;
        let is_refused = matches!(result, Err(StoreError::TooManyStats { of: StatsOf::TheId, .. }));
        assert_eq!((result.is_ok(), is_refused), (has_room, !has_room));
    }
}

/// Of a counter, its name and 23 bytes.
#[tokio::test]
async fn a_key_may_have_as_many_bytes_as_the_bound_says_and_not_one_more() {
    let body = r#"{"dims":{"d":"k"},"counters":{"abc":1}}"#;
    for (most, has_room) in [(26, true), (25, false)] {
        let test = TestStore::with(|settings| settings.max_bytes_per_key = most).await;
        let result = post(&test.store, NOW, "i", body).await;
        assert_eq!((result.is_ok(), is_full(&result)), (has_room, !has_room));
    }
}

#[tokio::test]
async fn gauges_count_for_all_the_periods_that_a_rollup_holds() {
    let test = TestStore::with(|settings| settings.max_bytes_per_key = 4_096).await;
    let gauges = |count: usize, value: u64| {
        let gauges: Vec<_> =
            (0..count).map(|i| format!(r#""gauge_number_{i:02}":{value}"#)).collect();
        format!(r#"{{"dims":{{"country":"es"}},"gauges":{{{}}}}}"#, gauges.join(","))
    };
    let full = post(&test.store, NOW, "i", &gauges(40, 1)).await;
    assert!(is_full(&full), "{full:?}");
    test.post("i", &gauges(20, 1)).await;
    // In later periods they are no news, whatever process counts them.
    for period in 1..4_u64 {
        let now = NOW.after(std::time::Duration::from_secs(360 * period));
        post(&test.another(), now, "i", &gauges(20, period)).await.unwrap();
    }
}

/// A process that does not know a key's stats would look for them in every partition of its dimension,
/// which costs 64 units where it has 128 of them.
#[tokio::test]
async fn an_id_that_is_new_to_a_key_of_a_spread_dimension_reads_one_cell_of_it() {
    let test = TestStore::new().await;
    let of = |key: &str, stat: &str| {
        format!(r#"{{"dims":{{"country":"{key}"}},"counters":{{"{stat}":1}}}}"#)
    };
    test.post("a", &of("es", "known")).await;
    test.post("b", &of("fr", "known")).await;
    let dimension = DimensionName::new("country").unwrap();
    let cells = Spread { cells: 128, narrowing: None };
    let write = spread_write(&test.settings.table, &dimension, Spread::ONE, cells).unwrap();
    let write = TransactWriteItem::builder().update(write).build();
    test.client.transact_write_items().transact_items(write).send().await.unwrap();

    let process = test.another();
    // Now it knows how much room the dimension has for keys.
    post(&process, NOW, "c", &of("es", "known")).await.unwrap();
    let (result, usage) = measured(post(&process, NOW, "d", &of("fr", "known"))).await;
    result.unwrap();
    // Its detail, the dimension and the first cell.
    assert_eq!(usage.read_units, 2.0);
    // A stat that is not in the first cell may be in any other.
    let (result, usage) = measured(post(&process, NOW, "e", &of("fr", "new"))).await;
    result.unwrap();
    assert_eq!(usage.read_units, 2.0 + 127.0 / 2.0);
    // A key that is new has no cells.
    let (result, usage) = measured(post(&process, NOW, "f", &of("de", "known"))).await;
    result.unwrap();
    assert_eq!(usage.read_units, 2.0);
}

#[tokio::test]
async fn members_of_a_new_stat_are_bounded_as_numbers_are() {
    let test = TestStore::with(|settings| settings.max_bytes_per_key = 1_024).await;
    let members = |from: usize| {
        let members: Vec<_> =
            (from..from + 20).map(|i| format!(r#""set_number_{i}":"m""#)).collect();
        format!(r#"{{"dims":{{"d":"k"}},"members":{{{}}}}}"#, members.join(","))
    };
    test.post("a", &members(0)).await;
    let full = post(&test.another(), NOW, "b", &members(20)).await;
    assert!(is_full(&full), "{full:?}");
    post(&test.another(), NOW, "c", &members(0)).await.unwrap();
}

/// An id belongs to nobody: whoever has a token may report for it.
#[tokio::test]
async fn what_is_kept_of_an_id_is_bounded() {
    let test = TestStore::new().await;
    test.post("victim", r#"{"counters":{"a":1}}"#).await;
    let counters = |from: usize| {
        let names: Vec<_> =
            (from..from + 100).map(|i| format!(r#""{}{i}":1"#, "x".repeat(100))).collect();
        format!(r#"{{"counters":{{{}}}}}"#, names.join(","))
    };
    let mut results = Vec::new();
    for step in 0..5 {
        results.push(post(&test.store, NOW, "victim", &counters(100 * step)).await);
    }
    let is_full = |result: &Result<_, StoreError>| {
        matches!(result, Err(StoreError::TooManyStats { of: StatsOf::TheId, .. }))
    };
    assert!(results.iter().take(2).all(Result::is_ok), "{results:?}");
    assert!(results.iter().skip(3).all(is_full), "{results:?}");
    let units = units_of(&test, "victim", r#"{"counters":{"a":2}}"#).await;
    assert!(units <= 2.0 * 32.0, "{units}");
}

#[tokio::test]
async fn dimensions_are_bounded_or_listed() {
    let test = TestStore::with(|settings| settings.max_dimensions = 5).await;
    let body = |from: usize, count: usize| {
        let dims: Vec<_> = (from..from + count).map(|i| format!(r#""d{i}":"k""#)).collect();
        format!(r#"{{"dims":{{{}}},"increments":{{"a":1}}}}"#, dims.join(","))
    };
    test.post("a", &body(0, 4)).await;
    let refused = post(&test.store, NOW, "b", &body(4, 2)).await;
    assert!(matches!(refused, Err(StoreError::TooManyDimensions { limit: 5 })), "{refused:?}");
    post(&test.another(), NOW, "b", &body(4, 1)).await.unwrap();
    let refused = post(&test.another(), NOW, "c", &body(5, 1)).await;
    assert!(matches!(refused, Err(StoreError::TooManyDimensions { limit: 5 })), "{refused:?}");
    post(&test.another(), NOW, "c", &body(0, 5)).await.unwrap();
    assert_eq!(test.dimensions().await, ["d0", "d1", "d2", "d3", "d4"]);

    let listed = [DimensionName::new("country").unwrap(), DimensionName::new("user").unwrap()];
    let test = TestStore::with(|settings| settings.dimensions = Some(listed.into())).await;
    test.post("a", r#"{"dims":{"Country":"es","user":"bob"},"counters":{"a":1}}"#).await;
    let body = r#"{"dims":{"country":"es","city":"rome"},"counters":{"a":2}}"#;
    let refused = post(&test.store, NOW, "a", body).await;
    assert!(
        matches!(&refused, Err(StoreError::DimensionNotListed(name)) if name.as_str() == "city")
    );
    assert_eq!(test.shown("country").await, "es: c.a=1\ntotal: c.a=1");
}

/// Stats of a name each, under a few keys, dimensions and ids, with what a writer may choose.
fn any_update() -> impl Strategy<Value = (u8, String)> {
    let stats = prop::collection::vec((0_usize..40, 20_usize..280), 1..80);
    let parts = prop::sample::select(vec!["counters", "gauges", "members"]);
    (0_u8..6, 0_u8..3, parts, stats).prop_map(|(id, key, part, stats)| {
        let mut named = std::collections::BTreeMap::new();
        for (number, length) in stats {
            let value = if part == "members" { r#""m""# } else { "7" };
            named.insert(format!("{part}_{number}_{}", "x".repeat(length)), value);
        }
        let named: Vec<_> =
            named.iter().map(|(name, value)| format!(r#""{name}":{value}"#)).collect();
        let dims = format!(r#"{{"d":"k{key}","e":"k"}}"#);
        (id, format!(r#"{{"dims":{dims},"{part}":{{{}}}}}"#, named.join(",")))
    })
}

/// The price of an update of an id with one counter under two keys that are full.
const MOST_UNITS: f64 = 2.0 + 2.0 * 2.0 * 33.0;

proptest! {
    #![proptest_config(Config { cases: 12, ..Config::default() })]

    #[test]
    fn no_updates_of_others_make_an_honest_one_cost_more_than_the_bound_or_a_query_fail(
        updates in prop::collection::vec(any_update(), 1..30),
    ) {
        tokio::runtime::Runtime::new().unwrap().block_on(async {
            let test = TestStore::new().await;
            let honest = |value: u64| {
                format!(r#"{{"dims":{{"d":"k0","e":"k"}},"counters":{{"a":{value}}}}}"#)
            };
            test.post("honest", &honest(1)).await;
            for (place, (id, body)) in updates.iter().enumerate() {
                let now = NOW.after(std::time::Duration::from_secs(100 * u64::try_from(place).unwrap()));
                let result = post(&test.store, now, &format!("i{id}"), body).await;
                let is_allowed = matches!(result, Ok(_) | Err(StoreError::TooManyStats { .. }));
                assert!(is_allowed, "{result:?}");
            }
            let units = units_of(&test, "honest", &honest(2)).await;
            assert!(units <= MOST_UNITS, "{units}");
            for dimension in ["d", "e"] {
                test.shown(dimension).await;
            }
        });
    }
}
