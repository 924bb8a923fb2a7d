//! Programs of others that the service needs on this machine, installed below `target/tools` at
//! pinned versions; and how to install more.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, bail};

use crate::{
    ports::free_port,
    workspace::{root, run, say, target},
};

const CARGO_LAMBDA_VERSION: &str = "1.9.2";
/// The npm package that carries Amazon's DynamoDB Local.
const DYNAMODB_LOCAL_PACKAGE: &str = "amplify-dynamodb-simulator@2.9.30";
const LOCAL_BIGQUERY_VERSION: &str = "0.3.2";
/// The emulator of BigQuery runs on this version of Python, and on no other.
const LOCAL_BIGQUERY_PYTHON: &str = "3.13";
/// The emulator's database.
const DUCKDB_VERSION: &str = "1.5.5";
const PROMETHEUS_CLIENT_VERSION: &str = "0.23.1";
/// Debian's package of Prometheus: of its release 12, so elsewhere it has to be installed.
const PROMETHEUS_PACKAGE: &str = "prometheus=2.42.0+ds-5+b6";
/// Parts of the database that the emulator would otherwise download when it starts.
const DUCKDB_EXTENSIONS: [&str; 3] = ["icu", "ducklake", "spatial"];

/// The `cargo-lambda` binary, from its Python package.
///
/// # Errors
/// It can't be installed; the message says what is missing.
pub fn cargo_lambda() -> anyhow::Result<PathBuf> {
    let folder = target(&format!("tools/cargo-lambda-{CARGO_LAMBDA_VERSION}"));
    install(&folder, |folder| {
        let package = format!("cargo-lambda=={CARGO_LAMBDA_VERSION}");
        // Its dependencies would bring a cross compiler of half a gigabyte. Only a deployment needs
        // that.
        install_python_packages(folder, &["--no-deps", &package])
    })?;
    Ok(folder.join("bin/cargo-lambda"))
}

/// Makes a virtual environment of Python, and installs packages into it.
///
/// # Errors
/// There is no Python, or a package can't be installed.
pub fn install_python_packages(folder: &Path, packages: &[&str]) -> anyhow::Result<()> {
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
///
/// # Errors
/// It can't be installed; the message says what is missing.
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

/// The command that runs DynamoDB Local on a loopback port. Its data are in the folder `data`, or
/// in memory.
///
/// # Errors
/// It can't be installed, or there is no Java; the message says what is missing.
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

/// A program of Prometheus: `prometheus` or `promtool`. The one on the PATH, or that of Debian's
/// package, which is unpacked rather than installed.
///
/// # Errors
/// There is none, and it can't be downloaded; the message says what is missing.
pub fn prometheus(program: &str) -> anyhow::Result<PathBuf> {
    if require(program, &["--version"], program).is_ok() {
        return Ok(program.into());
    }
    let version = PROMETHEUS_PACKAGE.replace(['=', '+'], "-");
    let folder = target(&format!("tools/{version}"));
    install(&folder, |folder| {
        say(&format!("unpacking Debian's {PROMETHEUS_PACKAGE}"));
        fs::create_dir_all(folder)?;
        let mut download = Command::new("apt-get");
        download.args(["download", "--quiet", PROMETHEUS_PACKAGE]).current_dir(folder);
        run(download.stdout(Stdio::null())).context(
            "Prometheus is needed: https://prometheus.io/download/, or `apt install prometheus`",
        )?;
        let is_package = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "deb");
        let mut files = fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path()));
        let package = files.find(is_package).context("apt-get download left no package")?;
        run(Command::new("dpkg").arg("-x").arg(&package).arg(folder))?;
        fs::remove_file(package)?;
        Ok(())
    })?;
    Ok(folder.join("usr/bin").join(program))
}

/// A Python with the client of Prometheus, whose parser others use too.
///
/// # Errors
/// It can't be installed; the message says what is missing.
pub fn prometheus_client() -> anyhow::Result<PathBuf> {
    let folder = target(&format!("tools/prometheus-client-{PROMETHEUS_CLIENT_VERSION}"));
    install(&folder, |folder| {
        let package = format!("prometheus_client=={PROMETHEUS_CLIENT_VERSION}");
        install_python_packages(folder, &[&package])
    })?;
    Ok(folder.join("bin/python"))
}

/// The folder with the emulator of BigQuery: a virtual environment, and the emulator's home folder.
///
/// # Errors
/// It can't be installed; the message says what is missing.
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
///
/// # Errors
/// It can't be installed; the message says what is missing.
pub fn local_bigquery_command(
    port: u16,
    project: &str,
    dataset: &str,
    data: &Path,
) -> anyhow::Result<Command> {
    let mut command = local_bigquery_python(&local_bigquery()?);
    fs::create_dir_all(data)?;
    command
        .arg(root().join("testing/service/python/serve_local_bigquery.py"))
        .args(["serve", "--host", "127.0.0.1", "--port", &port.to_string()])
        // It always serves its second protocol too, which nobody here speaks.
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

/// The database looks for its extensions below the home folder, so the emulator has one of its own.
fn local_bigquery_home(folder: &Path) -> PathBuf {
    folder.join("home")
}

/// A Python of exactly this version, on the PATH or installed by pyenv.
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

/// Whether the program runs, is of this version, and has `venv`. A `python3.13` on the PATH may be
/// a shim of a version manager that has no such version.
fn is_python(program: &Path, version: &str) -> bool {
    let mut command = Command::new(program);
    command.args(["-c", "import sys, ensurepip, venv; print('%d.%d' % sys.version_info[:2])"]);
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output();
    output.is_ok_and(|output| {
        output.status.success() && String::from_utf8_lossy(&output.stdout).trim() == version
    })
}

/// Installs into `folder`, unless an earlier installation was completed.
///
/// # Errors
/// A step fails, or the folder can't be written.
pub fn install(
    folder: &Path,
    steps: impl FnOnce(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
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

/// Makes sure that a program is there.
///
/// # Errors
/// It is not; the message is `how_to_get_it`.
pub fn require(program: &str, arguments: &[&str], how_to_get_it: &str) -> anyhow::Result<()> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        _ => bail!("{how_to_get_it}"),
    }
}
