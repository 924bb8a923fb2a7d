//! The structure that ARCHITECTURE.md promises, checked against the sources.

#![allow(
    missing_docs,
    clippy::cast_possible_truncation,
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used
)]

use std::{
    fs,
    path::{Path, PathBuf},
};

use contract::workspace;

/// What pure code does not mention.
const IMPURE: [&str; 6] = ["aws_", "async", ".await", "tokio", "std::env", "SystemTime::now"];

/// The strings that the table's keys and attributes begin with or are.
const KEY_STRINGS: [&str; 15] = [
    "\"pk\"",
    "\"sk\"",
    "\"pk ",
    "\"id#",
    "\"dim#",
    "\"set#",
    "\"done#",
    "\"left#",
    "\"keys#",
    "\"c:",
    "\"g:",
    "\"m:",
    "\"d:",
    "\"expires_at\"",
    "attribute_not_exists",
];

/// What runs on Lambda.
const CODE: [&str; 6] = [
    "shared/src",
    "functions/update/src",
    "functions/query/src",
    "functions/history/src",
    "functions/dashboard/src",
    "functions/archive/src",
];

/// The Rust sources at or below a path, tests excepted.
fn sources(path: &Path) -> Vec<PathBuf> {
    if path.is_file() {
        return vec![path.to_owned()];
    }
    let mut found = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found
}

/// The lines of a source up to its unit tests, comments excepted.
fn code(source: &Path) -> Vec<String> {
    let text = fs::read_to_string(source).unwrap();
    let before_tests = text.split("#[cfg(test)]").next().unwrap_or_default();
    let lines = before_tests.lines().filter(|line| !line.trim_start().starts_with("//"));
    lines.map(str::to_owned).collect()
}

fn mentions(sources: &[PathBuf], words: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources {
        for line in code(source) {
            if words.iter().any(|word| line.contains(word)) {
                found.push(format!("{}: {}", source.display(), line.trim()));
            }
        }
    }
    found
}

#[test]
fn the_domain_knows_neither_the_sdk_nor_async() {
    let pure = sources(&workspace().join("shared/src/domain"));
    assert!(pure.len() > 5, "{pure:?}");
    assert_eq!(mentions(&pure, &IMPURE), [""; 0]);
}

#[test]
fn rows_of_the_archive_and_columns_of_bigquery_are_made_without_sdk_and_async() {
    let pure = [
        "functions/archive/src/report.rs",
        "functions/archive/src/rows.rs",
        "functions/archive/src/schedule.rs",
        "bigquery/src/columns.rs",
        "bigquery/src/schema.rs",
    ];
    let pure: Vec<_> = pure.iter().flat_map(|path| sources(&workspace().join(path))).collect();
    let impure = [&IMPURE[..], &["reqwest"]].concat();
    assert_eq!(mentions(&pure, &impure), [""; 0]);
}

#[test]
fn the_functions_that_answer_updates_and_queries_do_not_know_bigquery() {
    for package in ["shared", "functions/update", "functions/query"] {
        let manifest = fs::read_to_string(workspace().join(package).join("Cargo.toml")).unwrap();
        assert!(!manifest.contains("bigquery") && !manifest.contains("reqwest"), "{package}");
    }
}

#[test]
fn the_parts_of_a_history_are_pure() {
    let impure = ["lib.rs", "main.rs"];
    let mut pure = sources(&workspace().join("functions/history/src"));
    pure.retain(|source| !impure.iter().any(|name| source.ends_with(name)));
    assert!(pure.len() > 5, "{pure:?}");
    assert_eq!(mentions(&pure, &IMPURE), [""; 0]);
}

#[test]
fn only_the_table_module_knows_keys_and_attributes() {
    let table = workspace().join("shared/src/table");
    let mut others = Vec::new();
    for folder in CODE {
        others.extend(sources(&workspace().join(folder)));
    }
    others.extend(sources(&workspace().join("testing/local-dynamodb/src")));
    others.extend(sources(&workspace().join("cli/src")));
    others.retain(|source| !source.starts_with(&table));
    assert_eq!(mentions(&others, &KEY_STRINGS), [""; 0]);
    assert!(
        !mentions(&sources(&table), &KEY_STRINGS).is_empty(),
        "the check finds what it looks for"
    );
}

#[test]
fn only_the_store_sends_requests_to_dynamodb() {
    let store = workspace().join("shared/src/store");
    let mut others = Vec::new();
    for folder in CODE {
        others.extend(sources(&workspace().join(folder)));
    }
    others.extend(sources(&workspace().join("cli/src")));
    others.retain(|source| !source.starts_with(&store));
    assert_eq!(mentions(&others, &[".send()"]), [""; 0]);
}

/// It has nothing to keep from anybody, and starts fast.
#[test]
fn the_function_that_serves_the_page_reaches_neither_the_table_nor_bigquery() {
    let folder = workspace().join("functions/dashboard");
    let manifest = fs::read_to_string(folder.join("Cargo.toml")).unwrap();
    assert!(!manifest.contains("bigquery") && !manifest.contains("aws-sdk"));
    assert_eq!(mentions(&sources(&folder.join("src")), &["Store", "aws_"]), [""; 0]);
}

#[test]
fn the_main_of_each_function_is_short() {
    for function in ["update", "query", "history", "dashboard", "archive"] {
        let main = workspace().join(format!("functions/{function}/src/main.rs"));
        let lines = code(&main).into_iter().filter(|line| !line.is_empty());
        assert!(lines.count() <= 16, "{function}");
    }
}
