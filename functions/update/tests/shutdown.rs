//! What the built function does when its process is asked to end.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::{
    process::{Command, Output, Stdio},
    sync::Arc,
    time::Duration,
};

use gateway::{functions::Functions, listeners, runtime_api};
use serde_json::Value;
use tokio::net::TcpListener;

const LONGEST: Duration = Duration::from_secs(30);

/// Lets a process of the function answer an event often, then asks it to end. Returns what it wrote,
/// and how many extensions it had registered.
async fn run(times: usize, variables: &[(&str, &str)]) -> (Output, usize) {
    let functions = Arc::new(Functions::new([("update".to_owned(), LONGEST)]));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(listeners::processes(listener, functions.clone()));
    let process = Command::new(env!("CARGO_BIN_EXE_update"))
        .env("AWS_LAMBDA_RUNTIME_API", runtime_api::endpoint(&address, "update"))
        .env("AWS_LAMBDA_FUNCTION_NAME", "update")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
        .env("AWS_ENDPOINT_URL_DYNAMODB", local_dynamodb::start_in_memory().await.unwrap())
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "local")
        .env("AWS_SECRET_ACCESS_KEY", "local")
        .env("STATSHUB_AUTH", "off")
        .envs(variables.iter().copied())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    for number in 0..times {
        let mut event: Value = serde_json::from_str(include_str!("events/post.json")).unwrap();
        // Refused, so that no table is needed.
        event["body"] = "{".into();
        let id = format!("{number:032x}");
        let answer = functions.invoke("update", id, event.to_string().into(), LONGEST).await;
        let answer: Value = serde_json::from_slice(&answer.unwrap()).unwrap();
        assert_eq!(answer["statusCode"], 400, "{answer}");
    }
    let ended = Command::new("kill").args(["-TERM", &process.id().to_string()]).status().unwrap();
    assert!(ended.success());
    let output = tokio::task::spawn_blocking(|| process.wait_with_output().unwrap());
    (output.await.unwrap(), functions.get("update").unwrap().extensions())
}

/// How many requests each line of metrics says there were.
fn requests(output: &Output) -> Vec<u64> {
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let lines = text.lines().filter(|line| line.starts_with("{\"_aws\""));
    let lines = lines.map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.map(|line| line["Requests"].as_u64().unwrap()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_counted_and_not_written_yet_is_written_when_the_process_is_asked_to_end() {
    let (output, extensions) = run(3, &[("METRICS_NAMESPACE", "statshub")]).await;
    assert!(output.status.success(), "{output:?}");
    let requests = requests(&output);
    assert_eq!(requests.iter().sum::<u64>(), 3, "{requests:?}");
    // Two, if a minute ended meanwhile.
    assert!(requests.len() <= 2, "{requests:?}");
    assert_eq!(extensions, 1, "or Lambda would not ask");
}

/// Each would cost a cold start some time.
#[tokio::test(flavor = "multi_thread")]
async fn without_anything_to_write_at_the_end_no_extension_is_registered() {
    let each = [("METRICS_NAMESPACE", "statshub"), ("METRICS_LINES", "call")];
    for (variables, expected) in [(&each[..], &[1, 1, 1][..]), (&[], &[])] {
        let (output, extensions) = run(3, variables).await;
        assert_eq!((requests(&output).as_slice(), extensions), (expected, 0));
    }
}
