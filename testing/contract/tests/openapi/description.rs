//! `docs/openapi.yaml`, and whether requests and their answers are as it says.

use std::{
    cell::RefCell,
    collections::{BTreeMap, BTreeSet},
};

use contract::yaml;
use jsonschema::{Draft, Validator};
use percent_encoding::percent_decode_str;
use serde_json::{Value, json};

/// Headers that any answer may have: of the connection, of the gateway, or of all functions.
const GENERAL_HEADERS: [&str; 10] = [
    "apigw-requestid",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "transfer-encoding",
    "vary",
    "x-statshub-units",
];

/// What a request gets that the description has no operation for. A 204 is the answer to the
/// preflight of a browser, for any path.
const WITHOUT_OPERATION: [u16; 7] = [204, 400, 401, 403, 404, 405, 413];

/// A request and its answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Exchange {
    pub method: String,
    /// The path, still encoded.
    pub path: String,
    /// The query, still encoded.
    pub query: String,
    pub request_headers: BTreeMap<String, String>,
    pub request_body: Vec<u8>,
    pub status: u16,
    pub headers: BTreeMap<String, String>,
    /// As it came; compressed if the headers say so.
    pub body: Vec<u8>,
}

/// An operation of the description.
#[derive(Debug, Clone, Copy)]
pub struct Operation<'a> {
    /// The path with names in braces.
    pub path: &'a str,
    pub method: &'a str,
    item: &'a Value,
    pub value: &'a Value,
}

/// The description, with the validators that were needed so far.
pub struct Description {
    pub document: Value,
    validators: RefCell<BTreeMap<String, Validator>>,
}

impl Description {
    pub fn load() -> Self {
        Self { document: yaml::file("docs/openapi.yaml"), validators: RefCell::default() }
    }

    /// What a value is, or refers to.
    pub fn resolve<'a>(&'a self, mut value: &'a Value) -> &'a Value {
        while let Some(reference) = value.get("$ref").and_then(Value::as_str) {
            let pointer = reference.strip_prefix('#').expect("all is in one file");
            value = self.document.pointer(pointer).unwrap_or_else(|| panic!("no {reference}"));
        }
        value
    }

    pub fn operations(&self) -> Vec<Operation<'_>> {
        let items = self.document["paths"].as_object().unwrap().iter();
        let all = items.flat_map(|(path, item)| {
            let methods = item.as_object().unwrap().iter();
            let methods =
                methods.filter(|(name, _)| !["parameters", "description"].contains(&name.as_str()));
            methods.map(move |(method, value)| Operation { path, method, item, value })
        });
        all.collect()
    }

    /// The parameters of an operation: those of its path, and its own.
    pub fn parameters<'a>(&'a self, operation: Operation<'a>) -> Vec<&'a Value> {
        let lists = [operation.item.get("parameters"), operation.value.get("parameters")];
        let all = lists.into_iter().flatten().flat_map(|list| list.as_array().unwrap());
        all.map(|parameter| self.resolve(parameter)).collect()
    }

    /// The names of an operation's parameters in the query.
    pub fn query_parameters(&self, operation: Operation<'_>) -> BTreeSet<String> {
        let parameters = self.parameters(operation).into_iter().filter(|it| it["in"] == "query");
        parameters.map(|it| it["name"].as_str().unwrap().to_owned()).collect()
    }

    fn operation(&self, method: &str, path: &str) -> Option<Operation<'_>> {
        let method = method.to_lowercase();
        let mut operations = self.operations().into_iter();
        operations.find(|operation| operation.method == method && fits(operation.path, path))
    }

    /// Whether the description allows this exchange; if not, why.
    pub fn check(&self, exchange: &Exchange) -> Result<(), String> {
        let Some(operation) = self.operation(&exchange.method, &exchange.path) else {
            return self.check_without_operation(exchange);
        };
        let response = operation.value["responses"].get(exchange.status.to_string());
        let response = response.ok_or("the status is not in the description")?;
        let response = self.resolve(response);
        self.check_headers(response, &exchange.headers)?;
        if exchange.method != "HEAD" {
            self.check_body(response, exchange)?;
        }
        if exchange.status == 200 {
            self.check_accepted(operation, exchange)?;
        }
        Ok(())
    }

    fn check_without_operation(&self, exchange: &Exchange) -> Result<(), String> {
        if !WITHOUT_OPERATION.contains(&exchange.status) {
            return Err("the description has no such operation".to_owned());
        }
        let json = serde_json::from_slice(&exchange.body);
        match (exchange.method.as_str(), exchange.body.is_empty(), json) {
            ("HEAD", ..) | (_, true, _) => Ok(()),
            (.., Ok(json)) => self.validate(&json!({"$ref": "#/components/schemas/Error"}), &json),
            (.., Err(error)) => Err(format!("the error is no JSON: {error}")),
        }
    }

    fn check_headers(
        &self,
        response: &Value,
        headers: &BTreeMap<String, String>,
    ) -> Result<(), String> {
        let described = response.get("headers").and_then(Value::as_object);
        let described = described.into_iter().flatten();
        let described: BTreeMap<_, _> =
            described.map(|(name, header)| (name.to_lowercase(), self.resolve(header))).collect();
        for (name, text) in headers {
            match described.get(name) {
                Some(header) => {
                    let schema = self.resolve(&header["schema"]);
                    let value = match schema["type"].as_str() {
                        Some("integer") => text.parse::<i64>().map_or(Value::Null, Value::from),
                        _ => Value::from(text.as_str()),
                    };
                    self.validate(schema, &value).map_err(|error| format!("{name}: {error}"))?;
                }
                // The answer to a HEAD has the headers of that to a GET.
                None if GENERAL_HEADERS.contains(&name.as_str())
                    || response["description"].as_str().unwrap().contains("`GET`") => {}
                None => return Err(format!("the header {name} is not in the description")),
            }
        }
        Ok(())
    }

    fn check_body(&self, response: &Value, exchange: &Exchange) -> Result<(), String> {
        let Some(content) = response.get("content") else {
            return match exchange.body.is_empty() {
                true => Ok(()),
                false => Err("the description has no body".to_owned()),
            };
        };
        let kind = exchange.headers.get("content-type").map(String::as_str).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default();
        let media = content.get(kind).ok_or(format!("{kind:?} is not in the description"))?;
        let body = decoded(&exchange.headers, &exchange.body);
        let text = String::from_utf8(body).map_err(|error| error.to_string())?;
        let value = match kind {
            "application/json" => {
                serde_json::from_str(&text).map_err(|error| format!("{error}: {text}"))?
            }
            _ => Value::from(text),
        };
        match media.get("schema") {
            Some(schema) => self.validate(schema, &value),
            None => Ok(()),
        }
    }

    /// What the service accepts, the description allows.
    fn check_accepted(&self, operation: Operation<'_>, exchange: &Exchange) -> Result<(), String> {
        let described = self.query_parameters(operation);
        for pair in exchange.query.split('&').filter(|pair| !pair.is_empty()) {
            let name = pair.split('=').next().unwrap_or_default();
            let name = percent_decode_str(name).decode_utf8_lossy();
            if !described.contains(&*name) {
                return Err(format!("the parameter {name} is not in the description"));
            }
        }
        let Some(body) = operation.value.get("requestBody") else {
            return Ok(());
        };
        let schema = self.resolve(&body["content"]["application/json"]["schema"]);
        let text = decoded(&exchange.request_headers, &exchange.request_body);
        let text = String::from_utf8(text).map_err(|error| error.to_string())?;
        let text = text.trim_start_matches('\u{feff}').trim();
        let parse = |text| serde_json::from_str::<Value>(text).map_err(|error| error.to_string());
        if schema["type"] == "array" && !text.starts_with('[') {
            let mut lines = text.lines().filter(|line| !line.trim().is_empty());
            return lines.try_for_each(|line| self.validate(&schema["items"], &parse(line)?));
        }
        self.validate(schema, &parse(text)?)
    }

    /// Whether a value is as a schema of the description says; if not, why.
    pub fn validate(&self, schema: &Value, value: &Value) -> Result<(), String> {
        let mut validators = self.validators.borrow_mut();
        let validator = validators.entry(schema.to_string()).or_insert_with(|| {
            let whole = json!({"components": self.document["components"], "allOf": [schema]});
            let options = jsonschema::options().with_draft(Draft::Draft202012);
            options.build(&whole).unwrap_or_else(|error| panic!("{schema}: {error}"))
        });
        let errors: Vec<_> = validator
            .iter_errors(value)
            .map(|it| format!("{}: {it}", it.instance_path()))
            .collect();
        if errors.is_empty() { Ok(()) } else { Err(errors.join("; ")) }
    }
}

/// Whether a path fits one with names in braces. One of several names may have slashes.
fn fits(pattern: &str, path: &str) -> bool {
    let (pattern, path): (Vec<_>, Vec<_>) =
        (pattern.split('/').collect(), path.split('/').collect());
    let names = pattern.iter().filter(|segment| segment.starts_with('{')).count();
    match names {
        0 => pattern[1] == path[1] && path[2..].iter().all(|it| it.is_empty()) && path.len() < 4,
        1 => pattern[1] == path[1] && path.len() > 2 && path[2..] != [""],
        _ => pattern[1] == path[1] && path.len() >= pattern.len(),
    }
}

fn decoded(headers: &BTreeMap<String, String>, body: &[u8]) -> Vec<u8> {
    use std::io::Read;
    if headers.get("content-encoding").is_none_or(|coding| !coding.contains("gzip")) {
        return body.to_vec();
    }
    let mut text = Vec::new();
    flate2::read::MultiGzDecoder::new(body).read_to_end(&mut text).unwrap();
    text
}
