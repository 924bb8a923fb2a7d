//! `statshub send`, the program itself, to a service that fails at first.

#![allow(missing_docs, clippy::expect_used, clippy::indexing_slicing, clippy::unwrap_used)]

use std::{
    collections::VecDeque,
    io::Write,
    process::{Command, Output, Stdio},
    sync::{Arc, Mutex},
};

use http_body_util::Full;
use hyper::{Request, Response, body::Bytes};
use loopback::{Closed, LoopbackServer, Presence, RequestHandler};

/// Answers in the order of a script, and notes what came: the key and the body.
struct Scripted {
    answers: Mutex<VecDeque<Option<(u16, &'static str)>>>,
    requests: Mutex<Vec<(String, String)>>,
}

impl RequestHandler for Scripted {
    type Body = Full<Bytes>;

    async fn answer(
        self: Arc<Self>,
        request: Request<Bytes>,
    ) -> Result<Response<Full<Bytes>>, Closed> {
        let key = request.headers().get("idempotency-key");
        let key = key.map_or("", |key| key.to_str().unwrap()).to_owned();
        let body = String::from_utf8(request.body().to_vec()).unwrap();
        self.requests.lock().unwrap().push((key, body));
        let answer = self.answers.lock().unwrap().pop_front().expect("one answer for each request");
        let (status, body) = answer.ok_or(Closed)?;
        Ok(Response::builder().status(status).body(Full::from(body)).unwrap())
    }
}

/// Runs `statshub send` against answers; what it printed, and what it sent.
async fn send(
    answers: &[Option<(u16, &'static str)>],
    arguments: &[&str],
    input: &'static str,
) -> (Output, Vec<(String, String)>) {
    let script = Arc::new(Scripted {
        answers: Mutex::new(answers.iter().copied().collect()),
        requests: Mutex::default(),
    });
    let server = LoopbackServer::start(Arc::clone(&script), Presence::default()).await.unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_statshub"));
    command.arg("send").args(arguments).env("STATSHUB_URL", format!("http://{}", server.address()));
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let output = tokio::task::spawn_blocking(move || {
        let mut running = command.spawn().unwrap();
        running.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        running.wait_with_output().unwrap()
    });
    let output = output.await.unwrap();
    let requests = script.requests.lock().unwrap().clone();
    (output, requests)
}

const DONE: Option<(u16, &str)> = Some((200, r#"{"Succeeded":true,"Error":""}"#));
const BUSY: Option<(u16, &str)> = Some((503, r#"{"Succeeded":false,"Error":"busy"}"#));
const LOST: Option<(u16, &str)> = None;

#[tokio::test(flavor = "multi_thread")]
async fn an_update_is_sent_again_under_the_same_key_until_it_is_answered() {
    let update = ["--id", "a", "--dim", "d=k", "--increment", "x=2", "--member", "m=y"];
    let (output, requests) = send(&[BUSY, LOST, DONE], &update, "").await;
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(output.stdout, b"1 update counted\n");
    let body = r#"{"dims":{"d":"k"},"increments":{"x":2},"multiMembers":{"m":["y"]}}"#;
    assert_eq!(requests[0].1, body);
    assert_eq!(requests[0].0.len(), 32);
    assert!(requests.len() == 3 && requests.iter().all(|request| *request == requests[0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn only_what_was_not_counted_of_a_file_is_sent_again_and_what_is_refused_is_named() {
    let first = r#"{"Succeeded":false,"Error":"2 of 3 failed","items":[
        {"id":"a","status":200,"Error":""},
        {"id":"b","status":503,"Error":"busy"},
        {"id":"c","status":422,"Error":"used"}]}"#;
    let second = r#"{"Succeeded":true,"Error":"","items":[{"id":"b","status":200,"Error":""}]}"#;
    let file = "{\"id\":\"a\"}\n\n{\"id\":\"b\"}\n{\"id\":\"c\",\"idempotencyKey\":\"mine\"}\n";
    let arguments = ["--file", "-", "--idempotency-key", "run", "--json"];
    let answers = [Some((200, first)), Some((200, second))];
    let (output, requests) = send(&answers, &arguments, file).await;
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(output.stdout, b"{\"counted\":2,\"refused\":1}\n");
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("line 4, id c: 422 used"), "{errors}");
    assert_eq!(requests[1].1, r#"{"idempotencyKey":"run-3","id":"b"}"#);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_is_not_sent_again_and_a_dry_run_sends_nothing() {
    let refused = Some((401, r#"{"Succeeded":false,"Error":"no token"}"#));
    let (output, requests) = send(&[refused], &["--id", "a", "--counter", "x=1"], "").await;
    assert_eq!((output.status.code(), requests.len()), (Some(1), 1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("no token\nSet STATSHUB_TOKEN"), "{error}");

    let (output, requests) = send(&[], &["--id", "a", "--counter", "x=1", "-n"], "").await;
    assert_eq!((output.stdout.as_slice(), requests.len()), (&b"{\"counters\":{\"x\":1}}\n"[..], 0));
    for wrong in [
        &["--id", "a", "--counter", "x=1.5"][..],
        &["--counter", "x=1"],
        &["--id", "a", "--file", "f", "--counter", "x=1"],
        &[],
    ] {
        assert_eq!(send(&[], wrong, "").await.0.status.code(), Some(2), "{wrong:?}");
    }
    let twice = ["--id", "a", "--counter", "x=1", "--counter", "x=2"];
    assert_eq!(send(&[], &twice, "").await.0.status.code(), Some(1));
}
