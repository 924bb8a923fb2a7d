//! The template, built and deployed into MiniStack.

use std::{
    collections::BTreeMap,
    env, fs,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, bail, ensure};
use serde_json::{Value, json};
use service::{
    ports::free_port,
    tools::cargo_lambda,
    workspace::{root, run, say, target},
};
use statshub::HttpClient;

use super::{
    aws_calls::{Aws, list, text},
    aws_tools,
};

/// Its own name.
pub const NAME: &str = "statshub";
/// The template of the build, in the form that MiniStack can deploy.
const TEMPLATE: &str = "ministack.yaml";
const REGION: &str = "us-east-1";
/// In 2096, in seconds since the Unix epoch; SAM takes no integer.
const NEVER_OVERDUE: f64 = 4_000_000_000.0;
/// How long MiniStack may take to start.
const START_TIMEOUT: Duration = Duration::from_secs(120);

/// What was deployed.
#[derive(Debug)]
pub struct Stack {
    pub aws: Aws,
    /// The address of the service.
    pub url: String,
    /// The names of the resources, by their logical ids in the template.
    names: BTreeMap<String, String>,
    ministack: MiniStack,
}

/// Builds everything that the template deploys.
pub fn build() -> anyhow::Result<()> {
    let cargo_lambda = cargo_lambda()?;
    let bin = cargo_lambda.parent().context("cargo-lambda has no folder")?;
    let path = env::var_os("PATH").unwrap_or_default();
    let path = env::join_paths([bin.to_owned()].into_iter().chain(env::split_paths(&path)))?;
    let build = folder().join("build");
    run(sam("build")?
        .current_dir(root())
        .args(["--template-file", "template.yaml", "--build-dir"])
        .arg(&build)
        .args(["--parameter-overrides", &architecture()?])
        .env("PATH", path)
        // The build runs on this machine: it needs no cross compiler, and no other target.
        .env("CARGO_LAMBDA_COMPILER", "cargo")
        .env("RUSTUP", "/nonexistent")
        // SAM looks for the build below `target`.
        .env_remove("CARGO_TARGET_DIR"))?;
    run(Command::new(aws_tools::sam()?.with_file_name("python"))
        .arg(root().join("testing/scenarios/python/template_for_ministack.py"))
        .arg(build.join("template.yaml"))
        .arg(build.join(TEMPLATE)))
}

impl Stack {
    /// Deploys the build, with these parameters.
    pub fn deploy(parameters: &[String]) -> anyhow::Result<Self> {
        let ministack = MiniStack::start()?;
        let variables = ministack.variables();
        let log = folder().join("deploy.log");
        let output = fs::File::create(&log)?;
        let mut deploy = sam("deploy")?;
        deploy
            .current_dir(folder().join("build"))
            .args(["--template-file", TEMPLATE, "--stack-name", NAME])
            .args(["--resolve-s3", "--capabilities", "CAPABILITY_IAM"])
            .args(["--no-confirm-changeset", "--no-progressbar", "--parameter-overrides"])
            .arg(architecture()?)
            .args(parameters)
            .envs(variables.clone())
            .stdout(output.try_clone()?)
            .stderr(output);
        run(&mut deploy).with_context(|| format!("see {}", log.display()))?;
        let mut aws = Aws::start(variables)?;
        let names = resources(&mut aws)?;
        let mut stack = Self { aws, url: String::new(), names, ministack };
        let api = stack.name("Api")?;
        stack.url = format!("{}/_aws/execute-api/{api}/$default", stack.ministack.url());
        stack.add_time_to_live()?;
        Ok(stack)
    }

    /// The name of a resource.
    pub fn name(&self, logical: &str) -> anyhow::Result<&str> {
        self.names.get(logical).map(String::as_str).with_context(|| format!("no {logical}"))
    }

    /// The variables that point AWS's tools at it.
    pub fn variables(&self) -> Vec<(String, String)> {
        let variables = self.ministack.variables().into_iter();
        variables.map(|(name, value)| (name.to_owned(), value)).collect()
    }

    /// A function's configuration.
    pub fn function(&mut self, logical: &str) -> anyhow::Result<Value> {
        let name = self.name(logical)?.to_owned();
        self.aws.call("lambda", "get_function_configuration", json!({"FunctionName": name}))
    }

    /// Sets the table's time to live, which MiniStack ignores in a template.
    fn add_time_to_live(&mut self) -> anyhow::Result<()> {
        let parameters = json!({"StackName": NAME, "TemplateStage": "Processed"});
        let answer = self.aws.call("cloudformation", "get_template", parameters)?;
        let pointer = "/TemplateBody/Resources/Table/Properties/TimeToLiveSpecification";
        let specification = answer.pointer(pointer).context("the table has no time to live")?;
        let parameters = json!({
            "TableName": self.name("Table")?,
            "TimeToLiveSpecification": specification,
        });
        self.aws.call("dynamodb", "update_time_to_live", parameters)?;
        Ok(())
    }
}

/// The folder with everything that this test makes.
pub fn folder() -> PathBuf {
    target("deploy-test")
}

fn sam(command: &str) -> anyhow::Result<Command> {
    let kept = folder().join("sam");
    fs::create_dir_all(&kept)?;
    // SAM asks once a week whether there is a newer version.
    fs::write(kept.join("metadata.json"), json!({"lastVersionCheck": NEVER_OVERDUE}).to_string())?;
    let mut sam = Command::new(aws_tools::sam()?);
    sam.arg(command)
        .env("SAM_CLI_TELEMETRY", "0")
        .env("AWS_DEFAULT_REGION", REGION)
        // By default it writes into the home folder.
        .env("__SAM_CLI_APP_DIR", kept)
        .env_remove("AWS_PROFILE")
        .env_remove("AWS_SESSION_TOKEN");
    Ok(sam)
}

/// The parameter that names this machine's processor.
fn architecture() -> anyhow::Result<String> {
    Ok(match env::consts::ARCH {
        "x86_64" => "Architecture=x86_64".to_owned(),
        "aarch64" => "Architecture=arm64".to_owned(),
        other => bail!("Lambda has no processor {other}"),
    })
}

fn resources(aws: &mut Aws) -> anyhow::Result<BTreeMap<String, String>> {
    let parameters = json!({"StackName": NAME});
    let answer = aws.call("cloudformation", "describe_stack_resources", parameters)?;
    let resources = list(&answer, "/StackResources").iter().map(|resource| {
        let logical = text(resource, "/LogicalResourceId")?;
        Ok((logical.to_owned(), text(resource, "/PhysicalResourceId")?.to_owned()))
    });
    resources.collect()
}

/// MiniStack. It ends, with its functions, when this value is dropped or this process ends.
#[derive(Debug)]
struct MiniStack {
    child: Child,
    port: u16,
}

impl MiniStack {
    fn start() -> anyhow::Result<Self> {
        let (port, folder) = (free_port()?, folder().join("ministack"));
        if folder.exists() {
            fs::remove_dir_all(&folder)?;
        }
        fs::create_dir_all(folder.join("tmp"))?;
        let log = fs::File::create(log())?;
        let child = Command::new(aws_tools::ministack()?.join("bin/python"))
            .arg(root().join("testing/scenarios/python/serve_ministack.py"))
            .current_dir(&folder)
            // The functions inherit its environment, which must not have this process's variables.
            .env_clear()
            .envs(env::var_os("PATH").map(|path| ("PATH", path)))
            .envs(Self::environment(port, &folder))
            .stdin(Stdio::piped())
            .stdout(log.try_clone()?)
            .stderr(log)
            .process_group(0)
            .spawn()
            .context("MiniStack can't be started")?;
        let mut ministack = Self { child, port };
        ministack.wait()?;
        Ok(ministack)
    }

    fn environment(port: u16, folder: &Path) -> Vec<(&'static str, String)> {
        let inside = |name: &str| folder.join(name).display().to_string();
        let mut variables = variables(port);
        variables.extend([
            ("AUTH", "true".to_owned()),
            ("BIND_HOST", "127.0.0.1".to_owned()),
            ("GATEWAY_PORT", port.to_string()),
            ("HOME", inside("")),
            ("TMPDIR", inside("tmp")),
            // Functions are processes, even if there is a Docker.
            ("DOCKER_HOST", format!("unix://{}", inside("no-docker"))),
            ("LAMBDA_EXECUTOR", "local".to_owned()),
            ("LAMBDA_ASYNC_RETRY_BASE_SECONDS", "0.1".to_owned()),
            // These would listen on ports of their own.
            ("IOT_MTLS_ENABLED", "0".to_owned()),
            ("SFTP_ENABLED", "0".to_owned()),
        ]);
        variables
    }

    fn wait(&mut self) -> anyhow::Result<()> {
        let client = HttpClient::with_timeout(&self.url(), Duration::from_secs(2));
        let started = Instant::now();
        while !client.get("/_ministack/health").is_ok_and(|(status, _)| status == 200) {
            if let Some(status) = self.child.try_wait()? {
                bail!("MiniStack ended: {status}; see {}", log().display());
            }
            ensure!(started.elapsed() < START_TIMEOUT, "MiniStack is not ready");
            thread::sleep(Duration::from_millis(100));
        }
        say(&format!(
            "MiniStack started in {:.0?}; its log is {}",
            started.elapsed(),
            log().display()
        ));
        Ok(())
    }

    fn url(&self) -> String {
        url(self.port)
    }

    fn variables(&self) -> Vec<(&'static str, String)> {
        variables(self.port)
    }
}

impl Drop for MiniStack {
    fn drop(&mut self) {
        // The end of its input ends it.
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}

/// Where MiniStack's output goes.
pub fn log() -> PathBuf {
    folder().join("ministack.log")
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

/// The variables that point AWS's tools at MiniStack, with the credentials of its root user.
fn variables(port: u16) -> Vec<(&'static str, String)> {
    vec![
        ("AWS_ENDPOINT_URL", url(port)),
        ("AWS_DEFAULT_REGION", REGION.to_owned()),
        ("AWS_ACCESS_KEY_ID", "test".to_owned()),
        ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
        ("AWS_CONFIG_FILE", "/dev/null".to_owned()),
        ("AWS_SHARED_CREDENTIALS_FILE", "/dev/null".to_owned()),
    ]
}
