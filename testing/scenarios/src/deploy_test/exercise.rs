//! Makes each function do what needs each of its permissions.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use statshub::{HttpClient, timestamp};
use ureq::http::{Request, Response};

use super::{aws_calls::text, client_tokens::ClientTokens, stack::Stack};

/// How long ago, in seconds, cells were last written and steps of folding were done: longer than
/// each next step waits.
const LONG_AGO: u64 = 60 * 60;

/// The service, as its clients see it.
#[derive(Debug, Clone)]
pub struct Api {
    client: HttpClient,
    access: ClientTokens,
}

/// What a client sends. To be answered, it needs a token of the method's scope.
#[derive(Debug, Clone, Copy, Default)]
pub struct ClientCall<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub body: &'a str,
    pub idempotency_key: Option<&'a str>,
}

impl Api {
    pub fn new(stack: &Stack, access: &ClientTokens) -> Self {
        Self { client: HttpClient::new(&stack.url), access: access.clone() }
    }

    /// The status and body of the answer to a client with the right token.
    pub fn send(&self, call: ClientCall<'_>) -> anyhow::Result<(u16, String)> {
        let token = match call.method {
            "POST" => &self.access.write,
            _ => &self.access.read,
        };
        self.send_with(call, Some(token))
    }

    /// The status and body of the answer to a client with this token, or without one.
    pub fn send_with(
        &self,
        call: ClientCall<'_>,
        token: Option<&str>,
    ) -> anyhow::Result<(u16, String)> {
        let mut request = Request::builder().method(call.method).uri(call.path);
        if let Some(token) = token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        if let Some(key) = call.idempotency_key {
            request = request.header("Idempotency-Key", key);
        }
        let answer = self.client.send(request.body(call.body.to_owned())?)?;
        Ok((answer.status().as_u16(), answer.into_body()))
    }

    /// The answer to a GET by a client without a token.
    pub fn get_without_token(&self, path: &str) -> anyhow::Result<Response<String>> {
        self.client.send(Request::get(path).body(String::new())?)
    }

    fn post(&self, id: &str, body: &str, idempotency_key: Option<&str>) -> anyhow::Result<()> {
        let path = format!("/stats/{id}");
        let call = ClientCall { method: "POST", path: &path, body, idempotency_key };
        let (status, answer) = self.send(call)?;
        ensure!(status == 200, "POST {path}: {status} {answer}");
        Ok(())
    }

    fn get(&self, path: &str) -> anyhow::Result<String> {
        let (status, answer) =
            self.send(ClientCall { method: "GET", path, ..ClientCall::default() })?;
        ensure!(status == 200, "GET {path}: {status} {answer}");
        Ok(answer)
    }
}

/// Sends updates of every kind. The id and the dimension have this name, and are new.
pub fn update(api: &Api, name: &str) -> anyhow::Result<()> {
    let all = format!(
        r#"{{"dims":{{"{name}":"a"}},"counters":{{"c":1}},"increments":{{"i":2}},"gauges":{{"g":3}},
            "members":{{"m":"x"}}}}"#
    );
    api.post(name, &all, Some("once"))?;
    api.post(name, &all, Some("once"))?;
    let moved =
        format!(r#"{{"dims":{{"{name}":"b"}},"counters":{{"c":5}},"members":{{"m":"x"}}}}"#);
    api.post(name, &moved, None)?;
    api.post(name, &moved, None)?;
    // More than a transaction holds.
    let members: Vec<_> = (0..150).map(|member| format!("m{member}")).collect();
    let many = json!({"dims": {name: "a"}, "multiMembers": {"many": members}});
    api.post(name, &many.to_string(), None)
}

/// Checks what those updates add up to.
pub fn query(api: &Api, name: &str) -> anyhow::Result<()> {
    let answer: Value = serde_json::from_str(&api.get(&format!("/stats/{name}"))?)?;
    let expected = json!({
        "a": {
            "counters": {"c": 1, "i": 2},
            "gauges": {"m": 1, "many": 150},
            "gaugesCurrent": {"g": 3},
        },
        "b": {"counters": {"c": 4}, "gauges": {"m": 1}},
        "total": {
            "counters": {"c": 5, "i": 2},
            "gauges": {"m": 2, "many": 150},
            "gaugesCurrent": {"g": 3},
        },
    });
    let shown = answer.pointer(&format!("/dims/{name}")).context("no such dimension")?;
    ensure!(*shown == expected, "GET /stats/{name}: {shown}\nexpected: {expected}");
    let all: Value = serde_json::from_str(&api.get("/stats/")?)?;
    let shown = all.pointer(&format!("/dims/{name}"));
    ensure!(shown == Some(&expected), "GET /stats/ has {shown:?} of {name}");
    Ok(())
}

/// Keys of a dimension, one in each state of being folded.
#[derive(Debug)]
pub struct FoldingKeys {
    dimension: String,
    before: String,
}

impl FoldingKeys {
    /// Prepares them. Cells come from conflicts, and MiniStack has none, so this writes them into
    /// the table (`shared/src/table/fold_writes.rs` says what is in them).
    pub fn prepare(stack: &mut Stack, api: &Api, dimension: &str) -> anyhow::Result<Self> {
        for key in ["absorb", "empty", "forget"] {
            let id = format!("{dimension}-{key}");
            let body = format!(r#"{{"dims":{{"{dimension}":"{key}"}},"counters":{{"x":1}}}}"#);
            api.post(&id, &body, None)?;
        }
        let mut cells = Self { dimension: dimension.to_owned(), before: String::new() };
        cells.spread(stack)?;
        cells.put(stack, "absorb", &json!({"c:x": {"N": "10"}}))?;
        cells.put(stack, "empty", &json!({"c:x": {"N": "10"}, "folded": {"S": "frozen"}}))?;
        cells.note_absorbed(stack, "empty")?;
        cells.put(stack, "forget", &json!({"folded": {"S": "emptied"}}))?;
        cells.note_absorbed(stack, "forget")?;
        cells.before = cells.shown(api)?;
        ensure!(cells.before.contains(r#""total":{"counters":{"x":13}}"#), "{}", cells.before);
        Ok(cells)
    }

    /// Whether each key is one step further, and queries show what they showed before.
    pub fn are_folded(&self, stack: &mut Stack, api: &Api) -> anyhow::Result<bool> {
        let frozen = self.get(stack, "absorb", 1)?.pointer("/Item/folded").is_some();
        let emptied = self.get(stack, "empty", 1)?.pointer("/Item/c:x").is_none();
        let forgotten = self.get(stack, "forget", 0)?.pointer("/Item/absorbed").is_none();
        let deleted = self.get(stack, "forget", 1)?.pointer("/Item").is_none();
        let after = self.shown(api)?;
        ensure!(after == self.before, "folding changed {} to {after}", self.before);
        Ok(frozen && emptied && forgotten && deleted)
    }

    fn shown(&self, api: &Api) -> anyhow::Result<String> {
        api.get(&format!("/stats/{}", self.dimension))
    }

    /// Makes the dimension one of two partitions.
    fn spread(&self, stack: &mut Stack) -> anyhow::Result<()> {
        let parameters = json!({
            "TableName": stack.name("Table")?,
            "Key": {"pk": {"S": "dims"}, "sk": {"S": self.dimension}},
            "UpdateExpression": "SET cells = :two",
            "ExpressionAttributeValues": {":two": {"N": "2"}},
        });
        stack.aws.call("dynamodb", "update_item", parameters)?;
        Ok(())
    }

    /// Writes a second cell.
    fn put(&self, stack: &mut Stack, key: &str, more: &Value) -> anyhow::Result<()> {
        let mut item = json!({
            "incarnation": {"N": "7"},
            "writes": {"N": "1"},
            "written_at": {"N": long_ago()},
        });
        for part in [&self.key(key, 1), more] {
            let fields = part.as_object().into_iter().flatten();
            item.as_object_mut()
                .context("no item")?
                .extend(fields.map(|(k, v)| (k.clone(), v.clone())));
        }
        let parameters = json!({"TableName": stack.name("Table")?, "Item": item});
        stack.aws.call("dynamodb", "put_item", parameters)?;
        Ok(())
    }

    /// Makes the first cell one that has absorbed the second.
    fn note_absorbed(&self, stack: &mut Stack, key: &str) -> anyhow::Result<()> {
        let parameters = json!({
            "TableName": stack.name("Table")?,
            "Key": self.key(key, 0),
            "UpdateExpression": "SET absorbed = :cells, folding_since = :since",
            "ExpressionAttributeValues": {":cells": {"SS": ["1.7"]}, ":since": {"N": long_ago()}},
        });
        stack.aws.call("dynamodb", "update_item", parameters)?;
        Ok(())
    }

    fn get(&self, stack: &mut Stack, key: &str, cell: u8) -> anyhow::Result<Value> {
        let table = stack.name("Table")?;
        let parameters =
            json!({"TableName": table, "Key": self.key(key, cell), "ConsistentRead": true});
        stack.aws.call("dynamodb", "get_item", parameters)
    }

    fn key(&self, key: &str, cell: u8) -> Value {
        json!({"pk": {"S": format!("dim#{}#{cell}", self.dimension)}, "sk": {"S": key}})
    }
}

/// Runs the archive as the schedule does, on cells that it has to fold.
pub fn archive(stack: &mut Stack, api: &Api, dimension: &str) -> anyhow::Result<()> {
    let cells = FoldingKeys::prepare(stack, api, dimension)?;
    let function = stack.name("Archive")?.to_owned();
    let event = json!({"time": rfc3339(0)}).to_string();
    let parameters = json!({"FunctionName": function, "Payload": event});
    let answer = stack.aws.call("lambda", "invoke", parameters)?;
    let report: Value = serde_json::from_str(text(&answer, "/Payload")?)?;
    if answer.get("FunctionError").is_some() {
        bail!("the run fails: {}", text(&report, "/errorMessage")?);
    }
    ensure!(report.pointer("/archiving") == Some(&Value::from(false)), "the run answers {report}");
    ensure!(cells.are_folded(stack, api)?, "the cells are not folded");
    Ok(())
}

fn long_ago() -> String {
    (now() - LONG_AGO).to_string()
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The time this many seconds from now, in the format of RFC 3339.
pub fn rfc3339(seconds: u64) -> String {
    timestamp::from_seconds(now() + seconds)
}
