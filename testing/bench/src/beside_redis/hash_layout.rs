//! The best that Redis can do: a hash for each key with all its stats, and one for each id. A query
//! needs one command a key, and an update two round trips.
//!
//! | key | holds |
//! | --- | --- |
//! | `dims` | a set: the dimensions |
//! | `keys:<dimension>` | a set: the keys of a dimension |
//! | `stats:<dimension>:<key>` | a hash: `c:<stat>` sums, `m:<stat>` numbers of members, `g<period>:<stat>` gauges |
//! | `set:<dimension>:<key>:<stat>` | a set: the members |
//! | `id:<id>` | a hash: `c:<stat>` counters, `g<period>:<stat>` gauges of the id |

use std::collections::BTreeMap;

use model::UpdateBody;
use redis::{Pipeline, pipe};

use super::{
    periods::Periods,
    redis_client::RedisClient,
    stats_answer::{DimensionStats, Group, KeyStats},
};

const DIMENSIONS: &str = "dims";

fn keys_of(dimension: &str) -> String {
    format!("keys:{dimension}")
}

fn rollup(dimension: &str, key: &str) -> String {
    format!("stats:{dimension}:{key}")
}

fn counter(stat: &str) -> String {
    format!("c:{stat}")
}

fn number_of_members(stat: &str) -> String {
    format!("m:{stat}")
}

fn gauge(stat: &str, period: u64) -> String {
    format!("g{period}:{stat}")
}

/// What the hash of a rollup gains, by field.
type Gains = BTreeMap<String, i64>;

/// Counts what an id reports.
pub(super) fn update(
    redis: &mut RedisClient,
    id: &str,
    report: &UpdateBody,
    periods: Periods,
) -> anyhow::Result<()> {
    let detail = format!("id:{id}");
    let (gains, mut members) = read(redis, &detail, report, periods)?;
    let mut commands = pipe();
    write_detail(&mut commands, &detail, report, periods);
    for (dimension, key) in &report.dims {
        let rollup = rollup(dimension, key);
        let of_members = members.remove(dimension).unwrap_or_default();
        for (field, gain) in gains.iter().chain(&of_members) {
            commands.cmd("HINCRBY").arg(&rollup).arg(field).arg(gain);
        }
        forget_gauges(&mut commands, &rollup, report, periods);
        add_key(&mut commands, dimension, key);
    }
    redis.write(&commands)
}

/// The first round trip: what all rollups gain, and what members add to the rollup of each
/// dimension.
fn read(
    redis: &mut RedisClient,
    detail: &str,
    report: &UpdateBody,
    periods: Periods,
) -> anyhow::Result<(Gains, BTreeMap<String, Gains>)> {
    let mut gains = Gains::new();
    gains.extend(report.counters.iter().map(|(stat, value)| (counter(stat), *value)));
    let gauges = report.gauges.iter();
    gains.extend(gauges.map(|(stat, value)| (gauge(stat, periods.current), *value)));
    let fields: Vec<_> = gains.keys().cloned().collect();

    let mut commands = pipe();
    if !fields.is_empty() {
        commands.cmd("HMGET").arg(detail).arg(&fields);
    }
    for (dimension, key) in &report.dims {
        for (stat, member) in report.all_members() {
            commands.cmd("SADD").arg(format!("set:{dimension}:{key}:{stat}")).arg(member);
        }
    }
    let mut answers = match commands.is_empty() {
        true => Vec::new(),
        false => redis.send::<Vec<redis::Value>>(&commands)?,
    }
    .into_iter();

    if !fields.is_empty() {
        let before = answers.next().unwrap_or(redis::Value::Nil);
        let before: Vec<Option<i64>> = redis::from_redis_value(before)?;
        for (gain, before) in gains.values_mut().zip(before) {
            *gain = gain.wrapping_sub(before.unwrap_or_default());
        }
    }
    for (stat, value) in &report.increments {
        let gain = gains.entry(counter(stat)).or_default();
        *gain = gain.wrapping_add(*value);
    }
    let mut members: BTreeMap<String, Gains> = BTreeMap::new();
    for dimension in report.dims.keys() {
        let of_dimension = members.entry(dimension.clone()).or_default();
        for ((stat, _), added) in report.all_members().zip(&mut answers) {
            *of_dimension.entry(number_of_members(stat)).or_default() +=
                redis::from_redis_value::<i64>(added)?;
        }
    }
    Ok((gains, members))
}

fn write_detail(commands: &mut Pipeline, detail: &str, report: &UpdateBody, periods: Periods) {
    let counters = report.counters.iter().map(|(stat, value)| (counter(stat), *value));
    let gauges = report.gauges.iter();
    let gauges = gauges.map(|(stat, value)| (gauge(stat, periods.current), *value));
    let values: Vec<_> = counters.chain(gauges).collect();
    if !values.is_empty() {
        commands.cmd("HSET").arg(detail).arg(values);
    }
    for (stat, value) in &report.increments {
        commands.cmd("HINCRBY").arg(detail).arg(counter(stat)).arg(value);
    }
    forget_gauges(commands, detail, report, periods);
}

/// Removes gauges that nobody asks for any more, as far as an update knows their names. Fields of a
/// hash do not expire.
fn forget_gauges(commands: &mut Pipeline, hash: &str, report: &UpdateBody, periods: Periods) {
    if report.gauges.is_empty() {
        return;
    }
    let expired: Vec<_> = report.gauges.keys().map(|stat| gauge(stat, periods.expired())).collect();
    commands.cmd("HDEL").arg(hash).arg(expired);
}

fn add_key(commands: &mut Pipeline, dimension: &str, key: &str) {
    commands.cmd("SADD").arg(DIMENSIONS).arg(dimension);
    commands.cmd("SADD").arg(keys_of(dimension)).arg(key);
}

/// The stats of a dimension, or of all.
pub(super) fn query(
    redis: &mut RedisClient,
    dimension: Option<&str>,
    periods: Periods,
) -> anyhow::Result<Vec<DimensionStats<String>>> {
    let names = match dimension {
        Some(name) => vec![name.to_owned()],
        None => redis.names(DIMENSIONS)?,
    };
    let mut sets = pipe();
    for name in &names {
        sets.cmd("SMEMBERS").arg(keys_of(name));
    }
    let keys: Vec<Vec<String>> = match names.is_empty() {
        true => Vec::new(),
        false => redis.send(&sets)?,
    };
    let mut hashes = pipe();
    for (name, keys) in names.iter().zip(&keys) {
        for key in keys {
            hashes.cmd("HGETALL").arg(rollup(name, key));
        }
    }
    let rollups: Vec<Vec<(String, i64)>> = match hashes.is_empty() {
        true => Vec::new(),
        false => redis.send(&hashes)?,
    };
    let groups = [
        ("c:".to_owned(), Group::Counters),
        ("m:".to_owned(), Group::Gauges),
        (gauge("", periods.prior()), Group::Gauges),
        (gauge("", periods.current), Group::GaugesCurrent),
    ];
    let mut rollups = rollups.into_iter();
    let dimensions = names.into_iter().zip(keys).map(|(name, keys)| {
        let keys = keys.into_iter().zip(&mut rollups);
        let keys = keys.map(|(key, fields)| (key, key_stats(fields, &groups))).collect();
        DimensionStats { name, keys }
    });
    Ok(dimensions.collect())
}

/// What is in a hash, by the beginnings of its fields. Others have expired.
fn key_stats(fields: Vec<(String, i64)>, groups: &[(String, Group)]) -> KeyStats<String> {
    let mut stats = KeyStats::default();
    for (mut field, value) in fields {
        let group = groups.iter().find(|(start, _)| field.starts_with(start));
        if let Some((start, group)) = group {
            field.drain(..start.len());
            stats.add(*group, field, value);
        }
    }
    stats
}

/// Writes a key with these counters.
pub(super) fn add_rollup(
    commands: &mut Pipeline,
    dimension: &str,
    key: &str,
    counters: &[(String, i64)],
) {
    let counters: Vec<_> = counters.iter().map(|(stat, value)| (counter(stat), *value)).collect();
    commands.cmd("HSET").arg(rollup(dimension, key)).arg(counters);
    add_key(commands, dimension, key);
}
