//! Stats and dimensions for the unit tests.

use std::collections::BTreeMap;

use shared::domain::{DimensionName, KeyStats, StatName, Sum};

use crate::answer_format::DimensionText;

pub(crate) fn sums(values: &[(&str, i64)]) -> BTreeMap<StatName, Sum> {
    values.iter().map(|(stat, value)| (StatName::new(stat).unwrap(), (*value).into())).collect()
}

pub(crate) fn counters(values: &[(&str, i64)]) -> KeyStats {
    KeyStats { counters: sums(values), ..KeyStats::default() }
}

pub(crate) fn name(dimension: &str) -> DimensionName {
    DimensionName::new(dimension).unwrap()
}

pub(crate) fn dimension(dimension: &str, keys: &str) -> DimensionText<String> {
    DimensionText { dimension: name(dimension), keys: keys.to_owned() }
}
