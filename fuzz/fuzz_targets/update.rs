//! The way of an update without the database: bodies, plans, transactions.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../shared/tests/invariants/mod.rs"]
mod invariants;

fuzz_target!(|input: &[u8]| invariants::update::check(input));
