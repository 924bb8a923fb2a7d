//! `cargo xtask large-audit`: how much time, memory and units an audit of a million rollups takes, and
//! an export.
//!
//! Each has a process of its own, so that its peak memory is its own.

use std::{
    num::NonZeroU32,
    process::Command,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context as _, ensure};
use aws_sdk_dynamodb::types::AttributeValue;
use clap::{Args, ValueEnum};
use fastrand::Rng;
use service::workspace::run;
use shared::{
    domain::{Cell, DimensionKey, DimensionName, Id, PeriodLength, RollupKey, UnixSeconds, Update},
    store::{
        AuditMode, AuditRun, Audited, Deadline, ExportRun, ExportedCounts, Pacer, Settings, Store,
        Workspace,
    },
    table::ItemKey,
};

use crate::{filling::fill_with_ids, large_query::peak_memory};

const TABLE: &str = "large-audit";
const DIMENSION: &str = "many";
/// What an operator's program uses before it writes files, unless it is told otherwise.
const MEMORY: usize = 128 << 20;

/// How large the dimension is.
#[derive(Debug, Clone, Args)]
pub struct LargeAuditOptions {
    /// How many keys there are, each with an id of its own
    #[arg(long, default_value_t = 1_000_000)]
    keys: usize,
    /// How many of them have a wrong counter
    #[arg(long, default_value_t = 1_000)]
    wrong: usize,
}

/// What a process does.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum What {
    Audit,
    Repair,
    Export,
}

/// One reading of the table.
#[derive(Debug, Clone, Args)]
pub struct OneAuditOptions {
    /// What to do
    #[arg(long, value_enum)]
    what: What,
    /// The endpoint of the DynamoDB that has the table
    #[arg(long)]
    endpoint: String,
}

/// Audits a large table, damages it, finds and repairs that, and exports it; prints what each took.
///
/// # Errors
/// The database fails, or a process does.
pub async fn run_all(options: &LargeAuditOptions) -> anyhow::Result<()> {
    let endpoint = local_dynamodb::start_in_memory().await?;
    let client = local_dynamodb::client(&endpoint);
    local_dynamodb::create_table(&client, TABLE).await?;
    let body = br#"{"dims":{"many":"k0"},"counters":{"hits":5,"bytes":7000}}"#;
    let (id, update) = (Id::new("i0")?, Update::from_json(body)?);
    let an_hour_ago = UnixSeconds(UnixSeconds::from(SystemTime::now()).0 - 3_600);
    let deadline = Deadline::after(Duration::from_secs(60));
    Box::pin(store(&endpoint).update(&id, &update, None, an_hour_ago, deadline)).await?;
    let filled = Instant::now();
    fill_with_ids(&client, TABLE, DIMENSION, options.keys).await?;
    println!("{} keys, each with an id: filled in {:.0?}", options.keys, filled.elapsed());
    one(What::Audit, &endpoint).await?;
    for key in 0..options.wrong {
        let of = RollupKey {
            dimension: DimensionName::new(DIMENSION)?,
            key: DimensionKey::new(&format!("k{}", key * (options.keys / options.wrong)))?,
        };
        client
            .update_item()
            .table_name(TABLE)
            .set_key(Some(ItemKey::rollup(&of, Cell::FIRST).attributes()))
            .update_expression("ADD #counter :one")
            .expression_attribute_names("#counter", "c:hits")
            .expression_attribute_values(":one", AttributeValue::N("1".to_owned()))
            .send()
            .await?;
    }
    println!("{} counters are wrong now", options.wrong);
    for what in [What::Audit, What::Repair, What::Audit, What::Export] {
        one(what, &endpoint).await?;
    }
    Ok(())
}

async fn one(what: What, endpoint: &str) -> anyhow::Result<()> {
    let what = what.to_possible_value().context("it has a name")?.get_name().to_owned();
    let (program, endpoint) = (std::env::current_exe()?, endpoint.to_owned());
    let done = tokio::task::spawn_blocking(move || {
        let options = ["one-audit", "--what", &what, "--endpoint", &endpoint];
        run(Command::new(program).args(options))
    });
    done.await?
}

/// Reads the table once, and prints what that took.
///
/// # Errors
/// It can't be read.
pub async fn run_one(options: &OneAuditOptions) -> anyhow::Result<()> {
    let (store, before, started) = (store(&options.endpoint), peak_memory()?, Instant::now());
    let mut pacer = Pacer::new(NonZeroU32::MAX);
    let workspace = Workspace { directory: std::env::temp_dir(), memory: MEMORY };
    let (clock, patience) = (|| UnixSeconds::from(SystemTime::now()), Duration::from_secs(600));
    let what = match options.what {
        What::Audit | What::Repair => {
            let mode = match options.what {
                What::Repair => AuditMode::Repair,
                _ => AuditMode::Report,
            };
            let mut run = AuditRun {
                mode,
                clock,
                pacer: &mut pacer,
                patience,
                workspace,
                most_scans: 4,
                progress: &mut |_| {},
                report: &mut |_| {},
                audited: Audited::default(),
            };
            Box::pin(store.audit(&mut run)).await?;
            let Audited { items, scans, wrong, repaired, undecided, .. } = run.audited;
            ensure!(undecided == 0, "{undecided} are undecided, though nobody writes");
            format!("audit: {items} items in {scans} scans, {wrong} wrong, {repaired} repaired")
        }
        What::Export => {
            let mut bytes = 0;
            let mut run = ExportRun {
                clock,
                pacer: &mut pacer,
                patience,
                workspace,
                progress: &mut |_| {},
                write: &mut |line| {
                    bytes += line.len() + 1;
                    Ok(())
                },
                counts: ExportedCounts::default(),
            };
            Box::pin(store.export(&mut run)).await?;
            let lines = run.counts.lines;
            format!("export: {lines} lines, {} MB", bytes / 1_000_000)
        }
    };
    println!(
        "{what}: {:.0?}, {:.0} read units, {:.0} write units, peak memory {} MB ({} MB before)",
        started.elapsed(),
        pacer.read_units(),
        pacer.write_units(),
        peak_memory()? / 1_000_000,
        before / 1_000_000,
    );
    Ok(())
}

fn store(endpoint: &str) -> Store {
    let settings = Settings::new(TABLE, PeriodLength::DEFAULT);
    Store::new(local_dynamodb::client(endpoint), settings, Rng::new())
}
