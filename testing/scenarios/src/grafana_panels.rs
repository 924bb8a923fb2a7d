//! The panels of docs/api.md for Grafana, asked for as the data source Infinity does, and read by
//! their selectors.
//!
//! Infinity itself needs Grafana. What is played of it: it sends the parameters of the query and its
//! own `Accept`, takes the cursor from the answer until there is none, and evaluates the root
//! selector as `JSONata`. Source: `pkg/infinity` of the repository `grafana-infinity-datasource`.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    process::{Command, Stdio},
};

use anyhow::{Context, bail, ensure};
use serde::Deserialize;
use serde_json::{Value, json};
use service::{
    tools,
    workspace::{root, say},
};
use statshub::HttpClient;
use ureq::http::Request;

use crate::documented_clients::{PAGE, blocks};

/// What Infinity accepts for a query of the type JSON.
const ACCEPT: &str = "application/json;q=0.9,text/plain";
const COUNTRIES: usize = 25;
/// The limit of the panels is larger than any list of countries.
const KEYS_OF_PAGE: &str = "10";

/// The query of a panel, as far as it matters here.
#[derive(Debug, Clone, Deserialize)]
struct Panel {
    url: String,
    url_options: UrlOptions,
    root_selector: String,
    columns: Vec<Column>,
    pagination_mode: Option<String>,
    #[serde(default)]
    pagination_param_cursor_field_name: String,
    #[serde(default)]
    pagination_param_cursor_extraction_path: String,
}

#[derive(Debug, Clone, Deserialize)]
struct UrlOptions {
    params: Vec<Parameter>,
}

#[derive(Debug, Clone, Deserialize)]
struct Parameter {
    key: String,
    value: String,
}

#[derive(Debug, Clone, Deserialize)]
struct Column {
    selector: String,
}

/// Plays the panels on a service that counts for them.
///
/// # Errors
/// One shows something else than what was counted.
pub fn run(client: &HttpClient) -> anyhow::Result<()> {
    let counted = count(client)?;
    let all: Vec<_> = counted.iter().map(|(key, value)| json!([key, value])).collect();
    let mut largest = all.clone();
    largest.sort_by_key(|row| std::cmp::Reverse(row.get(1).and_then(Value::as_u64)));
    let panels = panels()?;
    let [top, paged] = &panels[..] else {
        bail!("{PAGE} has {} panels", panels.len());
    };
    let rows = top.rows(client)?;
    ensure!(rows == [largest], "the first panel shows {rows:?}");
    let rows = paged.clone().with_small_pages().rows(client)?;
    ensure!(rows.len() == COUNTRIES.div_ceil(10), "{} pages", rows.len());
    ensure!(rows.concat() == all, "the second panel shows {rows:?}");
    say("the panels for Grafana show what was counted");
    Ok(())
}

/// Counts under countries; the value of each.
fn count(client: &HttpClient) -> anyhow::Result<BTreeMap<String, u64>> {
    let mut counted = BTreeMap::new();
    for (country, value) in (0..COUNTRIES).zip((0..).map(|i: u64| i * 7 % 101)) {
        let key = format!("c{country:02}");
        let body = json!({"dims": {"panel": key}, "counters": {"counterA": value}});
        let id = format!("/stats/panel-{country}");
        let (status, answer) = client.post(&id, &body.to_string())?;
        ensure!(status == 200, "{status} {answer}");
        counted.insert(key, value);
    }
    Ok(counted)
}

fn panels() -> anyhow::Result<Vec<Panel>> {
    let page = fs::read_to_string(root().join(PAGE))?;
    // A dimension of its own, whatever else the service has counted.
    let page = page.replace("/stats/country", "/stats/panel").replace("dims.country", "dims.panel");
    let blocks = blocks(&page).into_iter().filter(|block| block.code.contains("\"root_selector\""));
    Ok(blocks.map(|block| serde_json::from_str(&block.code)).collect::<Result<_, _>>()?)
}

impl Panel {
    fn with_small_pages(mut self) -> Self {
        for parameter in &mut self.url_options.params {
            if parameter.key == "limit" {
                KEYS_OF_PAGE.clone_into(&mut parameter.value);
            }
        }
        self
    }

    /// The rows of the panel, page by page.
    fn rows(&self, client: &HttpClient) -> anyhow::Result<Vec<Vec<Value>>> {
        let mut pages = Vec::new();
        let mut cursor = None;
        loop {
            let answer = self.ask(client, cursor.as_deref())?;
            pages.push(self.select(&answer)?);
            cursor = self.cursor(&answer)?;
            if cursor.is_none() {
                return Ok(pages);
            }
        }
    }

    fn ask(&self, client: &HttpClient, cursor: Option<&str>) -> anyhow::Result<Value> {
        let path = self.url.find("/stats/").and_then(|at| self.url.get(at..));
        let path = path.with_context(|| format!("{} is no query", self.url))?;
        let mut query = form_urlencoded::Serializer::new(String::new());
        for Parameter { key, value } in &self.url_options.params {
            query.append_pair(key, value);
        }
        if let Some(cursor) = cursor {
            query.append_pair(&self.pagination_param_cursor_field_name, cursor);
        }
        let request = Request::get(format!("{path}?{}", query.finish())).header("Accept", ACCEPT);
        let answer = client.send(request.body(String::new())?)?;
        ensure!(answer.status() == 200, "{} {}", answer.status(), answer.body());
        serde_json::from_str(answer.body()).with_context(|| format!("no JSON: {}", answer.body()))
    }

    fn cursor(&self, answer: &Value) -> anyhow::Result<Option<String>> {
        match self.pagination_mode.as_deref() {
            None => Ok(None),
            Some("cursor") => {
                let cursor = answer.get(&self.pagination_param_cursor_extraction_path);
                let cursor =
                    cursor.and_then(Value::as_str).context("an answer without a cursor")?;
                Ok(Some(cursor.to_owned()).filter(|cursor| !cursor.is_empty()))
            }
            Some(other) => bail!("nobody knows how to page by {other}"),
        }
    }

    /// The columns of the rows that the selector finds in an answer.
    fn select(&self, answer: &Value) -> anyhow::Result<Vec<Value>> {
        let found = match self.root_selector.is_empty() {
            true => answer.clone(),
            false => jsonata(&self.root_selector, answer)?,
        };
        let rows = found.as_array().with_context(|| format!("no rows: {found}"))?;
        let of_row = |row: &Value| {
            let cells = self.columns.iter().map(|column| row.get(&column.selector).cloned());
            Value::Array(cells.map(Option::unwrap_or_default).collect())
        };
        Ok(rows.iter().map(of_row).collect())
    }
}

/// The value of an expression in `JSONata`.
fn jsonata(expression: &str, input: &Value) -> anyhow::Result<Value> {
    const EVALUATE: &str = "\
        import jsonata from 'jsonata'; import { readFileSync } from 'node:fs';
        const { expression, input } = JSON.parse(readFileSync(0));
        console.log(JSON.stringify(await jsonata(expression).evaluate(input)));";
    let mut node = Command::new("node")
        .args(["--input-type=module", "--eval", EVALUATE])
        .current_dir(tools::jsonata()?)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let question = json!({"expression": expression, "input": input}).to_string();
    node.stdin.take().context("no input")?.write_all(question.as_bytes())?;
    let output = node.wait_with_output()?;
    ensure!(output.status.success(), "{expression}: {}", output.status);
    Ok(serde_json::from_slice(&output.stdout)?)
}
