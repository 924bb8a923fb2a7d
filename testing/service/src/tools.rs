//! The tools that development needs, installed below `target/tools` at pinned versions.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, bail};

use crate::{
    http::free_port,
    workspace::{cargo, root, run, say, target},
};

const BOTO3_VERSION: &str = "1.43.106";
const CARGO_FUZZ_VERSION: &str = "0.13.2";
const CARGO_LAMBDA_VERSION: &str = "1.9.2";
/// The npm package that carries Amazon's DynamoDB Local.
const DYNAMODB_LOCAL_PACKAGE: &str = "amplify-dynamodb-simulator@2.9.30";
const LOCAL_BIGQUERY_VERSION: &str = "0.3.2";
/// The one version of Python that the emulator of BigQuery runs on.
const LOCAL_BIGQUERY_PYTHON: &str = "3.13";
/// The database that the emulator runs on.
const DUCKDB_VERSION: &str = "1.5.5";
/// Parts of it that the emulator would otherwise download when it starts.
const DUCKDB_EXTENSIONS: [&str; 3] = ["icu", "ducklake", "spatial"];
const MINISTACK_VERSION: &str = "1.5.33";
const SAM_CLI_VERSION: &str = "1.170.0";
/// What MiniStack reads templates with: the same as SAM.
const SAM_TRANSLATOR_VERSION: &str = "1.115.0";
/// What MiniStack checks signatures with.
const CRYPTOGRAPHY_VERSION: &str = "50.0.2";

/// The `cargo-lambda` binary, from its Python package.
pub fn cargo_lambda() -> anyhow::Result<PathBuf> {
    let folder = target(&format!("tools/cargo-lambda-{CARGO_LAMBDA_VERSION}"));
    install(&folder, |folder| {
        let package = format!("cargo-lambda=={CARGO_LAMBDA_VERSION}");
        // Its dependencies would bring a cross compiler of half a gigabyte, which only deploying needs.
        install_python_packages(folder, &["--no-deps", &package])
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

/// The `sam` binary, of AWS SAM.
pub fn sam() -> anyhow::Result<PathBuf> {
    let folder = target(&format!("tools/aws-sam-cli-{SAM_CLI_VERSION}"));
    install(&folder, |folder| {
        let translator = format!("aws-sam-translator=={SAM_TRANSLATOR_VERSION}");
        install_python_packages(folder, &[&format!("aws-sam-cli=={SAM_CLI_VERSION}"), &translator])
    })?;
    Ok(folder.join("bin/sam"))
}

/// The folder with MiniStack, an emulator of AWS, and with boto3: a virtual environment.
pub fn ministack() -> anyhow::Result<PathBuf> {
    let folder = target(&format!("tools/ministack-{MINISTACK_VERSION}"));
    install(&folder, |folder| {
        let packages = [
            format!("ministack=={MINISTACK_VERSION}"),
            format!("aws-sam-translator=={SAM_TRANSLATOR_VERSION}"),
            format!("boto3=={BOTO3_VERSION}"),
            format!("cryptography=={CRYPTOGRAPHY_VERSION}"),
        ];
        install_python_packages(folder, &packages.each_ref().map(String::as_str))
    })?;
    Ok(folder)
}

/// Makes a virtual environment, and installs packages into it.
fn install_python_packages(folder: &Path, packages: &[&str]) -> anyhow::Result<()> {
    let named = packages.iter().filter(|package| !package.starts_with("--"));
    let named = named.copied().collect::<Vec<_>>().join(", ");
    say(&format!("installing {named}"));
    require(
        "python3",
        &["-m", "venv", "--help"],
        &format!(
            "Python 3 with its venv module is needed to install {named}: \
             https://www.python.org/downloads/, or `apt install python3 python3-venv`"
        ),
    )?;
    run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
    run(Command::new(folder.join("bin/pip")).args(["install", "--quiet"]).args(packages))
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

/// The folder with the emulator of BigQuery: a virtual environment, and the home folder that it runs with.
pub fn local_bigquery() -> anyhow::Result<PathBuf> {
    let folder = target(&format!("tools/local-bigquery-{LOCAL_BIGQUERY_VERSION}"));
    install(&folder, |folder| {
        say(&format!("installing the BigQuery emulator local-bigquery {LOCAL_BIGQUERY_VERSION}"));
        run(Command::new(python(LOCAL_BIGQUERY_PYTHON)?).args(["-m", "venv"]).arg(folder))?;
        let mut packages = vec![
            format!("local-bigquery=={LOCAL_BIGQUERY_VERSION}"),
            format!("duckdb=={DUCKDB_VERSION}"),
            format!("duckdb-extensions=={DUCKDB_VERSION}"),
        ];
        let extensions = DUCKDB_EXTENSIONS.iter();
        packages
            .extend(extensions.map(|name| format!("duckdb-extension-{name}=={DUCKDB_VERSION}")));
        run(Command::new(folder.join("bin/pip")).args(["install", "--quiet"]).args(packages))?;
        fs::create_dir_all(local_bigquery_home(folder))?;
        let import = "import sys, duckdb_extensions\n\
                      for name in sys.argv[1:]: duckdb_extensions.import_extension(name)";
        run(local_bigquery_python(folder).args(["-c", import]).args(DUCKDB_EXTENSIONS))
    })?;
    Ok(folder)
}

/// The command that runs the emulator of BigQuery, with its data in a folder.
pub fn local_bigquery_command(
    port: u16,
    project: &str,
    dataset: &str,
    data: &Path,
) -> anyhow::Result<Command> {
    let mut command = local_bigquery_python(&local_bigquery()?);
    fs::create_dir_all(data)?;
    command
        .arg(root().join("xtask/local-bigquery/serve.py"))
        .args(["serve", "--host", "127.0.0.1", "--port", &port.to_string()])
        // It serves its other protocol in any case; nobody here speaks it.
        .args(["--grpc-port", &free_port()?.to_string()])
        .args(["--project", project, "--dataset", dataset, "--data-dir"])
        .arg(data);
    Ok(command)
}

fn local_bigquery_python(folder: &Path) -> Command {
    let mut command = Command::new(folder.join("bin/python"));
    command.env("HOME", local_bigquery_home(folder));
    command
}

/// Its database looks for extensions below the home folder. This one is the tool's own.
fn local_bigquery_home(folder: &Path) -> PathBuf {
    folder.join("home")
}

/// A Python of exactly this version: the one on the PATH, or one of pyenv's.
fn python(version: &str) -> anyhow::Result<PathBuf> {
    let name = format!("python{version}");
    let candidates = [PathBuf::from(&name)].into_iter().chain(pythons_of_pyenv(&name));
    candidates.into_iter().find(|candidate| is_python(candidate, version)).with_context(|| {
        format!(
            "Python {version} with its venv module is needed for the BigQuery emulator, which runs on no \
             other version: `pyenv install {version}`, `apt install {name} {name}-venv`, or \
             https://www.python.org/downloads/"
        )
    })
}

fn pythons_of_pyenv(name: &str) -> Vec<PathBuf> {
    let root = std::env::var_os("PYENV_ROOT").map(PathBuf::from);
    let root = root.or_else(|| Some(std::env::home_dir()?.join(".pyenv")));
    let versions = root.and_then(|root| fs::read_dir(root.join("versions")).ok());
    let versions = versions.into_iter().flatten().flatten();
    versions.map(|version| version.path().join("bin").join(name)).collect()
}

/// Whether it runs, is of this version, and has `venv`. One on the PATH may be a shim of a version manager
/// that has no such version to run.
fn is_python(program: &Path, version: &str) -> bool {
    let mut command = Command::new(program);
    command.args(["-c", "import sys, ensurepip, venv; print('%d.%d' % sys.version_info[:2])"]);
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output();
    output.is_ok_and(|output| {
        output.status.success() && String::from_utf8_lossy(&output.stdout).trim() == version
    })
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
