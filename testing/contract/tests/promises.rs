//! Each promise of docs/security.md names a test, and there is such a test.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use contract::{read, workspace};

/// The rows of the table of promises: the promise, and what holds it.
fn promises() -> Vec<(String, String)> {
    let page = read("docs/security.md");
    let sections = ["\n## Promises", "\n## Bounds on what stays"]
        .map(|title| page.split(title).nth(1).unwrap().split("\n## ").next().unwrap());
    let rows = sections
        .iter()
        .flat_map(|section| section.lines().filter(|line| line.starts_with("| ")).skip(2));
    let cells = rows.map(|row| {
        let cells: Vec<_> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let held_by = cells.get(1..).and_then(<[_]>::last).expect("two cells");
        (cells[0].to_owned(), (*held_by).to_owned())
    });
    cells.collect()
}

/// What is in backticks.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// Whether a source has a test of this name: a function in Rust, a text in JavaScript.
fn has_test(source: &str, name: &str) -> bool {
    let lines: Vec<_> = source.lines().map(str::trim).collect();
    if lines.iter().any(|line| line.starts_with(&format!("test(\"{name}\", "))) {
        return true;
    }
    let is_test = |line: &&str| line.starts_with("#[test") || line.starts_with("#[tokio::test");
    lines.iter().enumerate().any(|(number, line)| {
        // A property test has parameters.
        let declares = [format!("fn {name}("), format!("async fn {name}(")];
        declares.iter().any(|declared| line.starts_with(declared.as_str()))
            && lines.iter().take(number).rev().take(3).any(is_test)
    })
}

#[test]
fn each_promise_is_held_by_a_test_that_exists() {
    let promises = promises();
    assert!(promises.len() > 20, "{promises:?}");
    for (promise, held_by) in promises {
        let mut source = None;
        let mut tests = 0;
        for name in quoted(&held_by) {
            if let Some(step) = held_by.strip_prefix("the step `").filter(|_| tests == 0) {
                let step = step.split('`').next().unwrap();
                let steps = read("testing/scenarios/src/deploy_test.rs");
                assert!(steps.contains(&format!("step(\"{step}\"")), "{promise}: no step {step}");
                tests += 1;
            } else if name.contains('/') {
                assert!(workspace().join(name).exists(), "{promise}: there is no {name}");
                source = Some(read(name));
            } else if let Some(source) = &source {
                assert!(has_test(source, name), "{promise}: there is no test {name}");
                tests += 1;
            }
        }
        assert!(tests > 0, "{promise}: no test holds it");
    }
}

#[test]
fn a_function_that_is_no_test_holds_no_promise() {
    let source =
        "#[test]\nfn a_test() {}\n\n\n\nfn no_test() {}\n#[tokio::test]\nasync fn other() {}\n";
    assert!(has_test(source, "a_test") && has_test(source, "other"));
    assert!(has_test("test(\"a b\", async () => {\n", "a b") && !has_test("test(\"a b\", x", "a"));
    assert!(
        !has_test(source, "no_test") && !has_test(source, "a_tes") && !has_test(source, "none")
    );
}
