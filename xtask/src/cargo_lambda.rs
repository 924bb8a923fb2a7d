//! The test step `cargo-lambda`: the workspace works with `cargo lambda watch` and `cargo lambda
//! invoke` too, by the router in `Cargo.toml`.

use std::{
    fs,
    process::{Command, Stdio},
};

use anyhow::ensure;
use service::{
    ports::free_port,
    processes::{Running, wait_for},
    tools, wait_for_port,
    workspace::{root, run, target},
};
use statshub::HttpClient;

const EVENT: &str = r#"{"time":"2026-11-24T10:40:00Z"}"#;

pub fn test() -> anyhow::Result<()> {
    let cargo_lambda = tools::cargo_lambda()?;
    let (database_port, port) = (free_port()?, free_port()?);
    let data = target("test-cargo-lambda");
    if data.exists() {
        fs::remove_dir_all(&data)?;
    }
    fs::create_dir_all(&data)?;
    let local_dynamodb = target("debug/local-dynamodb");
    let mut database = Running::start(
        "dynamodb",
        Command::new(&local_dynamodb)
            .args(["serve", "--port", &database_port.to_string(), "--file"])
            .arg(data.join("statshub.sqlite")),
    )?;
    wait_for_port("DynamoDB", &mut database, database_port)?;
    let mut create = Command::new(&local_dynamodb);
    run(with_aws(&mut create, database_port).arg("create-table"))?;
    let mut watch = Command::new(&cargo_lambda);
    with_aws(&mut watch, database_port)
        .current_dir(root())
        .args(["lambda", "watch", "--ignore-changes", "--invoke-address", "127.0.0.1"])
        .args(["--invoke-port", &port.to_string()])
        .env("STATSHUB_AUTH", "off")
        .env("RUST_LOG", "error");
    let mut watch = Running::start("cargo-lambda", &mut watch)?;
    let client = HttpClient::new(&format!("http://127.0.0.1:{port}"));
    // At the first request of each function, cargo looks whether it is built.
    let update = r#"{"dims":{"d":"k"},"counters":{"x":1}}"#;
    let is_counted = || client.post("/stats/a%2Fb", update).is_ok_and(|(status, _)| status == 200);
    wait_for("the function update of cargo lambda watch", &mut [&mut watch], is_counted)?;
    let shown = r#""d":{"k":{"counters":{"x":1}},"#;
    let is_shown = || client.get("/stats/d").is_ok_and(|(_, body)| body.contains(shown));
    wait_for("the function query of cargo lambda watch", &mut [&mut watch], is_shown)?;
    let invoked = Command::new(&cargo_lambda)
        .current_dir(root())
        .args(["lambda", "invoke", "archive", "--data-ascii", EVENT])
        .args(["--invoke-address", "127.0.0.1", "--invoke-port", &port.to_string()])
        .stderr(Stdio::inherit())
        .output()?;
    let answer = String::from_utf8_lossy(&invoked.stdout);
    ensure!(answer.contains(r#""archiving":false"#), "cargo lambda invoke archive: {answer}");
    Ok(())
}

fn with_aws(command: &mut Command, port: u16) -> &mut Command {
    command
        .env("AWS_ENDPOINT_URL_DYNAMODB", format!("http://127.0.0.1:{port}"))
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "local")
        .env("AWS_SECRET_ACCESS_KEY", "local")
}
