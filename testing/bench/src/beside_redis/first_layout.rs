//! The first statshub's way: each stat of each key has a key of its own in Redis.
//!
//! It sends the commands that the first statshub sent, and waits where that waited. What it left to
//! its pool of connections, a `PING` before each request, is not there.

use std::{collections::BTreeMap, sync::Arc};

use model::UpdateBody;
use redis::{Pipeline, pipe};
use statshub::first_statshub::{DIMENSIONS, StatKind, in_period, keys_of};

use super::{
    periods::Periods,
    redis_client::RedisClient,
    stats_answer::{DimensionStats, Group, KeyStats},
};

/// The key of totals. The first statshub asked for its stats too, though nobody can report it.
const TOTAL: &str = "total";

/// Counts what an id reports.
pub(super) fn update(
    redis: &mut RedisClient,
    id: &str,
    report: &UpdateBody,
    periods: Periods,
) -> anyhow::Result<()> {
    set(redis, StatKind::Counter, id, report, &report.counters, None)?;
    increment(redis, id, report)?;
    set(redis, StatKind::Gauge, id, report, &report.gauges, Some(periods))?;
    add_members(redis, id, report)?;
    let mut dimensions = pipe();
    for (dimension, key) in &report.dims {
        add_key(&mut dimensions, dimension, key);
    }
    redis.write(&dimensions)
}

/// Sets the values of an id, and adds to rollups by how much they have changed.
fn set(
    redis: &mut RedisClient,
    kind: StatKind,
    id: &str,
    report: &UpdateBody,
    values: &BTreeMap<String, i64>,
    periods: Option<Periods>,
) -> anyhow::Result<()> {
    if values.is_empty() {
        return Ok(());
    }
    let expire = |commands: &mut Pipeline, key: &str| {
        if let Some(periods) = periods {
            commands.cmd("EXPIREAT").arg(key).arg(periods.expiry());
        }
    };
    let named: Vec<_> = values
        .iter()
        .map(|(stat, value)| match periods {
            Some(periods) => (in_period(stat, periods.current), *value),
            None => (stat.clone(), *value),
        })
        .collect();
    let mut details = pipe();
    for (stat, value) in &named {
        details.cmd("GETSET").arg(kind.detail(id, stat)).arg(value);
    }
    for (stat, _) in &named {
        expire(&mut details, &kind.detail(id, stat));
    }
    let before: Vec<Option<i64>> = redis.send(&details)?;
    let mut rollups = pipe();
    for ((stat, value), before) in named.iter().zip(before) {
        let gain = value.wrapping_sub(before.unwrap_or_default());
        for (dimension, key) in &report.dims {
            let rollup = kind.rollup(dimension, key, stat);
            rollups.cmd("INCRBY").arg(&rollup).arg(gain);
            expire(&mut rollups, &rollup);
        }
    }
    remember(&mut rollups, kind, values.keys());
    redis.write(&rollups)
}

fn increment(redis: &mut RedisClient, id: &str, report: &UpdateBody) -> anyhow::Result<()> {
    if report.increments.is_empty() {
        return Ok(());
    }
    let mut commands = pipe();
    for (stat, value) in &report.increments {
        commands.cmd("INCRBY").arg(StatKind::Counter.detail(id, stat)).arg(value);
        for (dimension, key) in &report.dims {
            commands.cmd("INCRBY").arg(StatKind::Counter.rollup(dimension, key, stat)).arg(value);
        }
    }
    remember(&mut commands, StatKind::Counter, report.increments.keys());
    redis.write(&commands)
}

fn add_members(redis: &mut RedisClient, id: &str, report: &UpdateBody) -> anyhow::Result<()> {
    let mut commands = pipe();
    for (stat, member) in report.all_members() {
        commands.cmd("SADD").arg(StatKind::Member.detail(id, stat)).arg(member);
        for (dimension, key) in &report.dims {
            commands.cmd("SADD").arg(StatKind::Member.rollup(dimension, key, stat)).arg(member);
        }
    }
    if !commands.is_empty() {
        let stats = report.members.keys().chain(report.multi_members.keys());
        remember(&mut commands, StatKind::Member, stats);
    }
    redis.write(&commands)
}

/// Remembers stats, for queries.
fn remember<'a>(commands: &mut Pipeline, kind: StatKind, stats: impl Iterator<Item = &'a String>) {
    commands.cmd("SADD").arg(kind.known_stats()).arg(stats.collect::<Vec<_>>());
}

fn add_key(commands: &mut Pipeline, dimension: &str, key: &str) {
    commands.cmd("SADD").arg(DIMENSIONS).arg(dimension);
    commands.cmd("SADD").arg(keys_of(dimension)).arg(key);
}

/// The stats of a dimension, or of all. Each known stat is asked for under each key, whether that
/// has it or not.
pub(super) fn query(
    redis: &mut RedisClient,
    dimension: Option<&str>,
    periods: Periods,
) -> anyhow::Result<Vec<DimensionStats<Arc<str>>>> {
    let names = match dimension {
        Some(name) => vec![name.to_owned()],
        None => redis.names(DIMENSIONS)?,
    };
    let mut dimensions = Vec::new();
    for name in names {
        let keys = redis.names(&keys_of(&name))?.into_iter().chain([TOTAL.to_owned()]);
        let keys = keys.map(|key| (key, KeyStats::default())).collect();
        dimensions.push(DimensionStats { name, keys });
    }
    read(redis, &mut dimensions, StatKind::Counter, Group::Counters, None)?;
    read(redis, &mut dimensions, StatKind::Gauge, Group::Gauges, Some(periods.prior()))?;
    read(redis, &mut dimensions, StatKind::Gauge, Group::GaugesCurrent, Some(periods.current))?;
    read(redis, &mut dimensions, StatKind::Member, Group::Gauges, None)?;
    for dimension in &mut dimensions {
        dimension.keys.pop();
    }
    Ok(dimensions)
}

fn read(
    redis: &mut RedisClient,
    dimensions: &mut [DimensionStats<Arc<str>>],
    kind: StatKind,
    group: Group,
    period: Option<u64>,
) -> anyhow::Result<()> {
    let command = match kind {
        StatKind::Counter | StatKind::Gauge => "GET",
        StatKind::Member => "SCARD",
    };
    let stats = redis.names(&kind.known_stats())?;
    if stats.is_empty() {
        return Ok(());
    }
    // Name of the stat, and what its keys in Redis end with.
    let stats: Vec<(Arc<str>, String)> = stats
        .into_iter()
        .map(|stat| match period {
            Some(period) => ((&*stat).into(), in_period(&stat, period)),
            None => ((&*stat).into(), stat),
        })
        .collect();
    let mut commands = pipe();
    for dimension in &*dimensions {
        for (key, _) in &dimension.keys {
            for (_, stat) in &stats {
                commands.cmd(command).arg(kind.rollup(&dimension.name, key, stat));
            }
        }
    }
    let mut values = redis.send::<Vec<Option<i64>>>(&commands)?.into_iter();
    for (_, found) in dimensions.iter_mut().flat_map(|dimension| &mut dimension.keys) {
        for ((stat, _), value) in stats.iter().zip(&mut values) {
            // A set that isn't there has no members.
            let value = value.filter(|value| kind != StatKind::Member || *value > 0);
            if let Some(value) = value {
                found.add(group, stat.clone(), value);
            }
        }
    }
    Ok(())
}

/// Writes a key with these counters.
pub(super) fn add_rollup(
    commands: &mut Pipeline,
    dimension: &str,
    key: &str,
    counters: &[(String, i64)],
) {
    for (stat, value) in counters {
        commands.cmd("SET").arg(StatKind::Counter.rollup(dimension, key, stat)).arg(value);
    }
    add_key(commands, dimension, key);
}
