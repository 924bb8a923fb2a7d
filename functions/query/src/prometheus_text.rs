//! The text format of Prometheus, version 0.0.4.
//!
//! Source: *Exposition formats* and *Metric names and labels*, Prometheus documentation.

use std::{collections::BTreeMap, fmt::Write};

use shared::domain::{DimensionName, KeyStats, StatName};

use crate::{
    answer_format::DimensionText,
    kind::{Kind, numbers},
};

/// What no name of a gauge ends with: by convention, that is for counters, which never fall.
const TOTAL_SUFFIX: &str = "_total";

/// The lines of a key, one for each number.
pub(crate) fn key(dimension: &DimensionName, key: &str, stats: &KeyStats) -> String {
    let (label, value) = (label_name(dimension.as_str()), label_value(key));
    let mut lines = String::new();
    for (kind, stat, number) in numbers(stats) {
        let metric = metric_name(kind, stat);
        // Writing to a string does not fail.
        let _ = writeln!(lines, "{metric}{{{label}=\"{value}\"}} {number}");
    }
    lines
}

/// The body of the answer with these dimensions. All lines of a metric are together, as the format
/// wants it.
pub(crate) fn body<T: AsRef<str>>(dimensions: &[DimensionText<T>]) -> String {
    let mut metrics = BTreeMap::<&str, Vec<&str>>::new();
    for line in dimensions.iter().flat_map(|dimension| dimension.keys.as_ref().lines()) {
        let (metric, _) = line.split_once('{').unwrap_or((line, ""));
        metrics.entry(metric).or_default().push(line);
    }
    let mut body = String::new();
    for (metric, lines) in metrics {
        let help = help(metric);
        // Writing to a string does not fail.
        let _ = writeln!(body, "# HELP {metric} {help}\n# TYPE {metric} gauge");
        for line in lines {
            body += line;
            body.push('\n');
        }
    }
    body
}

fn prefix(kind: Kind) -> String {
    format!("statshub_{}_", kind.name())
}

/// The metric of a stat. Names of stats are fit for metrics, and the prefixes keep the kinds apart.
///
/// A name that would end with `_total` gets an underscore, and so does one that would end like a
/// name that has got some. Thus no two stats share a metric.
fn metric_name(kind: Kind, stat: &StatName) -> String {
    let mut name = prefix(kind) + stat.as_str();
    if name.trim_end_matches('_').ends_with(TOTAL_SUFFIX) {
        name.push('_');
    }
    name
}

fn help(metric: &str) -> &'static str {
    let kind = Kind::ALL.into_iter().find(|kind| metric.starts_with(&prefix(*kind)));
    match kind {
        Some(Kind::Counter) | None => "What the ids have reported of a counter, added up.",
        Some(Kind::Gauge) => "A gauge of the last full period, added up, or a number of members.",
        Some(Kind::Current) => "A gauge so far in the current period, added up.",
    }
}

/// The label of a dimension. A name that is valid stays as it is; any other is escaped as
/// Prometheus itself does it (*UTF-8 in Prometheus*, escaping by values): after `U__`, an
/// underscore is doubled, and what is not valid becomes its code point between underscores. Names
/// of dimensions are in lower case, so no valid one begins like that. Labels that begin with two
/// underscores are Prometheus' own.
fn label_name(dimension: &str) -> String {
    let is_valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let begins_well =
        !dimension.starts_with("__") && !dimension.starts_with(|c: char| c.is_ascii_digit());
    if begins_well && dimension.chars().all(is_valid) {
        return dimension.to_owned();
    }
    let mut escaped = String::from("U__");
    for (index, c) in dimension.chars().enumerate() {
        if c == '_' {
            escaped += "__";
        } else if is_valid(c) && !(index == 0 && c.is_ascii_digit()) {
            escaped.push(c);
        } else {
            // Writing to a string does not fail.
            let _ = write!(escaped, "_{:x}_", u32::from(c));
        }
    }
    escaped
}

fn label_value(key: &str) -> String {
    key.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use shared::domain::Sum;

    use super::*;
    use crate::samples::{counters, dimension, name, sums};

    #[test]
    fn all_lines_of_a_metric_are_together_under_its_type() {
        let stats = KeyStats { gauges: sums(&[("g", 1)]), ..counters(&[("a", 5)]) };
        let keys = key(&name("country"), "es", &stats) + &key(&name("country"), "fr", &stats);
        let users = key(&name("user"), "b\\\"c", &counters(&[("a", -1)]));
        let body = body(&[dimension("country", &keys), dimension("user", &users)]);
        assert_eq!(
            body,
            "# HELP statshub_counter_a What the ids have reported of a counter, added up.\n\
             # TYPE statshub_counter_a gauge\n\
             statshub_counter_a{country=\"es\"} 5\n\
             statshub_counter_a{country=\"fr\"} 5\n\
             statshub_counter_a{user=\"b\\\\\\\"c\"} -1\n\
             # HELP statshub_gauge_g A gauge of the last full period, added up, or a number of members.\n\
             # TYPE statshub_gauge_g gauge\n\
             statshub_gauge_g{country=\"es\"} 1\n\
             statshub_gauge_g{country=\"fr\"} 1\n"
        );
        assert_eq!(super::body::<&str>(&[]), "");
    }

    #[test]
    fn sums_have_all_their_digits() {
        let mut stats = counters(&[("a", 0)]);
        stats.counters.values_mut().for_each(|sum| *sum = Sum::MAX);
        let line = key(&name("d"), "k", &stats);
        assert_eq!(line, format!("statshub_counter_a{{d=\"k\"}} {}\n", "9".repeat(38)));
    }

    #[test]
    fn metrics_stay_apart_and_none_ends_like_a_counter() {
        let stats = [
            "a",
            "a_",
            "total",
            "total_",
            "total__",
            "x_total",
            "x_total_",
            "x_total__",
            "_total",
            "counter_a",
            "subtotal",
            "_",
            "__",
        ];
        let mut names = BTreeSet::new();
        for stat in stats {
            for kind in Kind::ALL {
                let name = metric_name(kind, &StatName::new(stat).unwrap());
                assert!(!name.ends_with("_total"), "{name}");
                assert!(names.insert(name.clone()), "{name}");
            }
        }
        assert!(names.contains("statshub_counter_a") && names.contains("statshub_gauge_subtotal"));
    }

    #[test]
    fn labels_are_valid_and_stay_apart() {
        let dimensions = [
            "country",
            "app_version",
            "app-version",
            "app version",
            "país",
            "pa_s",
            "1",
            "_1",
            "_31_",
            "u__1",
            "__name__",
            "_name_",
            "हिन्दी",
            "-",
            "_2d_",
            "a-",
            "a_2d_",
            "__",
            "a_-_",
        ];
        let mut labels = BTreeSet::new();
        for dimension in dimensions {
            let label = label_name(name(dimension).as_str());
            let is_valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
            assert!(label.chars().all(is_valid), "{label}");
            assert!(!label.starts_with("__") && !label.starts_with(|c: char| c.is_ascii_digit()));
            assert!(labels.insert(label.clone()), "{label}");
        }
        assert_eq!(label_name("country"), "country");
        assert_eq!(label_name("app-version_1"), "U__app_2d_version__1");
        assert_eq!(label_name("1"), "U___31_");
    }
}
