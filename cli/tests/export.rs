//! `statshub export` and `statshub import`, the program itself, on an embedded DynamoDB.

#![allow(missing_docs, clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used)]

mod support;

use std::{
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Output, Stdio},
    time::SystemTime,
};

use serde_json::Value;
use shared::{
    domain::{Id, Update},
    store::Store,
};

const TABLES: [&str; 2] = ["old", "new"];

struct Tables {
    endpoint: String,
    stores: [Store; 2],
}

impl Tables {
    /// Two tables, of which the first has something.
    async fn new() -> Self {
        let endpoint = local_dynamodb::start_in_memory().await.unwrap();
        let client = local_dynamodb::client(&endpoint);
        let mut stores = Vec::new();
        for table in TABLES {
            stores.push(support::table(&client, table).await);
        }
        let tables = Self { endpoint, stores: stores.try_into().unwrap() };
        for name in ["a", "b"] {
            let body = r#"{"dims":{"country":"es"},"counters":{"hits":7},"members":{"users":"X"}}"#;
            tables.post(0, name, body).await;
        }
        tables
    }

    async fn post(&self, table: usize, name: &str, body: &str) {
        let (id, update) = (Id::new(name).unwrap(), Update::from_json(body.as_bytes()).unwrap());
        let now = SystemTime::now().into();
        self.stores[table].update(&id, &update, None, now, support::soon()).await.unwrap();
    }

    /// Runs the program with these arguments and this input.
    async fn statshub(&self, arguments: &[&str], input: &[u8]) -> Output {
        let mut command = support::statshub(&self.endpoint, arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let input = input.to_owned();
        let ran = tokio::task::spawn_blocking(move || {
            let mut child = command.spawn().unwrap();
            // A program that refuses its arguments reads nothing.
            let _ = child.stdin.take().unwrap().write_all(&input);
            child.wait_with_output().unwrap()
        });
        ran.await.unwrap()
    }
}

fn ok(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// A folder of its own for a test.
fn folder(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(&folder).unwrap();
    folder
}

const EXPORTED: &str = r#"{"statshub":{"version":1}}
{"dimension":{"name":"country"}}
{"key":{"dim":"country","key":"es"}}
{"set":{"dim":"country","key":"es","stat":"users","members":["X"]}}
{"id":{"id":"a","counters":{"hits":7},"keys":{"country":{"key":"es"}}}}
{"id":{"id":"b","counters":{"hits":7},"keys":{"country":{"key":"es"}}}}
{"end":{"lines":6}}
"#;

#[tokio::test(flavor = "multi_thread")]
async fn an_export_goes_through_a_pipe_and_comes_out_the_same() {
    let tables = Tables::new().await;
    let exported = tables.statshub(&["export", "--table", "old"], b"").await;
    assert_eq!(ok(&exported), EXPORTED);
    let imported = tables.statshub(&["import", "--table", "new", "--json"], &exported.stdout).await;
    let counts: Value = serde_json::from_str(&ok(&imported)).unwrap();
    assert_eq!(counts["imported"]["lines"], 5);
    assert_eq!(counts["imported"]["different"], 0);
    assert_eq!(ok(&tables.statshub(&["export", "--table", "new"], b"").await), EXPORTED);
    assert!(tables.statshub(&["audit", "--table", "new"], b"").await.status.success());
    let again = tables.statshub(&["import", "--table", "new", "--json"], &exported.stdout).await;
    let counts: Value = serde_json::from_str(&ok(&again)).unwrap();
    assert_eq!(
        (&counts["imported"]["written"], &counts["imported"]["writeUnits"]),
        (&0.into(), &0.0.into())
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_is_compressed_by_its_name_and_appears_when_it_is_complete() {
    let tables = Tables::new().await;
    let folder = folder("compressed");
    let file = folder.join("old.ndjson.gz").to_str().unwrap().to_owned();
    ok(&tables.statshub(&["export", "--table", "old", "--file", &file], b"").await);
    assert!(fs::read(&file).unwrap().starts_with(&[0x1f, 0x8b]));
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 1);
    let bytes = fs::read(&file).unwrap();
    ok(&tables.statshub(&["export", "--table", "old", "--file", &file], b"").await);
    assert_eq!(fs::read(&file).unwrap(), bytes, "the same bytes, compressed too");

    ok(&tables.statshub(&["import", "--dry-run", "--file", &file], b"").await);
    assert_eq!(ok(&tables.statshub(&["export", "--table", "new"], b"").await).lines().count(), 2);
    ok(&tables.statshub(&["import", "--table", "new", "--file", &file], b"").await);
    assert_eq!(ok(&tables.statshub(&["export", "--table", "new"], b"").await), EXPORTED);

    let failed = tables.statshub(&["export", "--table", "none", "--file", &file], b"").await;
    assert_eq!(failed.status.code(), Some(1));
    assert_eq!(fs::read(&file).unwrap(), bytes, "a failed export replaces nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_that_is_there_with_something_else_has_an_exit_code_of_its_own() {
    let tables = Tables::new().await;
    tables.post(1, "b", r#"{"dims":{"country":"fr"},"counters":{"hits":1}}"#).await;
    let imported = tables.statshub(&["import", "--table", "new"], EXPORTED.as_bytes()).await;
    assert_eq!(imported.status.code(), Some(3));
    let printed = String::from_utf8(imported.stdout).unwrap();
    assert_eq!(printed, "the id b is there, and has reported something else\n");
    assert!(tables.statshub(&["audit", "--table", "new"], b"").await.status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_export_or_not_all_of_one_is_refused_by_its_line() {
    let tables = Tables::new().await;
    let (first, rest) = EXPORTED.split_once('\n').unwrap();
    let without_end = EXPORTED.rsplit_once("{\"end").unwrap().0.to_owned();
    for (input, reason) in [
        (String::new(), "not complete"),
        (rest.to_owned(), "no export of statshub"),
        (without_end, "ends after line 6"),
        (EXPORTED.replace("{\"dimension\":{\"name\":\"country\"}}\n", ""), "lines are missing"),
        (EXPORTED.replace("\"es\"", "5"), "line 3 is no line"),
        (format!("{EXPORTED}{first}\n"), "line 8"),
    ] {
        for arguments in [&["import", "--table", "new"][..], &["import", "--dry-run"]] {
            let refused = tables.statshub(arguments, input.as_bytes()).await;
            assert_eq!(refused.status.code(), Some(1), "{input}");
            let error = String::from_utf8(refused.stderr).unwrap();
            assert!(error.contains(reason), "{reason}: {error}");
        }
    }
    // What was imported before that is completed by the whole export.
    ok(&tables.statshub(&["import", "--table", "new"], EXPORTED.as_bytes()).await);
    assert_eq!(ok(&tables.statshub(&["export", "--table", "new"], b"").await), EXPORTED);
}
