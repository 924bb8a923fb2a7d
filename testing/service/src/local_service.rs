//! The whole service on this machine: DynamoDB, the functions, and a gateway in front of them.
//!
//! The gateway is the project's own: `cargo lambda watch` loses some answers of several megabytes,
//! and passes requests on in another form than an HTTP API does.

use std::{
    collections::BTreeSet,
    fs,
    net::TcpStream,
    path::PathBuf,
    process::{Command, Output},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use statshub::HttpClient;

use crate::{
    bigquery_emulator::Emulator,
    ports::{free_port, require_free_port},
    processes::{Running, wait_for},
    tools,
    workspace::{cargo, root, run, say, target},
};

/// The exit code of `statshub audit` when it found discrepancies.
const AUDIT_FOUND_DRIFT: i32 = 3;

/// The variable that says who may use the service.
pub const AUTH_VARIABLE: &str = "STATSHUB_AUTH";
/// The value that lets in anyone who reaches the service.
pub const OPEN: &str = "off";

/// The DynamoDB to use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Database {
    /// The embedded one, with its data in this file.
    Embedded(PathBuf),
    /// Amazon's DynamoDB Local, with its data in this folder.
    DynamoDbLocal(PathBuf),
    /// The one at this endpoint.
    Endpoint(String),
}

/// How the functions are built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Build {
    /// Quickly: the functions, the gateway and the embedded DynamoDB.
    Debug,
    /// With optimizations.
    Release,
    /// With the whole workspace, as the tests have built it already. Alone, the functions would
    /// need their dependencies with other features, and build all of them again.
    WithTests,
}

impl Build {
    /// Without tests, with or without optimizations.
    #[must_use]
    pub fn optimized(release: bool) -> Self {
        if release { Self::Release } else { Self::Debug }
    }
}

/// How to run the service.
#[derive(Debug, Clone)]
pub struct ServiceSettings {
    /// The port of the service.
    pub port: u16,
    /// The address that it listens on.
    pub bind: String,
    /// How the functions are built.
    pub build: Build,
    /// The DynamoDB.
    pub database: Database,
    /// The emulator of BigQuery, if one is to run.
    pub bigquery: Option<Emulator>,
    /// Who may use the service: the functions' `STATSHUB_AUTH`.
    pub auth: String,
    /// Variables for the functions, in addition to those of this process.
    pub variables: Vec<(String, String)>,
    /// Where the exchanges with clients are written down; nowhere if there is no file.
    pub exchanges: Option<PathBuf>,
}

impl ServiceSettings {
    /// The address to listen on, in numbers.
    fn address(&self) -> &str {
        if self.bind == "localhost" { "127.0.0.1" } else { &self.bind }
    }
}

/// The running service. It ends when this value is dropped.
#[derive(Debug)]
pub struct Service {
    settings: ServiceSettings,
    /// The port of a DynamoDB that is started here.
    database_port: u16,
    /// The port of the runtime API, from which the functions get their events.
    runtime_port: u16,
    // Dropped in this order: those that ask before those that answer.
    functions: Vec<FunctionProcess>,
    gateway: Running,
    database: Option<Running>,
    bigquery: Option<Running>,
}

#[derive(Debug)]
struct FunctionProcess {
    running: Running,
    spec: FunctionSpec,
    started: Instant,
    /// Whether it was ended on purpose, for a test.
    killed: bool,
}

/// A process of a function.
#[derive(Debug, Clone, Copy)]
struct FunctionSpec {
    /// The function, its binary, and its queue in the gateway.
    name: &'static str,
    /// How many requests the process answers at once. They share its cache.
    concurrency: u8,
}

/// Each binary has the name of its package.
const FUNCTIONS: &[FunctionSpec] = &[
    FunctionSpec::new("update", 16),
    FunctionSpec::new("query", 16),
    FunctionSpec::new("history", 16),
    FunctionSpec::new("history", 16),
    FunctionSpec::new("dashboard", 16),
    FunctionSpec::new("archive", 1),
];

impl FunctionSpec {
    const fn new(name: &'static str, concurrency: u8) -> Self {
        Self { name, concurrency }
    }
}

impl Service {
    /// Builds and starts everything, and waits until requests are answered.
    ///
    /// # Errors
    /// A port is taken, a build fails, or a process ends.
    pub fn start(settings: ServiceSettings) -> anyhow::Result<Self> {
        require_free_port(settings.address(), settings.port, "--port")?;
        settings.build.run()?;
        let bigquery = settings.bigquery.as_ref().map(Emulator::start).transpose()?;
        let database_port = free_port()?;
        let database = start_database(&settings, database_port)?;
        let endpoint = dynamodb_endpoint(&settings, database_port);
        say(&format!("creating the table in the DynamoDB at {endpoint}, unless it exists"));
        run(with_aws(
            &mut Command::new(binary("local-dynamodb", settings.build)),
            &settings,
            &endpoint,
        )
        .arg("create-table"))?;
        say(&format!("starting the gateway on {}:{}", settings.bind, settings.port));
        let runtime_port = free_port()?;
        let gateway = start_gateway(&settings, runtime_port)?;
        let mut service = Self {
            settings,
            database_port,
            runtime_port,
            functions: Vec::new(),
            gateway,
            database,
            bigquery,
        };
        service.wait_for_gateway()?;
        for spec in FUNCTIONS {
            let function = service.start_function(*spec)?;
            service.functions.push(function);
        }
        service.wait_until_ready()?;
        Ok(service)
    }

    /// Where clients find the service.
    #[must_use]
    pub fn url(&self) -> String {
        let host = match self.settings.bind.as_str() {
            "127.0.0.1" | "0.0.0.0" | "::" | "::1" | "localhost" => "localhost",
            other => other,
        };
        format!("http://{host}:{}", self.settings.port)
    }

    /// The endpoint of its DynamoDB.
    #[must_use]
    pub fn dynamodb_endpoint(&self) -> String {
        dynamodb_endpoint(&self.settings, self.database_port)
    }

    /// Whether the rollups in the table are the sums of its details. The audit prints what is not.
    /// Only of a service that was built by [`Build::WithTests`].
    ///
    /// # Errors
    /// The audit fails.
    pub fn audit(&self) -> anyhow::Result<bool> {
        let mut command = Command::new(binary("statshub", self.settings.build));
        with_aws(&mut command, &self.settings, &self.dynamodb_endpoint()).arg("audit");
        let status = command.status()?;
        ensure!(matches!(status.code(), Some(0 | AUDIT_FOUND_DRIFT)), "the audit failed: {status}");
        Ok(status.success())
    }

    /// Starts functions that have ended again, and reports them. Returns how many they were.
    ///
    /// # Errors
    /// The gateway has ended, or the emulator of BigQuery, or the database, other than by
    /// [`Self::kill_database`].
    pub fn look_after(&mut self) -> anyhow::Result<usize> {
        let mut ended = 0;
        let stores = self.database.iter_mut().chain(&mut self.bigquery);
        for part in stores.chain([&mut self.gateway]) {
            if let Some(status) = part.ended()? {
                bail!("{} ended: {status}", part.name());
            }
        }
        for i in 0..self.functions.len() {
            let Some(function) = self.functions.get_mut(i) else {
                continue;
            };
            let Some(status) = function.running.ended()? else {
                continue;
            };
            let spec = function.spec;
            say(&format!(
                "the function {} ended ({}); starting it again. A request that it was answering is lost",
                spec.name, status
            ));
            ended += 1;
            // Don't start one that can't start over and over.
            if !function.killed && function.started.elapsed() < Duration::from_secs(2) {
                thread::sleep(Duration::from_secs(1));
            }
            let again = self.start_function(spec)?;
            if let Some(function) = self.functions.get_mut(i) {
                *function = again;
            }
        }
        Ok(ended)
    }

    /// Kills a function's process, as a crash would.
    ///
    /// # Errors
    /// There is no such function, or it can't be killed.
    pub fn kill(&mut self, function: &str) -> anyhow::Result<()> {
        let function = self.function(function)?;
        function.killed = true;
        function.running.kill()
    }

    /// Kills the database's process, as a crash would. The functions run on without it.
    ///
    /// # Errors
    /// The database was not started here, or can't be killed.
    pub fn kill_database(&mut self) -> anyhow::Result<()> {
        self.database.take().context("the database was not started here")?.kill()
    }

    /// Starts a database that was killed, on the same port and data.
    ///
    /// # Errors
    /// It can't be started.
    pub fn restart_database(&mut self) -> anyhow::Result<()> {
        self.database = start_database(&self.settings, self.database_port)?;
        Ok(())
    }

    /// Whether a function's process runs.
    ///
    /// # Errors
    /// There is no such function.
    pub fn is_running(&mut self, function: &str) -> anyhow::Result<bool> {
        Ok(self.function(function)?.running.ended()?.is_none())
    }

    /// The most memory that a function's process has used so far, in bytes. Only Linux reports it.
    ///
    /// # Errors
    /// There is no such function, or this is not Linux.
    pub fn peak_memory(&self, function: &str) -> anyhow::Result<u64> {
        let mut functions = self.functions.iter();
        let function = functions.find(|found| found.spec.name == function);
        function.context("no such function")?.running.peak_memory()
    }

    /// Changes who may use the service, and starts all functions again.
    ///
    /// # Errors
    /// A function can't be started.
    pub fn let_in(&mut self, auth: &str) -> anyhow::Result<()> {
        auth.clone_into(&mut self.settings.auth);
        for function in &mut self.functions {
            function.killed = true;
            function.running.kill()?;
        }
        self.look_after()?;
        self.wait_until_ready()
    }

    /// How a function ends that does not know who may use it, and what it prints.
    ///
    /// # Errors
    /// It can't be started.
    pub fn run_without_auth(&self, function: &str) -> anyhow::Result<Output> {
        let mut command = Command::new(binary(function, self.settings.build));
        command.env_remove(AUTH_VARIABLE).env_remove("AWS_LAMBDA_LOG_LEVEL").env_remove("RUST_LOG");
        Ok(command.output()?)
    }

    fn function(&mut self, name: &str) -> anyhow::Result<&mut FunctionProcess> {
        let mut functions = self.functions.iter_mut();
        functions.find(|function| function.spec.name == name).context("no such function")
    }

    fn local_url(&self) -> String {
        let host = match self.settings.address() {
            "0.0.0.0" => "127.0.0.1".to_owned(),
            "::" => "[::1]".to_owned(),
            ipv6 if ipv6.contains(':') => format!("[{ipv6}]"),
            other => other.to_owned(),
        };
        format!("http://{host}:{}", self.settings.port)
    }

    fn start_function(&self, spec: FunctionSpec) -> anyhow::Result<FunctionProcess> {
        let mut command = Command::new(binary(spec.name, self.settings.build));
        with_aws(&mut command, &self.settings, &self.dynamodb_endpoint())
            .current_dir(root())
            .env(
                "AWS_LAMBDA_RUNTIME_API",
                format!("http://127.0.0.1:{}/.rt/{}", self.runtime_port, spec.name),
            )
            .env("AWS_LAMBDA_FUNCTION_NAME", spec.name)
            .env("AWS_LAMBDA_FUNCTION_VERSION", "1")
            .env("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "256")
            .env(AUTH_VARIABLE, &self.settings.auth)
            .envs(self.settings.bigquery.iter().flat_map(Emulator::variables))
            .envs(self.settings.variables.iter().cloned());
        if spec.concurrency > 1 {
            command.env("AWS_LAMBDA_MAX_CONCURRENCY", spec.concurrency.to_string());
        }
        Ok(FunctionProcess {
            running: Running::start(spec.name, &mut command)?,
            spec,
            started: Instant::now(),
            killed: false,
        })
    }

    fn wait_for_gateway(&mut self) -> anyhow::Result<()> {
        let address = self.local_url().replace("http://", "");
        let connect = || TcpStream::connect(&address).is_ok();
        wait_for("the gateway", &mut [&mut self.gateway], connect)
    }

    fn wait_until_ready(&mut self) -> anyhow::Result<()> {
        let client = HttpClient::new(&self.local_url());
        // An empty update changes nothing, but it is answered only when everything is in place.
        // Where a token is needed, the answer is a 401: no token is known here.
        let ready = || {
            let answers = |answer: anyhow::Result<(u16, String)>, expected| {
                answer.is_ok_and(|(status, _)| status == expected || status == 401)
            };
            answers(client.get("/stats/"), 200)
                && answers(client.post("/stats/ready", "{}"), 200)
                && answers(client.get("/"), 200)
                && answers(client.get("/nowhere"), 404)
        };
        let processes = self.functions.iter_mut().map(|function| &mut function.running);
        wait_for("the service", &mut processes.collect::<Vec<_>>(), ready)
    }
}

impl Build {
    fn run(self) -> anyhow::Result<()> {
        say("building the functions");
        let mut command = cargo();
        command.arg("build");
        if self == Self::WithTests {
            command.args(["--workspace", "--all-targets"]);
        } else {
            let functions: BTreeSet<_> = FUNCTIONS.iter().map(|function| function.name).collect();
            for package in functions.into_iter().chain(["gateway", "local-dynamodb"]) {
                command.args(["--package", package]);
            }
        }
        if self == Self::Release {
            command.arg("--release");
        }
        run(&mut command)
    }
}

fn binary(name: &str, build: Build) -> PathBuf {
    let profile = if build == Build::Release { "release" } else { "debug" };
    target(&format!("{profile}/{name}"))
}

fn dynamodb_endpoint(settings: &ServiceSettings, port: u16) -> String {
    match &settings.database {
        Database::Endpoint(endpoint) => endpoint.clone(),
        Database::Embedded(_) | Database::DynamoDbLocal(_) => format!("http://127.0.0.1:{port}"),
    }
}

/// Starts the DynamoDB on this port, unless it already runs elsewhere.
fn start_database(settings: &ServiceSettings, port: u16) -> anyhow::Result<Option<Running>> {
    let mut command = match &settings.database {
        Database::Endpoint(endpoint) => {
            say(&format!("using the DynamoDB at {endpoint}"));
            return Ok(None);
        }
        Database::Embedded(file) => {
            say(&format!("starting the embedded DynamoDB, with its data in {}", file.display()));
            if let Some(folder) = file.parent() {
                fs::create_dir_all(folder)?;
            }
            let mut command = Command::new(binary("local-dynamodb", settings.build));
            command.arg("serve").arg("--file").arg(file).args(["--port", &port.to_string()]);
            command
        }
        Database::DynamoDbLocal(folder) => {
            say(&format!("starting DynamoDB Local, with its data in {}", folder.display()));
            tools::dynamodb_local_command(port, Some(folder))?
        }
    };
    let mut running = Running::start("dynamodb", &mut command)?;
    wait_for_port("DynamoDB", &mut running, port)?;
    Ok(Some(running))
}

/// Waits until a server, of which `what` is the name, accepts connections on its port.
///
/// # Errors
/// Its process ended.
pub fn wait_for_port(what: &str, running: &mut Running, port: u16) -> anyhow::Result<()> {
    let connect = || TcpStream::connect(("127.0.0.1", port)).is_ok();
    wait_for(what, &mut [running], connect)
}

fn start_gateway(settings: &ServiceSettings, runtime_port: u16) -> anyhow::Result<Running> {
    let mut command = Command::new(binary("gateway", settings.build));
    command.args(gateway_addresses(settings, runtime_port));
    if let Some(file) = &settings.exchanges {
        command.arg("--exchanges").arg(file);
    }
    Running::start("gateway", command.arg("--template").arg(root().join("template.yaml")))
}

/// Where the gateway listens. For the processes of functions it does on loopback alone, whatever
/// address the service has: whoever reaches the runtime API gets the requests of clients, tokens
/// included.
fn gateway_addresses(settings: &ServiceSettings, runtime_port: u16) -> [String; 4] {
    let address = match settings.address() {
        ipv6 if ipv6.contains(':') => format!("[{ipv6}]"),
        other => other.to_owned(),
    };
    let mut addresses = vec![address];
    if settings.address() == "127.0.0.1" {
        // `cargo lambda invoke` takes this address for `localhost`.
        addresses.push("[::1]".to_owned());
    }
    let addresses = addresses.iter().map(|address| format!("{address}:{}", settings.port));
    let addresses = addresses.collect::<Vec<_>>().join(",");
    let runtime = format!("127.0.0.1:{runtime_port}");
    ["--listen".to_owned(), addresses, "--runtime-listen".to_owned(), runtime]
}

/// Points a process at the DynamoDB. Makes up credentials, unless the DynamoDB is somebody else's.
fn with_aws<'a>(
    command: &'a mut Command,
    settings: &ServiceSettings,
    endpoint: &str,
) -> &'a mut Command {
    command.env("AWS_ENDPOINT_URL_DYNAMODB", endpoint);
    let own = !matches!(settings.database, Database::Endpoint(_));
    for (variable, value) in [
        ("AWS_REGION", "us-east-1"),
        ("AWS_ACCESS_KEY_ID", "local"),
        ("AWS_SECRET_ACCESS_KEY", "local"),
    ] {
        if own || std::env::var_os(variable).is_none() {
            command.env(variable, value);
        }
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_runtime_api_is_on_loopback_whatever_address_the_service_has() {
        for (bind, listen) in [
            ("127.0.0.1", "127.0.0.1:9000,[::1]:9000"),
            ("localhost", "127.0.0.1:9000,[::1]:9000"),
            ("0.0.0.0", "0.0.0.0:9000"),
            ("::", "[::]:9000"),
            ("192.0.2.1", "192.0.2.1:9000"),
        ] {
            let settings = ServiceSettings {
                port: 9000,
                bind: bind.to_owned(),
                build: Build::Debug,
                database: Database::Endpoint(String::new()),
                bigquery: None,
                auth: OPEN.to_owned(),
                variables: Vec::new(),
                exchanges: None,
            };
            let expected = ["--listen", listen, "--runtime-listen", "127.0.0.1:9001"];
            assert_eq!(gateway_addresses(&settings, 9001), expected);
        }
    }
}
