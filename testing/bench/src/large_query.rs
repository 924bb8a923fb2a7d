//! `cargo xtask large-query`: how much memory and how many units questions about a dimension of a
//! million keys take.
//!
//! Each question has a process of its own, so that its peak memory is that of one question.

use std::{
    fs,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, ensure};
use aws_lambda_events::event::apigw::{ApiGatewayV2httpRequest, ApiGatewayV2httpResponse};
use clap::Args;
use fastrand::Rng;
use serde_json::{Map, json};
use service::workspace::run;
use shared::{
    auth::Auth,
    config::Config,
    domain::{Id, PeriodLength, Update},
    lambda::{Call, answer_event},
    store::{Deadline, Settings, Store},
};

use crate::filling::fill;

const TABLE: &str = "large-query";
const DIMENSION: &str = "many";
/// The embedded DynamoDB is slower than a request may take.
const LONG: Duration = Duration::from_secs(30 * 60);
/// What a partition can be read at. Source: *Service, account, and table quotas in Amazon
/// DynamoDB*, DynamoDB Developer Guide.
const READ_UNITS_PER_SECOND: f64 = 3_000.0;

/// How large the dimension is.
#[derive(Debug, Clone, Args)]
pub struct LargeQueryOptions {
    /// How many keys there are
    #[arg(long, default_value_t = 1_000_000)]
    keys: usize,
    /// How many counters each of them has
    #[arg(long, default_value_t = 1)]
    stats: usize,
}

/// A question, and where the table is.
#[derive(Debug, Clone, Args)]
pub struct OneQueryOptions {
    /// The parameters of the question
    #[arg(long)]
    parameters: String,
    /// The endpoint of the DynamoDB that has the table
    #[arg(long)]
    endpoint: String,
}

/// Asks for the total, and for the first and the last page of a dimension, and prints what each took.
///
/// # Errors
/// The database fails, or a question is not answered.
pub async fn run_all(options: &LargeQueryOptions) -> anyhow::Result<()> {
    let endpoint = local_dynamodb::start_in_memory().await?;
    let client = local_dynamodb::client(&endpoint);
    local_dynamodb::create_table(&client, TABLE).await?;
    let counters: Map<_, _> =
        (0..options.stats).map(|stat| (format!("stat{stat}"), json!(stat))).collect();
    let body = json!({"dims": {DIMENSION: "k0"}, "counters": counters}).to_string();
    let (id, update) = (Id::new("id")?, Update::from_json(body.as_bytes())?);
    let call = call();
    store(&endpoint).update(&id, &update, None, call.now, call.deadline).await?;
    fill(&client, TABLE, DIMENSION, options.keys).await?;
    println!("{} keys of {} counters", options.keys, options.stats);
    for parameters in ["limit=0", "sort=-counter.stat0&limit=10", "limit=100"] {
        let program = std::env::current_exe()?;
        let endpoint = endpoint.clone();
        let asked = tokio::task::spawn_blocking(move || {
            let options = ["one-query", "--parameters", parameters, "--endpoint", &endpoint];
            run(std::process::Command::new(program).args(options))
        });
        asked.await??;
    }
    Ok(())
}

/// Asks one question, and prints what it took.
///
/// # Errors
/// It is not answered.
pub async fn run_one(options: &OneQueryOptions) -> anyhow::Result<()> {
    let OneQueryOptions { parameters, endpoint } = options;
    let open = |name: &str| (name == "STATSHUB_AUTH").then(|| "off".to_owned());
    let function = query::Function::new(&Config::from_variables(open)?, store(endpoint));
    let path = format!("/stats/{DIMENSION}");
    let event: ApiGatewayV2httpRequest = serde_json::from_value(json!({
        "version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": parameters,
        "headers": {}, "isBase64Encoded": false,
        "requestContext": {"stage": "$default", "http": {"method": "GET", "path": path}},
    }))?;
    let before = peak_memory()?;
    let started = Instant::now();
    let answer = answer_event(&function, &Auth::Off, event, call()).await;
    let took = started.elapsed();
    ensure!(answer.status_code == 200, "{parameters}: {answer:?}");
    let units = read_units(&answer)?;
    println!(
        "{parameters}: {took:.1?} here, {units} read units, which a partition has in {:.1} s; peak memory {} MB \
         ({} MB before)",
        units / READ_UNITS_PER_SECOND,
        peak_memory()? / 1_000_000,
        before / 1_000_000,
    );
    Ok(())
}

fn store(endpoint: &str) -> Store {
    let settings = Settings::new(TABLE, PeriodLength::DEFAULT);
    Store::new(local_dynamodb::client(endpoint), settings, Rng::new())
}

fn call() -> Call {
    Call { now: SystemTime::now().into(), deadline: Deadline::after(LONG) }
}

fn read_units(answer: &ApiGatewayV2httpResponse) -> anyhow::Result<f64> {
    let units = answer.headers.get("x-statshub-units").context("no units")?.to_str()?;
    let read = units.split(['=', ';']).nth(1).context("no read units")?;
    Ok(read.parse()?)
}

/// The most memory that this process has used, in bytes.
pub(crate) fn peak_memory() -> anyhow::Result<u64> {
    let status = fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no VmHWM")?;
    let kilobytes: u64 = line.trim().trim_end_matches("kB").trim().parse()?;
    Ok(kilobytes * 1_024)
}
