//! The program, on tables of an embedded DynamoDB.

#![allow(dead_code, reason = "not every test uses all of it")]

use std::{
    process::{Command, Output},
    time::Duration,
};

use aws_sdk_dynamodb::Client;
use shared::{
    domain::PeriodLength,
    store::{Deadline, Settings, Store},
};

pub fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(60))
}

/// A new table of this name, and a store on it.
pub async fn table(client: &Client, name: &str) -> Store {
    local_dynamodb::create_table(client, name).await.unwrap();
    let settings = Settings::new(name, PeriodLength::DEFAULT);
    Store::new(client.clone(), settings, fastrand::Rng::new())
}

/// The program, with what leads it to the DynamoDB at `endpoint`.
pub fn statshub(endpoint: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_statshub"));
    command
        .args(arguments)
        .env("AWS_ENDPOINT_URL_DYNAMODB", endpoint)
        .env("AWS_REGION", "eu-west-1")
        .env("AWS_ACCESS_KEY_ID", "local")
        .env("AWS_SECRET_ACCESS_KEY", "local");
    command
}

/// Runs a command while this process goes on answering it.
pub async fn output(mut command: Command) -> Output {
    tokio::task::spawn_blocking(move || command.output()).await.unwrap().unwrap()
}
