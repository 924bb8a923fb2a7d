//! `cargo xtask bench`: everything that is counted or timed, in one table on the terminal and in
//! docs/benchmarks.md, or compared with what is committed there.

use std::{fs, path::PathBuf, process::Command};

use anyhow::{Context, bail, ensure};
use clap::Args;
use service::workspace::{cargo, root, run, say, target};
use tokio::task::spawn_blocking;

use crate::{
    beside_redis::{self, BesideRedis},
    binary_size::{self, HOT_FUNCTIONS},
    call_costs, cold_start,
    cold_start::ColdStartOptions,
    figures::{CountedTable, Ratio, shown},
    instructions, memory,
};

/// Where the figures are kept.
const DOCUMENT: &str = "docs/benchmarks.md";
/// How long a start should take at most, by that of the empty function.
const MOST_TO_START: f64 = 1.5;
/// How long the first answer should take at most, by a warm one.
const MOST_TO_FIRST_ANSWER: f64 = 2.0;
/// How large the zip of a function should be at most.
const MOST_IN_ZIP: f64 = 3e6;

/// What is measured, and what becomes of it.
#[derive(Debug, Clone, Args)]
pub struct BenchmarkOptions {
    /// Compare what is counted with docs/benchmarks.md instead of writing it, and fail if it is more
    #[arg(long)]
    check: bool,
    /// How often each function is started
    #[arg(long, default_value_t = 25)]
    starts: usize,
    /// The folder with the built functions [default: build them]
    #[arg(long)]
    functions: Option<PathBuf>,
}

/// Measures, and writes or compares.
///
/// # Errors
/// Something can't be measured, or with `--check`, a counted figure is above the committed one.
pub async fn run_all(options: &BenchmarkOptions) -> anyhow::Result<()> {
    let functions = match &options.functions {
        Some(folder) => folder.clone(),
        None => build()?,
    };
    say("counting what calls cost");
    let mut tables = vec![spawn_blocking(call_costs::count).await??, binary_size::count_crates()?];
    tables.push(binary_size::measure(&functions)?);
    tables.push(instructions::count(&functions).await?);
    say("measuring the memory of queries");
    tables.push(memory::measure(&functions).await?);
    if options.check {
        let beside = spawn_blocking(|| beside_redis::measure(None)).await??;
        tables.extend(beside.counted()?);
        return check(&tables);
    }
    say("starting functions");
    let starts = ColdStartOptions { functions: functions.clone(), starts: options.starts };
    let ratios = cold_start::measure(&starts).await?;
    let beside = spawn_blocking(move || beside_redis::measure(Some(&functions))).await??;
    let document = document(&tables, &ratios, &beside)?;
    println!("{document}");
    fs::write(root().join(DOCUMENT), document).context(DOCUMENT)
}

/// Compares tables with the committed figures.
///
/// # Errors
/// A figure is above the committed one, or nothing is committed of it.
pub fn check(tables: &[CountedTable]) -> anyhow::Result<()> {
    let committed = fs::read_to_string(root().join(DOCUMENT)).context(DOCUMENT)?;
    let mut regressions = Vec::new();
    for table in tables {
        let above = table.regressions(&committed)?;
        regressions.extend(above.iter().map(|regression| format!("\n    {regression}")));
    }
    let list = regressions.concat();
    ensure!(
        regressions.is_empty(),
        "more than {DOCUMENT} has:{list}\nIf that is meant to be, `cargo xtask bench` writes the new figures."
    );
    Ok(())
}

/// Builds the functions as they are deployed, and the empty one as they are built.
fn build() -> anyhow::Result<PathBuf> {
    say("building the functions as they are deployed, which takes minutes");
    run(cargo()
        .args(["build", "--release"])
        .args(HOT_FUNCTIONS.map(|name| format!("--bin={name}"))))?;
    run(cargo().args(["build", "--release", "--package", "empty-function"]))?;
    Ok(target("release"))
}

fn document(
    tables: &[CountedTable],
    ratios: &[Ratio],
    beside: &BesideRedis,
) -> anyhow::Result<String> {
    let goals = goals(tables, ratios) + &beside.goals();
    let tables: Vec<_> = tables.iter().map(CountedTable::markdown).collect();
    let ratios: Vec<_> = ratios.iter().map(ToString::to_string).collect();
    Ok(format!(
        "# Benchmarks\n\n\
         `cargo xtask bench` measures and writes this page. `cargo xtask bench --check` compares what is \
         counted with\nthis page, and fails if it is more. The tests do so with the costs of calls and the \
         number of crates.\n\n\
         Measured on {} at commit {}.\n\n\
         ## Counted\n\n\
         These figures hardly depend on the machine: the first two tables not at all.\n\n\
         {}\n\
         *Start* is all that a function does until its first call, the first connection included. \
         Instructions are counted\nby callgrind, without those of the system. There is no TLS, and SHA-256 \
         takes more of them than on a processor\nthat has an instruction for it.\n\n\
         ## Timed\n\n\
         Times depend on the machine, and on what else it did; their ratios within one run, in \
         alternation, do so much\nless. DynamoDB is an embedded one on the same machine, behind \
         TLS. The empty function is `testing/empty-function`,\nbuilt in the same way. Each figure is the \
         middle of all starts.\n\n\
         | | ratio | time | beside |\n| --- | --: | --: | --: |\n{}\n\n\
         {}\n\
         ## Goals\n\n\
         | goal | at most | figure |\n| --- | --: | --: |\n{}",
        machine()?,
        commit()?,
        tables.join("\n"),
        ratios.join("\n"),
        beside.section()?,
        goals,
    ))
}

/// What is wanted of starts and sizes, each beside its figure.
fn goals(tables: &[CountedTable], ratios: &[Ratio]) -> String {
    let of_start = [
        ("start to first request", MOST_TO_START),
        ("first answer, by a warm one", MOST_TO_FIRST_ANSWER),
    ];
    let starts = ratios.iter().filter_map(|ratio| {
        let (_, most) = of_start.iter().find(|(name, _)| ratio.what.contains(name))?;
        Some(format!("| {} | {most:.1} | {:.2} |\n", ratio.what, ratio.value()))
    });
    let sizes = tables.iter().filter(|table| table.title == binary_size::SIZE);
    let sizes = sizes.flat_map(|table| &table.rows).filter_map(|(function, figures)| {
        let zip = shown(*figures.last()?);
        Some(format!("| {function}: bytes in the zip | {} | {zip} |\n", shown(MOST_IN_ZIP)))
    });
    starts.chain(sizes).collect()
}

/// The processor, and how many of them there are.
fn machine() -> anyhow::Result<String> {
    let processors = std::thread::available_parallelism()?;
    let about = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = about.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or(std::env::consts::ARCH, |(_, model)| model);
    Ok(format!("{processors} × {model}"))
}

fn commit() -> anyhow::Result<String> {
    let mut git = Command::new("git");
    let answer = git.args(["describe", "--always", "--dirty"]).current_dir(root()).output()?;
    if !answer.status.success() {
        bail!("{}", String::from_utf8_lossy(&answer.stderr));
    }
    Ok(String::from_utf8(answer.stdout)?.trim().to_owned())
}
