//! The tools that development needs, installed below `target/tools` at pinned versions.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, bail};

use crate::workspace::{cargo, run, say, target};

const CARGO_FUZZ_VERSION: &str = "0.13.2";
const CARGO_LAMBDA_VERSION: &str = "1.9.2";
/// The npm package that carries Amazon's DynamoDB Local.
const DYNAMODB_LOCAL_PACKAGE: &str = "amplify-dynamodb-simulator@2.9.30";

/// The `cargo-lambda` binary, from its Python package.
pub fn cargo_lambda() -> anyhow::Result<PathBuf> {
    let folder = target(&format!("tools/cargo-lambda-{CARGO_LAMBDA_VERSION}"));
    install(&folder, |folder| {
        say(&format!("installing cargo-lambda {CARGO_LAMBDA_VERSION}"));
        require(
            "python3",
            &["-m", "venv", "--help"],
            "Python 3 with its venv module is needed to install cargo-lambda: \
             https://www.python.org/downloads/, or `apt install python3 python3-venv`",
        )?;
        run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
        let package = format!("cargo-lambda=={CARGO_LAMBDA_VERSION}");
        // Its dependencies would bring a cross compiler of half a gigabyte, which only deploying needs.
        run(Command::new(folder.join("bin/pip")).args([
            "install",
            "--quiet",
            "--no-deps",
            &package,
        ]))
    })?;
    Ok(folder.join("bin/cargo-lambda"))
}

/// The `cargo-fuzz` binary.
pub fn cargo_fuzz() -> anyhow::Result<PathBuf> {
    require(
        "c++",
        &["--version"],
        "a C++ compiler is needed to build libFuzzer: `apt install g++`",
    )?;
    let folder = target(&format!("tools/cargo-fuzz-{CARGO_FUZZ_VERSION}"));
    install(&folder, |folder| {
        say(&format!("installing cargo-fuzz {CARGO_FUZZ_VERSION}"));
        run(cargo()
            .args(["install", "--quiet", "--locked", "--version", CARGO_FUZZ_VERSION, "--root"])
            .arg(folder)
            .arg("cargo-fuzz"))
    })?;
    Ok(folder.join("bin/cargo-fuzz"))
}

/// The folder with Amazon's DynamoDB Local.
pub fn dynamodb_local() -> anyhow::Result<PathBuf> {
    let folder = target("tools/dynamodb-local");
    install(&folder, |folder| {
        say("installing Amazon's DynamoDB Local");
        require(
            "npm",
            &["--version"],
            "npm is needed to install DynamoDB Local: https://nodejs.org/, or `apt install npm`",
        )?;
        fs::create_dir_all(folder)?;
        let mut pack = Command::new("npm");
        pack.args(["pack", "--silent", DYNAMODB_LOCAL_PACKAGE]).current_dir(folder);
        run(pack.stdout(Stdio::null()))?;
        let is_archive = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "tgz");
        let mut files = fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path()));
        let archive = files.find(is_archive).context("npm pack left no archive")?;
        run(Command::new("tar").arg("-xzf").arg(&archive).current_dir(folder))?;
        fs::remove_file(archive)?;
        Ok(())
    })?;
    Ok(folder.join("package/emulator"))
}

/// The command that runs DynamoDB Local on a loopback port; with `data` it keeps its data there.
pub fn dynamodb_local_command(port: u16, data: Option<&Path>) -> anyhow::Result<Command> {
    require(
        "java",
        &["-version"],
        "Java 17 or newer is needed to run DynamoDB Local: https://adoptium.net/, or \
         `apt install openjdk-17-jre-headless`",
    )?;
    let mut command = Command::new("java");
    command
        .current_dir(dynamodb_local()?)
        .args(["-Djava.library.path=./DynamoDBLocal_lib", "-jar", "DynamoDBLocal.jar"])
        .args(["-disableTelemetry", "-sharedDb", "-port", &port.to_string()]);
    match data {
        Some(folder) => {
            fs::create_dir_all(folder)?;
            command.arg("-dbPath").arg(folder);
        }
        None => {
            command.arg("-inMemory");
        }
    }
    Ok(command)
}

/// Installs into `folder`, unless that was done to its end before.
fn install(folder: &Path, steps: impl FnOnce(&Path) -> anyhow::Result<()>) -> anyhow::Result<()> {
    let complete = folder.join("complete");
    if complete.exists() {
        return Ok(());
    }
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    if let Some(parent) = folder.parent() {
        fs::create_dir_all(parent)?;
    }
    steps(folder)?;
    fs::write(complete, "")?;
    Ok(())
}

/// Whether a program is there; if not, how to get it.
fn require(program: &str, arguments: &[&str], how_to_get_it: &str) -> anyhow::Result<()> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        _ => bail!("{how_to_get_it}"),
    }
}
