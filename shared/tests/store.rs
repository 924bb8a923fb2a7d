//! The store on a real DynamoDB API: everything in the contract's tables.

#![allow(
    missing_docs,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use std::time::Duration;

use futures_util::future::join_all;
use shared::{
    domain::UnixSeconds,
    store::{Outcome, StoreError},
};
use support::{NOW, TestStore, post, sums};

fn later(seconds: u64) -> UnixSeconds {
    NOW.after(Duration::from_secs(seconds))
}

/// `"name0": value, …`
fn entries(name: &str, count: usize, value: impl Fn(usize) -> String) -> String {
    let entries = (0..count).map(|i| format!("\"{name}{i}\":{}", value(i)));
    entries.collect::<Vec<_>>().join(",")
}

#[tokio::test]
async fn the_update_of_the_contract_answers_the_query_of_the_contract() {
    let test = TestStore::new().await;
    let body = r#"{"dims": {"country": "es", "user": "bob"},
        "counters": {"counterA": 50}, "increments": {"counterB": 500},
        "gauges": {"gaugeA": 5000}, "members": {"gaugeB": "item1"},
        "multiMembers": {"gaugeC": ["itemI", "itemII"]}}"#;
    assert_eq!(test.post("myid1", body).await, Outcome::Counted);
    let stats = "c.counterA=50 c.counterB=500 now.gaugeA=5000 m.gaugeB=1 m.gaugeC=2";
    assert_eq!(test.shown("country").await, format!("es: {stats}\ntotal: {stats}"));
    assert_eq!(test.shown("user").await, format!("bob: {stats}\ntotal: {stats}"));
    assert_eq!(test.shown("device").await, "total:");
    assert_eq!(test.dimensions().await, ["country", "user"]);
}

#[tokio::test]
async fn counters_are_set_and_increments_added_on_the_same_counters() {
    let test = TestStore::new().await;
    test.post("a", r#"{"dims":{"d":"k"},"counters":{"x":50}}"#).await;
    test.post("a", r#"{"dims":{"d":"k"},"increments":{"x":5}}"#).await;
    assert_eq!(test.shown("d").await, "k: c.x=55\ntotal: c.x=55");
    test.post("a", r#"{"dims":{"d":"k"},"counters":{"x":40}}"#).await;
    assert_eq!(test.shown("d").await, "k: c.x=40\ntotal: c.x=40");
    test.post("b", r#"{"dims":{"d":"k"},"counters":{"x":-100}}"#).await;
    assert_eq!(test.shown("d").await, "k: c.x=-60\ntotal: c.x=-60");
}

#[tokio::test]
async fn a_zero_counts() {
    let test = TestStore::new().await;
    let zeros = r#"{"dims":{"d":"k"},"counters":{"x":0},"increments":{"y":0},"gauges":{"z":0}}"#;
    test.post("a", zeros).await;
    let shown = test.shown("d").await;
    assert_eq!(shown, "k: c.x=0 c.y=0 now.z=0\ntotal: c.x=0 c.y=0 now.z=0");
}

#[tokio::test]
async fn a_delta_goes_to_the_new_key_only() {
    let test = TestStore::new().await;
    test.post("a", r#"{"dims":{"d":"one"},"counters":{"x":10},"gauges":{"g":3}}"#).await;
    test.post("a", r#"{"dims":{"d":"two"},"counters":{"x":12},"gauges":{"g":3}}"#).await;
    let shown = test.shown("d").await;
    assert_eq!(shown, "one: c.x=10 now.g=3\ntwo: c.x=2 now.g=0\ntotal: c.x=12 now.g=3");
    test.post("a", r#"{"dims":{"d":"one"},"counters":{"x":15}}"#).await;
    let shown = test.shown("d").await;
    assert_eq!(shown, "one: c.x=13 now.g=3\ntwo: c.x=2 now.g=0\ntotal: c.x=15 now.g=3");
}

#[tokio::test]
async fn an_update_without_dimensions_is_remembered_for_the_next_one() {
    let test = TestStore::new().await;
    test.post("a", r#"{"counters":{"x":10}}"#).await;
    test.post("a", r#"{"dims":{"d":"k"},"counters":{"x":10}}"#).await;
    assert_eq!(test.shown("d").await, "k: c.x=0\ntotal: c.x=0");
    test.post("a", r#"{"dims":{"d":"k"},"counters":{"x":11}}"#).await;
    assert_eq!(test.shown("d").await, "k: c.x=1\ntotal: c.x=1");
}

#[tokio::test]
async fn gauges_count_in_their_period_and_are_gone_two_periods_later() {
    let test = TestStore::new().await;
    let gauge = |value: i64| format!(r#"{{"dims":{{"d":"k"}},"gauges":{{"g":{value}}}}}"#);
    test.post_at(NOW, "a", &gauge(5)).await;
    test.post_at(later(359), "a", &gauge(7)).await;
    test.post_at(NOW, "b", &gauge(100)).await;
    assert_eq!(test.shown_at(later(359), "d").await, "k: now.g=107\ntotal: now.g=107");
    test.post_at(later(360), "a", &gauge(7)).await;
    assert_eq!(test.shown_at(later(360), "d").await, "k: g.g=107 now.g=7\ntotal: g.g=107 now.g=7");
    assert_eq!(test.shown_at(later(720), "d").await, "k: g.g=7\ntotal: g.g=7");
    assert_eq!(test.shown_at(later(1_080), "d").await, "total:");
}

#[tokio::test]
async fn members_are_counted_once_per_set_and_never_expire() {
    let test = TestStore::new().await;
    let member = |m: &str| format!(r#"{{"dims":{{"d":"k"}},"members":{{"s":"{m}"}}}}"#);
    for (reporter, m) in [("a", "x"), ("b", "x"), ("a", "y"), ("b", "X")] {
        test.post(reporter, &member(m)).await;
    }
    let many = r#"{"dims":{"d":"l"},"multiMembers":{"s":["x","z","x"],"t":[]}}"#;
    test.post("a", many).await;
    let shown = test.shown_at(later(1_000_000), "d").await;
    assert_eq!(shown, "k: m.s=3\nl: m.s=2\ntotal: m.s=5");
}

#[tokio::test]
async fn values_are_exact_over_the_whole_range_and_sums_beyond_it() {
    let test = TestStore::new().await;
    for (id, value) in
        [("a", i64::MAX), ("b", i64::MAX), ("c", i64::MIN), ("d", i64::MIN), ("e", i64::MIN)]
    {
        let body = format!(r#"{{"dims":{{"d":"{id}"}},"counters":{{"x":{value}}}}}"#);
        test.post(id, &body.replace(r#""d":"e""#, r#""d":"d""#)).await;
    }
    let summary = test.summary_at(NOW, "d").await;
    let keys: Vec<_> =
        summary.keys().map(|(_, stats)| sums(&stats.counters)["x"].clone()).collect();
    let expected = [
        "9223372036854775807",
        "9223372036854775807",
        "-9223372036854775808",
        "-18446744073709551616",
    ];
    assert_eq!(keys, expected);
    assert_eq!(sums(&summary.total().counters)["x"], "-9223372036854775810");

    // From one end of the range to the other, and increments beyond it.
    test.post("a", r#"{"dims":{"d":"a"},"counters":{"x":-9223372036854775808}}"#).await;
    let add = format!(r#"{{"dims":{{"d":"a"}},"increments":{{"x":{}}}}}"#, i64::MIN);
    test.post("a", &add).await;
    let shown = test.shown("d").await;
    assert!(shown.starts_with("a: c.x=-18446744073709551616\n"), "{shown}");
}

#[tokio::test]
async fn an_unchanged_update_sends_no_write() {
    let test = TestStore::new().await;
    let body = r#"{"dims":{"d":"k","e":"l"},"counters":{"x":1},"gauges":{"g":2},
                   "members":{"s":"m"},"multiMembers":{"t":["n","o"]}}"#;
    assert_eq!(test.post("a", body).await, Outcome::Counted);
    test.requests.take();
    for _ in 0..3 {
        assert_eq!(test.post("a", body).await, Outcome::Unchanged);
    }
    let (operations, _) = test.requests.take();
    assert_eq!(operations, ["BatchGetItem"; 6]);

    // In a process that has just started.
    let outcome = post(&test.another(), NOW, "a", body).await.unwrap();
    assert_eq!(outcome, Outcome::Unchanged);
    let (operations, _) = test.requests.take();
    assert_eq!(operations, ["BatchGetItem"; 2]);
}

#[tokio::test]
async fn an_unchanged_update_after_a_move_or_without_a_dimension_sends_no_write_either() {
    let test = TestStore::new().await;
    test.post("a", r#"{"counters":{"y":5},"gauges":{"h":5}}"#).await;
    test.post("a", r#"{"dims":{"d":"one"},"counters":{"x":1},"gauges":{"g":5}}"#).await;
    let moved = r#"{"dims":{"d":"two"},"counters":{"x":1,"y":5},"gauges":{"g":5,"h":5}}"#;
    assert_eq!(test.post("a", moved).await, Outcome::Counted);
    assert_eq!(test.post("a", moved).await, Outcome::Unchanged);
}

#[tokio::test]
async fn a_large_update_takes_two_round_trips_and_the_first_under_new_names_more() {
    let test = TestStore::new().await;
    let body = format!(
        r#"{{"dims":{{{}}},"counters":{{{}}},"gauges":{{{}}}}}"#,
        entries("dim", 5, |i| format!("\"key{i}\"")),
        entries("counter", 100, |i| i.to_string()),
        entries("gauge", 100, |i| i.to_string()),
    );
    test.requests.take();
    assert_eq!(test.post("a", &body).await, Outcome::Counted);
    let (operations, round_trips) = test.requests.take();
    // The detail; the names that may be new; and for each dimension its number of keys. There are
    // new dimensions, therefore the list of them too.
    let first = [&["BatchGetItem"; 1 + 1 + 5][..], &["Query", "TransactWriteItems"]].concat();
    assert_eq!(operations, first);
    assert_eq!(round_trips, 4);

    // Another id, under keys that the process knows.
    assert_eq!(test.post("b", &body).await, Outcome::Counted);
    let (operations, round_trips) = test.requests.take();
    assert_eq!(operations, ["BatchGetItem", "TransactWriteItems"]);
    assert_eq!(round_trips, 2);

    // Warm, with all values changed.
    let changed = body.replace(":1", ":71");
    assert_eq!(test.post("a", &changed).await, Outcome::Counted);
    let (operations, round_trips) = test.requests.take();
    assert_eq!(operations, ["BatchGetItem", "TransactWriteItems"]);
    assert_eq!(round_trips, 2);
}

#[tokio::test]
async fn the_largest_update_fits_and_so_does_moving_all_of_its_keys() {
    let test = TestStore::new().await;
    let body = |key: &str, value: usize| {
        format!(
            r#"{{"dims":{{{}}},"counters":{{{}}}}}"#,
            entries("dim", 20, |i| format!("\"{key}{i}\"")),
            entries("a-counter-of-the-largest-update-", 500, |i| (i + value).to_string()),
        )
    };
    for (key, value) in [("k", 1), ("l", 2), ("k", 4), ("l", 3)] {
        assert_eq!(test.post("a", &body(key, value)).await, Outcome::Counted);
    }
    let summary = test.summary_at(NOW, "dim19").await;
    let keys: Vec<_> =
        summary.keys().map(|(key, stats)| (key.as_str(), stats.counters.len())).collect();
    assert_eq!(keys, [("k19", 500), ("l19", 500)]);
    let total = sums(&summary.total().counters);
    for i in 0..500 {
        assert_eq!(total[&format!("a_counter_of_the_largest_update_{i}")], (i + 3).to_string());
    }
}

#[tokio::test]
async fn a_dimension_of_1500_keys_sums_exactly_over_several_pages() {
    let test = TestStore::new().await;
    let store = &test.store;
    for chunk in (0..1_500).collect::<Vec<u32>>().chunks(50) {
        let posts = chunk.iter().map(|i| async move {
            let counters =
                entries(&"long-stat-name-".repeat(8), 8, |stat| (i + stat as u32).to_string());
            let body = format!(
                r#"{{"dims":{{"d":"key{i}"}},"counters":{{{counters}}},"gauges":{{"g":{i}}}}}"#
            );
            post(store, NOW, &format!("id{i}"), &body).await.unwrap();
        });
        join_all(posts).await;
    }
    test.requests.take();
    let summary = test.summary_at(NOW, "d").await;
    let (queries, _) = test.requests.take();
    assert!(queries.len() > 2, "more than a page: {queries:?}");
    assert_eq!(summary.keys().count(), 1_500);
    let sum: u32 = (0..1_500).sum();
    assert_eq!(sums(&summary.total().gauges_current)["g"], sum.to_string());
    for (stat, total) in sums(&summary.total().counters).into_values().enumerate() {
        assert_eq!(total, (sum + 1_500 * stat as u32).to_string());
    }
}

#[tokio::test]
async fn a_set_of_3000_members_counts_each_once() {
    let test = TestStore::new().await;
    for start in [0, 1_000, 2_000, 500] {
        let members: Vec<_> = (start..start + 1_000).map(|i| format!("\"member{i}\"")).collect();
        let body =
            format!(r#"{{"dims":{{"d":"k"}},"multiMembers":{{"s":[{}]}}}}"#, members.join(","));
        test.post("a", &body).await;
    }
    assert_eq!(test.shown("d").await, "k: m.s=3000\ntotal: m.s=3000");
}

#[tokio::test]
async fn three_hundred_members_over_five_dimensions_go_at_once() {
    let test = TestStore::new().await;
    let members: Vec<_> = (0..300).map(|i| format!("\"member{i}\"")).collect();
    let body = format!(
        r#"{{"dims":{{{}}},"counters":{{"x":1}},"multiMembers":{{"s":[{}]}}}}"#,
        entries("dim", 5, |_| "\"k\"".to_owned()),
        members.join(","),
    );
    assert_eq!(test.post("a", &body).await, Outcome::Counted);
    assert_eq!(test.post("a", &body).await, Outcome::Unchanged);
    for dimension in 0..5 {
        let shown = test.shown(&format!("dim{dimension}")).await;
        assert_eq!(shown, "k: c.x=1 m.s=300\ntotal: c.x=1 m.s=300");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_writers_on_one_key_are_exact() {
    let test = TestStore::new().await;
    let store = &test.store;
    let writers = (0..16).map(|writer| async move {
        for i in 1..=20 {
            let body = format!(
                r#"{{"dims":{{"d":"k"}},"counters":{{"x":{i}}},"increments":{{"y":2}},
                     "gauges":{{"g":{i}}},"members":{{"s":"m{}"}}}}"#,
                (writer + i) % 30,
            );
            post(store, NOW, &format!("id{writer}"), &body).await.unwrap();
        }
    });
    join_all(writers).await;
    let stats = "c.x=320 c.y=640 now.g=320 m.s=30";
    assert_eq!(test.shown("d").await, format!("k: {stats}\ntotal: {stats}"));
}

#[tokio::test(flavor = "multi_thread")]
async fn sixteen_writers_on_one_id_are_exact() {
    let test = TestStore::new().await;
    let store = &test.store;
    let writers = (0..16).map(|writer| async move {
        for i in 0..8 {
            let body = format!(
                r#"{{"dims":{{"d":"k{}"}},"increments":{{"x":1,"y{writer}":3}}}}"#,
                (writer + i) % 3,
            );
            post(store, NOW, "one", &body).await.unwrap();
        }
    });
    join_all(writers).await;
    let total = sums(&test.summary_at(NOW, "d").await.total().counters);
    assert_eq!(total["x"], "128");
    assert_eq!((0..16).filter(|writer| total[&format!("y{writer}")] == "24").count(), 16);
}

#[tokio::test]
async fn names_that_differ_never_share_an_item() {
    let test = TestStore::new().await;
    let long = "k".repeat(1_024);
    let longer_by_end = format!("{}l", &long[1..]);
    let keys = [
        "a",
        "a#",
        "#a",
        "a#0",
        "a%23",
        "a#c#b",
        "~",
        "~a",
        "a/b",
        "日本",
        " ",
        &long,
        &longer_by_end,
    ];
    for (i, key) in keys.iter().enumerate() {
        let body = format!(
            r#"{{"dims":{{"d":"{key}"}},"counters":{{"x":{}}},"members":{{"s":"m"}},"gauges":{{"g":1}}}}"#,
            i + 1
        );
        // Ids as odd as the keys.
        test.post(key, &body).await;
    }
    let summary = test.summary_at(NOW, "d").await;
    assert_eq!(summary.keys().count(), keys.len());
    for (key, stats) in summary.keys() {
        let i = keys.iter().position(|k| *k == key.as_str()).unwrap();
        assert_eq!(sums(&stats.counters)["x"], (i + 1).to_string(), "{key}");
        assert_eq!(sums(&stats.members)["s"], "1", "{key}");
        assert_eq!(sums(&stats.gauges_current)["g"], "1", "{key}");
    }
}

#[tokio::test]
async fn stats_of_one_dimension_never_appear_in_another() {
    let test = TestStore::new().await;
    for dimension in ["a", "a b", "a-b", "a_b", "ab", "c", "dims"] {
        let body = format!(
            r#"{{"dims":{{"{dimension}":"k"}},"counters":{{"{}":1}}}}"#,
            dimension.replace(' ', "x")
        );
        test.post(dimension, &body).await;
    }
    assert_eq!(test.shown("a").await, "k: c.a=1\ntotal: c.a=1");
    assert_eq!(test.shown("dims").await, "k: c.dims=1\ntotal: c.dims=1");
    assert_eq!(test.dimensions().await, ["a", "a b", "a-b", "a_b", "ab", "c", "dims"]);
}

#[tokio::test]
async fn an_idempotency_key_counts_once_for_24_hours() {
    let test = TestStore::new().await;
    let body = r#"{"dims":{"d":"k"},"increments":{"x":1}}"#;
    assert_eq!(test.post_with_key(NOW, "key", body).await.unwrap(), Outcome::Counted);
    assert_eq!(test.post_with_key(NOW, "key", body).await.unwrap(), Outcome::Repeated);
    assert_eq!(test.post_with_key(later(86_399), "key", body).await.unwrap(), Outcome::Repeated);
    let other = test.post_with_key(NOW, "key", r#"{"dims":{"d":"k"},"increments":{"x":2}}"#).await;
    assert!(matches!(other, Err(StoreError::KeyReused)), "{other:?}");
    assert_eq!(test.shown("d").await, "k: c.x=1\ntotal: c.x=1");
    // The marker has ended, though DynamoDB may not have deleted it yet.
    assert_eq!(test.post_with_key(later(86_400), "key", body).await.unwrap(), Outcome::Counted);
    assert_eq!(test.shown("d").await, "k: c.x=2\ntotal: c.x=2");
}

#[tokio::test]
async fn an_idempotency_key_binds_an_update_that_changes_nothing() {
    let test = TestStore::new().await;
    let body = r#"{"dims":{"d":"k"},"counters":{"x":1}}"#;
    test.post("i", body).await;
    assert_eq!(test.post_with_key(NOW, "key", body).await.unwrap(), Outcome::Counted);
    let other = test.post_with_key(NOW, "key", "{}").await;
    assert!(matches!(other, Err(StoreError::KeyReused)), "{other:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_sent_at_the_same_moment_count_once() {
    let test = TestStore::new().await;
    let body = r#"{"dims":{"d":"k"},"increments":{"x":1},"members":{"s":"m"}}"#;
    let copies = join_all((0..16).map(|_| test.post_with_key(NOW, "key", body))).await;
    let counted = copies.iter().filter(|copy| matches!(copy, Ok(Outcome::Counted))).count();
    let repeated = copies.iter().filter(|copy| matches!(copy, Ok(Outcome::Repeated))).count();
    assert_eq!((counted, repeated), (1, 15), "{copies:?}");
    assert_eq!(test.shown("d").await, "k: c.x=1 m.s=1\ntotal: c.x=1 m.s=1");
}

#[tokio::test]
async fn an_id_that_outgrows_an_item_is_refused_and_nothing_of_the_update_is_written() {
    let test = TestStore::with(|settings| {
        (settings.max_bytes_per_id, settings.max_bytes_per_key) = (u32::MAX, u32::MAX);
    })
    .await;
    let update = |round: usize| {
        let name = format!("{}-{round}-", "n".repeat(280));
        let counters = entries(&name, 480, |i| i.to_string());
        format!(
            r#"{{"dims":{{"d":"k{round}"}},"counters":{{{counters}}},"members":{{"s":"m{round}"}}}}"#
        )
    };
    let mut refused = None;
    for round in 0..4 {
        match post(&test.store, NOW, "a", &update(round)).await {
            Ok(_) => {}
            Err(error) => {
                refused = Some((round, error));
                break;
            }
        }
    }
    let (round, error) = refused.unwrap();
    assert!(matches!(error, StoreError::TooLarge(_)), "{error:?}");
    let summary = test.summary_at(NOW, "d").await;
    assert_eq!(summary.keys().count(), round);
    assert_eq!(sums(&summary.total().members)["s"], round.to_string());
}

#[tokio::test]
async fn a_dimension_takes_new_keys_up_to_its_limit() {
    let test = TestStore::with(|settings| settings.max_keys = 3).await;
    let body = |key: &str, other: &str| {
        format!(r#"{{"dims":{{"d":"{key}","e":"{other}"}},"counters":{{"x":1}}}}"#)
    };
    for key in ["a", "b", "c"] {
        test.post(key, &body(key, "same")).await;
    }
    let before = (test.shown("d").await, test.shown("e").await);
    for store in [&test.store, &test.another()] {
        let refused = post(store, NOW, "d", &body("d", "same")).await;
        let Err(StoreError::TooManyKeys { dimension, limit: 3 }) = refused else {
            panic!("{refused:?}");
        };
        assert_eq!(dimension.as_str(), "d");
        // Even if an id that was under another key moves there.
        let refused = post(store, NOW, "a", &body("d", "new")).await;
        assert!(matches!(refused, Err(StoreError::TooManyKeys { .. })), "{refused:?}");
    }
    assert_eq!((test.shown("d").await, test.shown("e").await), before, "nothing was written");

    // Keys that it has take more ids, and other dimensions have room of their own.
    test.post("d", &body("c", "new")).await;
    assert_eq!(test.shown("d").await, "a: c.x=1\nb: c.x=1\nc: c.x=2\ntotal: c.x=4");
}

#[tokio::test]
async fn a_limit_holds_for_all_processes_together() {
    let test = TestStore::with(|settings| settings.max_keys = 20).await;
    for i in 0..60 {
        let body = format!(r#"{{"dims":{{"d":"{i}"}},"counters":{{"x":1}}}}"#);
        let result = post(&test.another(), NOW, &i.to_string(), &body).await;
        assert_eq!(result.is_ok(), i < 20, "{i}: {result:?}");
    }
}

#[tokio::test]
async fn warming_up_is_one_request_whatever_comes_of_it() {
    let test = TestStore::new().await;
    test.store.warm_up().await;
    assert_eq!(test.requests.take(), (vec!["BatchGetItem".to_owned()], 1));
    // There is no such table.
    let nowhere = TestStore::with(|settings| settings.table = "nowhere".to_owned()).await;
    nowhere.store.warm_up().await;
    assert_eq!(nowhere.requests.take().0, ["BatchGetItem"]);
}
