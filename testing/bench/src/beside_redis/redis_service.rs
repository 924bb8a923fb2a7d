//! A service on Redis that counts and answers as statshub does.

use clap::ValueEnum;
use model::UpdateBody;
use redis::pipe;
use shared::domain::UnixSeconds;

use super::{
    first_layout, hash_layout,
    periods::Periods,
    redis_client::{RedisClient, Traffic},
    stats_answer,
};

/// How many keys are written at once.
const KEYS_AT_ONCE: usize = 1_000;

/// How stats are laid out in Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Layout {
    /// As the first statshub did it: a key for each stat of each key
    First,
    /// A hash for each key
    Hashes,
}

/// A service on Redis.
pub(super) struct RedisService {
    layout: Layout,
    client: RedisClient,
}

impl RedisService {
    /// Connects to a `redis://` URL.
    pub(super) fn connect(layout: Layout, url: &str) -> anyhow::Result<Self> {
        Ok(Self { layout, client: RedisClient::connect(url)? })
    }

    /// Removes all that the database holds.
    pub(super) fn clear(&mut self) -> anyhow::Result<()> {
        self.client.clear()
    }

    /// Answers a request: `POST /stats/{id}`, `GET /stats/{dimension}` or `GET /stats/`.
    pub(super) fn answer(
        &mut self,
        is_update: bool,
        path: &str,
        body: &str,
        now: UnixSeconds,
    ) -> anyhow::Result<String> {
        let name = path.trim_start_matches("/stats").trim_matches('/');
        let periods = Periods::at(now);
        if !is_update {
            let dimension = (!name.is_empty()).then_some(name);
            return match self.layout {
                Layout::First => {
                    stats_answer::json(&first_layout::query(&mut self.client, dimension, periods)?)
                }
                Layout::Hashes => {
                    stats_answer::json(&hash_layout::query(&mut self.client, dimension, periods)?)
                }
            };
        }
        let report: UpdateBody = serde_json::from_str(body)?;
        match self.layout {
            Layout::First => first_layout::update(&mut self.client, name, &report, periods)?,
            Layout::Hashes => hash_layout::update(&mut self.client, name, &report, periods)?,
        }
        Ok(r#"{"Succeeded":true,"Error":""}"#.to_owned())
    }

    /// Gives a dimension keys with these counters, faster than updates would.
    pub(super) fn add_rollups(
        &mut self,
        dimension: &str,
        keys: &[String],
        counters: &[(String, i64)],
    ) -> anyhow::Result<()> {
        for keys in keys.chunks(KEYS_AT_ONCE) {
            let mut commands = pipe();
            for key in keys {
                match self.layout {
                    Layout::First => {
                        first_layout::add_rollup(&mut commands, dimension, key, counters);
                    }
                    Layout::Hashes => {
                        hash_layout::add_rollup(&mut commands, dimension, key, counters);
                    }
                }
            }
            self.client.write(&commands)?;
        }
        Ok(())
    }

    /// Counts what is sent to Redis from now on. Returns what was sent since the last call.
    pub(super) fn take_traffic(&mut self) -> Traffic {
        self.client.take_traffic()
    }
}
