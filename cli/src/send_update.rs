//! `statshub send`: updates from options, from a file or from standard input, each counted once.

use std::{
    collections::BTreeMap,
    fs::File,
    io::{self, BufRead, BufReader, Read},
    path::PathBuf,
    thread,
    time::Duration,
};

use anyhow::{Context, anyhow, bail, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use ureq::http::{Request, Response};

use crate::{
    api_access::{Api, ApiOptions, is_passing, named, parse, segment},
    output::{OutputOptions, counted, print, print_json},
    progress::Progress,
};

/// How often something is sent.
const ATTEMPTS: u32 = 6;
/// The wait before the second attempt. Each further one is twice as long.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The longest wait that a service may ask for.
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// The most updates of a batch that the service takes.
const BATCH_ENTRIES: usize = 1_000;
/// The most bytes of a batch: the service takes 4 MiB.
const BATCH_BYTES: usize = 3_500_000;

/// What to send.
#[derive(Debug, Args)]
#[command(after_help = "\
Without --id, the file has a line of JSON for each update, with its id:
  {\"id\": \"a\", \"dims\": {\"country\": \"es\"}, \"counters\": {\"hits\": 5}}

What fails for a time is sent again. Each update has an idempotency key, so that it is counted once \
even if an answer is lost. To run the same command again after a failure, give it a key of your own: \
with --idempotency-key KEY, updates of a file have the keys KEY-1, KEY-2 and so on, by their lines, \
and what was counted within 24 hours is not counted again.

Examples:
  statshub send --id myid1 --dim country=es --dim user=bob --counter hits=50
  statshub send --id myid1 --dim country=es --increment starts=1 --member users=bob
  statshub send --id myid1 --file update.json
  statshub send --file updates.ndjson --idempotency-key import-7
  zcat updates.gz | statshub send --file -")]
pub struct SendOptions {
    /// The id that reports
    #[arg(long)]
    id: Option<String>,
    /// A dimension and its key
    #[arg(long, value_name = "NAME=KEY", value_parser = pair, requires = "id")]
    dim: Vec<(String, String)>,
    /// A counter, and the value that it now has
    #[arg(long, value_name = "NAME=VALUE", value_parser = number, requires = "id")]
    counter: Vec<(String, i64)>,
    /// A counter, and what is added to it
    #[arg(long, value_name = "NAME=VALUE", value_parser = number, requires = "id")]
    increment: Vec<(String, i64)>,
    /// A gauge, and the value that it now has
    #[arg(long, value_name = "NAME=VALUE", value_parser = number, requires = "id")]
    gauge: Vec<(String, i64)>,
    /// A member of a set
    #[arg(long, value_name = "NAME=MEMBER", value_parser = pair, requires = "id")]
    member: Vec<(String, String)>,
    /// A file with the JSON of the update, or of many without --id; - is standard input
    #[arg(long, conflicts_with_all = ["dim", "counter", "increment", "gauge", "member"])]
    #[arg(required_unless_present = "id")]
    file: Option<PathBuf>,
    /// What the service recognizes the update by if it comes again [default: a random one]
    #[arg(long, value_name = "KEY")]
    idempotency_key: Option<String>,
    /// Send nothing, and print what would be sent
    #[arg(long, short = 'n')]
    dry_run: bool,
    #[command(flatten)]
    api: ApiOptions,
    #[command(flatten)]
    output: OutputOptions,
}

/// Sends updates, and prints how many were counted.
///
/// # Errors
/// Some were not; the message says which, and whether they may be sent again.
pub fn run(options: &SendOptions) -> anyhow::Result<()> {
    let key = options.idempotency_key.clone();
    let key = key.unwrap_or_else(|| format!("{:032x}", fastrand::u128(..)));
    let sent = match &options.id {
        Some(id) => send_one(options, id, &key)?,
        None => send_file(options, &key)?,
    };
    if options.dry_run {
        return Ok(());
    }
    match options.output.json {
        true => print_json(&sent)?,
        false => print(&format!("{} counted", counted(sent.counted, "update")))?,
    }
    ensure!(sent.refused == 0, "{} refused: see above", counted(sent.refused, "update"));
    Ok(())
}

/// What became of updates.
#[derive(Debug, Default, Serialize)]
struct Sent {
    counted: u64,
    refused: u64,
}

/// The body of an update from options.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct UpdateBody<'a> {
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    dims: BTreeMap<&'a str, &'a str>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    counters: BTreeMap<&'a str, i64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    increments: BTreeMap<&'a str, i64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    gauges: BTreeMap<&'a str, i64>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    multi_members: BTreeMap<&'a str, Vec<&'a str>>,
}

impl SendOptions {
    fn body(&self) -> anyhow::Result<String> {
        if let Some(path) = &self.file {
            let mut body = String::new();
            open(path)?.read_to_string(&mut body).context("the update is not UTF-8")?;
            return Ok(body);
        }
        let mut multi_members: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for (stat, member) in &self.member {
            multi_members.entry(stat).or_default().push(member);
        }
        let body = UpdateBody {
            dims: once("--dim", self.dim.iter().map(|(name, key)| (name, key.as_str())))?,
            counters: once("--counter", self.counter.iter().map(|(name, value)| (name, *value)))?,
            increments: once(
                "--increment",
                self.increment.iter().map(|(name, value)| (name, *value)),
            )?,
            gauges: once("--gauge", self.gauge.iter().map(|(name, value)| (name, *value)))?,
            multi_members,
        };
        Ok(serde_json::to_string(&body)?)
    }
}

/// Each name with its value, none of them twice.
fn once<'a, V>(
    option: &str,
    named: impl Iterator<Item = (&'a String, V)>,
) -> anyhow::Result<BTreeMap<&'a str, V>> {
    let mut values = BTreeMap::new();
    for (name, value) in named {
        ensure!(values.insert(name.as_str(), value).is_none(), "{option} {name} is there twice");
    }
    Ok(values)
}

fn send_one(options: &SendOptions, id: &str, key: &str) -> anyhow::Result<Sent> {
    let (path, body) = (format!("/stats/{}", segment(named(id, "id")?)), options.body()?);
    if options.dry_run {
        print(&body)?;
        return Ok(Sent::default());
    }
    let api = options.api.open()?;
    let advice = format!("To send it again, add --idempotency-key {key}: it is counted once");
    let answer = persist(|| {
        let request = Request::post(&path).header("idempotency-key", key);
        api.send(request, body.clone())
    });
    let answer = answer.map_err(|error| anyhow!("{error:#}\n{advice}"))?;
    match answer.status().as_u16() {
        200 => Ok(Sent { counted: 1, refused: 0 }),
        status if is_passing(status) => bail!("{}\n{advice}", api.refusal(&answer)),
        _ => bail!(api.refusal(&answer)),
    }
}

/// An update of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    /// Its line: the first is 1.
    line: u64,
    text: String,
}

/// The answer to a batch.
#[derive(Deserialize)]
struct BatchAnswer {
    items: Vec<BatchItem>,
}

#[derive(Deserialize)]
struct BatchItem {
    id: String,
    status: u16,
    #[serde(rename = "Error")]
    error: String,
}

fn send_file(options: &SendOptions, key: &str) -> anyhow::Result<Sent> {
    let path = options.file.as_ref().context("say what to send: see statshub send --help")?;
    let api = options.api.open()?;
    let mut progress = Progress::new("sending:");
    let mut sent = Sent::default();
    let (mut batch, mut bytes) = (Vec::new(), 0);
    for (line, text) in (1..).zip(open(path)?.lines()) {
        let text = text.with_context(|| format!("line {line} can't be read"))?;
        if text.trim().is_empty() {
            continue;
        }
        let text = with_key(&text, &format!("{key}-{line}"));
        if options.dry_run {
            print(&text)?;
            continue;
        }
        if batch.len() == BATCH_ENTRIES || bytes + text.len() >= BATCH_BYTES {
            send_batch(&api, std::mem::take(&mut batch), &mut sent)
                .map_err(|error| with_advice(&error, key, &sent))?;
            bytes = 0;
            progress.report(sent.counted, format!("{} counted", counted(sent.counted, "update")));
        }
        bytes += text.len() + 1;
        batch.push(Entry { line, text });
    }
    if !batch.is_empty() {
        send_batch(&api, batch, &mut sent).map_err(|error| with_advice(&error, key, &sent))?;
    }
    Ok(sent)
}

fn with_advice(error: &anyhow::Error, key: &str, sent: &Sent) -> anyhow::Error {
    anyhow!(
        "{error:#}\n{} counted. To go on, run it again with --idempotency-key {key}: nothing is counted twice",
        counted(sent.counted, "update")
    )
}

/// Sends a batch until each update is counted or refused for good.
fn send_batch(api: &Api, mut batch: Vec<Entry>, sent: &mut Sent) -> anyhow::Result<()> {
    let mut waits = Waits::default();
    while !batch.is_empty() {
        let texts: Vec<_> = batch.iter().map(|entry| entry.text.as_str()).collect();
        let body = texts.join("\n");
        let answer = persist(|| api.send(Request::post("/stats"), body.clone()))?;
        let first = batch.first().map_or(0, |entry| entry.line);
        ensure!(
            answer.status() == 200,
            "the updates from line {first} on: {}",
            api.refusal(&answer)
        );
        let BatchAnswer { items } = parse(answer.body())?;
        ensure!(items.len() == batch.len(), "the answer is about other updates");
        let mut left = Vec::new();
        let mut last_error = String::new();
        for (entry, item) in batch.into_iter().zip(items) {
            match item.status {
                200 => sent.counted += 1,
                status if is_passing(status) => {
                    last_error = item.error;
                    left.push(entry);
                }
                status => {
                    sent.refused += 1;
                    eprintln!("line {}, id {}: {status} {}", entry.line, item.id, item.error);
                }
            }
        }
        batch = left;
        if !batch.is_empty() && !waits.wait(&answer) {
            let left = counted(u64::try_from(batch.len())?, "update");
            bail!("{left} not counted: {last_error}");
        }
    }
    Ok(())
}

/// Sends a request until it is answered by something that stays.
fn persist(
    send: impl Fn() -> anyhow::Result<Response<String>>,
) -> anyhow::Result<Response<String>> {
    let mut waits = Waits::default();
    loop {
        let answer = send();
        let is_over = match &answer {
            Ok(answer) => !is_passing(answer.status().as_u16()) || !waits.wait(answer),
            Err(_) => !waits.wait_by_itself(),
        };
        if is_over {
            return answer;
        }
    }
}

/// The waits between attempts.
#[derive(Debug, Default)]
struct Waits {
    attempts: u32,
}

impl Waits {
    /// Waits as long as the answer asks for. False if it has been tried often enough.
    fn wait(&mut self, answer: &Response<String>) -> bool {
        let header = answer.headers().get("retry-after").and_then(|value| value.to_str().ok());
        let seconds = header.and_then(|seconds| seconds.parse().ok());
        self.wait_at_least(Duration::from_secs(seconds.unwrap_or_default()).min(LONGEST_WAIT))
    }

    fn wait_by_itself(&mut self) -> bool {
        self.wait_at_least(Duration::ZERO)
    }

    fn wait_at_least(&mut self, least: Duration) -> bool {
        self.attempts += 1;
        if self.attempts >= ATTEMPTS {
            return false;
        }
        thread::sleep(least.max(FIRST_WAIT * 2_u32.pow(self.attempts - 1)));
        true
    }
}

/// An update of a file with this idempotency key, unless it has one, or is no object.
fn with_key(text: &str, key: &str) -> String {
    let parts = serde_json::from_str::<BTreeMap<String, &RawValue>>(text);
    let Ok(parts) = parts else {
        return text.to_owned();
    };
    match text.split_once('{') {
        Some((_, rest)) if !parts.contains_key("idempotencyKey") => {
            let comma = if parts.is_empty() { "" } else { "," };
            format!("{{\"idempotencyKey\":\"{key}\"{comma}{rest}")
        }
        _ => text.to_owned(),
    }
}

fn open(path: &PathBuf) -> anyhow::Result<Box<dyn BufRead>> {
    if path.as_os_str() == "-" {
        return Ok(Box::new(io::stdin().lock()));
    }
    let file = File::open(path).with_context(|| format!("{} can't be read", path.display()))?;
    Ok(Box::new(BufReader::new(file)))
}

fn pair(text: &str) -> anyhow::Result<(String, String)> {
    let (name, value) = text.split_once('=').context("write it as NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn number(text: &str) -> anyhow::Result<(String, i64)> {
    let (name, value) = pair(text)?;
    let value = value.parse().with_context(|| format!("{value:?} is no integer of 64 bits"))?;
    Ok((name, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_update_gets_a_key_unless_it_has_one_and_what_is_no_update_stays() {
        for (text, with) in [
            (r#" {"id":"a"}"#, r#"{"idempotencyKey":"k","id":"a"}"#),
            ("{}", r#"{"idempotencyKey":"k"}"#),
            (r#"{"id":"{","idempotencyKey":"mine"}"#, r#"{"id":"{","idempotencyKey":"mine"}"#),
            ("[1]", "[1]"),
            ("{", "{"),
        ] {
            assert_eq!(with_key(text, "k"), with);
        }
    }

    #[test]
    fn values_are_integers_and_names_end_at_the_first_sign() {
        assert_eq!(number("a=-5").unwrap(), ("a".to_owned(), -5));
        assert_eq!(pair("user=a=b").unwrap(), ("user".to_owned(), "a=b".to_owned()));
        assert!(number("a=1.5").is_err() && number("a").is_err() && pair("a").is_err());
    }
}
