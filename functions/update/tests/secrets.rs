//! The log of the built function has no token, no header and no body, however a request ends. The
//! function runs at its most talkative, on a runtime API of Lambda that is made here.

#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unwrap_used
)]

use std::{
    collections::VecDeque,
    convert::Infallible,
    io::Read,
    process::{Command, Stdio},
    sync::{Arc, Mutex},
    thread,
    time::{Duration, SystemTime},
};

use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::{
    body::{Bytes, Incoming},
    service::service_fn,
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// All that must not be logged has this in it, in any case of letters.
const SECRET: &str = "xyzzy";
const TOKEN: &str = "statshub_xyzzy_of_the_writer";
/// The SHA-256 of [`TOKEN`].
const HASH: &str = "4b76d09939ce805a5eeea8a7727fe7c5f5560d2480d2b732c640fb95d151e4f5";

/// The runtime API: the events that it hands out, and the answers that it gets.
#[derive(Default)]
struct Runtime {
    events: Mutex<VecDeque<Value>>,
    answers: Mutex<Vec<Value>>,
}

impl Runtime {
    async fn answer(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        if !parts.uri.path().ends_with("/invocation/next") {
            self.answers.lock().unwrap().push(serde_json::from_slice(&body).unwrap());
            return Ok(Response::builder().status(202).body(Full::default()).unwrap());
        }
        let event = self.events.lock().unwrap().pop_front();
        let Some(event) = event else {
            // As on Lambda, where the next event may never come.
            return std::future::pending().await;
        };
        let deadline = SystemTime::now() + Duration::from_secs(10);
        let deadline = deadline.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis();
        let response = Response::builder()
            .header("Lambda-Runtime-Aws-Request-Id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd")
            .header("Lambda-Runtime-Deadline-Ms", deadline.to_string())
            .header("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:us-east-1:1:function:f")
            .header("Lambda-Runtime-Trace-Id", "Root=1-5bef4de7-ad49b0e87f6ef6c87fc2e700");
        Ok(response.body(Full::from(event.to_string())).unwrap())
    }

    /// Starts it. Returns the address where it listens.
    async fn start(self: Arc<Self>) -> String {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let runtime = self.clone();
                let service = service_fn(move |request| runtime.clone().answer(request));
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service),
                );
            }
        });
        address
    }
}

fn event(authorization: Option<&str>, body: &str) -> Value {
    let mut event: Value = serde_json::from_str(include_str!("events/post.json")).unwrap();
    event["headers"]["cookie"] = format!("{SECRET}=1").into();
    event["headers"]["idempotency-key"] = format!("{SECRET}-key").into();
    if let Some(authorization) = authorization {
        event["headers"]["authorization"] = authorization.into();
    }
    event["body"] = body.into();
    event
}

/// Runs the function on these events. Returns their answers and all that the function wrote.
async fn run(events: Vec<Value>, endpoint: &str, table: &str) -> (Vec<Value>, String) {
    let count = events.len();
    let runtime = Arc::new(Runtime { events: Mutex::new(events.into()), ..Runtime::default() });
    let address = runtime.clone().start().await;
    let mut function = Command::new(env!("CARGO_BIN_EXE_update"))
        .env("AWS_LAMBDA_RUNTIME_API", address)
        .env("AWS_LAMBDA_FUNCTION_NAME", "update")
        .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
        .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
        .env("AWS_LAMBDA_LOG_LEVEL", "TRACE")
        .env("RUST_LOG", "trace,lambda_runtime=trace,aws_smithy_runtime=trace,hyper=trace")
        .env("AWS_ENDPOINT_URL_DYNAMODB", endpoint)
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "local")
        .env("AWS_SECRET_ACCESS_KEY", "local")
        .env("STATSHUB_AUTH", format!("the-writer:write:{HASH}"))
        .env("TABLE_NAME", table)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let output = [read(function.stdout.take().unwrap()), read(function.stderr.take().unwrap())];
    let waited = tokio::time::timeout(Duration::from_secs(60), async {
        while runtime.answers.lock().unwrap().len() < count {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let waited = waited.await;
    function.kill().unwrap();
    function.wait().unwrap();
    let log = output.map(|output| output.join().unwrap()).concat();
    assert!(waited.is_ok(), "{log}");
    let answers = runtime.answers.lock().unwrap().clone();
    (answers, log)
}

/// Reads to the end, so that the writer never waits.
fn read(mut output: impl Read + Send + 'static) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut text = String::new();
        output.read_to_string(&mut text).unwrap();
        text
    })
}

fn events() -> Vec<Value> {
    let good = format!(
        r#"{{"dims":{{"{SECRET}-dimension":"{SECRET}-key"}},"increments":{{"{SECRET}_stat":1}},"members":{{"{SECRET}_set":"{SECRET}-member"}}}}"#
    );
    let wrong = format!(r#"{{"counters":{{"a":"{SECRET}"}}}}"#);
    let bearer = format!("Bearer {TOKEN}");
    let mut bad_key = event(Some(&bearer), &good);
    bad_key["headers"]["idempotency-key"] = format!("{SECRET} {SECRET}").into();
    // Whoever sends such a header, wherever, has neither the log show it nor the call fail.
    let mut bad_header = event(Some(&bearer), &good);
    bad_header["headers"]["x-forwarded-for"] = format!("{SECRET}\u{1}").into();
    vec![
        event(Some(&format!("Bearer {TOKEN}\u{1}")), &good),
        bad_header,
        json!({SECRET: SECRET, "headers": SECRET}),
        event(None, &good),
        event(Some(&format!("Bearer {SECRET}")), &good),
        event(Some(&format!("Bearer {SECRET} {SECRET}")), &good),
        event(Some(&format!("Basic {SECRET}")), &good),
        event(Some(&bearer), &wrong),
        bad_key,
        event(Some(&bearer), &good),
    ]
}

fn statuses(answers: &[Value]) -> Vec<i64> {
    answers.iter().map(|answer| answer["statusCode"].as_i64().unwrap()).collect()
}

fn assert_discreet(log: &str) {
    for line in log.lines() {
        assert!(!line.to_lowercase().contains(SECRET), "{line}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_level_logs_anything_of_a_request() {
    let endpoint = local_dynamodb::start_in_memory().await.unwrap();
    local_dynamodb::create_table(&local_dynamodb::client(&endpoint), "statshub").await.unwrap();
    let (answers, log) = run(events(), &endpoint, "statshub").await;
    assert_eq!(
        statuses(&answers),
        [401, 400, 400, 401, 401, 401, 401, 400, 400, 200],
        "{}",
        json!(answers)
    );
    assert_discreet(&log);
    // The function was at its most talkative.
    assert!(log.contains("DEBUG") && log.contains("refused"), "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_logged_with_the_name_of_the_token_and_nothing_of_the_request() {
    let endpoint = local_dynamodb::start_in_memory().await.unwrap();
    // There is no table.
    let (answers, log) = run(events(), &endpoint, "statshub").await;
    assert_eq!(
        statuses(&answers),
        [401, 400, 400, 401, 401, 401, 401, 400, 400, 500],
        "{}",
        json!(answers)
    );
    assert_discreet(&log);
    let mut errors = log.lines().filter(|line| line.contains("ERROR"));
    let error = errors.next().unwrap_or_else(|| panic!("{log}"));
    assert!(error.contains("token=the-writer"), "{error}");
    assert_eq!(errors.next(), None);
}
