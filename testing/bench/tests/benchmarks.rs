//! What is cheap to count, and the same on any machine, is not above what docs/benchmarks.md has.

#![allow(missing_docs, clippy::unwrap_used)]

use bench::{benchmarks::check, binary_size, call_costs};

#[test]
fn calls_cost_no_more_than_is_committed() {
    check(&[call_costs::count().unwrap()]).unwrap();
}

#[test]
fn the_hot_functions_have_no_more_crates_than_are_committed() {
    check(&[binary_size::count_crates().unwrap()]).unwrap();
}
