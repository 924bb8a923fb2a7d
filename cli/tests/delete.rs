//! `statshub delete`, the program itself, on an embedded DynamoDB.

#![allow(missing_docs, clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used)]

mod support;

use std::{process::Output, time::SystemTime};

use serde_json::Value;
use shared::{
    domain::{DimensionName, Id, Sum, Update},
    store::Store,
};
use support::soon;

const TABLE: &str = "stats";

struct Table {
    endpoint: String,
    store: Store,
}

impl Table {
    async fn new() -> Self {
        let endpoint = local_dynamodb::start_in_memory().await.unwrap();
        let store = support::table(&local_dynamodb::client(&endpoint), TABLE).await;
        Self { endpoint, store }
    }

    async fn post(&self, id: &str, body: &str) {
        let (id, update) = (Id::new(id).unwrap(), Update::from_json(body.as_bytes()).unwrap());
        let now = SystemTime::now().into();
        self.store.update(&id, &update, None, now, soon()).await.unwrap();
    }

    async fn total(&self, dimension: &str) -> Vec<Sum> {
        let dimension = DimensionName::new(dimension).unwrap();
        let now = SystemTime::now().into();
        let summary = self.store.summary(&dimension, now, soon()).await.unwrap();
        let total = summary.total();
        total.counters.values().chain(total.members.values()).copied().collect()
    }

    /// Runs the program with these arguments.
    async fn statshub(&self, arguments: &[&str]) -> Output {
        let mut command = support::statshub(&self.endpoint, arguments);
        command.env("TABLE_NAME", TABLE);
        support::output(command).await
    }
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout.clone()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_is_previewed_then_deleted_and_then_nothing_is_kept_of_it() {
    let table = Table::new().await;
    table.post("a", r#"{"dims":{"country":"es"},"counters":{"x":5,"y":1}}"#).await;
    table.post("a", r#"{"dims":{"country":"de"},"counters":{"x":7}}"#).await;
    table.post("b", r#"{"dims":{"country":"de"},"counters":{"x":1}}"#).await;
    let before = table.total("country").await;
    for arguments in [&["delete", "--id", "a"][..], &["delete", "--id", "a", "-n"]] {
        let preview = stdout(&table.statshub(arguments).await);
        assert!(preview.starts_with("the id a: 1 id, 3 sums in 2 rollups, 1 of them of"));
        assert!(preview.contains("Nothing is deleted yet. To delete it, add --yes."), "{preview}");
        assert_eq!(table.total("country").await, before);
    }
    let done = stdout(&table.statshub(&["delete", "--id", "a", "--yes"]).await);
    assert!(done.starts_with("the id a, deleted: 1 id, 3 sums in 2 rollups"), "{done}");
    assert_eq!(table.total("country").await, [Sum::from(1), Sum::ZERO]);
    assert_eq!(
        stdout(&table.statshub(&["delete", "--id", "a", "--yes"]).await),
        "nothing is kept of the id a\n"
    );
    assert!(table.statshub(&["audit"]).await.status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_found_is_printed_as_json_with_its_units() {
    let table = Table::new().await;
    table.post("a", r#"{"dims":{"d":"k","e":"k"},"members":{"s":"item1"}}"#).await;
    let preview = stdout(&table.statshub(&["delete", "--member", "item1", "--json"]).await);
    let preview: Value = serde_json::from_str(&preview).unwrap();
    assert_eq!((&preview["deleted"], &preview["members"]), (&false.into(), &2.into()));
    assert_eq!(preview["writeUnits"], 0.0);
    let done = stdout(&table.statshub(&["delete", "--member", "item1", "--yes", "--json"]).await);
    let done: Value = serde_json::from_str(&done).unwrap();
    assert_eq!((&done["deleted"], &done["members"]), (&true.into(), &2.into()));
    assert_eq!(format!("{}.0", preview["leastWriteUnits"]), done["writeUnits"].to_string());
    assert_eq!(table.total("d").await, [Sum::ZERO]);
    assert!(table.statshub(&["audit"]).await.status.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_says_what_to_do_and_a_wrong_command_line_deletes_nothing() {
    let table = Table::new().await;
    let missing = table.statshub(&["delete", "--id", "a", "--table", "other"]).await;
    assert_eq!(missing.status.code(), Some(1));
    let error = String::from_utf8(missing.stderr).unwrap();
    assert!(error.contains("the table other") && error.contains("AWS_REGION"), "{error}");
    for wrong in [
        &["delete"][..],
        &["delete", "--id", ""],
        &["delete", "--id", "a", "--member", "b"],
        &["delete", "--id", "a", "--yes", "--dry-run"],
        &["delete", "--id", "a", "--yes", "--units-per-second", "0"],
        &["delete", "--key", "a"],
        &["delete", "--prefix", "a"],
        &["delete", "--dim", "d", "--prefix", ""],
        &["delete", "--dim", "d", "--prefix", "a", "--key", "b"],
        &["delete", "--dim", "d", "--id", "a"],
        &["delete", "--dim", "d", "--key", "total"],
        &["delete", "--stat", "a.b"],
    ] {
        assert_eq!(table.statshub(wrong).await.status.code(), Some(2), "{wrong:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_whole_dimension_goes_only_if_its_name_is_confirmed() {
    let table = Table::new().await;
    table.post("a", r#"{"dims":{"user":"bob","country":"es"},"counters":{"x":5}}"#).await;
    for unconfirmed in [
        &["delete", "--dim", "user", "--yes"][..],
        &["delete", "--dim", "user", "--yes", "--confirm", "country"],
    ] {
        let refused = table.statshub(unconfirmed).await;
        assert_eq!(refused.status.code(), Some(1));
        let error = String::from_utf8(refused.stderr).unwrap();
        assert!(error.contains("--confirm 'user'"), "{error}");
    }
    assert_eq!(table.total("user").await, [Sum::from(5)]);
    let done = table.statshub(&["delete", "--dim", "user", "--yes", "--confirm", "user"]).await;
    let done = stdout(&done);
    assert!(done.ends_with("deletes it:\nDROP TABLE statshub.`user`;\n"), "{done}");
    assert!(table.total("user").await.is_empty());
    assert_eq!(table.total("country").await, [Sum::from(5)]);
    stdout(&table.statshub(&["delete", "--stat", "?", "--yes"]).await);
    assert!(table.total("country").await.is_empty());
    assert!(table.statshub(&["audit"]).await.status.success());
}
