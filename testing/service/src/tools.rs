//! Programs of others that the service needs on this machine, installed below `target/tools` at
//! pinned versions; and how to install more.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context, bail, ensure};
use base64::{Engine, prelude::BASE64_STANDARD};
use sha2::{Digest, Sha512};

use crate::{
    ports::free_port,
    workspace::{root, run, say, target},
};

/// The npm package that carries Amazon's DynamoDB Local.
const DYNAMODB_LOCAL_PACKAGE: &str = "amplify-dynamodb-simulator@2.9.30";
/// The SHA-512 of the package, as the registry has it (`npm view … dist.integrity`). A registry can
/// change; what is run here can't.
const DYNAMODB_LOCAL_INTEGRITY: &str = "sha512-xTeeRLvzEfqyd5lh3bH4c0kHvSHHmmhD5ZDsHFKAQ5g2Zl6JqlFdutaQhCLHzxEp6Ry1o7TB6niIoXuQAnSewQ==";
/// The emulator of BigQuery runs on this version of Python, and on no other.
const LOCAL_BIGQUERY_PYTHON: &str = "3.13";
/// A package of Debian, in the versions that its release 12 has had.
type Package = &'static [&'static str];

/// Debian's package of Prometheus; elsewhere Prometheus has to be installed.
const PROMETHEUS_PACKAGES: [Package; 1] =
    [&["prometheus=2.42.0+ds-5+deb12u1", "prometheus=2.42.0+ds-5+b6"]];
/// Debian's package with the program of Redis, and the libraries that few machines have.
const REDIS_PACKAGES: [Package; 3] = [
    &["redis-tools=5:7.0.15-1~deb12u7", "redis-tools=5:7.0.15-1~deb12u6"],
    &["liblzf1=3.6-3"],
    &["libjemalloc2=5.3.0-1"],
];
/// Parts of the emulator's database that it would otherwise download when it starts.
const DUCKDB_EXTENSIONS: [&str; 3] = ["icu", "ducklake", "spatial"];

/// The `cargo-lambda` binary, from its Python package. Without the cross compiler, which only a
/// deployment needs.
///
/// # Errors
/// It can't be installed; the message says what is missing.
pub fn cargo_lambda() -> anyhow::Result<PathBuf> {
    Ok(install_python_program("cargo-lambda", "cargo-lambda")?.join("bin/cargo-lambda"))
}

/// Installs a Python program, as the list `requirements/<list>.txt` has it, and returns the folder
/// of its virtual environment.
///
/// # Errors
/// It can't be installed; the message says what is missing.
pub fn install_python_program(list: &str, package: &str) -> anyhow::Result<PathBuf> {
    let version = pinned_version(list, package)?;
    let folder = target(&format!("tools/{package}-{version}"));
    install(&folder, |folder| {
        say(&format!("installing {package} {version}"));
        require(
            "python3",
            &["-m", "venv", "--help"],
            &format!(
                "Python 3 with its venv module is needed to install {package}: \
                 https://www.python.org/downloads/, or `apt install python3 python3-venv`"
            ),
        )?;
        run(Command::new("python3").args(["-m", "venv"]).arg(folder))?;
        install_python_list(folder, list)
    })?;
    Ok(folder)
}

/// Installs a list of packages into a virtual environment: those, and nothing that has another
/// hash.
fn install_python_list(folder: &Path, list: &str) -> anyhow::Result<()> {
    let mut pip = Command::new(folder.join("bin/pip"));
    pip.args(["install", "--quiet", "--require-hashes", "--only-binary", ":all:", "--no-deps"]);
    run(pip.arg("--requirement").arg(python_list(list)))
}

/// The version that a list has of a package.
fn pinned_version(list: &str, package: &str) -> anyhow::Result<String> {
    let path = python_list(list);
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let version = text.lines().find_map(|line| line.strip_prefix(package)?.strip_prefix("=="));
    let version = version.and_then(|rest| rest.split_whitespace().next());
    Ok(version.with_context(|| format!("{} has no {package}", path.display()))?.to_owned())
}

fn python_list(name: &str) -> PathBuf {
    root().join(format!("requirements/{name}.txt"))
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
        require_integrity(&fs::read(&archive)?, DYNAMODB_LOCAL_INTEGRITY)
            .with_context(|| DYNAMODB_LOCAL_PACKAGE)?;
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
    let folder = target("tools/prometheus-2.42.0");
    install(&folder, |folder| {
        say("unpacking Debian's package of Prometheus");
        unpack(&PROMETHEUS_PACKAGES, folder).context(
            "Prometheus is needed: https://prometheus.io/download/, or `apt install prometheus`",
        )
    })?;
    Ok(folder.join("usr/bin").join(program))
}

/// The command that runs Redis on a loopback port, in memory. The program on the PATH, or that of
/// Debian's package, which is unpacked rather than installed.
///
/// # Errors
/// There is none, and it can't be downloaded; the message says what is missing.
pub fn redis_command(port: u16) -> anyhow::Result<Command> {
    let mut command = match require("redis-server", &["--version"], "") {
        Ok(()) => Command::new("redis-server"),
        Err(_) => unpacked_redis()?,
    };
    command.args(["--bind", "127.0.0.1", "--port", &port.to_string()]).args([
        "--save",
        "",
        "--appendonly",
        "no",
    ]);
    Ok(command)
}

fn unpacked_redis() -> anyhow::Result<Command> {
    let folder = target("tools/redis-7.0.15");
    let program = folder.join("redis-server");
    install(&folder, |folder| {
        say("unpacking Debian's package of Redis");
        unpack(&REDIS_PACKAGES, folder)
            .context("Redis is needed: https://redis.io/download, or `apt install redis-server`")?;
        // It is one program, which goes by its name.
        fs::copy(folder.join("usr/bin/redis-check-rdb"), folder.join("redis-server"))?;
        Ok(())
    })?;
    let libraries = fs::read_dir(folder.join("usr/lib"))?;
    let libraries = libraries.filter_map(|entry| Some(entry.ok()?.path()));
    let mut command = Command::new(program);
    command.env("LD_LIBRARY_PATH", std::env::join_paths(libraries)?);
    Ok(command)
}

/// Unpacks Debian's packages into a folder.
fn unpack(packages: &[Package], folder: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    download_packages(packages, folder)?;
    let is_package = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "deb");
    let files = fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path()));
    for package in files.filter(is_package).collect::<Vec<_>>() {
        run(Command::new("dpkg").arg("-x").arg(&package).arg(folder))?;
        fs::remove_file(package)?;
    }
    Ok(())
}

/// Downloads packages into a folder. A machine may have no lists of packages, or old ones; then new
/// ones are kept there too, which needs nobody's permission.
fn download_packages(packages: &[Package], folder: &Path) -> anyhow::Result<()> {
    let lists = folder.join("lists");
    fs::create_dir_all(lists.join("partial"))?;
    let apt_get = |own_lists: bool| {
        let mut command = Command::new("apt-get");
        command.arg("--quiet").current_dir(folder).stdout(Stdio::null());
        if own_lists {
            command.arg("--option").arg(format!("Dir::State::Lists={}", lists.display()));
        }
        command
    };
    let download = |own_lists: bool| {
        packages.iter().all(|versions| {
            let mut versions = versions.iter();
            versions.any(|package| run(apt_get(own_lists).args(["download", package])).is_ok())
        })
    };
    if !download(false) {
        run(apt_get(true).arg("update"))?;
        ensure!(download(true), "apt does not have all of {packages:?}");
    }
    Ok(fs::remove_dir_all(lists)?)
}

/// A Python with the client of Prometheus, whose parser others use too.
///
/// # Errors
/// It can't be installed; the message says what is missing.
pub fn prometheus_client() -> anyhow::Result<PathBuf> {
    let folder = install_python_program("prometheus-client", "prometheus-client")?;
    Ok(folder.join("bin/python"))
}

/// The program schemathesis, which tries an HTTP API by its description.
///
/// # Errors
/// It can't be installed; the message says what is missing.
pub fn schemathesis() -> anyhow::Result<PathBuf> {
    Ok(install_python_program("schemathesis", "schemathesis")?.join("bin/schemathesis"))
}

/// The folder with what builds the page, and with a browser that tests it.
///
/// # Errors
/// They can't be installed; the message says what is missing.
pub fn page_tools() -> anyhow::Result<PathBuf> {
    npm_packages("page", &root().join("page"))
}

/// The folder with the package `jsonata`, which reads the selectors of Grafana's panels.
///
/// # Errors
/// It can't be installed; the message says what is missing.
pub fn jsonata() -> anyhow::Result<PathBuf> {
    npm_packages("jsonata", &root().join("requirements/jsonata"))
}

/// The folder with the packages of the `package-lock.json` in `lists`, and nothing that has another
/// hash.
fn npm_packages(name: &str, lists: &Path) -> anyhow::Result<PathBuf> {
    let lock = fs::read(lists.join("package-lock.json"))?;
    let version: String = hex::encode(Sha512::digest(lock)).chars().take(12).collect();
    let folder = target(&format!("tools/{name}-{version}"));
    install(&folder, |folder| {
        say(&format!("installing npm's packages for {name}"));
        require_node()?;
        fs::create_dir_all(folder)?;
        for file in ["package.json", "package-lock.json"] {
            fs::copy(lists.join(file), folder.join(file))?;
        }
        let mut npm = Command::new("npm");
        // No package runs anything of its own while it is installed.
        npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"]);
        run(npm.current_dir(folder).stdout(Stdio::null()))
    })?;
    Ok(folder)
}

/// Makes sure that there is a Node.js that can build the page.
fn require_node() -> anyhow::Result<()> {
    let how = "Node.js 20 or newer with npm is needed for the tests of the page and of Grafana's panels: \
               https://nodejs.org/, or `apt install nodejs npm`";
    let is_new = "process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)";
    require("node", &["--eval", is_new], how)?;
    require("npm", &["--version"], how)
}

/// The browser that tests the page: the Chromium on the PATH, or one that is unpacked from its npm
/// package.
///
/// # Errors
/// There is none for this processor, or it can't be unpacked.
pub fn chromium() -> anyhow::Result<PathBuf> {
    let how = "Chromium is needed to test the page: `apt install chromium`";
    if require("chromium", &["--version"], how).is_ok() {
        return Ok("chromium".into());
    }
    ensure!(cfg!(all(target_os = "linux", target_arch = "x86_64")), "{how}");
    let packages = page_tools()?;
    let folder = packages.join("browser");
    install(&folder, |folder| {
        say("unpacking Chromium");
        fs::create_dir_all(folder)?;
        let unpack = "import('@sparticuz/chromium').then((it) => it.default.executablePath())";
        // It unpacks itself into the folder for temporary files.
        let mut node = Command::new("node");
        run(node.args(["--eval", unpack]).current_dir(&packages).env("TMPDIR", folder))
    })?;
    Ok(folder.join("chromium"))
}

/// The folder with the emulator of BigQuery: a virtual environment, and the emulator's home folder.
///
/// # Errors
/// It can't be installed; the message says what is missing.
pub fn local_bigquery() -> anyhow::Result<PathBuf> {
    let version = pinned_version("local-bigquery", "local-bigquery")?;
    let folder = target(&format!("tools/local-bigquery-{version}"));
    install(&folder, |folder| {
        say(&format!("installing the BigQuery emulator local-bigquery {version}"));
        run(Command::new(python(LOCAL_BIGQUERY_PYTHON)?).args(["-m", "venv"]).arg(folder))?;
        install_python_list(folder, "local-bigquery")?;
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

/// Makes sure that a file is the one that is expected, by an integrity as npm writes it.
fn require_integrity(file: &[u8], expected: &str) -> anyhow::Result<()> {
    let found = format!("sha512-{}", BASE64_STANDARD.encode(Sha512::digest(file)));
    ensure!(found == expected, "the package is another one than expected: it has {found}");
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_with_another_content_is_refused() {
        // printf abc | openssl dgst -sha512 -binary | base64
        let abc = "sha512-3a81oZNherrMQXNJriBBMRLm+k6JqX6iCp7u5ktV05ohkpkqJ0/BqDa6PCOj/uu9RU1EI2Q86A4qmslPpUyknw==";
        assert!(require_integrity(b"abc", abc).is_ok());
        let error = require_integrity(b"abd", abc).unwrap_err();
        assert!(error.to_string().starts_with("the package is another one"), "{error}");
    }

    #[test]
    fn every_package_of_npm_has_a_hash() {
        for (lists, least) in [("page", 10), ("requirements/jsonata", 1)] {
            let lock = root().join(lists).join("package-lock.json");
            let lock = fs::read_to_string(lock).unwrap();
            let packages = lock.matches("    \"node_modules/").count();
            let hashes = lock.matches("\"integrity\": \"sha512-").count();
            assert!(packages >= least && packages == hashes, "{lists}: {packages} {hashes}");
        }
    }

    #[test]
    fn every_program_has_a_version_in_its_list() {
        for (list, package) in [
            ("cargo-lambda", "cargo-lambda"),
            ("local-bigquery", "local-bigquery"),
            ("ministack", "ministack"),
            ("sam", "aws-sam-cli"),
            ("schemathesis", "schemathesis"),
        ] {
            let version = pinned_version(list, package).unwrap();
            assert!(version.starts_with(|c: char| c.is_ascii_digit()), "{package} {version}");
        }
        assert!(pinned_version("sam", "aws-sam").is_err());
    }
}
