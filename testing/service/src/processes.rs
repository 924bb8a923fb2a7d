//! Processes that run as long as this process does.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    os::unix::process::CommandExt,
    process::{Child, Command, ExitStatus, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail};

use crate::workspace::say;

/// How long a process may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(5);
/// How often a wait reports what it waits for.
const PATIENCE: Duration = Duration::from_secs(15);

/// A process. Its output is passed on under its name. The process ends when this value is dropped.
#[derive(Debug)]
pub struct Running {
    name: String,
    child: Child,
}

impl Running {
    /// Starts a command.
    ///
    /// # Errors
    /// The program can't be started.
    pub fn start(name: &str, command: &mut Command) -> anyhow::Result<Self> {
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // In a group of its own: Ctrl-C then reaches only this process, which ends its children
            // in order.
            .process_group(0)
            .spawn()
            .with_context(|| format!("{name} can't be started: {command:?}"))?;
        pass_on(name, child.stdout.take());
        pass_on(name, child.stderr.take());
        Ok(Self { name: name.to_owned(), child })
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The id that the system knows it by.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The most memory that the process has used so far, in bytes. Only Linux reports it.
    ///
    /// # Errors
    /// The process has ended, or this is not Linux.
    pub fn peak_memory(&self) -> anyhow::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kilobytes = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse().ok());
        kilobytes.map(|kilobytes: u64| kilobytes * 1_024).context("no VmHWM")
    }

    /// How it ended; none while it runs.
    ///
    /// # Errors
    /// The system does not say.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Ends it without a warning, and waits until it has ended.
    ///
    /// # Errors
    /// It can't be killed.
    pub fn kill(&mut self) -> anyhow::Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(Some(_)) = self.child.try_wait() {
            return;
        }
        // The standard library has no gentler signal than SIGKILL.
        let id = self.child.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &id]).status();
        let asked = Instant::now();
        while asked.elapsed() < GRACE {
            if let Ok(Some(_)) = self.child.try_wait() {
                return;
            }
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until something is ready, however long a busy machine takes, while the processes that it
/// needs run.
///
/// # Errors
/// One of the processes ended.
pub fn wait_for(
    what: &str,
    processes: &mut [&mut Running],
    ready: impl Fn() -> bool,
) -> anyhow::Result<()> {
    let mut said = Instant::now();
    while !ready() {
        for process in &mut *processes {
            if let Some(status) = process.ended()? {
                bail!("{} ended before {what} was ready: {status}", process.name());
            }
        }
        if said.elapsed() > PATIENCE {
            said = Instant::now();
            say(&format!("still waiting for {what}; its processes run"));
        }
        thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

fn pass_on(name: &str, output: Option<impl Read + Send + 'static>) {
    let Some(output) = output else {
        return;
    };
    let name = name.to_owned();
    thread::spawn(move || {
        for line in BufReader::new(output).split(b'\n') {
            let Ok(line) = line else {
                return;
            };
            eprintln!("{name} | {}", String::from_utf8_lossy(&line).trim_end());
        }
    });
}
