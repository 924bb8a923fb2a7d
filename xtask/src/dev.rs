//! `cargo xtask dev`.

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
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::{
    service::{Database, Service, Settings},
    workspace::{say, target},
};

#[derive(Debug, Args)]
pub struct Options {
    /// The port of the service
    #[arg(long, default_value_t = 9000)]
    port: u16,
    /// The address to listen on; the service is open to anyone who reaches it
    #[arg(long, default_value = "127.0.0.1")]
    bind: String,
    /// Forget the data of earlier runs
    #[arg(long)]
    fresh: bool,
    /// Use Amazon's DynamoDB Local (needs Java and npm) instead of the embedded DynamoDB
    #[arg(long)]
    dynamodb_local: bool,
    /// Build the functions with optimizations
    #[arg(long)]
    release: bool,
}

pub fn run(options: &Options) -> anyhow::Result<()> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM] {
        // The second signal ends this process at once, whatever it is doing.
        signal_hook::flag::register_conditional_default(signal, stop.clone())?;
        signal_hook::flag::register(signal, stop.clone())?;
    }
    let mut service = Service::start(Settings {
        port: options.port,
        bind: options.bind.clone(),
        release: options.release,
        database: database(options)?,
        variables: Vec::new(),
    })?;
    let url = service.url();
    println!("ready: {url}");
    println!(
        "try:   curl {url}/stats/myid1 -d '{{\"dims\":{{\"country\":\"es\"}},\"counters\":{{\"hits\":1}}}}'"
    );
    println!("then:  curl {url}/stats/");
    while !stop.load(Ordering::Relaxed) {
        service.look_after()?;
        thread::sleep(Duration::from_millis(100));
    }
    say("ending");
    Ok(())
}

fn database(options: &Options) -> anyhow::Result<Database> {
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
