//! The emulator of BigQuery, and what tells others where it is.

use std::{env, path::PathBuf, time::Duration};

use crate::{
    children::{Running, wait_for},
    http::{Client, require_free_port},
    tools,
    workspace::say,
};

/// Where the emulator is when nothing else is said.
pub const DEFAULT_PORT: u16 = 9050;
/// The project that it has when nothing else is said.
pub const DEFAULT_PROJECT: &str = "test-project";

/// The variable that points clients of BigQuery at an emulator.
pub const HOST_VARIABLE: &str = "BIGQUERY_EMULATOR_HOST";
/// The variable with the project, of the emulator and of BigQuery.
pub const PROJECT_VARIABLE: &str = "GOOGLE_PROJECT";
const DATASET_VARIABLE: &str = "BIGQUERY_DATASET";

/// How to run the emulator.
#[derive(Debug, Clone)]
pub struct Emulator {
    /// Its port.
    pub port: u16,
    /// The folder with its data.
    pub data: PathBuf,
}

impl Emulator {
    /// Starts it; returns when it answers.
    pub fn start(&self) -> anyhow::Result<Running> {
        require_free_port("127.0.0.1", self.port, "--bigquery-port")?;
        let mut command =
            tools::local_bigquery_command(self.port, &project(), &dataset(), &self.data)?;
        say(&format!(
            "starting the BigQuery emulator on {}, with its data in {}",
            self.host(),
            self.data.display()
        ));
        let mut running = Running::start("bigquery", &mut command)?;
        let client =
            Client::with_timeout(&format!("http://{}", self.host()), Duration::from_secs(5));
        let path = format!("/bigquery/v2/projects/{}/datasets", project());
        let answers = || matches!(client.get(&path), Ok((200, _)));
        wait_for("the BigQuery emulator", &mut [&mut running], answers)?;
        Ok(running)
    }

    /// Its address, as the variable has it.
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// What processes need to know to use it.
    pub fn variables(&self) -> [(&'static str, String); 3] {
        [(HOST_VARIABLE, self.host()), (PROJECT_VARIABLE, project()), (DATASET_VARIABLE, dataset())]
    }
}

fn project() -> String {
    env::var(PROJECT_VARIABLE).unwrap_or_else(|_| DEFAULT_PROJECT.to_owned())
}

/// The dataset with the archive.
pub fn dataset() -> String {
    env::var(DATASET_VARIABLE).unwrap_or_else(|_| "statshub".to_owned())
}
