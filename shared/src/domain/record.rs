//! What a table means, as lines of JSON: an export. The lines don't depend on how it is stored.
//!
//! Sums are JSON integers of up to 38 digits, which programs that read numbers as doubles would
//! round.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::{
    Detail, DimensionKey, DimensionName, Id, Member, MemberSet, NameError, Overflow, Period,
    Placement, RollupKey, Share, Shares, StatName, Sum, Sums, UnixSeconds,
};

/// The version of the lines that are written and read.
const VERSION: u32 = 1;

/// A line of an export.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// The first line.
    Begin,
    /// A dimension.
    Dimension(DimensionName),
    /// A key of a dimension. Its sums follow from ids and sets.
    Key(KeyRecord),
    /// Members of a set, all of them or some.
    Members(MemberSet, BTreeSet<Member>),
    /// What an id has reported.
    Id(IdRecord),
    /// The last line: how many lines there are before it.
    End(u64),
}

/// A key, and what its rollup shows that does not follow from ids and sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyRecord {
    /// The key.
    pub of: RollupKey,
    /// Counters that it shows as zero, since no id holds anything of them any more.
    pub counters: BTreeSet<StatName>,
    /// Numbers of members that are zero.
    pub members: BTreeSet<StatName>,
    /// What ids that have moved to other keys left behind in gauges.
    pub gauges: BTreeMap<Period, Sums>,
}

/// What an id has reported, and what rollups hold of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdRecord {
    /// The id.
    pub id: Id,
    /// Its values, its keys and what each holds.
    pub detail: Detail,
    /// What it left behind under other keys.
    pub left: BTreeMap<RollupKey, Sums>,
}

/// Why a line is no record.
#[derive(Debug, thiserror::Error)]
pub enum RecordError {
    /// It is not JSON, or has not the fields of a record.
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    /// A name is not valid.
    #[error(transparent)]
    Name(#[from] NameError),
    /// A sum would need more than 38 digits.
    #[error(transparent)]
    Overflow(#[from] Overflow),
    /// Another version of statshub has written it.
    #[error("version {0} is not known: use the version of statshub that has written it")]
    Version(u32),
    /// A key holds something of a stat that the id does not have.
    #[error("the id has no {0}")]
    NoStat(StatName),
}

type SumsByName = BTreeMap<String, Sum>;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase", rename_all_fields = "camelCase", deny_unknown_fields)]
enum Line {
    Statshub {
        version: u32,
    },
    Dimension {
        name: String,
    },
    Key {
        dim: String,
        key: String,
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        counters: BTreeSet<String>,
        #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
        members: BTreeSet<String>,
        /// By the start of their period, in seconds since the Unix epoch.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        gauges: BTreeMap<u64, SumsByName>,
    },
    Set {
        dim: String,
        key: String,
        stat: String,
        members: BTreeSet<String>,
    },
    Id {
        id: String,
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        counters: SumsByName,
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        gauges: SumsByName,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        gauge_period: Option<u64>,
        /// By dimension.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        keys: BTreeMap<String, KeyLine>,
        /// By dimension and key.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        left: BTreeMap<String, BTreeMap<String, SumsByName>>,
    },
    End {
        lines: u64,
    },
}

/// A key that an id is at, and what it holds of its values: all of them, if nothing is said.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct KeyLine {
    key: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    counters: Option<SumsByName>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    gauges: Option<SumsByName>,
}

impl Record {
    /// The line of JSON.
    ///
    /// # Errors
    /// A sum would need more than 38 digits.
    pub fn to_json(&self) -> Result<String, RecordError> {
        Ok(serde_json::to_string(&self.to_line()?)?)
    }

    /// The record that a line of JSON is.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub fn from_json(line: &str) -> Result<Self, RecordError> {
        Ok(match serde_json::from_str(line)? {
            Line::Statshub { version: VERSION } => Self::Begin,
            Line::Statshub { version } => return Err(RecordError::Version(version)),
            Line::Dimension { name } => Self::Dimension(DimensionName::new(&name)?),
            Line::Key { dim, key, counters, members, gauges } => Self::Key(KeyRecord {
                of: rollup_key(&dim, &key)?,
                counters: stats(&counters)?,
                members: stats(&members)?,
                gauges: gauges
                    .iter()
                    .map(|(start, of)| Ok((period(*start), sums(of)?)))
                    .collect::<Result<_, NameError>>()?,
            }),
            Line::Set { dim, key, stat, members } => {
                let set = MemberSet { of: rollup_key(&dim, &key)?, stat: StatName::new(&stat)? };
                let members = members.iter().map(|member| Member::new(member));
                Self::Members(set, members.collect::<Result<_, _>>()?)
            }
            Line::Id { id, counters, gauges, gauge_period, keys, left } => {
                let mut detail = Detail {
                    counters: sums(&counters)?,
                    gauges: sums(&gauges)?,
                    gauge_period: gauge_period.map(period),
                    placements: BTreeMap::new(),
                };
                for (dimension, line) in &keys {
                    let placement = line.placement(&detail)?;
                    detail.placements.insert(DimensionName::new(dimension)?, placement);
                }
                let left = left.iter().flat_map(|(dimension, keys)| {
                    keys.iter().map(move |(key, of)| Ok((rollup_key(dimension, key)?, sums(of)?)))
                });
                let left = left.collect::<Result<_, NameError>>()?;
                Self::Id(IdRecord { id: Id::new(&id)?, detail, left })
            }
            Line::End { lines } => Self::End(lines),
        })
    }

    fn to_line(&self) -> Result<Line, Overflow> {
        Ok(match self {
            Self::Begin => Line::Statshub { version: VERSION },
            Self::Dimension(name) => Line::Dimension { name: name.to_string() },
            Self::Key(record) => Line::Key {
                dim: record.of.dimension.to_string(),
                key: record.of.key.to_string(),
                counters: record.counters.iter().map(ToString::to_string).collect(),
                members: record.members.iter().map(ToString::to_string).collect(),
                gauges: record
                    .gauges
                    .iter()
                    .map(|(period, sums)| (period.start().0, by_name(sums)))
                    .collect(),
            },
            Self::Members(set, members) => Line::Set {
                dim: set.of.dimension.to_string(),
                key: set.of.key.to_string(),
                stat: set.stat.to_string(),
                members: members.iter().map(ToString::to_string).collect(),
            },
            Self::Id(record) => record.to_line()?,
            Self::End(lines) => Line::End { lines: *lines },
        })
    }
}

impl IdRecord {
    fn to_line(&self) -> Result<Line, Overflow> {
        let Self { id, detail, left } = self;
        let mut keys = BTreeMap::new();
        for (dimension, placement) in &detail.placements {
            let line = KeyLine {
                key: placement.key.to_string(),
                counters: held(&placement.counters, &detail.counters)?,
                gauges: held(&placement.gauges, &detail.gauges)?,
            };
            keys.insert(dimension.to_string(), line);
        }
        let mut left_by_dimension: BTreeMap<String, BTreeMap<_, _>> = BTreeMap::new();
        for (of, sums) in left {
            let keys = left_by_dimension.entry(of.dimension.to_string()).or_default();
            keys.insert(of.key.to_string(), by_name(sums));
        }
        Ok(Line::Id {
            id: id.to_string(),
            counters: by_name(&detail.counters),
            gauges: by_name(&detail.gauges),
            gauge_period: detail.gauge_period.map(|period| period.start().0),
            keys,
            left: left_by_dimension,
        })
    }
}

impl KeyLine {
    fn placement(&self, of: &Detail) -> Result<Placement, RecordError> {
        Ok(Placement {
            key: DimensionKey::new(&self.key)?,
            counters: shares(self.counters.as_ref(), &of.counters)?,
            gauges: shares(self.gauges.as_ref(), &of.gauges)?,
        })
    }
}

/// What a key holds of these values; none if it holds all of them.
fn held(shares: &Shares, values: &Sums) -> Result<Option<SumsByName>, Overflow> {
    match shares.all_whole() {
        true => Ok(None),
        false => Ok(Some(by_name(&shares.of(values)?))),
    }
}

fn shares(held: Option<&SumsByName>, values: &Sums) -> Result<Shares, RecordError> {
    let mut shares = Shares::default();
    let Some(held) = held else {
        return Ok(shares);
    };
    let held = sums(held)?;
    if let Some(stat) = held.keys().find(|stat| !values.contains_key(*stat)) {
        return Err(RecordError::NoStat(stat.clone()));
    }
    for (stat, value) in values {
        let share = match held.get(stat) {
            None => Share::Absent,
            Some(held) => Share::Less(value.checked_sub(*held)?),
        };
        shares.set(stat, share);
    }
    Ok(shares)
}

fn period(start: u64) -> Period {
    Period::starting_at(UnixSeconds(start))
}

fn rollup_key(dimension: &str, key: &str) -> Result<RollupKey, NameError> {
    Ok(RollupKey { dimension: DimensionName::new(dimension)?, key: DimensionKey::new(key)? })
}

fn stats(names: &BTreeSet<String>) -> Result<BTreeSet<StatName>, NameError> {
    names.iter().map(|name| StatName::new(name)).collect()
}

fn sums(by_name: &SumsByName) -> Result<Sums, NameError> {
    by_name.iter().map(|(name, sum)| Ok((StatName::new(name)?, *sum))).collect()
}

fn by_name(sums: &Sums) -> SumsByName {
    sums.iter().map(|(stat, sum)| (stat.to_string(), *sum)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_is_read_as_it_was_written() {
        for line in [
            r#"{"statshub":{"version":1}}"#,
            r#"{"dimension":{"name":"country"}}"#,
            r#"{"key":{"dim":"country","key":"es"}}"#,
            r#"{"key":{"dim":"country","key":"es","counters":["a"],"members":["m"],"gauges":{"360":{"g":-5}}}}"#,
            r#"{"set":{"dim":"country","key":"es","stat":"m","members":["One","two"]}}"#,
            r#"{"id":{"id":"I/1","counters":{"a":99999999999999999999999999999999999999,"b":0},"gauges":{"g":1},"gaugePeriod":360,"keys":{"d":{"key":"k"},"e":{"key":"x","counters":{"b":-3},"gauges":{}}},"left":{"e":{"y":{"a":7}}}}}"#,
            r#"{"end":{"lines":6}}"#,
        ] {
            let record = Record::from_json(line).unwrap();
            assert_eq!(record.to_json().unwrap(), line);
        }
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for (line, reason) in [
            ("", "EOF"),
            (r#"{"statshub":{"version":2}}"#, "version 2"),
            (r#"{"dimension":{"name":"a/b"}}"#, "a/b"),
            (r#"{"key":{"dim":"d","key":"total"}}"#, "reserved"),
            (r#"{"dimension":{"name":"d","more":1}}"#, "more"),
            (r#"{"id":{"id":"i","counters":{"a":1.5}}}"#, "column 34"),
            (r#"{"id":{"id":"i","keys":{"d":{"key":"k","counters":{"a":1}}}}}"#, "no a"),
        ] {
            let error = Record::from_json(line).unwrap_err().to_string();
            assert!(error.contains(reason), "{line}: {error}");
        }
    }
}
