//! statshub beside two services on Redis: the first statshub's algorithm, and the best that Redis can
//! do. All three get the same requests from the same runtime API, and their stores are processes on
//! this machine.
//!
//! - [`Contenders`] has the three in this process, and counts what they send.
//! - `processes` has them as processes, and times their calls in alternation.
//! - `stage` says what is stored and which calls are measured on it, `measured` makes tables of it.
//! - `first_layout` and `hash_layout` are the two ways to use Redis.

mod contenders;
mod first_layout;
mod hash_layout;
mod measured;
mod periods;
mod processes;
mod redis_client;
pub mod redis_function;
mod redis_service;
mod stage;
mod stats_answer;

use std::path::{Path, PathBuf};

use clap::Args;
use service::workspace::say;
use tokio::{runtime, task::spawn_blocking};

pub use self::{
    contenders::{Contenders, Stores},
    measured::BesideRedis,
};
use self::{
    measured::Measured,
    processes::{ContenderProcesses, StoreProcesses},
    stage::{Stage, stages},
};

/// Where the functions are.
#[derive(Debug, Clone, Args)]
pub struct BesideRedisOptions {
    /// The folder with the built functions
    #[arg(long, default_value = "target/release")]
    pub functions: PathBuf,
}

/// Measures, and prints the section of docs/benchmarks.md.
///
/// # Errors
/// As of [`measure`].
pub async fn run(options: &BesideRedisOptions) -> anyhow::Result<()> {
    let functions = options.functions.clone();
    let measured = spawn_blocking(move || measure(Some(&functions))).await??;
    println!("{}\n## Goals\n\n{}", measured.section()?, measured.goals());
    Ok(())
}

/// Counts the calls of the three services, and times them if there are built functions.
///
/// # Errors
/// A service fails, or there is no Redis and it can't be installed.
pub fn measure(functions: Option<&Path>) -> anyhow::Result<BesideRedis> {
    // One thread, so that round trips are counted exactly.
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let mut measured = Vec::new();
    for stage in stages() {
        let Stage { fill, calls } = &stage;
        say(&format!("beside Redis: {calls:?} on {fill:?}"));
        let processes = StoreProcesses::start()?;
        runtime.block_on(async {
            let mut contenders = match functions {
                Some(functions) => Some(ContenderProcesses::start(functions, &processes).await?),
                None => None,
            };
            measure_stage(contenders.as_mut(), &stage, &processes.stores, &mut measured).await
        })?;
    }
    Ok(BesideRedis(measured))
}

async fn measure_stage(
    mut processes: Option<&mut ContenderProcesses>,
    stage: &Stage,
    stores: &Stores,
    measured: &mut Vec<Measured>,
) -> anyhow::Result<()> {
    let Stage { fill, calls } = stage;
    let mut contenders = Contenders::open(stores).await?;
    contenders.fill(fill).await?;
    for call in calls {
        let counts = contenders.count(*call).await?;
        let times = match &mut processes {
            Some(processes) => Some(processes.time(*call, call.rounds(fill)).await?),
            None => None,
        };
        measured.push(Measured { fill: *fill, call: *call, counts, times });
    }
    Ok(())
}

/// Counts the calls of the stages that take seconds, on two databases of Redis. Each stage has a
/// DynamoDB of its own in this process.
///
/// # Errors
/// A store fails.
pub fn count_small(first: &str, hashes: &str) -> anyhow::Result<BesideRedis> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let mut measured = Vec::new();
    for stage in stages().iter().filter(|stage| stage.fill.is_small()) {
        runtime.block_on(async {
            let stores = Stores {
                dynamodb: local_dynamodb::start_in_memory().await?,
                first: first.to_owned(),
                hashes: hashes.to_owned(),
            };
            measure_stage(None, stage, &stores, &mut measured).await
        })?;
    }
    Ok(BesideRedis(measured))
}
