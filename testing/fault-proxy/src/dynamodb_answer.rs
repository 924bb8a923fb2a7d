//! What the proxy answers: DynamoDB's answers, its errors, and answers that are cut off.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use hyper::{
    Response, StatusCode,
    body::{Body, Bytes, Frame, SizeHint},
    header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue},
};
use loopback::Closed;
use serde_json::{Value, json};

/// DynamoDB's checksum of a body. Because of it, the SDK would refuse a changed body.
pub(crate) const CHECKSUM: &str = "x-amz-crc32";
const REQUEST_ID: &str = "x-amzn-requestid";
const REQUEST_ID_LENGTH: usize = 52;
const JSON: HeaderValue = HeaderValue::from_static("application/x-amz-json-1.0");

const CONFLICT: &str = "Transaction is ongoing for the item";
const THROTTLED: &str = "Throughput exceeds the current capacity of your table or index. DynamoDB is \
    automatically scaling your table or index so please try again shortly. If exceptions persist, check \
    if you have a hot key: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/\
    bp-partition-key-design.html";
const THROUGHPUT_EXCEEDED: &str = "The level of configured provisioned throughput for the table was \
    exceeded. Consider increasing your provisioning level with the UpdateTable API.";

pub(crate) type ProxyAnswer = Response<AnswerBody>;

/// Why an action was not carried out.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Reason {
    Conflict,
    Throttled,
}

pub(crate) fn server_error() -> ProxyAnswer {
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    error(status, "InternalServerError", "Internal server error")
}

pub(crate) fn throughput_exceeded() -> ProxyAnswer {
    let kind = "ProvisionedThroughputExceededException";
    error(StatusCode::BAD_REQUEST, kind, THROUGHPUT_EXCEEDED)
}

/// A partition takes no more. Source: *`ThrottlingReason`*, DynamoDB API Reference.
pub(crate) fn partition_full(is_read: bool) -> ProxyAnswer {
    let direction = if is_read { "Read" } else { "Write" };
    let mut body = error_body("ProvisionedThroughputExceededException", THROTTLED);
    if let Some(body) = body.as_object_mut() {
        let reason = format!("Table{direction}KeyRangeThroughputExceeded");
        let resource = "arn:aws:dynamodb:local:000000000000:table/statshub";
        body.insert(
            "ThrottlingReasons".to_owned(),
            json!([{"reason": reason, "resource": resource}]),
        );
    }
    with_body(StatusCode::BAD_REQUEST, &body)
}

pub(crate) fn throttling() -> ProxyAnswer {
    error(StatusCode::BAD_REQUEST, "ThrottlingException", THROTTLED)
}

pub(crate) fn conflict() -> ProxyAnswer {
    error(StatusCode::BAD_REQUEST, "TransactionConflictException", CONFLICT)
}

/// A transaction is cancelled, for this reason and at these of its actions.
pub(crate) fn cancelled(reason: Reason, at: &[bool]) -> ProxyAnswer {
    let (code, message) = match reason {
        Reason::Conflict => ("TransactionConflict", CONFLICT),
        Reason::Throttled => ("ThrottlingError", THROTTLED),
    };
    let codes: Vec<_> = at.iter().map(|at| if *at { code } else { "None" }).collect();
    let reasons = at.iter().map(|at| match at {
        true => json!({"Code": code, "Message": message}),
        false => json!({"Code": "None"}),
    });
    let kind = "TransactionCanceledException";
    let mut body = error_body(kind, &cancelled_message(&codes.join(", ")));
    if let Some(body) = body.as_object_mut() {
        body.insert("CancellationReasons".to_owned(), reasons.collect());
    }
    with_body(StatusCode::BAD_REQUEST, &body)
}

fn cancelled_message(codes: &str) -> String {
    format!(
        "Transaction cancelled, please refer cancellation reasons for specific reasons [{codes}]"
    )
}

fn error(status: StatusCode, kind: &str, message: &str) -> ProxyAnswer {
    with_body(status, &error_body(kind, message))
}

fn error_body(kind: &str, message: &str) -> Value {
    json!({"__type": format!("com.amazonaws.dynamodb.v20120810#{kind}"), "message": message})
}

fn with_body(status: StatusCode, body: &Value) -> ProxyAnswer {
    let mut answer = Response::new(AnswerBody::whole(body.to_string().into()));
    *answer.status_mut() = status;
    let headers = answer.headers_mut();
    headers.insert(CONTENT_TYPE, JSON);
    if let Ok(id) = HeaderValue::try_from(request_id()) {
        headers.insert(REQUEST_ID, id);
    }
    answer
}

fn request_id() -> String {
    let characters = std::iter::repeat_with(fastrand::alphanumeric);
    characters.take(REQUEST_ID_LENGTH).map(|c| c.to_ascii_uppercase()).collect()
}

/// The answer with half of its body.
pub(crate) fn cut(answer: ProxyAnswer) -> ProxyAnswer {
    let (mut head, body) = answer.into_parts();
    let data = body.data.unwrap_or_default();
    head.headers.insert(CONTENT_LENGTH, data.len().into());
    let half = data.slice(..data.len() / 2);
    Response::from_parts(head, AnswerBody { data: Some(half), end: End::Flush })
}

/// The body of an answer.
#[derive(Debug)]
pub(crate) struct AnswerBody {
    data: Option<Bytes>,
    end: End,
}

/// What comes after the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Nothing.
    Whole,
    /// A pause: hyper must send the data before it meets the error, which ends the connection at
    /// once.
    Flush,
    /// An error.
    Cut,
}

impl AnswerBody {
    pub(crate) fn whole(data: Bytes) -> Self {
        Self { data: Some(data), end: End::Whole }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = Closed;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Closed>>> {
        if let Some(data) = self.data.take() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        match self.end {
            End::Whole => Poll::Ready(None),
            End::Flush => {
                self.end = End::Cut;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            End::Cut => Poll::Ready(Some(Err(Closed))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.end == End::Whole && self.data.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let length = self.data.as_ref().map_or(0, Bytes::len);
        match (self.end, u64::try_from(length)) {
            (End::Whole, Ok(length)) => SizeHint::with_exact(length),
            _ => SizeHint::new(),
        }
    }
}
