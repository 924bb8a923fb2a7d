//! The keys of items.

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../shared/tests/invariants/mod.rs"]
mod invariants;

fuzz_target!(|input: invariants::keys::Input<'_>| invariants::keys::check(&input));
