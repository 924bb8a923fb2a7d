//! How many instructions calls take, counted by `valgrind --tool=callgrind`: other work of the machine
//! does not change it, and it hardly differs from run to run.

use std::{
    ffi::OsString,
    fs,
    path::{Path, PathBuf},
};

use anyhow::Context;
use clap::Args;
use http::Method;
use service::workspace::{say, target};

use crate::{
    figures::CountedTable,
    function_process::FunctionProcess,
    workload::{self, TABLE},
};

/// How many keys the dimension has that is queried, and how many counters each.
const KEYS: usize = 1_000;
const STATS: usize = 20;

/// Where the functions are.
#[derive(Debug, Clone, Args)]
pub struct InstructionsOptions {
    /// The folder with the built functions
    #[arg(long, default_value = "target/release")]
    pub functions: PathBuf,
}

/// Counts the instructions of the built functions in this folder. What callgrind has written of
/// each case stays in `target/bench`, for `callgrind_annotate`.
///
/// # Errors
/// There is no valgrind, or a function fails.
pub async fn count(functions: &Path) -> anyhow::Result<CountedTable> {
    let endpoint = local_dynamodb::start_in_memory().await?;
    local_dynamodb::create_table(&local_dynamodb::client(&endpoint), TABLE).await?;
    let variables = [
        ("AWS_ENDPOINT_URL_DYNAMODB", OsString::from(endpoint)),
        ("STATSHUB_AUTH", "off".into()),
        ("QUERY_CACHE", "off".into()),
        // Else the process would not end in order, and valgrind not count.
        ("METRICS_NAMESPACE", "statshub".into()),
    ];
    fill(functions, &variables).await?;
    let mut table = CountedTable::new("Instructions, in thousands", 0.02, &["start", "a call"]);
    let update =
        |number| (Method::POST, "/stats/a-client", workload::changing_update(number).to_string());
    let whole = |_| (Method::GET, "/stats/large", String::new());
    let page = |_| (Method::GET, "/stats/large?limit=100", String::new());
    let cases: [(&str, &str, usize, &dyn Fn(usize) -> (Method, &'static str, String)); 3] = [
        ("update", "an update, 2 dimensions", 50, &update),
        ("query", "a query of 1,000 keys with 20 stats", 3, &whole),
        ("query", "a page of 100 of its keys", 10, &page),
    ];
    for (function, what, calls, request) in cases {
        say(&format!("counting the instructions of {what}"));
        let program = functions.join(function);
        let file = counts_file(table.rows.len())?;
        let few = run(&program, &variables, calls, request, &file).await?;
        let many = run(&program, &variables, 2 * calls, request, &file).await?;
        let calls = f64::from(u32::try_from(calls)?);
        let call = (many - few) / calls;
        let thousands = |instructions: f64| (instructions / 1_000.0).round();
        let row = vec![thousands(few - call * calls), thousands(call)];
        table.rows.push((what.to_owned(), row));
    }
    Ok(table)
}

/// Reports every key of the dimension `large` once.
async fn fill(functions: &Path, variables: &[(&str, OsString)]) -> anyhow::Result<()> {
    let program = [functions.join("update").into_os_string()];
    let mut process = FunctionProcess::start(&program, variables).await?;
    for body in workload::batches_of_keys(KEYS, STATS) {
        process.send(&Method::POST, "/stats", &body).await?;
    }
    Ok(())
}

/// How many instructions a process takes for its start and so many calls.
async fn run(
    program: &Path,
    variables: &[(&str, OsString)],
    calls: usize,
    request: &dyn Fn(usize) -> (Method, &'static str, String),
    counts: &Path,
) -> anyhow::Result<f64> {
    if counts.exists() {
        fs::remove_file(counts)?;
    }
    let command: Vec<OsString> = vec![
        "valgrind".into(),
        "--tool=callgrind".into(),
        "--quiet".into(),
        format!("--callgrind-out-file={}", counts.display()).into(),
        program.into(),
    ];
    let mut process = FunctionProcess::start(&command, variables).await?;
    for number in 0..calls {
        let (method, path, body) = request(number + 1);
        process.send(&method, path, &body).await?;
    }
    process.end()?;
    let counts = fs::read_to_string(counts).context("valgrind has counted nothing")?;
    let total = counts.lines().find_map(|line| line.strip_prefix("totals: "));
    let total = total.context("valgrind has counted no totals")?;
    Ok(total.trim().parse()?)
}

/// Where valgrind writes what it counts in a case.
fn counts_file(case: usize) -> anyhow::Result<PathBuf> {
    let folder = target("bench");
    fs::create_dir_all(&folder)?;
    Ok(folder.join(format!("callgrind.{case}.out")))
}
