//! The limits in docs/api.md are those of the code.

#![allow(missing_docs, clippy::unwrap_used)]

use std::collections::BTreeMap;

use contract::read;
use query::limits as query_limits;
use shared::{
    domain::limits,
    store::{DEFAULT_MAX_BYTES, DEFAULT_MAX_DIMENSIONS, DEFAULT_MAX_KEYS},
};

/// A number with a comma between each three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[test]
fn the_documented_limits_are_those_of_the_code() {
    let page = read("docs/api.md");
    let section = page.split("\n## Names and limits\n").nth(1).unwrap();
    let rows: BTreeMap<_, _> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | "))
        .collect();
    for (what, limit) in [
        ("body of an update", limits::BODY_BYTES),
        ("dimensions of an update", limits::DIMENSIONS),
        ("stats of an update, over all parts", limits::STATS),
        ("members of an update", limits::MEMBERS),
        ("members × dimensions of an update", limits::MEMBER_WRITES),
        ("entries of a batch", limits::BATCH_ENTRIES),
        ("body of a batch", limits::BATCH_BODY_BYTES),
        ("members × dimensions of a batch", limits::MEMBER_WRITES),
        ("all stats of a key of a dimension", usize::try_from(DEFAULT_MAX_BYTES).unwrap()),
        (
            "what is kept of an id: its stats, and its keys",
            usize::try_from(DEFAULT_MAX_BYTES).unwrap(),
        ),
        ("dimensions", usize::try_from(DEFAULT_MAX_DIMENSIONS).unwrap()),
        ("keys of a dimension", usize::try_from(DEFAULT_MAX_KEYS).unwrap()),
        ("keys of a page", query_limits::PAGE_KEYS),
        ("keys that a query names", query_limits::NAMED_KEYS),
        ("stats that a query names", query_limits::NAMED_STATS),
        ("dimensions that `/metrics` names", query_limits::NAMED_DIMENSIONS),
    ] {
        let limit = grouped(u64::try_from(limit).unwrap());
        let mut numbers = rows[what].split(|c: char| !c.is_ascii_digit() && c != ',');
        assert!(
            numbers.any(|number| number.trim_end_matches(',') == limit),
            "{what}: {limit}, but docs/api.md says {}",
            rows[what]
        );
    }
}
