//! Tests that look across the whole project are in `tests/`; here is what they share.

#![allow(clippy::expect_used, clippy::panic)]

pub mod fleet_costs;
pub mod yaml;

use std::path::{Path, PathBuf};

/// The folder of the workspace.
///
/// # Panics
/// Not run by cargo, which names the package's folder.
#[must_use]
pub fn workspace() -> PathBuf {
    // At run time: a copied checkout must not look at the original.
    let package = std::env::var_os("CARGO_MANIFEST_DIR").expect("cargo names the package's folder");
    Path::new(&package).ancestors().nth(2).expect("testing/contract").to_owned()
}

/// The text of a file of the workspace.
///
/// # Panics
/// It can't be read.
#[must_use]
pub fn read(path: &str) -> String {
    std::fs::read_to_string(workspace().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}
