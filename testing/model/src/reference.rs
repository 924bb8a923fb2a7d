//! The contract, as plain maps.

use std::collections::{BTreeMap, BTreeSet};

use crate::{Numbers, ShownGroup, StatPlace, UpdateBody};

/// A dimension, a key of it, and a stat.
type SumPlace = (String, String, String);
type SumsByPlace = BTreeMap<SumPlace, i128>;

/// What was counted, and what it adds up to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferenceModel {
    /// The length of a period of gauges, in seconds.
    period_seconds: u64,
    ids: BTreeMap<String, LastValues>,
    counters: SumsByPlace,
    /// By the start of the period.
    gauges: BTreeMap<u64, SumsByPlace>,
    members: BTreeMap<SumPlace, BTreeSet<String>>,
}

/// An id's last values.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct LastValues {
    counters: BTreeMap<String, i128>,
    gauges: BTreeMap<String, i128>,
    /// The start of the period of the gauges.
    period: u64,
}

impl ReferenceModel {
    /// A model that has counted nothing, with periods of this length in seconds.
    #[must_use]
    pub fn new(period_seconds: u64) -> Self {
        Self {
            period_seconds,
            ids: BTreeMap::new(),
            counters: SumsByPlace::new(),
            gauges: BTreeMap::new(),
            members: BTreeMap::new(),
        }
    }

    /// Counts an update of an id that was made at `now`, in seconds since the Unix epoch.
    pub fn count(&mut self, id: &str, update: &UpdateBody, now: u64) {
        let period = self.period_at(now);
        let dims = &update.dims;
        let values = self.ids.entry(id.to_owned()).or_default();
        for (stat, value) in &update.counters {
            let value = i128::from(*value);
            let old = values.counters.insert(stat.clone(), value).unwrap_or_default();
            add(&mut self.counters, dims, stat, value - old);
        }
        for (stat, value) in &update.increments {
            let value = i128::from(*value);
            *values.counters.entry(stat.clone()).or_default() += value;
            add(&mut self.counters, dims, stat, value);
        }
        if values.period != period {
            values.period = period;
            values.gauges.clear();
        }
        for (stat, value) in &update.gauges {
            let value = i128::from(*value);
            let old = values.gauges.insert(stat.clone(), value).unwrap_or_default();
            add(self.gauges.entry(period).or_default(), dims, stat, value - old);
        }
        for (stat, member) in update.all_members() {
            for place in places(dims, stat) {
                self.members.entry(place).or_default().insert(member.clone());
            }
        }
    }

    /// Adds what other ids reported.
    pub fn merge(&mut self, other: &Self) {
        self.ids.extend(other.ids.iter().map(|(id, values)| (id.clone(), values.clone())));
        merge(&mut self.counters, &other.counters);
        for (period, gauges) in &other.gauges {
            merge(self.gauges.entry(*period).or_default(), gauges);
        }
        for (set, members) in &other.members {
            self.members.entry(set.clone()).or_default().extend(members.iter().cloned());
        }
    }

    /// The last values of an id: its counters, and as `current …` its gauges of the period at
    /// `now`.
    #[must_use]
    pub fn values(&self, id: &str, now: u64) -> BTreeMap<String, i128> {
        let Some(values) = self.ids.get(id) else {
            return BTreeMap::new();
        };
        let counters = values.counters.iter().map(|(stat, value)| (stat.clone(), *value));
        let is_current = values.period == self.period_at(now);
        let gauges = values.gauges.iter().filter(|_| is_current);
        let gauges = gauges.map(|(stat, value)| (format!("current {stat}"), *value));
        counters.chain(gauges).collect()
    }

    /// What queries show at `now`, totals included.
    #[must_use]
    pub fn numbers(&self, now: u64) -> Numbers {
        let mut numbers = Numbers::new();
        let current = self.period_at(now);
        let prior = current.checked_sub(self.period_seconds);
        let gauges = |period| self.gauges.get(&period).into_iter().flatten();
        let sums = [
            (ShownGroup::Counters, self.counters.iter().collect::<Vec<_>>()),
            (ShownGroup::GaugesCurrent, gauges(current).collect()),
            (ShownGroup::Gauges, prior.into_iter().flat_map(gauges).collect()),
        ];
        for (group, sums) in sums {
            for (place, sum) in sums {
                show(&mut numbers, place, group, *sum);
            }
        }
        for (place, members) in &self.members {
            let count = i128::try_from(members.len()).unwrap_or_default();
            show(&mut numbers, place, ShownGroup::Members, count);
        }
        numbers
    }

    /// What queries answer at `now`, totals included: there, the numbers of members are among the
    /// gauges.
    #[must_use]
    pub fn answers(&self, now: u64) -> Numbers {
        let numbers = self.numbers(now).into_iter().map(|(mut place, number)| {
            if place.group == ShownGroup::Members {
                place.group = ShownGroup::Gauges;
            }
            (place, number)
        });
        numbers.collect()
    }

    /// All dimensions that have stats.
    #[must_use]
    pub fn dimensions(&self) -> BTreeSet<&str> {
        let gauges = self.gauges.values().flat_map(SumsByPlace::keys);
        let places = self.counters.keys().chain(gauges).chain(self.members.keys());
        places.map(|(dimension, ..)| dimension.as_str()).collect()
    }

    fn period_at(&self, now: u64) -> u64 {
        now - now % self.period_seconds.max(1)
    }
}

fn places(dims: &BTreeMap<String, String>, stat: &str) -> impl Iterator<Item = SumPlace> {
    dims.iter().map(move |(dimension, key)| (dimension.clone(), key.clone(), stat.to_owned()))
}

fn add(sums: &mut SumsByPlace, dims: &BTreeMap<String, String>, stat: &str, delta: i128) {
    for place in places(dims, stat) {
        *sums.entry(place).or_default() += delta;
    }
}

fn merge(sums: &mut SumsByPlace, more: &SumsByPlace) {
    for (place, delta) in more {
        *sums.entry(place.clone()).or_default() += delta;
    }
}

/// Shows a number under its key and in the total.
fn show(numbers: &mut Numbers, place: &SumPlace, group: ShownGroup, number: i128) {
    let (dimension, key, stat) = place;
    for key in [key.as_str(), "total"] {
        let place = StatPlace {
            dimension: dimension.clone(),
            key: key.to_owned(),
            group,
            stat: stat.clone(),
        };
        *numbers.entry(place).or_default() += number;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERIOD: u64 = 360;

    fn one<T>(name: &str, value: T) -> BTreeMap<String, T> {
        BTreeMap::from([(name.to_owned(), value)])
    }

    fn update(country: &str) -> UpdateBody {
        UpdateBody { dims: one("country", country.to_owned()), ..UpdateBody::default() }
    }

    fn shown(numbers: &Numbers, group: ShownGroup) -> Vec<String> {
        let of_group = numbers.iter().filter(|(place, _)| place.group == group);
        of_group.map(|(place, number)| format!("{} {} {number}", place.key, place.stat)).collect()
    }

    #[test]
    fn an_id_that_moves_adds_its_further_gains_to_the_new_key() {
        let mut model = ReferenceModel::new(PERIOD);
        for update in [
            UpdateBody { counters: one("c", 5), ..update("es") },
            UpdateBody { increments: one("c", 2), ..update("fr") },
            UpdateBody { counters: one("c", 4), ..update("fr") },
        ] {
            model.count("id", &update, 0);
        }
        assert_eq!(
            shown(&model.numbers(0), ShownGroup::Counters),
            ["es c 5", "fr c -1", "total c 4"]
        );
        assert_eq!(model.values("id", 0), one("c", 4));
    }

    #[test]
    fn a_counter_that_is_set_and_incremented_has_both() {
        let mut model = ReferenceModel::new(PERIOD);
        let both = UpdateBody { counters: one("c", 5), increments: one("c", 2), ..update("es") };
        model.count("id", &both, 0);
        model.count("id", &both, 0);
        assert_eq!(shown(&model.numbers(0), ShownGroup::Counters), ["es c 7", "total c 7"]);
    }

    #[test]
    fn gauges_begin_anew_in_each_period_and_members_stay() {
        let mut model = ReferenceModel::new(PERIOD);
        let both = UpdateBody {
            gauges: one("g", 3),
            members: one("m", "a".to_owned()),
            multi_members: one("m", vec!["a".to_owned(), "b".to_owned()]),
            ..update("es")
        };
        for now in [0, 10, PERIOD] {
            model.count("id", &both, now);
        }
        let mut merged = ReferenceModel::new(PERIOD);
        merged.merge(&model);
        let numbers = merged.numbers(PERIOD);
        assert_eq!(shown(&numbers, ShownGroup::GaugesCurrent), ["es g 3", "total g 3"]);
        assert_eq!(shown(&numbers, ShownGroup::Gauges), ["es g 3", "total g 3"]);
        assert_eq!(shown(&numbers, ShownGroup::Members), ["es m 2", "total m 2"]);
        let later = merged.answers(3 * PERIOD);
        assert_eq!(shown(&later, ShownGroup::Gauges), ["es m 2", "total m 2"]);
        assert_eq!(merged.values("id", PERIOD), one("current g", 3));
        assert_eq!(merged.values("id", 2 * PERIOD), BTreeMap::new());
    }
}
