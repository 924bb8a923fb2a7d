//! What `docs/openapi.yaml` says of the service, tried by schemathesis, and held against everything
//! that the service has answered.

use std::{fs, path::Path, process::Command, time::Instant};

use anyhow::{Context, ensure};
use service::{
    tools,
    workspace::{cargo, root, run, say, target},
};

/// Requests that schemathesis makes up for each operation, besides those of its fixed phases.
const EXAMPLES: u32 = 10;

/// The variable that names the file with exchanges, of the test `openapi_exchanges`.
const EXCHANGES_VARIABLE: &str = "STATSHUB_TEST_EXCHANGES";

/// Tries a service with requests that the description allows, and with requests that it does not
/// allow. They are the same each time.
///
/// # Errors
/// An answer is not as described, or schemathesis can't be installed.
pub fn try_by_schemathesis(url: &str, token: &str) -> anyhow::Result<()> {
    let started = Instant::now();
    // It writes into its folder.
    let folder = target("e2e/schemathesis");
    fs::create_dir_all(&folder)?;
    let mut command = Command::new(tools::schemathesis()?);
    command.current_dir(folder).arg("--no-color");
    command.arg("--config-file").arg(root().join("testing/scenarios/schemathesis.toml"));
    command.arg("run").arg(root().join("docs/openapi.yaml")).args(["--url", url]);
    command.arg("--header").arg(format!("Authorization: Bearer {token}"));
    command.args(["--generation-deterministic", "--max-examples", &EXAMPLES.to_string()]);
    // With several workers, which would not wait for each other's answers, it fails by itself.
    command.args(["--workers", "1"]);
    let output = command.output()?;
    let report = String::from_utf8_lossy(&output.stdout);
    ensure!(
        output.status.success(),
        "schemathesis: {}\n{report}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    let cases = report.lines().skip_while(|line| !line.starts_with("Test cases:")).nth(1);
    let cases = cases.context("schemathesis reports no number of cases")?.trim();
    say(&format!("schemathesis finds no failure in {:.0?}: {cases}", started.elapsed()));
    Ok(())
}

/// Compares what clients were answered with the description.
///
/// # Errors
/// The description does not allow an answer.
pub fn compare_exchanges(file: &Path) -> anyhow::Result<()> {
    // From the whole workspace, which is built already.
    let mut test = cargo();
    test.args([
        "test",
        "--workspace",
        "--test",
        "openapi_exchanges",
        "--",
        "--ignored",
        "--nocapture",
    ]);
    run(test.env(EXCHANGES_VARIABLE, file))?;
    say("docs/openapi.yaml allows all that the service has answered");
    Ok(())
}
