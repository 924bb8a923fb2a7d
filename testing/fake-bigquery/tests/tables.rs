//! Datasets, tables and their schemas.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

mod support;

use hyper::Method;
use serde_json::{Value, json};
use support::{DATASET, PROJECT, TABLE, Test, field, record, row, schema, schema_of, table};

fn invalid() -> (u16, String) {
    (400, "invalid".to_owned())
}

fn duplicate() -> (u16, String) {
    (409, "duplicate".to_owned())
}

fn not_found() -> (u16, String) {
    (404, "notFound".to_owned())
}

#[tokio::test]
async fn a_dataset_can_be_made_once() {
    let test = Test::empty().await;
    test.fake.set_location("europe-west3");
    let path = format!("/datasets/{DATASET}");
    assert_eq!(test.get(&path).await.unwrap().error(), not_found());
    let dataset = json!({"datasetReference": {"projectId": PROJECT, "datasetId": DATASET}});
    let insert = || test.send(Method::POST, "/datasets", Some(dataset.clone()));
    let inserted = insert().await.unwrap().ok();
    assert_eq!(inserted["location"], "europe-west3");
    assert_eq!(insert().await.unwrap().error(), duplicate());
    assert_eq!(test.get(&path).await.unwrap().ok(), inserted);
}

#[tokio::test]
async fn a_table_can_be_made_once_in_a_dataset_that_is_there() {
    let test = Test::empty().await;
    let given = table(schema());
    assert_eq!(test.insert_table(given.clone()).await.unwrap().error(), not_found());
    assert_eq!(test.get_table().await.unwrap().error(), not_found());
    test.fake.create_dataset(DATASET);
    assert_eq!(test.get_table().await.unwrap().error(), not_found());
    test.insert_table(given.clone()).await.unwrap().ok();
    assert_eq!(test.insert_table(given).await.unwrap().error(), duplicate());
    assert_eq!(test.fake.tables(), [(DATASET.to_owned(), TABLE.to_owned())]);
    assert_eq!(test.schema(), schema());
}

#[tokio::test]
async fn tables_are_listed_page_by_page_with_the_time_at_which_they_were_made() {
    let test = Test::empty().await;
    let path = format!("/datasets/{DATASET}/tables");
    assert_eq!(test.get(&path).await.unwrap().error(), not_found());
    test.fake.create_dataset(DATASET);
    assert_eq!(test.get(&path).await.unwrap().ok()["tables"], json!([]));
    for (id, seconds) in [("b", 100), ("c", 300), ("a", 200)] {
        test.fake.set_time(seconds);
        let mut given = table(schema());
        given["tableReference"]["tableId"] = id.into();
        test.insert_table(given).await.unwrap().ok();
    }
    let shown = |list: &Value| {
        let tables = list["tables"].as_array().unwrap().iter();
        let tables = tables.map(|table| {
            assert!(table["schema"].is_null(), "{table}");
            let id = table["tableReference"]["tableId"].as_str().unwrap();
            format!("{id} {}", table["creationTime"].as_str().unwrap())
        });
        tables.collect::<Vec<_>>()
    };
    let first = test.get(&format!("{path}?maxResults=2")).await.unwrap().ok();
    assert_eq!(shown(&first), ["a 200001", "b 100001"]);
    let next = first["nextPageToken"].as_str().unwrap();
    let last = test.get(&format!("{path}?maxResults=2&pageToken={next}")).await.unwrap().ok();
    assert_eq!(shown(&last), ["c 300001"]);
    assert!(last["nextPageToken"].is_null(), "{last}");
    assert_eq!(test.get(&format!("{path}?pageToken=x")).await.unwrap().error(), invalid());
}

#[tokio::test]
async fn a_table_is_as_it_was_given() {
    let test = Test::empty().await;
    test.fake.create_dataset(DATASET);
    let mut given = table(schema());
    given["timePartitioning"] = json!({"type": "DAY", "field": "_ts"});
    given["clustering"] = json!({"fields": ["_dim"]});
    given["description"] = "of a test".into();
    test.insert_table(given.clone()).await.unwrap().ok();
    let got = test.get_table().await.unwrap().ok();
    for name in ["tableReference", "schema", "timePartitioning", "clustering", "description"] {
        assert_eq!(got[name], given[name], "{name}");
    }
    assert_eq!(got["location"], "EU");
    assert!(got["etag"].is_string());
}

#[tokio::test]
async fn partitioning_and_clustering_need_their_fields() {
    let test = Test::empty().await;
    test.fake.create_dataset(DATASET);
    for (name, value) in [
        ("timePartitioning", json!({"type": "DAY", "field": "missing"})),
        ("timePartitioning", json!({"type": "DAY", "field": "_dim"})),
        ("timePartitioning", json!({"type": "WEEK", "field": "_ts"})),
        ("clustering", json!({"fields": ["missing"]})),
        ("clustering", json!({"fields": ["counter"]})),
    ] {
        let mut given = table(schema());
        given[name] = value;
        assert_eq!(test.insert_table(given.clone()).await.unwrap().error(), invalid(), "{given}");
    }
}

#[tokio::test]
async fn references_have_to_fit_the_path() {
    let test = Test::empty().await;
    test.fake.create_dataset(DATASET);
    for (name, value) in [("projectId", "other"), ("datasetId", "other"), ("tableId", "a.b")] {
        let mut given = table(schema());
        given["tableReference"][name] = value.into();
        assert_eq!(test.insert_table(given).await.unwrap().error(), invalid(), "{name}");
    }
    let mut given = table(schema());
    given["tableReference"].as_object_mut().unwrap().remove("tableId");
    assert_eq!(test.insert_table(given).await.unwrap().error(), (400, "required".to_owned()));
    let no_object = test.insert_table("text".into()).await.unwrap();
    assert_eq!(no_object.error(), (400, "parseError".to_owned()));
}

/// Checks fields both in a new table and in a patch, at the top and in a record.
async fn is_invalid(fields: &[Value]) {
    let test = Test::start().await;
    let mut nested = schema();
    let of_counter = nested["fields"][2]["fields"].as_array_mut().unwrap();
    of_counter.extend(fields.iter().cloned());
    let mut flat = schema();
    flat["fields"].as_array_mut().unwrap().extend(fields.iter().cloned());
    for schema in [flat, nested] {
        assert_eq!(test.patch(schema.clone()).await.unwrap().error(), invalid(), "{fields:?}");
        let mut other = table(schema);
        other["tableReference"]["tableId"] = "other".into();
        assert_eq!(test.insert_table(other).await.unwrap().error(), invalid(), "{fields:?}");
    }
    assert_eq!(test.schema(), schema());
    assert_eq!(test.fake.tables().len(), 1);
}

#[tokio::test]
async fn names_are_checked() {
    let long = "a".repeat(301);
    for name in ["", "1a", "a-b", "a.b", "a b", "ä", &long] {
        is_invalid(&[field(name, "INTEGER")]).await;
    }
    for name in [
        "_TABLE_a",
        "_table_",
        "_FILE_x",
        "_PARTITIONTIME",
        "_partition",
        "_ROW_TIMESTAMP",
        "__ROOT__",
        "__root__a",
        "_COLIDENTIFIER",
        "_ColIdentifier1",
    ] {
        is_invalid(&[field(name, "INTEGER")]).await;
    }
}

#[tokio::test]
async fn fields_are_checked() {
    is_invalid(&[field("x", "INTEGER"), field("X", "INTEGER")]).await;
    is_invalid(&[field("x", "NUMBER")]).await;
    is_invalid(&[json!({"name": "x"})]).await;
    is_invalid(&[json!({"type": "INTEGER"})]).await;
    is_invalid(&[json!("x")]).await;
    is_invalid(&[record("x", &[])]).await;
    is_invalid(&[field("x", "RECORD")]).await;
    is_invalid(&[record("x", &[record("y", &[])])]).await;
    is_invalid(&[json!({"name": "x", "type": "INTEGER", "mode": "OPTIONAL"})]).await;
    is_invalid(&[json!({"name": "x", "type": "STRING", "fields": [field("y", "STRING")]})]).await;
    let deep = (0..16).fold(field("x", "INTEGER"), |field, _| record("x", &[field]));
    is_invalid(&[deep]).await;
}

#[tokio::test]
async fn names_at_the_limits_are_valid() {
    let test = Test::start().await;
    let long = "a".repeat(300);
    let names = ["_", "_1", "__", "table_", "_TABL", "_FIL_", "_RO", "__ROOT_", &long];
    let mut new = schema();
    for name in names {
        new["fields"].as_array_mut().unwrap().push(field(name, "INTEGER"));
    }
    test.patch(new.clone()).await.unwrap().ok();
    assert_eq!(test.schema(), new);
}

#[tokio::test]
async fn there_are_at_most_10_000_fields_at_all_depths() {
    let test = Test::start().await;
    let with = |count: usize| {
        let mut new = schema();
        let fields = new["fields"][2]["fields"].as_array_mut().unwrap();
        fields.extend((0..count).map(|i| field(&format!("f{i}"), "INTEGER")));
        new
    };
    // The table already has four fields, of which one is a record.
    for (count, message) in [
        (9_997, "Too many columns (10001) in schema. Only 10000 columns are allowed"),
        (9_998, "Too many total leaf fields: 10001, max allowed field count: 10000"),
    ] {
        let refused = test.patch(with(count)).await.unwrap();
        assert_eq!(refused.error(), invalid());
        assert_eq!(refused.json()["error"]["message"], message);
    }
    test.patch(with(9_996)).await.unwrap().ok();
    assert_eq!(test.schema(), with(9_996));
    let mut other = table(with(9_997));
    other["tableReference"]["tableId"] = "other".into();
    assert_eq!(test.insert_table(other).await.unwrap().error(), invalid());
}

#[tokio::test]
async fn a_patch_adds_fields_at_any_depth() {
    let test = Test::with_schema(schema_of(&[
        field("_ts", "TIMESTAMP"),
        record("a", &[record("b", &[field("c", "INTEGER")])]),
    ]))
    .await;
    let before = test.get_table().await.unwrap().ok();
    // The order differs, and `INT64` is another name of the type.
    let patch = schema_of(&[
        field("new", "STRING"),
        record(
            "a",
            &[
                record("b", &[field("d", "INTEGER"), field("c", "INT64")]),
                record("r", &[field("x", "FLOAT")]),
            ],
        ),
        field("_ts", "TIMESTAMP"),
    ]);
    let answer = test.patch(patch).await.unwrap().ok();
    let expected = schema_of(&[
        field("_ts", "TIMESTAMP"),
        record(
            "a",
            &[
                record("b", &[field("c", "INT64"), field("d", "INTEGER")]),
                record("r", &[field("x", "FLOAT")]),
            ],
        ),
        field("new", "STRING"),
    ]);
    assert_eq!(answer["schema"], expected);
    let got = test.get_table().await.unwrap().ok();
    assert_eq!(got["schema"], expected);
    assert_eq!(got["etag"], answer["etag"]);
    assert_ne!(got["etag"], before["etag"]);
}

#[tokio::test]
async fn a_patch_that_changes_or_lacks_a_field_does_nothing() {
    let test = Test::start().await;
    let (ts, dim) = (field("_ts", "TIMESTAMP"), field("_dim", "STRING"));
    let (counter, b) = (schema()["fields"][2].clone(), field("b", "INTEGER"));
    let required = json!({"name": "x", "type": "INTEGER", "mode": "REQUIRED"});
    let repeated = json!({"name": "_dim", "type": "STRING", "mode": "REPEATED"});
    for fields in [
        vec![],
        vec![ts.clone(), dim.clone()],
        vec![ts.clone(), dim.clone(), record("counter", &[b])],
        vec![ts.clone(), field("_dim", "INTEGER"), counter.clone()],
        vec![ts.clone(), dim.clone(), record("counter", &[field("a", "STRING")])],
        vec![ts.clone(), dim.clone(), field("counter", "INTEGER")],
        vec![ts.clone(), repeated, counter.clone()],
        vec![ts, dim, counter, required],
    ] {
        let schema = schema_of(&fields);
        assert_eq!(test.patch(schema.clone()).await.unwrap().error(), invalid(), "{schema}");
    }
    assert_eq!(test.schema(), schema());
}

#[tokio::test]
async fn a_name_keeps_its_case() {
    let test = Test::start().await;
    let mut patch = schema();
    patch["fields"][2] = record("COUNTER", &[field("A", "INTEGER"), field("b", "INTEGER")]);
    test.patch(patch).await.unwrap().ok();
    let expected = record("counter", &[field("a", "INTEGER"), field("b", "INTEGER")]);
    assert_eq!(test.schema()["fields"][2], expected);
}

#[tokio::test]
async fn a_patch_needs_the_table_and_the_etag_it_names() {
    let test = Test::start().await;
    let other = format!("/datasets/{DATASET}/tables/other");
    let patch = Some(json!({"schema": schema()}));
    assert_eq!(test.send(Method::PATCH, &other, patch).await.unwrap().error(), not_found());

    let url =
        format!("{}/projects/{PROJECT}/datasets/{DATASET}/tables/{TABLE}", test.fake.base_url());
    let etag = test.get_table().await.unwrap().ok()["etag"].as_str().unwrap().to_owned();
    let body = json!({"description": "new"}).to_string();
    let patch = |etag: String| {
        let (http, url, body) = (test.http.clone(), url.clone(), body.clone());
        async move { http.send(Method::PATCH, &url, &[("if-match", &etag)], body).await.unwrap() }
    };
    assert_eq!(patch(etag.clone()).await.ok()["description"], "new");
    assert_eq!(patch(etag).await.error(), (412, "conditionNotMet".to_owned()));
    assert_eq!(test.get_table().await.unwrap().ok()["description"], "new");
}

#[tokio::test]
async fn what_is_not_there_is_not_found() {
    let test = Test::start().await;
    assert_eq!(test.get("/models").await.unwrap().error(), not_found());
    let path = format!("/datasets/{DATASET}/tables/{TABLE}");
    assert_eq!(test.send(Method::DELETE, &path, None).await.unwrap().error(), not_found());
    let url = format!("http://{}/other", test.fake.address());
    assert_eq!(test.http.send(Method::GET, &url, &[], "").await.unwrap().error(), not_found());
    assert_eq!(test.fake.schema("other", TABLE), Value::Null);
    assert!(test.fake.rows(DATASET, "other").is_empty());
}

#[tokio::test]
async fn a_required_token_is_required() {
    let mut test = Test::start().await;
    test.fake.require_token(Some("token-1"));
    let unauthorized = (401, "authError".to_owned());
    assert_eq!(test.get_table().await.unwrap().error(), unauthorized);
    assert_eq!(test.load("a", &[row("es", 1)]).await.unwrap().error(), unauthorized);
    test.token = Some("token-1".to_owned());
    test.get_table().await.unwrap().ok();
    // The token expires.
    test.fake.require_token(Some("token-2"));
    let answer = test.get_table().await.unwrap();
    assert_eq!(answer.error(), unauthorized);
    assert!(answer.header("www-authenticate").unwrap().starts_with("Bearer"));
    assert_eq!(answer.json()["error"]["status"], "UNAUTHENTICATED");
    test.fake.require_token(None);
    test.get_table().await.unwrap().ok();
    assert!(test.fake.jobs().is_empty());
    let tokens: Vec<_> = test.fake.requests().into_iter().map(|request| request.token).collect();
    assert_eq!(tokens.last().unwrap().as_deref(), Some("token-1"));
}
