//! docs/scale.md and its plots are what the program writes from the committed figures.

#![allow(missing_docs, clippy::unwrap_used)]

use std::fs;

use contract::workspace;
use scale::{
    page::{FOLDER, PAGE, page, read_record},
    plots::plots,
};

#[test]
fn the_page_and_its_plots_are_made_of_the_committed_figures() {
    let root = workspace();
    let record = read_record(&root).unwrap();
    let committed = |path: &str| fs::read_to_string(root.join(path)).unwrap();
    assert!(committed(PAGE) == page(&record), "cargo xtask scale --page-only writes it anew");
    for (name, plot) in plots(&record).unwrap() {
        assert!(committed(&format!("{FOLDER}/{name}")) == plot, "{name}");
    }
}
