//! Answers that are lost, and requests that arrive late: what no local DynamoDB does by itself.
#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::unwrap_used)]

mod support;

use std::{
    io::{Read, Write},
    net::TcpStream,
    sync::{Arc, Mutex},
};

use aws_sdk_dynamodb::{
    Client,
    config::{
        ConfigBag, Intercept, RuntimeComponents,
        http::HttpRequest,
        interceptors::{
            BeforeDeserializationInterceptorContextMut, BeforeTransmitInterceptorContextMut,
        },
    },
    error::BoxError,
};
use aws_smithy_types::body::SdkBody;
use shared::store::Outcome;
use support::TestStore;

const ADD_ONE: &str = r#"{"dims":{"d":"k"},"increments":{"x":1},"members":{"s":"m"}}"#;

/// Plays a script on the transactions of a client, one entry for each attempt; all further ones go
/// through.
#[derive(Debug)]
struct Script {
    endpoint: String,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    attempts: Vec<Attempt>,
    current: Attempt,
    held_back: Option<Vec<u8>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Attempt {
    /// As it should be.
    Answered,
    /// Carried out, but the answer is lost.
    AnswerLost,
    /// Held back on its way; the client sees an error.
    HeldBack,
    /// Cancelled by a conflict; then what was held back arrives.
    CancelledAndOvertaken,
}

impl Script {
    fn new(endpoint: &str, attempts: &[Attempt]) -> Arc<Self> {
        let state = State {
            attempts: attempts.iter().rev().copied().collect(),
            current: Attempt::Answered,
            held_back: None,
        };
        Arc::new(Self { endpoint: endpoint.to_owned(), state: Mutex::new(state) })
    }

    /// Sends a request as it was recorded.
    fn deliver(&self, request: &[u8]) {
        let address = self.endpoint.strip_prefix("http://").unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request).unwrap();
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"HTTP/1.1 200");
    }
}

fn recorded(request: &HttpRequest) -> Vec<u8> {
    let body = request.body().bytes().unwrap();
    let headers = request.headers().iter();
    let headers = headers.filter(|(name, _)| !["content-length", "host"].contains(name));
    let headers: Vec<_> = headers.map(|(name, value)| format!("{name}: {value}\r\n")).collect();
    let length = body.len();
    let head = format!("POST / HTTP/1.1\r\nhost: local\r\ncontent-length: {length}\r\n");
    [head.as_bytes(), headers.concat().as_bytes(), b"\r\n", body].concat()
}

#[derive(Debug)]
struct Playing(Arc<Script>);

impl Intercept for Playing {
    fn name(&self) -> &'static str {
        "Playing"
    }

    fn modify_before_transmit(
        &self,
        context: &mut BeforeTransmitInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let request = context.request_mut();
        let target = request.headers().get("x-amz-target").unwrap_or_default();
        let mut state = self.0.state.lock().unwrap();
        state.current = Attempt::Answered;
        if !target.ends_with("TransactWriteItems") {
            return Ok(());
        }
        state.current = state.attempts.pop().unwrap_or(Attempt::Answered);
        if state.current == Attempt::HeldBack {
            state.held_back = Some(recorded(request));
        }
        if matches!(state.current, Attempt::HeldBack | Attempt::CancelledAndOvertaken) {
            // Something harmless in its place, whose answer is replaced below.
            request.headers_mut().insert("x-amz-target", "DynamoDB_20120810.ListTables");
            request.headers_mut().insert("content-length", "2");
            *request.body_mut() = SdkBody::from("{}");
        }
        Ok(())
    }

    fn modify_before_deserialization(
        &self,
        context: &mut BeforeDeserializationInterceptorContextMut<'_>,
        _: &RuntimeComponents,
        _: &mut ConfigBag,
    ) -> Result<(), BoxError> {
        let mut state = self.0.state.lock().unwrap();
        let (status, body) = match state.current {
            Attempt::Answered => return Ok(()),
            Attempt::AnswerLost | Attempt::HeldBack => (500, "{}".to_owned()),
            Attempt::CancelledAndOvertaken => {
                let held_back = state.held_back.take().expect("a request was held back");
                self.0.deliver(&held_back);
                let kind = "com.amazonaws.dynamodb.v20120810#TransactionCanceledException";
                let reasons = r#"[{"Code":"TransactionConflict"},{"Code":"None"}]"#;
                (400, format!(r#"{{"__type":"{kind}","CancellationReasons":{reasons}}}"#))
            }
        };
        let response = context.response_mut();
        *response.status_mut() = u16::try_into(status).unwrap();
        response.headers_mut().remove("x-amz-crc32");
        *response.body_mut() = SdkBody::from(body);
        Ok(())
    }
}

async fn counted_with(attempts: &[Attempt]) -> String {
    let endpoint = local_dynamodb::start_in_memory().await.unwrap();
    let script = Script::new(&endpoint, attempts);
    let config = local_dynamodb::client_config(&endpoint).interceptor(Playing(script.clone()));
    let client = Client::from_conf(config.build());
    let test = TestStore::on(&endpoint, client).await;
    assert_eq!(test.post("a", ADD_ONE).await, Outcome::Counted);
    assert!(script.state.lock().unwrap().attempts.is_empty(), "the script was played to its end");
    test.shown("d").await
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_whose_answer_was_lost_counts_once() {
    let shown = counted_with(&[Attempt::AnswerLost, Attempt::AnswerLost]).await;
    assert_eq!(shown, "k: c.x=1 m.s=1\ntotal: c.x=1 m.s=1");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_arrives_after_the_next_one_was_cancelled_counts_once() {
    let shown = counted_with(&[Attempt::HeldBack, Attempt::CancelledAndOvertaken]).await;
    assert_eq!(shown, "k: c.x=1 m.s=1\ntotal: c.x=1 m.s=1");
}
