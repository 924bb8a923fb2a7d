//! A client of the fake, and what tests send with it.
#![allow(dead_code, reason = "each test file uses some of it")]

use std::fmt::Write;

use fake_bigquery::FakeBigQuery;
use http_body_util::{BodyExt, Full};
use hyper::{HeaderMap, Method, Request, StatusCode, body::Bytes};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};
use serde_json::{Value, json};

pub const PROJECT: &str = "project";
pub const DATASET: &str = "stats";
pub const TABLE: &str = "country";
const BOUNDARY: &str = "boundary-of-the-test";

#[derive(Debug)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or(Value::Null)
    }

    /// The status, and the reason of an error.
    pub fn error(&self) -> (u16, String) {
        let json = self.json();
        let error = &json["error"];
        assert_eq!(error["code"], self.status.as_u16(), "{self:?}");
        assert_eq!(error["errors"][0]["domain"], "global");
        assert_eq!(error["errors"][0]["message"], error["message"]);
        assert!(error["status"].is_string());
        (self.status.as_u16(), error["errors"][0]["reason"].as_str().unwrap().to_owned())
    }

    /// The JSON of an answer that is not an error.
    pub fn ok(self) -> Value {
        assert_eq!(self.status, StatusCode::OK, "{self:?}");
        self.json()
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        Some(self.headers.get(name)?.to_str().unwrap())
    }
}

pub type Lost = hyper_util::client::legacy::Error;

#[derive(Clone)]
pub struct Http(Client<HttpConnector, Full<Bytes>>);

impl Http {
    pub fn new() -> Self {
        Self(Client::builder(TokioExecutor::new()).build_http())
    }

    pub async fn send(
        &self,
        method: Method,
        url: &str,
        headers: &[(&str, &str)],
        body: impl Into<Bytes>,
    ) -> Result<Answer, Lost> {
        let mut request = Request::builder().method(method).uri(url);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let answer = self.0.request(request.body(Full::new(body.into())).unwrap()).await?;
        let (head, body) = answer.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        Ok(Answer { status: head.status, headers: head.headers, body })
    }
}

pub struct Test {
    pub fake: FakeBigQuery,
    pub http: Http,
    pub token: Option<String>,
}

impl Test {
    /// A fake without datasets.
    pub async fn empty() -> Self {
        let fake = FakeBigQuery::start().await.unwrap();
        Self { fake, http: Http::new(), token: None }
    }

    /// A fake with a table of the usual schema.
    pub async fn start() -> Self {
        Self::with_schema(schema()).await
    }

    pub async fn with_schema(schema: Value) -> Self {
        let test = Self::empty().await;
        test.fake.create_dataset(DATASET);
        test.insert_table(table(schema)).await.unwrap().ok();
        test
    }

    pub async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Value>,
    ) -> Result<Answer, Lost> {
        let url = format!("{}/projects/{PROJECT}{path}", self.fake.base_url());
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let mut headers = vec![("content-type", "application/json")];
        let token = self.token.as_ref().map(|token| format!("Bearer {token}"));
        headers.extend(token.as_ref().map(|token| ("authorization", token.as_str())));
        self.http.send(method, &url, &headers, body).await
    }

    pub async fn get(&self, path: &str) -> Result<Answer, Lost> {
        self.send(Method::GET, path, None).await
    }

    pub async fn get_table(&self) -> Result<Answer, Lost> {
        self.get(&format!("/datasets/{DATASET}/tables/{TABLE}")).await
    }

    pub async fn insert_table(&self, table: Value) -> Result<Answer, Lost> {
        let path = format!("/datasets/{DATASET}/tables");
        self.send(Method::POST, &path, Some(table)).await
    }

    pub async fn patch(&self, schema: Value) -> Result<Answer, Lost> {
        let path = format!("/datasets/{DATASET}/tables/{TABLE}");
        self.send(Method::PATCH, &path, Some(json!({"schema": schema}))).await
    }

    pub async fn get_job(&self, id: &str) -> Result<Answer, Lost> {
        self.get(&format!("/jobs/{id}?location=EU")).await
    }

    pub async fn upload(&self, job: Value, data: &str) -> Result<Answer, Lost> {
        let mut body = String::new();
        let json = "Content-Type: application/json; charset=UTF-8";
        write!(body, "--{BOUNDARY}\r\n{json}\r\n\r\n{job}\r\n").unwrap();
        let ndjson = "Content-Type: application/octet-stream";
        write!(body, "--{BOUNDARY}\r\n{ndjson}\r\n\r\n{data}\r\n--{BOUNDARY}--\r\n").unwrap();
        let kind = format!("multipart/related; boundary={BOUNDARY}");
        let url = self.upload_url("multipart");
        self.http.send(Method::POST, &url, &[("content-type", &kind)], body).await
    }

    pub async fn load(&self, id: &str, rows: &[Value]) -> Result<Answer, Lost> {
        self.upload(job(id), &ndjson(rows)).await
    }

    pub fn upload_url(&self, kind: &str) -> String {
        format!("{}/projects/{PROJECT}/jobs?uploadType={kind}", self.fake.upload_url())
    }

    /// The URL of a new resumable upload.
    pub async fn start_upload(&self, id: &str) -> String {
        let headers = [
            ("content-type", "application/json"),
            ("x-upload-content-type", "application/octet-stream"),
        ];
        let url = self.upload_url("resumable");
        let answer = self.http.send(Method::POST, &url, &headers, job(id).to_string()).await;
        let answer = answer.unwrap();
        assert_eq!(answer.status, StatusCode::OK, "{answer:?}");
        answer.header("location").unwrap().to_owned()
    }

    pub async fn put(
        &self,
        url: &str,
        range: &str,
        body: impl Into<Bytes>,
    ) -> Result<Answer, Lost> {
        self.http.send(Method::PUT, url, &[("content-range", range)], body).await
    }

    pub fn rows(&self) -> Vec<Value> {
        self.fake.rows(DATASET, TABLE)
    }

    pub fn schema(&self) -> Value {
        self.fake.schema(DATASET, TABLE)
    }
}

pub fn field(name: &str, kind: &str) -> Value {
    json!({"name": name, "type": kind})
}

pub fn record(name: &str, fields: &[Value]) -> Value {
    json!({"name": name, "type": "RECORD", "fields": fields})
}

pub fn schema_of(fields: &[Value]) -> Value {
    json!({"fields": fields})
}

/// A schema of `_ts`, `_dim`, and `counter` with `a`.
pub fn schema() -> Value {
    schema_of(&[
        field("_ts", "TIMESTAMP"),
        field("_dim", "STRING"),
        record("counter", &[field("a", "INTEGER")]),
    ])
}

pub fn table(schema: Value) -> Value {
    json!({
        "tableReference": {"projectId": PROJECT, "datasetId": DATASET, "tableId": TABLE},
        "schema": schema,
    })
}

pub fn job(id: &str) -> Value {
    json!({
        "jobReference": {"projectId": PROJECT, "jobId": id},
        "configuration": {"load": {
            "destinationTable": {"projectId": PROJECT, "datasetId": DATASET, "tableId": TABLE},
            "sourceFormat": "NEWLINE_DELIMITED_JSON",
            "createDisposition": "CREATE_NEVER",
            "writeDisposition": "WRITE_APPEND",
        }},
    })
}

pub fn row(dim: &str, a: i64) -> Value {
    json!({"_ts": "2026-01-02T03:04:05Z", "_dim": dim, "counter": {"a": a}})
}

pub fn ndjson(rows: &[Value]) -> String {
    rows.iter().fold(String::new(), |text, row| text + &format!("{row}\n"))
}
