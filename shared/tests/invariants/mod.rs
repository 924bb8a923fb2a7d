//! What holds for every input, checked by `shared/tests/invariants.rs` and by the fuzz targets.

#![allow(dead_code, reason = "a fuzz target uses one half of it")]

pub mod keys;
mod planned;
pub mod update;
