//! What the first statshub keeps in Redis, and under which keys.
//!
//! | key | holds |
//! | --- | --- |
//! | `dim` | a set: the dimensions |
//! | `dim:<dimension>` | a set: the keys of a dimension |
//! | `key:counter`, `key:gauge`, `key:member` | sets: the stats of a kind |
//! | `counter:dim:<dimension>:<key>:<stat>` | a rollup of counters |
//! | `counter:detail:<id>:<stat>` | the counter of an id |
//! | `gauge:dim:<dimension>:<key>:<stat>:<period>` | a rollup of gauges; the period by its start |
//! | `gauge:detail:<id>:<stat>:<period>` | the gauge of an id |
//! | `member:dim:<dimension>:<key>:<stat>` | a set: the members |
//! | `member:detail:<id>:<stat>` | a set: the members that an id has reported |
//!
//! Numbers are decimal text of 64 bits, and Redis' own arithmetic adds to them.

use std::{collections::BTreeSet, time::Duration};

use anyhow::{Context, bail};
use redis::{Client, ConnectionInfo, FromRedisValue, IntoConnectionInfo, cmd};

/// The set of the dimensions.
pub const DIMENSIONS: &str = "dim";
/// How long Redis may take to answer.
const TIMEOUT: Duration = Duration::from_secs(30);
/// About how many keys or members a scan looks at in one request.
const SCANNED_AT_ONCE: usize = 1_000;

/// The Redis of a first statshub.
pub struct FirstStatshub {
    connection: redis::Connection,
}

/// The kinds of stats.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatKind {
    /// Counters and increments.
    Counter,
    /// Gauges, of a period each.
    Gauge,
    /// Sets of members.
    Member,
}

impl StatKind {
    fn word(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Member => "member",
        }
    }

    /// The set of the stats of this kind.
    #[must_use]
    pub fn known_stats(self) -> String {
        format!("key:{}", self.word())
    }

    /// The key of a rollup, or of a set of members. A gauge's stat has its period at the end.
    #[must_use]
    pub fn rollup(self, dimension: &str, key: &str, stat: &str) -> String {
        format!("{}:dim:{dimension}:{key}:{stat}", self.word())
    }

    /// The key of what an id has reported.
    #[must_use]
    pub fn detail(self, id: &str, stat: &str) -> String {
        format!("{}:detail:{id}:{stat}", self.word())
    }

    /// The id in the key of what it has reported. Stats have no colons, ids may.
    fn id_of(self, key: &str) -> Option<&str> {
        let rest = key.strip_prefix(self.word())?.strip_prefix(":detail:")?;
        let (rest, last) = rest.rsplit_once(':')?;
        match self {
            Self::Gauge => {
                last.parse::<u64>().ok()?;
                rest.rsplit_once(':').map(|(id, _)| id)
            }
            Self::Counter | Self::Member => Some(rest),
        }
    }
}

/// The set of the keys of a dimension.
#[must_use]
pub fn keys_of(dimension: &str) -> String {
    format!("dim:{dimension}")
}

/// A gauge's stat in a period that `began` then, as keys have it.
#[must_use]
pub fn in_period(stat: &str, began: u64) -> String {
    format!("{stat}:{began}")
}

impl FirstStatshub {
    /// Connects to Redis at `HOST`, `HOST:PORT` or a `redis://` URL.
    ///
    /// # Errors
    /// Redis is not there, or refuses the password.
    pub fn connect(address: &str, password: Option<&str>) -> anyhow::Result<Self> {
        let info = connection_info(address, password)?;
        let client = Client::open(info)?;
        let connection = client.get_connection_with_timeout(TIMEOUT)?;
        connection.set_read_timeout(Some(TIMEOUT))?;
        connection.set_write_timeout(Some(TIMEOUT))?;
        Ok(Self { connection })
    }

    /// The dimensions.
    pub fn dimensions(&mut self) -> anyhow::Result<BTreeSet<String>> {
        self.names(DIMENSIONS)
    }

    /// The keys of a dimension.
    pub fn keys(&mut self, dimension: &str) -> anyhow::Result<BTreeSet<String>> {
        self.names(&keys_of(dimension))
    }

    /// The stats of a kind.
    pub fn stats(&mut self, kind: StatKind) -> anyhow::Result<BTreeSet<String>> {
        self.names(&kind.known_stats())
    }

    /// The numbers under these keys, as far as there are any.
    pub fn numbers(&mut self, keys: &[String]) -> anyhow::Result<Vec<Option<i64>>> {
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let texts: Vec<Option<String>> = self.query(cmd("MGET").arg(keys))?;
        let numbers = texts.into_iter().zip(keys).map(|(text, key)| {
            let number = text.map(|text| text.parse()).transpose();
            number.with_context(|| format!("{key} in Redis is no integer of 64 bits"))
        });
        numbers.collect()
    }

    /// How many members each of these sets has.
    pub fn sizes(&mut self, sets: &[String]) -> anyhow::Result<Vec<u64>> {
        if sets.is_empty() {
            return Ok(Vec::new());
        }
        let mut pipeline = redis::pipe();
        for set in sets {
            pipeline.cmd("SCARD").arg(set);
        }
        Ok(pipeline.query(&mut self.connection)?)
    }

    /// Some members of a set, from a place on that an earlier call has returned, or from 0. The
    /// place is 0 at the end. A member may come twice.
    pub fn some_members(&mut self, set: &str, from: u64) -> anyhow::Result<(u64, Vec<String>)> {
        self.query(cmd("SSCAN").arg(set).arg(from).arg("COUNT").arg(SCANNED_AT_ONCE))
    }

    /// The ids that have reported stats of a kind; of gauges, those of the period that began at
    /// `start`.
    pub fn ids(&mut self, kind: StatKind, start: Option<u64>) -> anyhow::Result<BTreeSet<String>> {
        let end = start.map(|start| format!(":{start}")).unwrap_or_default();
        let pattern = format!("{}:detail:*{end}", kind.word());
        let mut ids = BTreeSet::new();
        let mut place = 0;
        loop {
            let mut scan = cmd("SCAN");
            scan.arg(place).arg("MATCH").arg(&pattern).arg("COUNT").arg(SCANNED_AT_ONCE);
            let (next, keys): (u64, Vec<String>) = self.query(&scan)?;
            ids.extend(keys.iter().filter_map(|key| kind.id_of(key)).map(str::to_owned));
            if next == 0 {
                return Ok(ids);
            }
            place = next;
        }
    }

    fn names(&mut self, set: &str) -> anyhow::Result<BTreeSet<String>> {
        self.query(cmd("SMEMBERS").arg(set))
    }

    fn query<T: FromRedisValue>(&mut self, command: &redis::Cmd) -> anyhow::Result<T> {
        command.query(&mut self.connection).context("Redis does not answer as expected")
    }
}

fn connection_info(address: &str, password: Option<&str>) -> anyhow::Result<ConnectionInfo> {
    let url = match address.split_once("://") {
        None => format!("redis://{address}"),
        Some(("redis", _)) => address.to_owned(),
        Some((scheme, _)) => bail!(
            "{scheme}:// is not understood here. Use redis://, through a tunnel if Redis wants TLS"
        ),
    };
    let info = url.as_str().into_connection_info().context("no address of a Redis")?;
    let settings = info.redis_settings().clone();
    Ok(match password {
        Some(password) => info.set_redis_settings(settings.set_password(password)),
        None => info,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_what_is_left_of_a_key_without_its_stat_and_period() {
        for (kind, key, id) in [
            (StatKind::Counter, "counter:detail:a:hits", Some("a")),
            (StatKind::Counter, "counter:detail:a:b:hits", Some("a:b")),
            (StatKind::Gauge, "gauge:detail:a:b:online:1395000000", Some("a:b")),
            (StatKind::Gauge, "gauge:detail:a:online", None),
            (StatKind::Counter, "counter:dim:a:b:hits", None),
        ] {
            assert_eq!(kind.id_of(key), id, "{key}");
        }
        let key = StatKind::Gauge.detail("a", &in_period("online", 360));
        assert_eq!(key, "gauge:detail:a:online:360");
    }

    #[test]
    fn an_address_is_a_host_or_a_url_and_the_password_is_apart() {
        for address in ["localhost", "localhost:6379", "redis://localhost:6379/0"] {
            let info = connection_info(address, Some("secret")).unwrap();
            assert_eq!(info.addr().to_string(), "localhost:6379");
            assert_eq!(info.redis_settings().password(), Some("secret"));
        }
        assert!(connection_info("rediss://localhost", None).is_err());
    }
}
