//! Prometheus and its tools read what `/metrics` answers.

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    process::{Command, Output, Stdio},
};

use anyhow::{Context, ensure};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};
use service::{
    ports::free_port,
    processes::{Running, wait_for},
    tools,
    workspace::{root, say, target},
};
use statshub::HttpClient;

/// Names that are hard to write in the format of Prometheus, or that Prometheus takes for its own.
const UPDATES: [(&str, &str); 4] = [
    (
        "scraped1",
        r#"{"dims":{"app-version":"2.1 \"beta\"\\","país":"é"},"counters":{"x":5,"x_total":-7}}"#,
    ),
    (
        "scraped2",
        r#"{"dims":{"app-version":"{a=\"b\"} 1","app_version":"2"},"counters":{"x_total_":8,"total":9}}"#,
    ),
    ("scraped3", r#"{"dims":{"job":"statshub","1st":"x"},"counters":{"x":1},"members":{"x":"m"}}"#),
    (
        "scraped4",
        r#"{"dims":{"app-version":"large"},"counters":{"le":9223372036854775807,"X":-1}}"#,
    ),
];
const DIMENSIONS: [&str; 5] = ["app-version", "app_version", "país", "job", "1st"];

/// What `promtool` remarks about names. It is matter of taste, and some of it is of the contract's
/// names.
const REMARKS: [&str; 3] = [
    "metric name should not include type",
    "metric names should be written in 'snake_case'",
    "metric names should not contain abbreviated units",
];

/// A sample: its metric, its labels and its value. Values are as exact as Prometheus keeps them.
type Sample = (String, Vec<(String, String)>, String);

/// A sample as `parse_metrics.py` prints it: the type comes first.
type ParsedSample = (String, String, Vec<(String, String)>, f64);

/// Counts some updates, and lets the tools read them.
///
/// # Errors
/// A tool can't be installed, or reads something else than what was counted.
pub fn run(client: &HttpClient, url: &str) -> anyhow::Result<()> {
    for (id, body) in UPDATES {
        let (status, answer) = client.post(&format!("/stats/{id}"), body)?;
        ensure!(status == 200, "{status} {answer}");
    }
    let query: Vec<_> = DIMENSIONS.iter().map(|name| format!("dim={}", encoded(name))).collect();
    let (status, text) = client.get(&format!("/metrics?{}", query.join("&")))?;
    ensure!(status == 200, "{status} {text}");
    let rows = rows(client)?;
    let samples = text.lines().filter(|line| !line.starts_with('#')).count();
    ensure!(samples == rows, "{samples} samples of {rows} numbers:\n{text}");

    promtool_finds_no_error(&text)?;
    let parsed = parsed_by_python(&text)?;
    ensure!(parsed.len() == rows, "the Python client reads {} of {rows}: {parsed:?}", parsed.len());
    let scraped = scraped_by_prometheus(url, rows)?;
    ensure!(scraped == parsed, "Prometheus has {scraped:?}, but the Python client {parsed:?}");
    say(&format!("promtool, the Python client and Prometheus read all {rows} numbers of /metrics"));
    Ok(())
}

/// How many numbers these dimensions have, totals excepted.
fn rows(client: &HttpClient) -> anyhow::Result<usize> {
    let mut count = 0;
    for dimension in DIMENSIONS {
        let path = format!("/stats/{}?format=rows&total=false", encoded(dimension));
        let rows: Value = client.get_json(&path)?;
        count += rows.as_array().context("rows are no array")?.len();
    }
    Ok(count)
}

fn promtool_finds_no_error(text: &str) -> anyhow::Result<()> {
    let output =
        with_input(Command::new(tools::prometheus("promtool")?).args(["check", "metrics"]), text)?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    // It exits with 1 for what it can't read, and with 3 for remarks.
    ensure!(matches!(output.status.code(), Some(0 | 3)), "promtool: {} {said}", output.status);
    let others: Vec<_> =
        said.lines().filter(|line| !REMARKS.iter().any(|remark| line.contains(remark))).collect();
    ensure!(others.is_empty(), "promtool: {others:?}");
    Ok(())
}

fn parsed_by_python(text: &str) -> anyhow::Result<BTreeSet<Sample>> {
    let script = root().join("testing/scenarios/python/parse_metrics.py");
    let output = with_input(Command::new(tools::prometheus_client()?).arg(script), text)?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let samples: Vec<ParsedSample> = serde_json::from_slice(&output.stdout)?;
    let samples = samples.into_iter().map(|(kind, name, labels, value)| {
        ensure!(kind == "gauge", "{name} is a {kind}");
        Ok((name, labels, value.to_string()))
    });
    samples.collect()
}

/// The samples that a real Prometheus has after it has scraped the service.
fn scraped_by_prometheus(url: &str, count: usize) -> anyhow::Result<BTreeSet<Sample>> {
    let folder = target("e2e/prometheus");
    fs::create_dir_all(&folder)?;
    let address = url.strip_prefix("http://").context("the service's URL is no http://")?;
    // JSON is YAML too.
    let config = json!({
        "global": {"scrape_interval": "1s"},
        "scrape_configs": [{
            "job_name": "scraped", "metrics_path": "/metrics", "params": {"dim": DIMENSIONS},
            "static_configs": [{"targets": [address]}],
        }],
    });
    let file = folder.join("prometheus.yml");
    fs::write(&file, config.to_string())?;
    let listen = format!("127.0.0.1:{}", free_port()?);
    let mut command = Command::new(tools::prometheus("prometheus")?);
    command.arg(format!("--config.file={}", file.display()));
    command.arg(format!("--storage.tsdb.path={}", folder.join("data").display()));
    command.args([&format!("--web.listen-address={listen}"), "--log.level=warn"]);
    let mut prometheus = Running::start("prometheus", &mut command)?;
    let client = HttpClient::new(&format!("http://{listen}"));
    let query = format!("/api/v1/query?query={}", encoded(r#"{__name__=~"statshub_.*"}"#));
    let scraped = || -> anyhow::Result<BTreeSet<Sample>> {
        let answer: Value = client.get_json(&query)?;
        let result = answer.pointer("/data/result").and_then(Value::as_array);
        let result = result.context("no result")?;
        result.iter().map(sample).collect()
    };
    wait_for("a scrape", &mut [&mut prometheus], || {
        scraped().is_ok_and(|samples| samples.len() == count)
    })?;
    scraped()
}

/// A sample of Prometheus, without the labels that it adds. One that would collide with those is
/// renamed by it.
fn sample(result: &Value) -> anyhow::Result<Sample> {
    let labels = result.get("metric").and_then(Value::as_object).context("no labels")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let name = labels.get("__name__").map(text).unwrap_or_default();
    let own =
        labels.iter().filter(|(name, _)| !["__name__", "instance", "job"].contains(&name.as_str()));
    let own = own.map(|(name, value)| {
        (name.strip_prefix("exported_").unwrap_or(name).to_owned(), text(value))
    });
    let value = result.pointer("/value/1").and_then(Value::as_str).context("no value")?;
    let value: f64 = value.parse()?;
    Ok((name, own.collect(), value.to_string()))
}

fn with_input(command: &mut Command, input: &str) -> anyhow::Result<Output> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{command:?}"))?;
    child.stdin.take().context("no standard input")?.write_all(input.as_bytes())?;
    Ok(child.wait_with_output()?)
}

/// Percent-encoded, for a URL.
fn encoded(text: &str) -> impl std::fmt::Display {
    utf8_percent_encode(text, NON_ALPHANUMERIC)
}
