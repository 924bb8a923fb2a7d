//! The format `rows`: an array with an object for each number, which tools for tables understand.

use serde::Serialize;
use shared::domain::{DimensionName, KeyStats, Sum};

use crate::{answer_format::DimensionText, kind::numbers};

/// A number, and what it is of.
#[derive(Debug, Serialize)]
struct Row<'a> {
    dim: &'a str,
    key: &'a str,
    kind: &'static str,
    stat: &'a str,
    value: Sum,
}

/// The rows of a key, with commas between them.
///
/// # Errors
/// Never: names and sums always serialize.
pub(crate) fn key(
    dimension: &DimensionName,
    key: &str,
    stats: &KeyStats,
) -> Result<String, serde_json::Error> {
    let rows = numbers(stats).map(|(kind, stat, value)| {
        let (dim, kind, stat) = (dimension.as_str(), kind.name(), stat.as_str());
        serde_json::to_string(&Row { dim, key, kind, stat, value })
    });
    Ok(rows.collect::<Result<Vec<_>, _>>()?.join(","))
}

/// The body of the answer with these dimensions.
pub(crate) fn body<T: AsRef<str>>(dimensions: &[DimensionText<T>]) -> String {
    let rows = dimensions.iter().map(|dimension| dimension.keys.as_ref());
    let rows: Vec<_> = rows.filter(|rows| !rows.is_empty()).collect();
    format!("[{}]", rows.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::samples::{counters, dimension, name};

    #[test]
    fn a_row_has_the_names_of_its_number() {
        let rows = key(&name("d"), "a\"b", &counters(&[("x", -5), ("y", 0)])).unwrap();
        let expected = r#"[{"dim":"d","key":"a\"b","kind":"counter","stat":"x","value":-5},{"dim":"d","key":"a\"b","kind":"counter","stat":"y","value":0}]"#;
        assert_eq!(body(&[dimension("d", &rows), dimension("e", "")]), expected);
    }

    #[test]
    fn without_numbers_the_array_is_empty() {
        assert_eq!(key(&name("d"), "k", &KeyStats::default()).unwrap(), "");
        assert_eq!(body(&[dimension("d", "")]), "[]");
    }
}
