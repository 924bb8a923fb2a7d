//! A process of a function, which gets its events from a runtime API in this process.

use std::{
    ffi::OsString,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use bytes::Bytes;
use gateway::{
    event::{Arrival, function_url},
    functions::{FunctionQueue, Functions},
    listeners, runtime_api,
};
use http::{Method, Request, StatusCode};
use serde_json::Value;
use tokio::{net::TcpListener, task::AbortHandle, time::timeout};

/// The name of the only function of a runtime API.
const FUNCTION: &str = "function";
/// How long a process may take for anything, under `valgrind` too.
const LONGEST: Duration = Duration::from_secs(120);

/// A process of a function. It ends when this value is dropped.
#[derive(Debug)]
pub struct FunctionProcess {
    child: Child,
    started: Instant,
    functions: Arc<Functions>,
    runtime: AbortHandle,
    invocations: u128,
}

impl FunctionProcess {
    /// Starts a program with these variables, and no others besides `PATH`, so that no figure
    /// depends on the developer's shell.
    ///
    /// # Errors
    /// It can't be started.
    pub async fn start(
        program: &[OsString],
        variables: &[(&str, OsString)],
    ) -> anyhow::Result<Self> {
        let [program, arguments @ ..] = program else { anyhow::bail!("there is no program") };
        let functions = Arc::new(Functions::new([(FUNCTION.to_owned(), LONGEST)]));
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?.to_string();
        let runtime = tokio::spawn(listeners::processes(listener, functions.clone()));
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs(std::env::var_os("PATH").map(|path| ("PATH", path)))
            .env("AWS_LAMBDA_RUNTIME_API", runtime_api::endpoint(&address, FUNCTION))
            .env("AWS_LAMBDA_FUNCTION_NAME", FUNCTION)
            .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "local")
            .env("AWS_SECRET_ACCESS_KEY", "local")
            .envs(variables.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let started = Instant::now();
        let child = command.spawn().with_context(|| format!("can't be started: {command:?}"))?;
        Ok(Self { child, started, functions, runtime: runtime.abort_handle(), invocations: 0 })
    }

    /// How long it took from the start of the process to its first request for an event. It can be
    /// asked for once.
    ///
    /// # Errors
    /// There is no such request.
    pub async fn time_to_start(&self) -> anyhow::Result<Duration> {
        timeout(LONGEST, self.queue()?.asked()).await.context("it does not ask for an event")?;
        Ok(self.started.elapsed())
    }

    /// Hands it a request, and returns what it answers, and in which time.
    ///
    /// # Errors
    /// It does not answer, or not by 200.
    pub async fn send(
        &mut self,
        method: &Method,
        path: &str,
        body: &str,
    ) -> anyhow::Result<(Bytes, Duration)> {
        self.invocations += 1;
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header("host", "localhost")
            .header("content-type", "application/json")
            .body(Bytes::from(body.to_owned()))?;
        let event = function_url(&request, &Arrival::default()).to_string();
        let id = format!("{:032x}", self.invocations);
        let sent = Instant::now();
        let answer = self.functions.invoke(FUNCTION, id, event.into(), LONGEST).await?;
        let took = sent.elapsed();
        let parsed: Value = serde_json::from_slice(&answer)?;
        let status = parsed.get("statusCode");
        ensure!(
            status.is_none_or(|status| *status == StatusCode::OK.as_u16()),
            "{method} {path} was answered by {parsed}"
        );
        Ok((answer, took))
    }

    /// The id that the system knows it by.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The most memory that it has used so far, in bytes.
    ///
    /// # Errors
    /// It has ended, or this is not Linux.
    pub fn peak_memory(&self) -> anyhow::Result<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix(" kB"));
        let kilobytes = kilobytes.context("no VmHWM")?;
        Ok(kilobytes.trim().parse::<u64>()? * 1_024)
    }

    /// Asks it to end, and waits until it has.
    ///
    /// # Errors
    /// The system does not say.
    pub fn end(mut self) -> anyhow::Result<()> {
        let id = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &id]).status()?;
        self.child.wait()?;
        Ok(())
    }

    fn queue(&self) -> anyhow::Result<&FunctionQueue> {
        self.functions.get(FUNCTION).context("there is no function")
    }
}

impl Drop for FunctionProcess {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.runtime.abort();
    }
}

/// The program of a function below this folder, as a command.
#[must_use]
pub fn program(folder: &Path, name: &str) -> Vec<OsString> {
    vec![folder.join(name).into_os_string()]
}
