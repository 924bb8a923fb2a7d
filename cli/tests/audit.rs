//! `statshub audit`, the program itself, on an embedded DynamoDB.

#![allow(missing_docs, clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used)]

mod support;

use std::{collections::HashMap, process::Output, time::SystemTime};

use aws_sdk_dynamodb::{Client, types::AttributeValue};
use serde_json::{Value, json};
use shared::domain::{Id, Update};

const TABLE: &str = "stats";

struct Table {
    endpoint: String,
    client: Client,
}

impl Table {
    /// A table with a wrong counter and a wrong number of keys, if it is to be `damaged`.
    async fn new(damaged: bool) -> Self {
        let endpoint = local_dynamodb::start_in_memory().await.unwrap();
        let client = local_dynamodb::client(&endpoint);
        let store = support::table(&client, TABLE).await;
        let body = br#"{"dims":{"country":"es #1"},"counters":{"hits":7}}"#;
        let (id, update) = (Id::new("a").unwrap(), Update::from_json(body).unwrap());
        let now = SystemTime::now().into();
        store.update(&id, &update, None, now, support::soon()).await.unwrap();
        let table = Self { endpoint, client };
        if damaged {
            table.add("dim#country#0", "es %231", "c:hits").await;
            table.add("keys#country#0", "keys", "keys").await;
        }
        table
    }

    async fn add(&self, pk: &str, sk: &str, attribute: &str) {
        let text = |text: &str| AttributeValue::S(text.to_owned());
        let key = [("pk", text(pk)), ("sk", text(sk))].map(|(name, text)| (name.to_owned(), text));
        let update = self.client.update_item().table_name(TABLE).update_expression("ADD #a :five");
        let update = update.set_key(Some(HashMap::from(key)));
        let update = update.expression_attribute_names("#a", attribute);
        let five = AttributeValue::N("5".to_owned());
        update.expression_attribute_values(":five", five).send().await.unwrap();
    }

    async fn audit(&self, arguments: &[&str]) -> Output {
        let arguments = [&["audit"], arguments].concat();
        let mut command = support::statshub(&self.endpoint, &arguments);
        command.env("TABLE_NAME", TABLE);
        support::output(command).await
    }
}

fn lines(output: &Output) -> Vec<Value> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_that_is_right_has_nothing_to_report() {
    let table = Table::new(false).await;
    let audit = table.audit(&[]).await;
    assert_eq!((audit.status.code(), audit.stdout.len()), (Some(0), 0));
    let summary = String::from_utf8(audit.stderr).unwrap();
    assert!(
        summary.starts_with("statshub: 1 key: every number is what it should be ("),
        "{summary}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_wrong_is_reported_with_an_exit_code_of_its_own_and_repaired() {
    let table = Table::new(true).await;
    let found = table.audit(&[]).await;
    assert_eq!(found.status.code(), Some(3));
    assert_eq!(
        String::from_utf8(found.stdout).unwrap(),
        "the key es #1 of country: counter hits: stored 12, computed 7\n\
         the dimension country: number of keys: stored 6, computed 1\n"
    );
    assert!(String::from_utf8(found.stderr).unwrap().contains("--repair"));

    let wrong = |state: &str| {
        [
            json!({"dim": "country", "key": "es #1", "number": "counter", "stat": "hits",
                "stored": "12", "computed": "7", "state": state}),
            json!({"dim": "country", "number": "keys", "stored": "6", "computed": "1",
                "state": state}),
        ]
    };
    let found = lines(&table.audit(&["--json"]).await);
    assert_eq!(found[..2], wrong("wrong"));
    assert_eq!(
        (&found[2]["audited"]["wrong"], &found[2]["audited"]["repaired"]),
        (&2.into(), &0.into())
    );

    let repaired = table.audit(&["--json", "--repair"]).await;
    assert_eq!(repaired.status.code(), Some(0));
    let repaired = lines(&repaired);
    assert_eq!(repaired[..2], wrong("repaired"));
    assert_eq!(repaired[2]["audited"]["repaired"], 2);
    assert!(repaired[2]["audited"]["writeUnits"].as_f64() > Some(0.0));
    assert_eq!(table.audit(&[]).await.status.code(), Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_names_the_table_and_what_to_do() {
    let table = Table::new(false).await;
    let failed = table.audit(&["--table", "other"]).await;
    assert_eq!(failed.status.code(), Some(1));
    let error = String::from_utf8(failed.stderr).unwrap();
    assert!(error.contains("the table other") && error.contains("dynamodb:Scan"), "{error}");
    for wrong in [["--scans", "0"], ["--memory", "0"], ["--units-per-second", "0"]] {
        assert_eq!(table.audit(&wrong).await.status.code(), Some(2), "{wrong:?}");
    }
}
