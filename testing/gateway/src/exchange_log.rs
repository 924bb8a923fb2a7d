//! The exchanges with clients, written down, so that a test can compare them with the description of
//! the API.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, Write},
    path::Path,
    sync::{Mutex, PoisonError},
};

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use http::{HeaderMap, Request, Response, header::AUTHORIZATION};
use serde::Serialize;

/// A file with a line of JSON for each exchange.
#[derive(Debug)]
pub struct ExchangeLog(Mutex<File>);

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExchangeJson<'a> {
    method: &'a str,
    /// As the client sent it, without the query.
    path: &'a str,
    query: &'a str,
    request_headers: BTreeMap<String, String>,
    /// In base64.
    request_body: String,
    status: u16,
    headers: BTreeMap<String, String>,
    /// In base64.
    body: String,
}

impl ExchangeLog {
    /// A new log in this file.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn create(path: &Path) -> io::Result<Self> {
        Ok(Self(Mutex::new(File::create(path)?)))
    }

    /// Adds an exchange. Tokens are left out.
    ///
    /// # Errors
    /// The file can't be written.
    pub fn add(&self, request: &Request<Bytes>, response: &Response<Bytes>) -> io::Result<()> {
        let exchange = ExchangeJson {
            method: request.method().as_str(),
            path: request.uri().path(),
            query: request.uri().query().unwrap_or_default(),
            request_headers: texts(request.headers()),
            request_body: BASE64_STANDARD.encode(request.body()),
            status: response.status().as_u16(),
            headers: texts(response.headers()),
            body: BASE64_STANDARD.encode(response.body()),
        };
        let mut line = serde_json::to_vec(&exchange)?;
        line.push(b'\n');
        // A write that panicked has written a part of a line at most.
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write_all(&line)
    }
}

/// Header fields as text; those that come several times, joined.
fn texts(headers: &HeaderMap) -> BTreeMap<String, String> {
    let names = headers.keys().filter(|name| **name != AUTHORIZATION);
    let texts = names.map(|name| {
        let values = headers.get_all(name).iter();
        let values: Vec<_> =
            values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect();
        (name.to_string(), values.join(", "))
    });
    texts.collect()
}
