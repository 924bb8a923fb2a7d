//! How long a function takes from the start of its process to its first request for an event, and
//! for its first answer, with TLS between it and DynamoDB. An empty function is beside it.
//!
//! Times depend on the machine and on what else it does. Their ratios within one run, in
//! alternation, depend on it much less.

use std::{ffi::OsString, path::PathBuf, time::Duration};

use anyhow::Context;
use clap::Args;
use http::Method;
use service::workspace::target;

use crate::{
    figures::{Ratio, median},
    function_process::{FunctionProcess, program},
    tls_end::TlsEnd,
    workload::{self, TABLE},
};

/// How many answers follow the first one of each process.
const WARM: usize = 10;

/// Where the functions are, and how often they are started.
#[derive(Debug, Clone, Args)]
pub struct ColdStartOptions {
    /// The folder with the built functions
    #[arg(long, default_value = "target/release")]
    pub functions: PathBuf,
    /// How often each function is started
    #[arg(long, default_value_t = 25)]
    pub starts: usize,
}

/// What was measured of the starts of a function.
#[derive(Debug, Default)]
struct Starts {
    to_start: Vec<Duration>,
    first: Vec<Duration>,
    warm: Vec<Duration>,
}

/// A request that a function gets: method, path, body.
type Sent = (Method, &'static str, String);

/// Starts functions in alternation, and returns the ratios.
///
/// # Errors
/// A function can't be started, or does not answer by 200.
pub async fn measure(options: &ColdStartOptions) -> anyhow::Result<Vec<Ratio>> {
    let variables = variables().await?;
    let functions: [(&str, Sent); 3] = [
        ("empty-function", (Method::GET, "/", String::new())),
        ("update", (Method::POST, "/stats/a-client", workload::changing_update(1).to_string())),
        ("query", (Method::GET, "/stats/country?limit=10", String::new())),
    ];
    let mut starts =
        [const { Starts { to_start: Vec::new(), first: Vec::new(), warm: Vec::new() } }; 3];
    for _ in 0..options.starts {
        for ((name, sent), starts) in functions.iter().zip(&mut starts) {
            let program = program(&options.functions, name);
            start(&program, &variables, sent, starts).await.with_context(|| (*name).to_owned())?;
        }
    }
    let [empty, update, query] = starts.map(|starts| starts.medians());
    let start = |what: &str, of: &Medians| {
        Ratio::of(
            format!("{what}: start to first request, by the empty function's"),
            of.to_start,
            empty.to_start,
        )
    };
    let first = |what: &str, of: &Medians| {
        Ratio::of(format!("{what}: first answer, by a warm one"), of.first, of.warm)
    };
    let both = |what: &str, of: &Medians| {
        let whole = of.to_start + of.first;
        Ratio::of(
            format!("{what}: start to first answer, by the empty function's"),
            whole,
            empty.to_start + empty.first,
        )
    };
    Ok(vec![
        start("update", &update),
        start("query", &query),
        first("update", &update),
        first("query", &query),
        both("update", &update),
        both("query", &query),
    ])
}

/// A DynamoDB with the table, an end of TLS in front of it, and the variables by which a function
/// finds both.
async fn variables() -> anyhow::Result<Vec<(&'static str, OsString)>> {
    let endpoint = local_dynamodb::start_in_memory().await?;
    local_dynamodb::create_table(&local_dynamodb::client(&endpoint), TABLE).await?;
    let upstream = endpoint.strip_prefix("http://").context("DynamoDB has no address")?;
    let tls = TlsEnd::start(upstream.to_owned(), &target("cold-start")).await?;
    Ok(vec![
        ("AWS_ENDPOINT_URL_DYNAMODB", tls.url.into()),
        ("AWS_CA_BUNDLE", tls.root.into()),
        // For a function that reads the system's roots.
        ("SSL_CERT_FILE", tls.all_roots.into()),
        ("STATSHUB_AUTH", "off".into()),
        ("METRICS_NAMESPACE", "statshub".into()),
    ])
}

async fn start(
    program: &[OsString],
    variables: &[(&str, OsString)],
    (method, path, body): &Sent,
    starts: &mut Starts,
) -> anyhow::Result<()> {
    let mut process = FunctionProcess::start(program, variables).await?;
    starts.to_start.push(process.time_to_start().await?);
    starts.first.push(process.send(method, path, body).await?.1);
    for _ in 0..WARM {
        starts.warm.push(process.send(method, path, body).await?.1);
    }
    Ok(())
}

/// The middle of each time.
#[derive(Debug, Clone, Copy)]
struct Medians {
    to_start: Duration,
    first: Duration,
    warm: Duration,
}

impl Starts {
    fn medians(self) -> Medians {
        let Self { to_start, first, warm } = self;
        Medians { to_start: median(to_start), first: median(first), warm: median(warm) }
    }
}
