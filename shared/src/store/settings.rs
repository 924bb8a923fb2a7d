//! The settings of a store.

use std::{collections::BTreeSet, time::Duration};

use aws_sdk_dynamodb::config::{
    self, StalledStreamProtectionConfig, retry::RetryConfig, timeout::TimeoutConfig,
};

use crate::domain::{Cell, DimensionName, PeriodLength};

/// The most keys of a dimension, unless the settings say otherwise.
pub const DEFAULT_MAX_KEYS: u64 = 1_000_000;

/// The most dimensions, unless the settings say otherwise.
pub const DEFAULT_MAX_DIMENSIONS: u64 = 100;
/// The most bytes of a key's stats, and of an id's, unless the settings say otherwise. An update
/// pays for each started KB of both.
pub const DEFAULT_MAX_BYTES: u32 = 32 * 1_024;

/// The settings of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The table's name.
    pub table: String,
    /// How long periods are.
    pub period_length: PeriodLength,
    /// The most keys that a dimension may have.
    pub max_keys: u64,
    /// The dimensions that there may be; any, if there is no list.
    pub dimensions: Option<BTreeSet<DimensionName>>,
    /// The most dimensions.
    pub max_dimensions: u64,
    /// The most bytes that the stats of a dimension key may have, gauges of all periods included.
    pub max_bytes_per_key: u32,
    /// The most bytes of what is kept of an id.
    pub max_bytes_per_id: u32,
    /// The most cells that a sum is spread over: 1 to 128.
    pub max_cells: u8,
    /// Time-outs and waits.
    pub pace: Pace,
}

impl Settings {
    /// The settings of a store on the table named `table`, with the default for everything else.
    #[must_use]
    pub fn new(table: impl Into<String>, period_length: PeriodLength) -> Self {
        Self {
            table: table.into(),
            period_length,
            max_keys: DEFAULT_MAX_KEYS,
            dimensions: None,
            max_dimensions: DEFAULT_MAX_DIMENSIONS,
            max_bytes_per_key: DEFAULT_MAX_BYTES,
            max_bytes_per_id: DEFAULT_MAX_BYTES,
            max_cells: Cell::MOST,
            pace: Pace::default(),
        }
    }
}

/// Time-outs and waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// How long DynamoDB may take to accept a connection.
    pub connect: Duration,
    /// How long DynamoDB may take to answer one attempt.
    pub attempt: Duration,
    /// The bound of the first wait between attempts. Each further bound is twice as long.
    pub first_wait: Duration,
    /// The highest bound of a wait.
    pub longest_wait: Duration,
    /// How long an update or a query is throttled before it gives up: functions that wait use up
    /// the account's concurrency.
    pub throttled: Duration,
    /// The time before the deadline that is kept for finding out what became of an update whose
    /// answer was lost; at most a quarter of the whole time.
    pub settling: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(2),
            attempt: Duration::from_secs(5),
            first_wait: Duration::from_millis(20),
            longest_wait: Duration::from_secs(1),
            throttled: Duration::from_secs(3),
            settling: Duration::from_secs(4),
        }
    }
}

impl Pace {
    /// The settings that a client needs besides region and credentials: time-outs, and no retries
    /// by the SDK. Only the store knows what a failure means for an update. The SDK does not watch
    /// how fast bodies arrive either: an attempt is over in time or it has failed.
    #[must_use]
    pub fn client_config(&self, builder: config::Builder) -> config::Builder {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(self.connect)
            .operation_attempt_timeout(self.attempt)
            .build();
        builder
            .retry_config(RetryConfig::disabled())
            .stalled_stream_protection(StalledStreamProtectionConfig::disabled())
            .timeout_config(timeouts)
    }
}
