//! `cargo xtask dev`: the whole service on this machine, until it is interrupted.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use clap::Args;
use service::{
    AUTH_VARIABLE, Build, Database, OPEN, Service, ServiceSettings,
    bigquery_emulator::{self, Emulator},
    workspace::{say, target},
};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use statshub::run_sql::DEFAULT_PORT;

use crate::archive_schedule::{Interval, start_schedule};

#[derive(Debug, Args)]
pub struct DevOptions {
    /// The port of the service
    #[arg(long, default_value_t = 9000)]
    port: u16,
    /// The address to listen on; the service is open to anyone who reaches it, unless
    /// `STATSHUB_AUTH` is set
    #[arg(long, default_value = "127.0.0.1")]
    bind: String,
    /// Forget the data of earlier runs
    #[arg(long)]
    fresh: bool,
    /// Use Amazon's DynamoDB Local (needs Java and npm) instead of the embedded DynamoDB
    #[arg(long)]
    dynamodb_local: bool,
    #[command(flatten)]
    archive: DevArchiveOptions,
    /// Build the functions with optimizations
    #[arg(long)]
    release: bool,
}

#[derive(Debug, Args)]
struct DevArchiveOptions {
    /// Run an emulator of BigQuery (needs Python 3.13), and archive to it on a schedule
    #[arg(long)]
    bigquery: bool,
    /// The port of the BigQuery emulator
    #[arg(long, default_value_t = DEFAULT_PORT, requires = "bigquery")]
    bigquery_port: u16,
    /// How often to archive: 10s, 1m, 10m, 1h
    #[arg(long, default_value = "10m", requires = "bigquery")]
    archive_every: Interval,
}

pub fn run(options: &DevOptions) -> anyhow::Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        // A second signal ends this process at once, whatever it is doing.
        signal_hook::flag::register_conditional_default(signal, stop.clone())?;
        signal_hook::flag::register(signal, stop.clone())?;
    }
    let auth = std::env::var(AUTH_VARIABLE).unwrap_or_else(|_| OPEN.to_owned());
    let is_open = auth == OPEN;
    let mut service = Service::start(ServiceSettings {
        port: options.port,
        bind: options.bind.clone(),
        build: Build::optimized(options.release),
        database: database(options)?,
        bigquery: emulator(options)?,
        auth,
        variables: options.archive.archive_every.variables().into_iter().collect(),
        exchanges: None,
    })?;
    explain(options, &service.url(), is_open);
    if options.archive.bigquery {
        start_schedule(service.url(), options.archive.archive_every, stop.clone());
    }
    while !stop.load(Ordering::Relaxed) {
        service.look_after()?;
        thread::sleep(Duration::from_millis(100));
    }
    say("ending");
    Ok(())
}

fn explain(options: &DevOptions, url: &str, is_open: bool) {
    let token = if is_open { "" } else { "-H 'Authorization: Bearer <token>' " };
    println!("ready: {url}");
    println!("look:  {url}/ in a browser");
    println!(
        "try:   curl {token}{url}/stats/myid1 -d '{{\"dims\":{{\"country\":\"es\"}},\"counters\":{{\"hits\":1}}}}'"
    );
    println!("then:  curl {token}{url}/stats/");
    if options.archive.bigquery {
        let host = match options.archive.bigquery_port {
            DEFAULT_PORT => String::new(),
            port => format!(" --host 127.0.0.1:{port}"),
        };
        let dataset = bigquery_emulator::dataset();
        println!("to archive now:      cargo xtask archive --url {url}");
        println!(
            "to see the archive:  cargo xtask sql{host} 'SELECT * FROM {dataset}.country ORDER BY _ts, _dim'"
        );
    }
}

fn emulator(options: &DevOptions) -> anyhow::Result<Option<Emulator>> {
    let data = target("dev/bigquery");
    if options.fresh {
        forget(&data)?;
    }
    Ok(options.archive.bigquery.then_some(Emulator { port: options.archive.bigquery_port, data }))
}

fn database(options: &DevOptions) -> anyhow::Result<Database> {
    if let Ok(endpoint) = std::env::var("AWS_ENDPOINT_URL_DYNAMODB") {
        if options.fresh {
            say("--fresh has no effect on the DynamoDB of AWS_ENDPOINT_URL_DYNAMODB");
        }
        return Ok(Database::Endpoint(endpoint));
    }
    let folder = target(if options.dynamodb_local { "dev/dynamodb-local" } else { "dev/embedded" });
    if options.fresh {
        forget(&folder)?;
    }
    Ok(if options.dynamodb_local {
        say(
            "DynamoDB Local listens on all addresses of this machine: whoever reaches it gets the data",
        );
        Database::DynamoDbLocal(folder)
    } else {
        Database::Embedded(folder.join("statshub.sqlite"))
    })
}

fn forget(folder: &Path) -> anyhow::Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    Ok(())
}
