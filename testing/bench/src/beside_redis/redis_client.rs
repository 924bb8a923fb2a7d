//! A connection to Redis, which counts what it sends.

use anyhow::Context;
use redis::{
    Client, Connection, FromRedisValue, IntoConnectionInfo, Pipeline, io::tcp::TcpSettings, pipe,
};

/// What was sent to Redis.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Traffic {
    /// How many commands that were.
    pub commands: usize,
    /// How often an answer was waited for.
    pub round_trips: usize,
    /// How many bytes the commands have.
    pub bytes: usize,
}

/// A connection to Redis.
pub(super) struct RedisClient {
    connection: Connection,
    /// What was sent since it is counted.
    traffic: Option<Traffic>,
}

impl RedisClient {
    /// Connects to a `redis://` URL.
    pub(super) fn connect(url: &str) -> anyhow::Result<Self> {
        let info = url.into_connection_info()?;
        let info = info.set_tcp_settings(TcpSettings::default().set_nodelay(true));
        let connection = Client::open(info)?.get_connection().with_context(|| url.to_owned())?;
        Ok(Self { connection, traffic: None })
    }

    /// Sends commands at once, and waits for their answers.
    pub(super) fn send<T: FromRedisValue>(&mut self, commands: &Pipeline) -> anyhow::Result<T> {
        if let Some(traffic) = &mut self.traffic {
            traffic.commands += commands.len();
            traffic.round_trips += 1;
            traffic.bytes += commands.get_packed_pipeline().len();
        }
        commands.query(&mut self.connection).context("Redis does not answer as expected")
    }

    /// The same, when the answers don't matter.
    pub(super) fn write(&mut self, commands: &Pipeline) -> anyhow::Result<()> {
        match commands.is_empty() {
            true => Ok(()),
            false => self.send::<Vec<redis::Value>>(commands).map(drop),
        }
    }

    /// What is in a set.
    pub(super) fn names(&mut self, set: &str) -> anyhow::Result<Vec<String>> {
        let (names,) = self.send(pipe().cmd("SMEMBERS").arg(set))?;
        Ok(names)
    }

    /// Removes all that its database holds.
    pub(super) fn clear(&mut self) -> anyhow::Result<()> {
        self.write(pipe().cmd("FLUSHDB"))
    }

    /// Counts from now on. Returns what was sent since the last call.
    pub(super) fn take_traffic(&mut self) -> Traffic {
        self.traffic.replace(Traffic::default()).unwrap_or_default()
    }
}
