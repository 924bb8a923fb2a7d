//! The processes that are timed: stores, and the services in front of them.

use std::{env, ffi::OsString, path::Path, process::Command, time::Duration};

use anyhow::Context;
use service::{ports::free_port, processes::Running, tools, wait_for_port};

use super::{
    contenders::Stores,
    stage::{Asked, Call},
};
use crate::{
    figures::median,
    function_process::{FunctionProcess, program},
    processor_time, workload,
};

/// The number of the first request that is timed. Those before were counted.
const FIRST_NUMBER: usize = 1_000;

/// A DynamoDB and two Redis. They end when this value is dropped.
#[derive(Debug)]
pub(super) struct StoreProcesses {
    pub stores: Stores,
    dynamodb: Running,
    first: Running,
    hashes: Running,
}

/// A service: its functions, and the process of its store.
#[derive(Debug)]
struct Contender {
    update: FunctionProcess,
    query: FunctionProcess,
    store: u32,
}

/// The three services, as processes.
#[derive(Debug)]
pub(super) struct ContenderProcesses([Contender; 3]);

/// How long calls took. Each figure is that of one call.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Times {
    /// From the request to the answer: the middle of all calls.
    pub wall: Duration,
    /// Processor time of the function, or of the client of Redis: the mean of all calls.
    pub function: Duration,
    /// The same of the store.
    pub store: Duration,
}

impl StoreProcesses {
    /// Starts stores, which hold nothing.
    pub(super) fn start() -> anyhow::Result<Self> {
        let port = free_port()?;
        let mut command = Command::new(env::current_exe()?);
        command.args(["dynamodb", "--port", &port.to_string()]);
        let mut dynamodb = Running::start("dynamodb", &mut command)?;
        wait_for_port("DynamoDB", &mut dynamodb, port)?;
        let (first, first_url) = start_redis()?;
        let (hashes, hashes_url) = start_redis()?;
        let endpoint = format!("http://127.0.0.1:{port}");
        let stores = Stores { dynamodb: endpoint, first: first_url, hashes: hashes_url };
        Ok(Self { stores, dynamodb, first, hashes })
    }
}

fn start_redis() -> anyhow::Result<(Running, String)> {
    let port = free_port()?;
    let mut command = tools::redis_command(port)?;
    let mut redis = Running::start("redis", command.args(["--logfile", "/dev/null"]))?;
    wait_for_port("Redis", &mut redis, port)?;
    Ok((redis, format!("redis://127.0.0.1:{port}")))
}

impl ContenderProcesses {
    /// Starts the functions in this folder, and the clients of Redis.
    pub(super) async fn start(functions: &Path, stores: &StoreProcesses) -> anyhow::Result<Self> {
        let StoreProcesses { stores: addresses, dynamodb, first, hashes } = stores;
        let variables = workload::variables_of(&addresses.dynamodb);
        let statshub = Contender {
            update: FunctionProcess::start(&program(functions, "update"), &variables).await?,
            query: FunctionProcess::start(&program(functions, "query"), &variables).await?,
            store: dynamodb.id(),
        };
        let first = start_client("first", &addresses.first, first.id()).await?;
        let hashes = start_client("hashes", &addresses.hashes, hashes.id()).await?;
        Ok(Self([statshub, first, hashes]))
    }

    /// Times calls of statshub, the first statshub and the layout with hashes, in alternation.
    pub(super) async fn time(&mut self, call: Call, rounds: usize) -> anyhow::Result<[Times; 3]> {
        let warm = (rounds / 10).max(1);
        for number in 0..warm {
            for contender in &mut self.0 {
                contender.send(call, number).await?;
            }
        }
        let mut walls = [const { Vec::new() }; 3];
        let mut before = [(Duration::ZERO, Duration::ZERO); 3];
        for (before, contender) in before.iter_mut().zip(&self.0) {
            *before = contender.processor_times(call)?;
        }
        for number in warm..warm + rounds {
            for (contender, walls) in self.0.iter_mut().zip(&mut walls) {
                walls.push(contender.send(call, number).await?);
            }
        }
        let calls = u32::try_from(rounds)?;
        let mut times = [Times::default(); 3];
        for (((times, contender), walls), before) in
            times.iter_mut().zip(&self.0).zip(walls).zip(before)
        {
            let (function, store) = contender.processor_times(call)?;
            *times = Times {
                wall: median(walls),
                function: function.saturating_sub(before.0) / calls,
                store: store.saturating_sub(before.1) / calls,
            };
        }
        Ok(times)
    }
}

async fn start_client(layout: &str, redis: &str, store: u32) -> anyhow::Result<Contender> {
    let mut command = vec![env::current_exe()?.into_os_string()];
    let options = ["redis-function", "--layout", layout, "--redis", redis];
    command.extend(options.map(OsString::from));
    let update = FunctionProcess::start(&command, &[]).await?;
    let query = FunctionProcess::start(&command, &[]).await?;
    Ok(Contender { update, query, store })
}

impl Contender {
    async fn send(&mut self, call: Call, number: usize) -> anyhow::Result<Duration> {
        let Asked { method, path, body } = call.request("timed", FIRST_NUMBER + number);
        let function = match call {
            Call::Query | Call::QueryAll => &mut self.query,
            Call::Update { .. } | Call::NewMember => &mut self.update,
        };
        let answered = function.send(&method, &path, &body).await;
        Ok(answered.with_context(|| format!("{method} {path}"))?.1)
    }

    /// The processor time so far of the function that answers a call, and of the store.
    fn processor_times(&self, call: Call) -> anyhow::Result<(Duration, Duration)> {
        let function = match call {
            Call::Query | Call::QueryAll => &self.query,
            Call::Update { .. } | Call::NewMember => &self.update,
        };
        Ok((processor_time::of_process(function.id())?, processor_time::of_process(self.store)?))
    }
}
