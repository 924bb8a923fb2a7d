//! The rows of a slot, in newline-delimited JSON as BigQuery loads it.

use std::collections::BTreeMap;

use bigquery::{ColumnError, Columns, Group};
use bytes::{BufMut, BytesMut};
use serde::{Serialize, Serializer, ser::SerializeMap};
use shared::domain::{DimensionKey, KeyStats, Overflow, StatName, Sum, TOTAL, UnixSeconds};
use time::{OffsetDateTime, format_description::well_known::Rfc3339};

/// How many of the stats that have no column are named.
const MAX_NAMED_STATS: usize = 5;

/// The greatest integer that BigQuery reads exactly from a JSON number; greater ones are written as
/// text. Source: *Loading JSON data from Cloud Storage*, BigQuery documentation.
const MAX_JSON_INTEGER: u64 = (1 << 53) - 1;

/// Why a row can't be written.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RowError {
    /// The column of a stat is not as it must be.
    #[error(transparent)]
    Column(#[from] ColumnError),
    /// A total would need more than 38 digits.
    #[error(transparent)]
    Overflow(#[from] Overflow),
    /// Never: names and integers always serialize.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// Writes the rows of a dimension's keys, and the row of their total.
#[derive(Debug)]
pub(crate) struct Rows {
    time: String,
    columns: Columns,
    /// Only of stats that have a column, so that it does not grow without bounds.
    total: KeyStats,
    left_out: LeftOut,
}

/// What was left out of the rows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct LeftOut {
    pub(crate) beyond_64_bits: Beyond64Bits,
    pub(crate) without_column: WithoutColumn,
}

/// Fields that were left out, since their sums are beyond 64 bits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Beyond64Bits {
    /// How many there are.
    pub(crate) count: u64,
    /// The key, record and stat of the first one.
    pub(crate) first: Option<(String, Group, StatName)>,
}

/// Values of keys that were left out, since the table has no room for columns of their stats.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct WithoutColumn {
    /// How many there are. Totals don't count.
    pub(crate) count: u64,
    /// The first of these stats, [`MAX_NAMED_STATS`] at most.
    pub(crate) first: Vec<(Group, StatName)>,
}

impl WithoutColumn {
    fn add(&mut self, group: Group, stat: &StatName) {
        self.count += 1;
        let is_named = self.first.iter().any(|named| (named.0, &named.1) == (group, stat));
        if self.first.len() < MAX_NAMED_STATS && !is_named {
            self.first.push((group, stat.clone()));
        }
    }

    /// The first of these stats by their records and names, such as `counter.a, gauge.b`.
    pub(crate) fn names(&self) -> String {
        let names = self.first.iter().map(|(group, stat)| format!("{}.{stat}", group.name()));
        names.collect::<Vec<_>>().join(", ")
    }
}

#[derive(Serialize)]
struct Row<'a> {
    #[serde(rename = "_dim")]
    key: &'a str,
    #[serde(rename = "_ts")]
    time: &'a str,
    #[serde(skip_serializing_if = "FieldValues::is_empty")]
    counter: FieldValues<'a>,
    #[serde(skip_serializing_if = "FieldValues::is_empty")]
    gauge: FieldValues<'a>,
}

struct FieldValues<'a> {
    columns: &'a Columns,
    group: Group,
    values: Vec<(&'a StatName, i64)>,
}

impl Rows {
    /// The rows of the slot that begins at `start`, for a table with these columns.
    pub(crate) fn new(start: UnixSeconds, columns: Columns) -> Self {
        Self {
            time: rfc3339(start),
            columns,
            total: KeyStats::default(),
            left_out: LeftOut::default(),
        }
    }

    /// Writes the row of a key.
    ///
    /// # Errors
    /// See [`RowError`].
    pub(crate) fn key(
        &mut self,
        key: &DimensionKey,
        stats: &KeyStats,
        to: &mut BytesMut,
    ) -> Result<(), RowError> {
        self.row(key.as_str(), stats, to)?;
        self.add_to_total(stats)?;
        Ok(())
    }

    /// Adds the stats that have a column.
    fn add_to_total(&mut self, stats: &KeyStats) -> Result<(), Overflow> {
        let total = &mut self.total;
        for (group, total, sums) in [
            (Group::Counter, &mut total.counters, &stats.counters),
            (Group::Gauge, &mut total.gauges, &stats.gauges),
            (Group::Gauge, &mut total.members, &stats.members),
        ] {
            let has_column = |stat: &StatName| self.columns.assigned(group, stat).is_some();
            for (stat, sum) in sums.iter().filter(|(stat, _)| has_column(stat)) {
                let total = total.entry(stat.clone()).or_default();
                *total = total.checked_add(*sum)?;
            }
        }
        Ok(())
    }

    /// Writes the row of the total of all keys that were written.
    ///
    /// # Errors
    /// See [`RowError`].
    pub(crate) fn total(&mut self, to: &mut BytesMut) -> Result<(), RowError> {
        let total = std::mem::take(&mut self.total);
        self.row(TOTAL, &total, to)
    }

    /// The columns that the table needs.
    pub(crate) fn columns(&self) -> &Columns {
        &self.columns
    }

    /// What was left out.
    pub(crate) fn into_left_out(self) -> LeftOut {
        self.left_out
    }

    fn row(&mut self, key: &str, stats: &KeyStats, to: &mut BytesMut) -> Result<(), RowError> {
        let counters = stats.counters.iter().map(|(stat, sum)| (stat, *sum)).collect();
        let gauges = stats.gauges_and_members();
        let [counters, gauges] = [(Group::Counter, counters), (Group::Gauge, gauges)]
            .map(|(group, sums)| self.values(key, group, sums));
        let (counters, gauges) = (counters?, gauges?);
        let columns = &self.columns;
        let row = Row {
            key,
            time: &self.time,
            counter: FieldValues { columns, group: Group::Counter, values: counters },
            gauge: FieldValues { columns, group: Group::Gauge, values: gauges },
        };
        serde_json::to_writer(to.writer(), &row)?;
        to.put_u8(b'\n');
        Ok(())
    }

    /// The sums that BigQuery can hold, after giving each a column while there is room.
    fn values<'a>(
        &mut self,
        key: &str,
        group: Group,
        sums: BTreeMap<&'a StatName, Sum>,
    ) -> Result<Vec<(&'a StatName, i64)>, ColumnError> {
        let mut values = Vec::with_capacity(sums.len());
        let LeftOut { beyond_64_bits, without_column } = &mut self.left_out;
        for (stat, sum) in sums {
            if self.columns.column(group, stat)?.is_none() {
                without_column.add(group, stat);
                continue;
            }
            match i64::try_from(sum) {
                Ok(value) => values.push((stat, value)),
                Err(_) => {
                    beyond_64_bits.count += 1;
                    let first = &mut beyond_64_bits.first;
                    first.get_or_insert_with(|| (key.to_owned(), group, stat.clone()));
                }
            }
        }
        Ok(values)
    }
}

impl FieldValues<'_> {
    fn is_empty(&self) -> bool {
        self.values.is_empty()
    }
}

impl Serialize for FieldValues<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.values.len()))?;
        for (stat, value) in &self.values {
            let column = self.columns.assigned(self.group, stat).unwrap_or(stat.as_str());
            if value.unsigned_abs() <= MAX_JSON_INTEGER {
                map.serialize_entry(column, value)?;
            } else {
                map.serialize_entry(column, &value.to_string())?;
            }
        }
        map.end()
    }
}

/// A moment as BigQuery reads it, in UTC.
pub(crate) fn rfc3339(moment: UnixSeconds) -> String {
    let seconds = i64::try_from(moment.0).unwrap_or(i64::MAX);
    let moment = OffsetDateTime::from_unix_timestamp(seconds).ok();
    // RFC 3339, in which events give their time, has no years beyond 9999.
    moment.and_then(|moment| moment.format(&Rfc3339).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use bigquery::Schema;
    use serde_json::{Value, json};

    use super::*;

    fn sums<const N: usize>(sums: [(&str, &str); N]) -> BTreeMap<StatName, Sum> {
        sums.map(|(stat, sum)| (StatName::new(stat).unwrap(), sum.parse().unwrap())).into()
    }

    fn written(keys: &[(&str, KeyStats)]) -> (Vec<Value>, u64) {
        let (rows, left_out) = written_to(Columns::of(&Schema::new()).unwrap(), keys);
        assert_eq!(left_out.without_column, WithoutColumn::default());
        (rows, left_out.beyond_64_bits.count)
    }

    fn written_to(columns: Columns, keys: &[(&str, KeyStats)]) -> (Vec<Value>, LeftOut) {
        let mut rows = Rows::new(UnixSeconds(1_200), columns);
        let mut text = BytesMut::new();
        for (key, stats) in keys {
            rows.key(&DimensionKey::new(key).unwrap(), stats, &mut text).unwrap();
        }
        rows.total(&mut text).unwrap();
        let lines = std::str::from_utf8(&text).unwrap().lines();
        let lines = lines.map(|line| serde_json::from_str(line).unwrap()).collect();
        (lines, rows.into_left_out())
    }

    #[test]
    fn a_row_for_each_key_and_one_for_the_total() {
        let es = KeyStats {
            counters: sums([("a", "5"), ("zero", "0")]),
            gauges: sums([("g", "7")]),
            members: sums([("m", "2")]),
            gauges_current: sums([("now", "1")]),
        };
        let fr = KeyStats { counters: sums([("a", "-6")]), ..KeyStats::default() };
        let only_now = KeyStats { gauges_current: sums([("now", "1")]), ..KeyStats::default() };
        let ts = "1970-01-01T00:20:00Z";
        let (rows, left_out) = written(&[("es", es), ("fr", fr), ("q\"\u{2028}", only_now)]);
        assert_eq!(
            rows,
            [
                json!({"_dim":"es","_ts":ts,"counter":{"a":5,"zero":0},"gauge":{"g":7,"m":2}}),
                json!({"_dim":"fr","_ts":ts,"counter":{"a":-6}}),
                json!({"_dim":"q\"\u{2028}","_ts":ts}),
                json!({"_dim":"total","_ts":ts,"counter":{"a":-1,"zero":0},"gauge":{"g":7,"m":2}}),
            ]
        );
        assert_eq!(left_out, 0);
    }

    #[test]
    fn sums_beyond_64_bits_are_left_out_and_counted_and_large_ones_are_text() {
        let large =
            |sum| KeyStats { counters: sums([("x", sum), ("y", "1")]), ..KeyStats::default() };
        let max = "9223372036854775807";
        let (rows, left_out) = written(&[
            ("a", large(max)),
            ("b", large("9007199254740991")),
            ("c", large("9223372036854775808")),
        ]);
        assert_eq!(rows[0]["counter"], json!({"x": max, "y": 1}));
        assert_eq!(rows[1]["counter"], json!({"x": 9_007_199_254_740_991_u64, "y": 1}));
        assert_eq!(rows[2]["counter"], json!({"y": 1}));
        assert_eq!(rows[3]["counter"], json!({"y": 3}));
        assert_eq!(left_out, 2);
    }

    #[test]
    fn what_has_no_column_is_left_out_of_rows_and_total_counted_and_named_a_few_times() {
        let names: Vec<_> = (0..8).map(|i| format!("new{i}")).collect();
        let new = names.iter().map(|name| (StatName::new(name).unwrap(), Sum::from(1)));
        let mut counters = sums([("old", "5")]);
        counters.extend(new);
        let stats = || KeyStats { counters: counters.clone(), ..KeyStats::default() };
        let members = || KeyStats { members: sums([("m", "2")]), ..KeyStats::default() };
        let mut had = Columns::of(&Schema::new()).unwrap();
        had.column(Group::Counter, &StatName::new("old").unwrap()).unwrap();
        let (rows, left_out) =
            written_to(had.without_new(), &[("es", stats()), ("fr", stats()), ("it", members())]);
        let ts = "1970-01-01T00:20:00Z";
        assert_eq!(
            rows,
            [
                json!({"_dim":"es","_ts":ts,"counter":{"old":5}}),
                json!({"_dim":"fr","_ts":ts,"counter":{"old":5}}),
                json!({"_dim":"it","_ts":ts}),
                json!({"_dim":"total","_ts":ts,"counter":{"old":10}}),
            ]
        );
        assert_eq!(left_out.without_column.count, 17);
        let names = "counter.new0, counter.new1, counter.new2, counter.new3, counter.new4";
        assert_eq!(left_out.without_column.names(), names);
    }

    #[test]
    fn a_dimension_without_keys_has_a_total() {
        let (rows, _) = written(&[]);
        assert_eq!(rows, [json!({"_dim":"total","_ts":"1970-01-01T00:20:00Z"})]);
    }
}
