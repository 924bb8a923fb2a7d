//! `cargo xtask large`: how much memory and time it takes to archive a large dimension.

use std::{
    fs,
    sync::atomic::{AtomicUsize, Ordering::Relaxed},
    thread,
    time::Instant,
};

use anyhow::{Context, ensure};
use clap::Args;
use serde_json::json;
use service::{
    Build, Database, OPEN, Service, ServiceSettings,
    bigquery_emulator::Emulator,
    ports::free_port,
    workspace::{say, target},
};
use statshub::{HttpClient, run_archive, timestamp};

/// How many updates are sent at once.
const SENDERS: usize = 16;

/// How large the dimension is.
#[derive(Debug, Args)]
pub struct LargeArchiveOptions {
    /// The number of keys
    #[arg(long, default_value_t = 100_000)]
    keys: usize,
    /// The number of stats of each
    #[arg(long, default_value_t = 20)]
    stats: usize,
    /// Build the functions with optimizations
    #[arg(long)]
    release: bool,
}

/// Reports every key once, archives them, and prints what that took.
///
/// # Errors
/// The service can't be started, or archives another number of rows.
pub fn run(options: &LargeArchiveOptions) -> anyhow::Result<()> {
    let folder = target("large");
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    let service = Service::start(ServiceSettings {
        port: free_port()?,
        bind: "127.0.0.1".to_owned(),
        build: Build::optimized(options.release),
        database: Database::Embedded(folder.join("statshub.sqlite")),
        bigquery: Some(Emulator { port: free_port()?, data: folder.join("bigquery") }),
        auth: OPEN.to_owned(),
        variables: Vec::new(),
        exchanges: None,
    })?;
    let started = Instant::now();
    report(&HttpClient::new(&service.url()), options)?;
    say(&format!("{} keys were reported in {:.0?}", options.keys, started.elapsed()));

    let before = service.peak_memory("archive")?;
    let started = Instant::now();
    let now = timestamp::from_seconds(run_archive::now());
    let answer = run_archive::invoke(&service.url(), &now)?;
    let took = started.elapsed();
    println!(
        "{} keys of {} stats: archived in {took:.1?}, peak memory of the function {} MB ({} MB before)",
        options.keys,
        options.stats,
        service.peak_memory("archive")? / 1_000_000,
        before / 1_000_000,
    );
    let rows = options.keys + 1;
    ensure!(answer.contains(&format!(r#""rows":{rows}"#)), "not {rows} rows: {answer}");
    Ok(())
}

/// Reports every key once.
fn report(client: &HttpClient, options: &LargeArchiveOptions) -> anyhow::Result<()> {
    let next = AtomicUsize::new(0);
    let send = || -> anyhow::Result<()> {
        loop {
            let key = next.fetch_add(1, Relaxed);
            if key >= options.keys {
                return Ok(());
            }
            let counters: serde_json::Map<_, _> =
                (0..options.stats).map(|i| (format!("stat_{i}"), json!(key * i))).collect();
            let body = json!({"dims": {"large": format!("key-{key}")}, "counters": counters});
            let (status, answer) = client.post(&format!("/stats/id-{key}"), &body.to_string())?;
            ensure!(status == 200, "{status} {answer}");
        }
    };
    thread::scope(|scope| {
        let senders: Vec<_> = (0..SENDERS).map(|_| scope.spawn(send)).collect();
        senders
            .into_iter()
            .try_for_each(|sender| sender.join().ok().context("a sender panicked")?)
    })
}
