//! How large the functions are that AWS loads: crates, bytes, and bytes of the zip.

use std::{collections::BTreeSet, fs, io::Write, path::Path};

use anyhow::{Context, ensure};
use flate2::{Compression, write::DeflateEncoder};
use service::workspace::cargo;

use crate::figures::CountedTable;

/// The functions whose starts and calls are waited for.
pub const HOT_FUNCTIONS: [&str; 2] = ["update", "query"];
/// Where they run, so that the figures are the same on any machine.
const TARGET: &str = "aarch64-unknown-linux-gnu";

/// Counts the crates of the hot functions: what they are built of, not what builds them.
///
/// # Errors
/// `cargo tree` fails.
pub fn count_crates() -> anyhow::Result<CountedTable> {
    let mut table = CountedTable::new("Crates", 0.0, &["crates"]);
    for function in HOT_FUNCTIONS {
        let arguments =
            ["tree", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}"];
        let tree =
            cargo().args(arguments).args(["--target", TARGET, "--package", function]).output()?;
        ensure!(tree.status.success(), "{}", String::from_utf8_lossy(&tree.stderr));
        let tree = String::from_utf8(tree.stdout)?;
        // A crate that was shown before has an asterisk.
        let crates = tree.lines().map(|line| line.trim_end_matches(" (*)"));
        let crates: BTreeSet<_> = crates.filter(|line| !line.is_empty()).collect();
        table.rows.push((function.to_owned(), vec![u32::try_from(crates.len())?.into()]));
    }
    Ok(table)
}

/// Measures the built functions in this folder.
///
/// # Errors
/// They are not there.
pub fn measure(folder: &Path) -> anyhow::Result<CountedTable> {
    let mut table = CountedTable::new("Size", 0.01, &["bytes", "bytes in the zip"]);
    for function in HOT_FUNCTIONS {
        let program = folder.join(function);
        let program = fs::read(&program).with_context(|| program.display().to_string())?;
        let mut zip = DeflateEncoder::new(Vec::new(), Compression::best());
        zip.write_all(&program)?;
        let zip = zip.finish()?;
        let figures = [program.len(), zip.len()].map(|bytes| u32::try_from(bytes).map(f64::from));
        let [bytes, zipped] = figures;
        table.rows.push((function.to_owned(), vec![bytes?, zipped?]));
    }
    Ok(table)
}
