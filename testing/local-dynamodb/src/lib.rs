//! DynamoDB on this machine, for development and tests: an embedded one, and how to create
//! statshub's table in any DynamoDB.

pub mod request_count;

use std::{net::Ipv4Addr, path::Path, time::Duration};

use anyhow::Context;
use aws_sdk_dynamodb::{
    Client,
    config::{BehaviorVersion, Credentials, Region},
    error::ProvideErrorMetadata,
};
use dynoxide::{Database, server};
pub use shared::store::audit;
use tokio::{net::TcpListener, time::interval};

/// How often expired items are deleted. DynamoDB itself takes up to two days.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// Starts a DynamoDB in this process, with its data in memory; returns its endpoint.
pub async fn start_in_memory() -> anyhow::Result<String> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let endpoint = format!("http://{}", listener.local_addr()?);
    tokio::spawn(server::serve_on(listener, memory()?));
    Ok(endpoint)
}

/// Runs a DynamoDB on a loopback port, with its data in memory. Never returns.
pub async fn serve_in_memory(port: u16) -> anyhow::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    server::serve_on(listener, memory()?).await;
    Ok(())
}

fn memory() -> anyhow::Result<Database> {
    Database::memory().map_err(|error| anyhow::anyhow!("{error}"))
}

/// Starts a DynamoDB in this process with an empty table of this name; returns a client of it.
pub async fn in_memory_with_table(name: &str) -> anyhow::Result<Client> {
    let client = client(&start_in_memory().await?);
    create_table(&client, name).await?;
    Ok(client)
}

/// Runs a DynamoDB on a loopback port, with its data in a file. Never returns.
pub async fn serve_file(file: &Path, port: u16) -> anyhow::Result<()> {
    let path = file.to_str().context("the path of the database is not UTF-8")?;
    let database = Database::new(path).map_err(|error| anyhow::anyhow!("{error}"))?;
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    let swept = database.clone();
    tokio::spawn(async move {
        let mut ticks = interval(SWEEP_EVERY);
        loop {
            ticks.tick().await;
            let swept = swept.clone();
            let result = tokio::task::spawn_blocking(move || swept.sweep_ttl()).await;
            if let Ok(Err(error)) = result {
                eprintln!("expired items could not be deleted: {error}");
            }
        }
    });
    server::serve_on(listener, database).await;
    Ok(())
}

/// A client of the DynamoDB at `endpoint`, with made-up credentials, which only a local one takes.
#[must_use]
pub fn client(endpoint: &str) -> Client {
    Client::from_conf(client_config(endpoint).build())
}

/// The configuration of [`client`], for tests that add to it.
#[must_use]
pub fn client_config(endpoint: &str) -> aws_sdk_dynamodb::config::Builder {
    let builder = aws_sdk_dynamodb::Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("local", "local", None, None, "local"))
        .endpoint_url(endpoint)
        // Without TLS: reading the system's certificates again for each client takes long.
        .http_client(aws_smithy_http_client::Builder::new().build_http());
    shared::store::Pace::default().client_config(builder)
}

/// Creates the table, unless there is one of that name.
pub async fn create_table(client: &Client, name: &str) -> anyhow::Result<()> {
    match shared::table::create_table(client, name)?.send().await {
        Err(error) if error.code() == Some("ResourceInUseException") => return Ok(()),
        created => created.with_context(|| format!("the table {name} can't be created"))?,
    };
    shared::table::time_to_live(client, name)?
        .send()
        .await
        .with_context(|| format!("expiry can't be switched on for the table {name}"))?;
    Ok(())
}
