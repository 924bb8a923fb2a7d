//! Values as they change: what `statshub tail` shows.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::stats_rows::StatsRow;

/// Which value: the dimension, the key, the kind and the stat.
pub type Name = [String; 4];

/// A value, and how fast it changes.
#[derive(Debug, Clone, PartialEq)]
pub struct LiveValue {
    /// The value, as the service wrote it.
    pub text: String,
    number: Option<i128>,
    /// How much it has changed in a second since the look before; none at the first look.
    pub per_second: Option<f64>,
}

/// The values of the last look.
#[derive(Debug, Default)]
pub struct LiveValues {
    values: BTreeMap<Name, LiveValue>,
    has_looked: bool,
}

impl LiveValues {
    /// Notes what a look has found, so long after the one before. Returns which values have changed,
    /// or are new.
    pub fn note(&mut self, rows: Vec<StatsRow>, since: Duration) -> BTreeSet<Name> {
        let mut changed = BTreeSet::new();
        let mut values = BTreeMap::new();
        for row in rows {
            let number = row.number();
            let name = [row.dim, row.key, row.kind, row.stat];
            let text = row.value.get().to_owned();
            let before = self.values.get(&name);
            if before.is_none_or(|before| before.text != text) {
                changed.insert(name.clone());
            }
            // What appears was zero before.
            let old = before.map_or(Some(0), |before| before.number);
            let gain = number.zip(old).and_then(|(new, old)| new.checked_sub(old));
            let per_second = gain.filter(|_| self.has_looked).map(|gain| rate(gain, since));
            values.insert(name, LiveValue { text, number, per_second });
        }
        self.values = values;
        self.has_looked = true;
        changed
    }

    /// Notes that a look has found nothing new.
    pub fn note_nothing_new(&mut self) {
        for value in self.values.values_mut() {
            value.per_second = Some(0.0);
        }
    }

    /// A value of the last look.
    #[must_use]
    pub fn get(&self, name: &Name) -> Option<&LiveValue> {
        self.values.get(name)
    }

    /// All values, those that change fastest first.
    #[must_use]
    pub fn fastest_first(&self) -> Vec<(&Name, &LiveValue)> {
        let speed = |value: &LiveValue| value.per_second.unwrap_or_default().abs();
        let mut values: Vec<_> = self.values.iter().collect();
        values.sort_by(|(_, one), (_, other)| speed(other).total_cmp(&speed(one)));
        values
    }
}

#[expect(clippy::cast_precision_loss, reason = "for a rate with a few digits")]
fn rate(gain: i128, since: Duration) -> f64 {
    gain as f64 / since.as_secs_f64().max(0.001)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(values: &[(&str, &str)]) -> Vec<StatsRow> {
        let row = |(key, value): &(&str, &str)| {
            format!(r#"{{"dim":"d","key":"{key}","kind":"counter","stat":"x","value":{value}}}"#)
        };
        values.iter().map(|of| serde_json::from_str(&row(of)).unwrap()).collect()
    }

    fn keys<'a>(names: impl IntoIterator<Item = &'a Name>) -> Vec<&'a str> {
        names.into_iter().map(|[_, key, ..]| key.as_str()).collect()
    }

    fn rates(values: &LiveValues) -> Vec<(&str, Option<f64>)> {
        let fastest = values.fastest_first();
        fastest.into_iter().map(|(name, value)| (name[1].as_str(), value.per_second)).collect()
    }

    #[test]
    fn rates_are_of_the_time_between_two_looks_and_the_first_has_none() {
        let (second, mut values) = (Duration::from_secs(1), LiveValues::default());
        let big = "1".repeat(38);
        let changed = values.note(rows(&[("a", "5"), ("b", "7"), ("c", &big)]), second);
        assert_eq!(keys(&changed), ["a", "b", "c"]);
        assert_eq!(rates(&values), [("a", None), ("b", None), ("c", None)]);

        let changed = values.note(rows(&[("a", "5"), ("b", "3"), ("d", "1")]), second * 2);
        assert_eq!(keys(&changed), ["b", "d"]);
        assert_eq!(rates(&values), [("b", Some(-2.0)), ("d", Some(0.5)), ("a", Some(0.0))]);

        values.note_nothing_new();
        assert!(rates(&values).iter().all(|(_, rate)| *rate == Some(0.0)));
    }
}
