//! How a command reaches the table: which one it is, who asks, and how long periods are.

use std::num::NonZeroU32;

use anyhow::Context;
use aws_config::SdkConfig;
use aws_sdk_dynamodb::{Client, config};
use clap::Args;
use shared::{
    config::{DEFAULT_TABLE_NAME, variable},
    domain::PeriodLength,
    store::{Settings, Store, https_client},
};

use crate::aws_cli::AwsCli;

/// What a failure to reach the table says after its cause.
pub const HOW_TO_REACH_IT: &str = "\
AWS's own variables say where the table is and who asks: AWS_REGION; AWS_PROFILE, or AWS_ACCESS_KEY_ID and \
AWS_SECRET_ACCESS_KEY; AWS_ENDPOINT_URL_DYNAMODB for a DynamoDB elsewhere.";

/// Which table a command works on.
#[derive(Debug, Args)]
#[command(next_help_heading = "The table")]
pub struct TableOptions {
    #[arg(long, value_name = "NAME", conflicts_with = "stack")]
    #[arg(help = "Its name [default: statshub] [env: TABLE_NAME]")]
    table: Option<String>,
    /// The stack that it belongs to, in place of --table. This needs the AWS CLI
    #[arg(long, value_name = "NAME")]
    stack: Option<String>,
}

/// How long the service's periods of gauges are, for commands that need to know which gauges
/// count.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "The table")]
pub struct PeriodOptions {
    /// How long the service's periods of gauges are [default: what the stack says, or 360]
    #[arg(long, value_name = "SECONDS", env = "STATS_PERIOD_SECONDS")]
    period_seconds: Option<NonZeroU32>,
}

/// A table, and the credentials to ask for it.
#[derive(Debug)]
pub struct Table {
    name: String,
    sdk: SdkConfig,
    /// How long periods are, if it belongs to a stack that says so.
    period_length: Option<PeriodLength>,
}

impl TableOptions {
    /// The table, with the credentials and the endpoint of AWS's own variables.
    ///
    /// # Errors
    /// There is no such stack, or CloudFormation can't be asked.
    pub async fn open(&self) -> anyhow::Result<Table> {
        let sdk = aws_config::from_env().http_client(https_client()).load().await;
        let Some(stack) = &self.stack else {
            return Ok(Table { name: self.name(), sdk, period_length: None });
        };
        let stack = AwsCli::default().stack(stack)?;
        let seconds: NonZeroU32 = stack.parameter("PeriodSeconds")?.parse()?;
        let name = stack.output("TableName")?.to_owned();
        Ok(Table { name, sdk, period_length: Some(PeriodLength::new(seconds)) })
    }

    /// The name unless a stack is named. Not by clap, for which a variable would conflict with
    /// `--stack`.
    fn name(&self) -> String {
        let from_env = || variable("TABLE_NAME");
        let name = self.table.clone().or_else(from_env);
        name.unwrap_or_else(|| DEFAULT_TABLE_NAME.to_owned())
    }
}

impl Table {
    /// The table's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// A client with the SDK's own time-outs and retries.
    #[must_use]
    pub fn client(&self) -> Client {
        Client::new(&self.sdk)
    }

    /// How long the service's periods of gauges are.
    #[must_use]
    pub fn period_length(&self, options: &PeriodOptions) -> PeriodLength {
        match options.period_seconds {
            Some(seconds) => PeriodLength::new(seconds),
            None => self.period_length.unwrap_or(PeriodLength::DEFAULT),
        }
    }

    /// A store on the table.
    #[must_use]
    pub fn store(&self, period: &PeriodOptions) -> Store {
        self.store_with(Settings::new(&self.name, self.period_length(period)))
    }

    /// A store that takes as many names as there are: the operator knows why.
    #[must_use]
    pub fn store_without_bounds(&self, period: &PeriodOptions) -> Store {
        self.store_with(Settings {
            max_keys: u64::MAX,
            max_dimensions: u64::MAX,
            max_bytes_per_key: u32::MAX,
            max_bytes_per_id: u32::MAX,
            ..Settings::new(&self.name, self.period_length(period))
        })
    }

    fn store_with(&self, settings: Settings) -> Store {
        let client = settings.pace.client_config(config::Builder::from(&self.sdk)).build();
        Store::new(Client::from_conf(client), settings, fastrand::Rng::new())
    }
}

/// Runs the asynchronous part of a command.
///
/// # Errors
/// Those of the command.
pub fn run_async<T>(command: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.context("this system gives no runtime")?.block_on(command)
}
