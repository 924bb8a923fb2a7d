//! Which variables the functions read: what their parsers ask for, while they are watched.

use std::{
    cell::RefCell,
    collections::BTreeSet,
    path::{Path, PathBuf},
};

use contract::{read, workspace};

/// What makes all parsers content, and ask for all that they may.
const VALUES: [(&str, &str); 3] = [
    ("STATSHUB_AUTH", "off"),
    ("GOOGLE_PROJECT", "p"),
    (
        "GOOGLE_TOKEN",
        r#"{"type":"authorized_user","client_id":"i","client_secret":"s","refresh_token":"r"}"#,
    ),
];

/// Where the code of the functions is.
const CODE: [&str; 7] = [
    "bigquery/src",
    "shared/src",
    "functions/update/src",
    "functions/query/src",
    "functions/history/src",
    "functions/dashboard/src",
    "functions/archive/src",
];

/// A file with a parser of variables, and what it asks for.
pub struct Parser {
    pub file: &'static str,
    pub asks_for: BTreeSet<String>,
}

/// What a parser asks for, with variables and without.
fn watched<E: std::fmt::Display>(
    file: &'static str,
    parse: impl Fn(&dyn Fn(&'static str) -> Option<String>) -> Result<(), E>,
) -> Parser {
    let asks_for = RefCell::new(BTreeSet::new());
    let with = |values: &[(&str, &str)]| {
        parse(&|name| {
            asks_for.borrow_mut().insert(name.to_owned());
            let value = values.iter().find(|(variable, _)| *variable == name);
            value.map(|(_, value)| (*value).to_owned())
        })
    };
    if let Err(error) = with(&VALUES) {
        panic!("{file} needs one more variable, which VALUES does not have: {error}");
    }
    // With less, it may stop early, or ask for something else.
    for only in VALUES {
        let _ = with(&[only]);
    }
    let _ = with(&[]);
    Parser { file, asks_for: asks_for.into_inner() }
}

/// All parsers. `every_parser_is_watched` finds those that are missing here.
pub fn parsers() -> [Parser; 4] {
    [
        watched("shared/src/config.rs", |get| {
            shared::config::Config::from_variables(get).map(drop)
        }),
        watched("bigquery/src/config.rs", |get| bigquery::Config::from_variables(get).map(drop)),
        watched("functions/archive/src/schedule.rs", |get| {
            archive::Schedule::from_variables(get).map(drop)
        }),
        watched("functions/history/src/scan_limit.rs", |get| {
            history::ScanLimit::from_variables(get).map(drop)
        }),
    ]
}

/// What a function reads: what is read below these folders.
pub fn read_below(folders: &[&str]) -> BTreeSet<String> {
    let is_below = |file: &str| folders.iter().any(|folder| file.starts_with(folder));
    let parsed = parsers().into_iter().filter(|parser| is_below(parser.file));
    let mut variables: BTreeSet<_> = parsed.flat_map(|parser| parser.asks_for).collect();
    for (file, line) in code().filter(|(file, _)| is_below(file)) {
        variables.extend(read_alone(&file, &line));
    }
    variables
}

/// The variables that a line reads without a parser, as `variable("NAME")` or `env::var("NAME")`.
fn read_alone(file: &str, line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for call in ["variable(", "env::var(", "env::var_os("] {
        let mut rest = line;
        while let Some((before, after)) = rest.split_once(call) {
            rest = after;
            // Another function, or where this one is.
            if before.ends_with(|c: char| c.is_alphanumeric() || c == '_') || is_reader(file, line)
            {
                continue;
            }
            let name = after.strip_prefix('"').and_then(|name| name.split('"').next());
            let name = name.unwrap_or_else(|| {
                panic!("{file}: a variable is named where it is read, or by a parser: {line}")
            });
            // Lambda sets its own, and what the SDK and the runtime read is theirs.
            if !name.starts_with("AWS_") && name != "RUST_LOG" {
                found.push(name.to_owned());
            }
        }
    }
    found
}

/// Whether a line is of `shared::config::variable`, by which all are read.
fn is_reader(file: &str, line: &str) -> bool {
    file == "shared/src/config.rs"
        && (line.contains("fn variable(") || line.contains("env::var_os(name)"))
}

/// The lines of the functions' code, without tests and comments, each with its file.
fn code() -> impl Iterator<Item = (String, String)> {
    let mut files = Vec::new();
    for folder in CODE {
        find(&workspace().join(folder), &mut files);
    }
    files.into_iter().flat_map(|file| {
        let file = file.strip_prefix(workspace()).unwrap().to_str().unwrap().to_owned();
        let text = read(&file);
        let text = text.split("#[cfg(test)]").next().unwrap().to_owned();
        let lines: Vec<_> = text
            .lines()
            .filter(|line| !line.trim_start().starts_with("//"))
            .map(|line| (file.clone(), line.to_owned()))
            .collect();
        lines
    })
}

fn find(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            find(&path, files);
        } else {
            files.push(path);
        }
    }
}

#[test]
fn every_parser_is_watched() {
    let found: BTreeSet<_> = code()
        .filter(|(_, line)| line.contains("fn from_variables"))
        .map(|(file, _)| file)
        .collect();
    let watched: BTreeSet<_> = parsers().iter().map(|parser| parser.file.to_owned()).collect();
    assert_eq!(
        found, watched,
        "testing/contract/tests/template/variables.rs watches all that is to be found"
    );
}

/// So that a search for the calls finds all that is read.
#[test]
fn the_environment_is_read_by_calls_that_can_be_found() {
    for (file, line) in code().filter(|(_, line)| line.contains("env::")) {
        let is_import = line.trim_start().starts_with("use ") && line.contains("env::{self");
        let is_call = line.contains("env::var(") || line.contains("env::var_os(");
        assert!(is_call || is_import, "{file}: use shared::config::variable: {line}");
        assert!(!line.contains("env::vars"), "{file}: {line}");
    }
}

#[test]
fn parsers_are_watched_whatever_they_are_given() {
    let config = &parsers()[1];
    for variable in ["GOOGLE_TOKEN", "BIGQUERY_EMULATOR_HOST", "BIGQUERY_DATASET"] {
        assert!(config.asks_for.contains(variable), "{variable}");
    }
    assert_eq!(read_alone("", "match variable(\"A\") {"), ["A"]);
    assert_eq!(read_alone("", "env::var(\"A\").or(std::env::var(\"B\"))"), ["A", "B"]);
    assert!(read_alone("shared/src/config.rs", "pub fn variable(name: &str) {").is_empty());
    assert!(read_alone("", "env::var(\"AWS_REGION\")").is_empty());
}

/// Every file that holds code of the functions is among what is searched.
#[test]
fn all_functions_are_searched() {
    for entry in std::fs::read_dir(workspace().join("functions")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let folder = format!("functions/{name}/src");
        assert!(CODE.contains(&folder.as_str()), "{folder}");
    }
}
