//! The emulator of BigQuery, and the variables that point others at it.

use std::{env, path::PathBuf, time::Duration};

use statshub::{
    HttpClient,
    run_sql::{DEFAULT_PROJECT, HOST_VARIABLE, PROJECT_VARIABLE},
};

use crate::{
    ports::require_free_port,
    processes::{Running, wait_for},
    tools,
    workspace::say,
};

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
    /// Starts it, and waits until it answers.
    ///
    /// # Errors
    /// The port is taken, the emulator can't be installed, or it ends.
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
            HttpClient::with_timeout(&format!("http://{}", self.host()), Duration::from_secs(5));
        let path = format!("/bigquery/v2/projects/{}/datasets", project());
        let answers = || matches!(client.get(&path), Ok((200, _)));
        wait_for("the BigQuery emulator", &mut [&mut running], answers)?;
        Ok(running)
    }

    /// Its address, in the form of the variable.
    #[must_use]
    pub fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The variables that point processes at it.
    #[must_use]
    pub fn variables(&self) -> [(&'static str, String); 3] {
        [(HOST_VARIABLE, self.host()), (PROJECT_VARIABLE, project()), (DATASET_VARIABLE, dataset())]
    }
}

fn project() -> String {
    env::var(PROJECT_VARIABLE).unwrap_or_else(|_| DEFAULT_PROJECT.to_owned())
}

/// The dataset with the archive.
#[must_use]
pub fn dataset() -> String {
    env::var(DATASET_VARIABLE).unwrap_or_else(|_| "statshub".to_owned())
}
