//! The archive function on a DynamoDB of its own, and the BigQuery that it writes to.

#![allow(dead_code, reason = "not every test uses all of it")]

use std::time::Duration;

use archive::{ArchiveError, Function, Report, Schedule, ScheduleEvent};
use aws_sdk_dynamodb::Client;
use bigquery::{BigQuery, Config, Pace};
use shared::{
    domain::{Id, PeriodLength, UnixSeconds, Update},
    lambda::Call,
    store::{Deadline, Settings, Store},
};

/// The start of a period of gauges, of an hour and of a day.
pub const NOW: UnixSeconds = UnixSeconds(86_400 * 20_000);

pub struct Test {
    pub client: Client,
    pub variables: Vec<(&'static str, String)>,
    pub pace: Pace,
}

pub fn later(seconds: u64) -> UnixSeconds {
    NOW.after(Duration::from_secs(seconds))
}

impl Test {
    /// An empty table, and an archive that these variables configure.
    pub async fn new(variables: &[(&'static str, &str)]) -> Self {
        let client = local_dynamodb::in_memory_with_table("statshub").await.unwrap();
        let variables = variables.iter().map(|(name, value)| (*name, (*value).to_owned()));
        Self { client, variables: variables.collect(), pace: Pace::default() }
    }

    pub fn store(&self) -> Store {
        // Tests of large rows need stats beyond the bounds.
        let settings = Settings {
            max_bytes_per_id: u32::MAX,
            max_bytes_per_key: u32::MAX,
            ..Settings::new("statshub", PeriodLength::DEFAULT)
        };
        Store::new(self.client.clone(), settings, fastrand::Rng::new())
    }

    fn variable(&self, name: &str) -> Option<String> {
        let found = self.variables.iter().find(|(variable, _)| *variable == name);
        found.map(|(_, value)| value.clone())
    }

    pub fn bigquery(&self) -> Option<BigQuery> {
        let config = Config::from_variables(|name| self.variable(name)).unwrap();
        config.map(|config| BigQuery::new(&config, self.pace, fastrand::Rng::new()).unwrap())
    }

    /// The function, as a new process of it.
    pub fn function(&self) -> Function {
        let schedule = Schedule::from_variables(|name| self.variable(name)).unwrap();
        Function::new(self.store(), schedule, self.bigquery())
    }

    pub async fn post(&self, now: UnixSeconds, id: &str, body: &str) {
        let update = Update::from_json(body.as_bytes()).unwrap();
        let id = Id::new(id).unwrap();
        self.store().update(&id, &update, None, now, soon()).await.unwrap();
    }

    /// A run at `now`, scheduled for `now`.
    pub async fn run(&self, now: UnixSeconds) -> Result<Report, ArchiveError> {
        run(&self.function(), now, now).await
    }
}

pub async fn run(
    function: &Function,
    scheduled: UnixSeconds,
    now: UnixSeconds,
) -> Result<Report, ArchiveError> {
    let scheduled = time::OffsetDateTime::from_unix_timestamp(scheduled.0.try_into().unwrap());
    let format = &time::format_description::well_known::Rfc3339;
    let event = ScheduleEvent { time: scheduled.unwrap().format(format).unwrap() };
    function.run(&event, Call { now, deadline: soon() }).await
}

/// The report in a line: `country=written:3 user=missed`.
pub fn line(report: &Report) -> String {
    let entries = report.dimensions.iter().map(|(dimension, entry)| {
        let word = serde_json::to_value(entry.outcome).unwrap();
        let rows = entry.rows.map(|rows| format!(":{rows}")).unwrap_or_default();
        format!("{dimension}={}{rows}", word.as_str().unwrap())
    });
    entries.collect::<Vec<_>>().join(" ")
}

pub fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(120))
}
