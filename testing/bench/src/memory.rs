//! How much memory a query takes at its peak.

use std::path::Path;

use http::Method;

use crate::{
    figures::CountedTable,
    function_process::{FunctionProcess, program},
    workload,
};

/// How many keys the dimension has, and how many counters each.
const KEYS: usize = 10_000;
const STATS: usize = 20;

/// Measures the built function in this folder, in a process of its own for each question.
///
/// # Errors
/// The function fails, or this is not Linux.
pub async fn measure(functions: &Path) -> anyhow::Result<CountedTable> {
    let variables = workload::variables().await?;
    workload::report_keys(functions, &variables, KEYS, STATS).await?;
    let mut table = CountedTable::new("Memory", 0.1, &["MB at the peak"]);
    for (what, path) in [
        ("a page of 100 of 10,000 keys with 20 stats", "/stats/large?limit=100"),
        ("their total alone", "/stats/large?limit=0"),
        ("a query of all of them", "/stats/large"),
    ] {
        let program = program(functions, "query");
        let mut process = FunctionProcess::start(&program, &variables).await?;
        process.send(&Method::GET, path, "").await?;
        let megabytes = process.peak_memory()?.div_ceil(1_000_000);
        table.rows.push((what.to_owned(), vec![u32::try_from(megabytes)?.into()]));
    }
    Ok(table)
}
