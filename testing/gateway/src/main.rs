//! The gateway as a process: the HTTP API of a template for clients, and Lambda's runtime API for
//! the functions.

use std::{path::PathBuf, sync::Arc};

use anyhow::Context;
use clap::Parser;
use gateway::{
    deployed_template::Template,
    exchange_log::ExchangeLog,
    http_api::{HttpApi, LONGEST_INTEGRATION},
    listeners,
};
use tokio::{
    net::TcpListener,
    signal::unix::{SignalKind, signal},
};

#[derive(Parser)]
#[command(about = "Plays the HTTP API of a template, and Lambda's runtime API, on this machine")]
struct GatewayOptions {
    /// Where to listen for clients: addresses and ports, separated by commas
    #[arg(long, value_delimiter = ',', required = true)]
    listen: Vec<String>,
    /// Where to listen for the processes of functions; loopback only
    #[arg(long)]
    runtime_listen: std::net::SocketAddr,
    /// The template with the routes, the functions and CORS
    #[arg(long)]
    template: PathBuf,
    /// The template's parameter `CorsOrigins`
    #[arg(long, default_value = "")]
    cors_origins: String,
    /// A file for the exchanges with clients, each as a line of JSON, without tokens
    #[arg(long)]
    exchanges: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = GatewayOptions::parse();
    anyhow::ensure!(
        options.runtime_listen.ip().is_loopback(),
        "whoever reaches the runtime API gets the requests of clients: let it listen on loopback"
    );
    let template = std::fs::read_to_string(&options.template)
        .with_context(|| format!("{} can't be read", options.template.display()))?;
    let template = Template::parse(&template)?;
    let log = options.exchanges.as_deref().map(ExchangeLog::create).transpose()?;
    let api = HttpApi::new(template, &options.cors_origins, LONGEST_INTEGRATION).with_log(log);
    let api = Arc::new(api);
    let runtime = TcpListener::bind(options.runtime_listen).await?;
    tokio::spawn(listeners::processes(runtime, api.functions()));
    let mut listens = false;
    for address in &options.listen {
        match TcpListener::bind(address).await {
            Ok(listener) => {
                listens = true;
                tokio::spawn(listeners::clients(listener, api.clone()));
            }
            // A machine may have no IPv6, but the first address must work.
            Err(error) if !listens => return Err(error).with_context(|| address.clone()),
            Err(_) => {}
        }
    }
    let (mut interrupt, mut terminate) =
        (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    // Open connections end with the process: nobody waits for them.
    std::process::exit(0)
}
