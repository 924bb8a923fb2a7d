//! What holds for every input: the corpus that fuzzing has kept, and generated inputs.

#![allow(
    missing_docs,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

#[path = "invariants/mod.rs"]
mod checks;

use std::{
    fs,
    path::{Path, PathBuf},
};

use arbitrary::{Arbitrary, Unstructured};
use checks::{keys, update};
use proptest::{collection::vec, prelude::*, sample::select};

/// The inputs kept for a fuzz target.
fn corpus(target: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus").join(target);
    let entries =
        fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.unwrap().path()).collect()
}

fn check_keys(bytes: &[u8]) {
    if let Ok(input) = keys::Input::arbitrary_take_rest(Unstructured::new(bytes)) {
        keys::check(&input);
    }
}

/// A failure needs the name of its input. The output of a test shows only if the test fails.
fn replay(target: &str, check: fn(&[u8])) {
    let inputs = corpus(target);
    assert!(inputs.len() > 10, "the corpus of {target} is gone");
    for input in inputs {
        println!("{}", input.display());
        check(&fs::read(input).unwrap());
    }
}

#[test]
fn the_invariants_hold_for_the_corpus_of_updates() {
    replay("update", update::check);
}

#[test]
fn the_invariants_hold_for_the_corpus_of_keys() {
    replay("keys", check_keys);
}

fn name() -> impl Strategy<Value = String> {
    prop_oneof![
        20 => select(vec!["a", "b", "c-d", "c_d", "E", "e", "é", "É"]).prop_map(str::to_owned),
        2 => select(vec!["", "total", "TOTAL", "1", "a b", " a", "#~%", "İ", "Σ", "\\u0041", "\\ud800"])
            .prop_map(str::to_owned),
        1 => "[a-zA-Z]{200,400}",
        1 => "[^\"\\\\]{1,20}",
    ]
}

fn integer() -> impl Strategy<Value = String> {
    prop_oneof![
        10 => (-3..4_i64).prop_map(|value| value.to_string()),
        4 => any::<i64>().prop_map(|value| value.to_string()),
        1 => select(vec!["-0", "1.5", "1e3", "9223372036854775808", "null", "\"1\"", "01"])
            .prop_map(str::to_owned),
    ]
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![30 => name().prop_map(|name| format!("\"{name}\"")), 1 => integer()]
}

fn texts() -> impl Strategy<Value = String> {
    vec(text(), 0..4).prop_map(|texts| format!("[{}]", texts.join(",")))
}

fn part(
    part: &'static str,
    value: impl Strategy<Value = String> + 'static,
) -> BoxedStrategy<String> {
    let entry = (name(), value).prop_map(|(name, value)| format!("\"{name}\":{value}"));
    vec(entry, 0..3)
        .prop_map(move |entries| format!("\"{part}\":{{{}}}", entries.join(",")))
        .boxed()
}

/// Bodies in the shape of an update; many of them are valid.
fn body() -> impl Strategy<Value = Vec<u8>> {
    let parts = prop_oneof![
        4 => part("dims", text()),
        4 => part("counters", integer()),
        2 => part("increments", integer()),
        2 => part("gauges", integer()),
        2 => part("members", text()),
        2 => part("multiMembers", texts()),
    ];
    vec(parts, 0..5).prop_map(|parts| format!("{{{}}}", parts.join(",")).into_bytes())
}

/// Several bodies, each with the byte that ends it.
fn history() -> impl Strategy<Value = Vec<u8>> {
    let ended = (body(), select(vec![0xfd_u8, 0xfe, 0xff]));
    vec(ended, 1..6).prop_map(|bodies| {
        bodies.into_iter().flat_map(|(body, end)| body.into_iter().chain([end])).collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn any_bytes_are_read_or_refused(bytes in vec(any::<u8>(), 0..200)) {
        update::check(&bytes);
    }

    #[test]
    fn the_invariants_hold_for_histories_of_updates(history in history()) {
        update::check(&history);
    }

    #[test]
    fn any_names_give_keys(bytes in vec(any::<u8>(), 0..200)) {
        check_keys(&bytes);
    }
}
