//! Why BigQuery has a client of our own: `gcp-bigquery-client` asks for another table than it
//! should, if the name has a space.
//!
//! A dimension may have any name, and its table has the same. `gcp-bigquery-client` 0.28 builds the
//! path of a table by `form_urlencoded::byte_serialize`. That is the encoding of forms, where `+`
//! is a space. In a path `+` is a plus. The crate itself isn't a dependency: it always brings gRPC
//! and a second HTTP stack along. So the test is of the function that it encodes names by.

#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::unwrap_used)]

use std::{net::SocketAddr, time::Duration};

use bigquery::{BigQuery, Config, Pace, TableId};
use fake_bigquery::FakeBigQuery;
use shared::{deadline::Deadline, domain::DimensionName};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

const DIMENSION: &str = "größe x-1";

/// A name in a path, as `gcp-bigquery-client` encodes it.
fn encoded_as_a_form(name: &str) -> String {
    form_urlencoded::byte_serialize(name.as_bytes()).collect()
}

/// The status of a GET.
async fn get(address: SocketAddr, path: &str) -> u16 {
    let mut connection = TcpStream::connect(address).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    answer.split(' ').nth(1).unwrap().parse().unwrap()
}

#[tokio::test]
async fn a_table_whose_name_has_a_space_is_not_found_by_a_name_encoded_as_a_form() {
    let fake = FakeBigQuery::start().await.unwrap();
    let host = fake.address().to_string();
    let config = Config::from_variables(|name| match name {
        "GOOGLE_PROJECT" => Some("project".to_owned()),
        "BIGQUERY_EMULATOR_HOST" => Some(host.clone()),
        _ => None,
    });
    let config = config.unwrap().unwrap();
    let bigquery = BigQuery::new(&config, Pace::default(), fastrand::Rng::new()).unwrap();
    let table = TableId::from(&DimensionName::new(DIMENSION).unwrap());
    let deadline = Deadline::after(Duration::from_secs(60));
    bigquery.table_or_new(&table, deadline).await.unwrap();
    assert_eq!(fake.tables(), [("statshub".to_owned(), DIMENSION.to_owned())]);

    // Our client finds it again, and that is not for a lenient server.
    assert!(bigquery.table(&table, deadline).await.unwrap().is_some());
    let path = fake.requests().pop().unwrap().path;
    assert_eq!(get(fake.address(), &path).await, 200);

    let (tables, name) = path.rsplit_once('/').unwrap();
    assert_eq!(name, "gr%C3%B6%C3%9Fe%20x-1");
    let name = encoded_as_a_form(DIMENSION);
    assert_eq!(name, "gr%C3%B6%C3%9Fe+x-1");
    assert_eq!(get(fake.address(), &format!("{tables}/{name}")).await, 404);
}
