//! The SQL of a question.
//!
//! Values are parameters. Names of tables and columns can't be: they come from types that allow no
//! quotes, and are checked here once more.

use bigquery::{Parameter, Query};
use shared::{domain::TOTAL, http::KeyChoice};

use crate::{
    question::{Aggregate, Question},
    tiers::Tier,
};

/// A name that can't be quoted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no name of a dataset, table or column")]
pub(crate) struct UnsafeName(String);

/// What the parameters of a tier are called: its end, the length of its steps, and their offset.
#[derive(Debug, Clone, Copy)]
struct TierParameters {
    to: &'static str,
    step: &'static str,
    offset: &'static str,
}

const LAST: TierParameters = TierParameters { to: "to", step: "step", offset: "offset" };
/// Those of older tiers, the oldest first.
const OLDER: [TierParameters; 2] = [
    TierParameters { to: "to_1", step: "step_1", offset: "offset_1" },
    TierParameters { to: "to_2", step: "step_2", offset: "offset_2" },
];

impl TierParameters {
    fn parameters(self, tier: &Tier) -> [(&'static str, Parameter); 3] {
        [
            (self.to, Parameter::Integer(tier.to)),
            (self.step, Parameter::Integer(tier.step.seconds())),
            (self.offset, Parameter::Integer(tier.step.offset())),
        ]
    }

    /// The seconds from the start of a row's step to the row.
    fn since_start(self) -> String {
        let Self { step, offset, .. } = self;
        format!("MOD(UNIX_SECONDS(`_ts`) + @{offset}, @{step})")
    }
}

/// The query that answers a question from a column of the dimension's table. Its rows are a key,
/// the start of a step in Unix seconds, and a value, in the order of keys and steps.
///
/// The condition on `_ts` lets BigQuery read only the partitions of the range.
///
/// # Errors
/// A name can't be quoted.
pub(crate) fn query(
    question: &Question,
    dataset: &str,
    column: &str,
    max_bytes_billed: u64,
) -> Result<Query, UnsafeName> {
    let tiers = &question.tiers;
    let table = format!("{}.{}", quoted(dataset)?, quoted(question.dimension.as_str())?);
    let value = format!("{}.{}", quoted(question.group.name())?, quoted(column)?);
    let aggregate = match question.aggregate {
        Aggregate::Last => "MAX_BY(`value`, `at`)",
        Aggregate::Min => "MIN(`value`)",
        Aggregate::Max => "MAX(`value`)",
        Aggregate::Avg => "AVG(`value`)",
    };

    let mut parameters = vec![("from", Parameter::Integer(tiers.from()))];
    let mut cases = Vec::new();
    for (names, tier) in OLDER.into_iter().zip(tiers.older()) {
        let (to, since_start) = (names.to, names.since_start());
        cases.push(format!("WHEN `_ts` < TIMESTAMP_SECONDS(@{to}) THEN {since_start}"));
        parameters.extend(names.parameters(tier));
    }
    let mut since_start = LAST.since_start();
    if !cases.is_empty() {
        since_start = format!("CASE {} ELSE {since_start} END", cases.join(" "));
    }
    parameters.extend(LAST.parameters(tiers.last()));

    let key = match &question.keys {
        KeyChoice::All => None,
        KeyChoice::Total => Some(TOTAL),
        KeyChoice::One(key) => Some(key.as_str()),
    };
    let of_key = if key.is_some() { " AND `_dim` = @key" } else { "" };
    parameters.extend(key.map(|key| ("key", Parameter::Text(key.to_owned()))));

    let sql = format!(
        "SELECT `key`, `ts`, {aggregate} AS `value` \
         FROM (\
         SELECT `_dim` AS `key`, UNIX_SECONDS(`_ts`) - {since_start} AS `ts`, `_ts` AS `at`, \
         {value} AS `value` \
         FROM {table} \
         WHERE `_ts` >= TIMESTAMP_SECONDS(@from) AND `_ts` < TIMESTAMP_SECONDS(@to){of_key} \
         AND {value} IS NOT NULL\
         ) \
         GROUP BY `key`, `ts` ORDER BY `key`, `ts`"
    );
    Ok(Query { sql, parameters, max_bytes_billed })
}

/// A name in quotes. It may have neither a dot nor a star, which mean something even there.
fn quoted(name: &str) -> Result<String, UnsafeName> {
    let is_safe = |c: char| !matches!(c, '`' | '\\' | '.' | '*') && !c.is_control();
    match !name.is_empty() && name.chars().all(is_safe) {
        true => Ok(format!("`{name}`")),
        false => Err(UnsafeName(name.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use shared::domain::{DimensionName, Group};

    use super::*;
    use crate::samples::request;

    fn question(key: &str, parameters: &str) -> Question {
        request(key, parameters).unwrap().question
    }

    fn integer(name: &'static str, value: i64) -> (&'static str, Parameter) {
        (name, Parameter::Integer(value))
    }

    #[test]
    fn one_tier_and_one_key() {
        let question = question("es", "from=2026-11-23T00:00:00Z&to=2026-11-24T00:00:00Z&step=10m");
        let query = query(&question, "statshub", "counterA", 5).unwrap();
        assert_eq!(
            query.sql,
            "SELECT `key`, `ts`, MAX_BY(`value`, `at`) AS `value` FROM (\
             SELECT `_dim` AS `key`, UNIX_SECONDS(`_ts`) - MOD(UNIX_SECONDS(`_ts`) + @offset, @step) AS \
             `ts`, `_ts` AS `at`, `counter`.`counterA` AS `value` FROM `statshub`.`country` \
             WHERE `_ts` >= TIMESTAMP_SECONDS(@from) AND `_ts` < TIMESTAMP_SECONDS(@to) \
             AND `_dim` = @key AND `counter`.`counterA` IS NOT NULL) \
             GROUP BY `key`, `ts` ORDER BY `key`, `ts`"
        );
        assert_eq!(
            query.parameters,
            [
                integer("from", 1_795_392_000),
                integer("to", 1_795_478_400),
                integer("step", 600),
                integer("offset", 0),
                ("key", Parameter::Text("es".to_owned())),
            ]
        );
        assert_eq!(query.max_bytes_billed, 5);
    }

    #[test]
    fn all_tiers_and_all_keys_in_one_scan() {
        let query = query(&question("*", ""), "statshub", "counterA", 5).unwrap();
        let since_start = "UNIX_SECONDS(`_ts`) - CASE \
             WHEN `_ts` < TIMESTAMP_SECONDS(@to_1) THEN MOD(UNIX_SECONDS(`_ts`) + @offset_1, @step_1) \
             WHEN `_ts` < TIMESTAMP_SECONDS(@to_2) THEN MOD(UNIX_SECONDS(`_ts`) + @offset_2, @step_2) \
             ELSE MOD(UNIX_SECONDS(`_ts`) + @offset, @step) END AS `ts`";
        assert!(query.sql.contains(since_start), "{}", query.sql);
        assert!(!query.sql.contains("@key"), "{}", query.sql);
        assert_eq!(query.sql.matches("FROM `").count(), 1, "{}", query.sql);
        let names: Vec<_> = query.parameters.iter().map(|(name, _)| *name).collect();
        let expected = [
            "from", "to_1", "step_1", "offset_1", "to_2", "step_2", "offset_2", "to", "step",
            "offset",
        ];
        assert_eq!(names, expected);
    }

    #[test]
    fn aggregates_groups_and_the_total() {
        for (aggregate, expected) in [
            ("last", "MAX_BY(`value`, `at`) AS"),
            ("min", "MIN(`value`) AS"),
            ("max", "MAX(`value`) AS"),
            ("avg", "AVG(`value`) AS"),
        ] {
            let question = Question {
                group: Group::Gauge,
                ..question("total", &format!("aggregate={aggregate}"))
            };
            let query = query(&question, "d", "x", 5).unwrap();
            assert!(query.sql.contains(expected), "{}", query.sql);
            assert!(query.sql.contains("`gauge`.`x` IS NOT NULL"), "{}", query.sql);
            assert!(query.parameters.contains(&("key", Parameter::Text("total".to_owned()))));
        }
    }

    #[test]
    fn the_sql_uses_exactly_the_parameters_that_are_sent() {
        for (key, parameters) in [("*", ""), ("es", ""), ("total", "step=1w"), ("*", "step=1h")] {
            let query = query(&question(key, parameters), "statshub", "x", 5).unwrap();
            let words = query.sql.split('@').skip(1);
            let used = words.map(|rest| {
                rest.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').next().unwrap()
            });
            let used: std::collections::BTreeSet<_> = used.collect();
            assert_eq!(used, query.parameters.iter().map(|(name, _)| *name).collect());
            assert_eq!(used.len(), query.parameters.len());
        }
    }

    #[test]
    fn the_text_of_a_client_is_in_the_parameters_only() {
        for key in [
            "'; drop table `country`; --",
            "@key",
            "\\' or 1=1 --",
            "%60",
            "日本",
            "`",
            "es\u{2019}",
        ] {
            let evil = query(&question(key, ""), "statshub", "x", 5).unwrap();
            let harmless = query(&question("es", ""), "statshub", "x", 5).unwrap();
            assert_eq!(evil.sql, harmless.sql);
            assert!(evil.parameters.contains(&("key", Parameter::Text(key.to_owned()))));
        }
    }

    #[test]
    fn names_are_quoted_and_those_that_would_end_the_quotes_are_refused() {
        for dimension in ["país", "app version", "user-agent", "हिन्दी", "select"] {
            let dimension = DimensionName::new(dimension).unwrap();
            let table = format!(" FROM `statshub`.`{dimension}` WHERE");
            let question = Question { dimension, ..question("es", "") };
            assert!(query(&question, "statshub", "x", 5).unwrap().sql.contains(&table));
        }
        let question = question("es", "");
        for name in ["a`b", "a\\", "`", "a.b", "a*", "", "a\nb", "x` FROM `y", "x\\`; DROP TABLE y"]
        {
            let refused = Err(UnsafeName(name.to_owned()));
            assert_eq!(query(&question, "statshub", name, 5), refused);
            assert_eq!(query(&question, name, "x", 5), refused);
        }
    }
}
