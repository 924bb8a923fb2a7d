//! What can happen to a request, and to which one.

use crate::{google_error, operation::Operation};

/// Something that happens to a request, once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which request it strikes.
    pub when: When,
    /// What happens.
    pub what: What,
}

impl Fault {
    /// A fault of the `nth` request of an operation, counted from 0 since the fault was added.
    #[must_use]
    pub fn new(operation: Operation, nth: usize, what: What) -> Self {
        Self { when: When::Nth(operation, nth), what }
    }

    /// A fault of the request with this number: its position in
    /// [`FakeBigQuery::requests`](crate::FakeBigQuery::requests).
    #[must_use]
    pub fn at_request(number: usize, what: What) -> Self {
        Self { when: When::Request(number), what }
    }
}

/// Which request a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// The one after so many others of this operation, counted since the fault was added.
    Nth(Operation, usize),
    /// The one with this number, counted from 0 since the start of the fake.
    Request(usize),
}

/// What happens to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// The request is not carried out, and the connection closes without an answer.
    LoseRequest,
    /// The request is carried out, then the connection closes without an answer.
    LoseAnswer,
    /// The connection closes without an answer, and
    /// [`FakeBigQuery::deliver_late`](crate::FakeBigQuery::deliver_late) carries the request out.
    LateRequest,
    /// The request is not carried out, and this is the answer.
    Answer {
        /// The status.
        status: u16,
        /// The body.
        body: String,
        /// The type of the body.
        content_type: String,
        /// More headers, such as `Retry-After`.
        headers: Vec<(String, String)>,
    },
    /// The job of an upload or a query is accepted, but ends with this error and loads nothing.
    /// Other requests are not affected.
    JobFails {
        /// The reason in `errorResult`.
        reason: String,
        /// The message in `errorResult`.
        message: String,
    },
    /// A patch is answered as if it were carried out, but changes nothing.
    PatchLost,
    /// A patch is answered as if it were carried out, but the next so many gets of the table and
    /// runs of jobs still see the table as it was.
    PatchLate(usize),
    /// Data for a resumable upload is answered with 410, and so is all that follows for that
    /// upload.
    SessionGone,
    /// The request is carried out, but the answer has only the first half of its body. It is valid
    /// HTTP: its `Content-Length` is that of the half.
    Truncated,
}

impl What {
    /// The request is not carried out; the answer is an error in BigQuery's form.
    #[must_use]
    pub fn error(status: u16, reason: &str, message: &str) -> Self {
        Self::Answer {
            status,
            body: google_error::body(status, reason, message).to_string(),
            content_type: "application/json; charset=UTF-8".to_owned(),
            headers: Vec::new(),
        }
    }

    /// [`Self::error`] with a `Retry-After`.
    #[must_use]
    pub fn error_retry_after(status: u16, reason: &str, message: &str, seconds: u32) -> Self {
        let mut error = Self::error(status, reason, message);
        if let Self::Answer { headers, .. } = &mut error {
            headers.push(("retry-after".to_owned(), seconds.to_string()));
        }
        error
    }

    /// The request is not carried out; the answer is a page of HTML, as from a proxy on the way.
    #[must_use]
    pub fn html(status: u16) -> Self {
        Self::Answer {
            status,
            body: format!("<html><title>Error {status}</title><h1>{status}</h1></html>"),
            content_type: "text/html; charset=UTF-8".to_owned(),
            headers: Vec::new(),
        }
    }
}

/// The faults that have not happened yet.
#[derive(Debug, Default)]
pub(crate) struct FaultPlan(Vec<(Fault, usize)>);

impl FaultPlan {
    pub(crate) fn add(&mut self, fault: Fault) {
        self.0.push((fault, 0));
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }

    pub(crate) fn left(&self) -> Vec<Fault> {
        self.0.iter().map(|(fault, _)| fault.clone()).collect()
    }

    /// What happens to the request with this number. Of several faults the first one strikes; all
    /// of them are over then.
    pub(crate) fn next(&mut self, operation: Operation, number: usize) -> Option<What> {
        let mut what = None;
        self.0.retain_mut(|(fault, seen)| {
            let is_now = match fault.when {
                When::Nth(of, nth) if of == operation => {
                    *seen += 1;
                    *seen == nth + 1
                }
                When::Nth(..) => false,
                When::Request(at) => at == number,
            };
            if is_now && what.is_none() {
                what = Some(fault.what.clone());
            }
            !is_now
        });
        what
    }
}
