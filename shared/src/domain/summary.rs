//! What a query answers: the stats of a dimension's keys, and their totals.

use std::collections::{BTreeMap, BTreeSet};

use super::{DimensionKey, Overflow, StatName, Sum, Sums};

/// The rollups of one key, or the sums over all keys of a dimension.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KeyStats {
    /// Counters and increments.
    pub counters: BTreeMap<StatName, Sum>,
    /// Gauges of the prior period.
    pub gauges: BTreeMap<StatName, Sum>,
    /// Gauges of the current period.
    pub gauges_current: BTreeMap<StatName, Sum>,
    /// Numbers of unique members.
    pub members: BTreeMap<StatName, Sum>,
}

impl KeyStats {
    /// The names of its stats. One may come more than once.
    pub fn names(&self) -> impl Iterator<Item = &StatName> {
        let groups = [&self.counters, &self.gauges, &self.gauges_current, &self.members];
        groups.into_iter().flat_map(Sums::keys)
    }

    /// Adds `other`, stat by stat.
    ///
    /// # Errors
    /// A sum would need more than 38 digits.
    pub fn add(&mut self, other: &Self) -> Result<(), Overflow> {
        self.add_naming(other).map(drop)
    }

    /// Adds `other`, and returns the bytes of the names that are new.
    fn add_naming(&mut self, other: &Self) -> Result<usize, Overflow> {
        Ok(add_sums(&mut self.counters, &other.counters)?
            + add_sums(&mut self.gauges, &other.gauges)?
            + add_sums(&mut self.gauges_current, &other.gauges_current)?
            + add_sums(&mut self.members, &other.members)?)
    }

    /// The same without other stats than these.
    #[must_use]
    pub fn only(mut self, stats: &BTreeSet<StatName>) -> Self {
        let groups =
            [&mut self.counters, &mut self.gauges, &mut self.gauges_current, &mut self.members];
        for group in groups {
            group.retain(|stat, _| stats.contains(stat));
        }
        self
    }

    /// What is reported as `gauges`: the gauges of the prior period and the numbers of unique
    /// members. If a dimension has both under one name, the number of members is reported.
    #[must_use]
    pub fn gauges_and_members(&self) -> BTreeMap<&StatName, Sum> {
        let members = self.members.iter();
        self.gauges.iter().chain(members).map(|(stat, sum)| (stat, *sum)).collect()
    }
}

/// Adds sums, stat by stat. Returns the bytes of the names that are new.
pub(super) fn add_sums(sums: &mut Sums, more: &Sums) -> Result<usize, Overflow> {
    if sums.len() == more.len() && sums.keys().eq(more.keys()) {
        // As it is with nearly all keys of a dimension.
        for (sum, value) in sums.values_mut().zip(more.values()) {
            *sum = sum.checked_add(*value)?;
        }
        return Ok(0);
    }
    let mut named = 0;
    for (stat, value) in more {
        if let Some(sum) = sums.get_mut(stat) {
            *sum = sum.checked_add(*value)?;
        } else {
            named += stat.as_str().len();
            sums.insert(stat.clone(), *value);
        }
    }
    Ok(named)
}

/// The sums over keys, of which one is held at a time.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Total {
    stats: KeyStats,
    name_bytes: usize,
}

impl Total {
    /// Adds the stats of a key.
    ///
    /// # Errors
    /// A total would need more than 38 digits.
    pub fn add(&mut self, stats: &KeyStats) -> Result<(), Overflow> {
        self.name_bytes += self.stats.add_naming(stats)?;
        Ok(())
    }

    /// The sums.
    #[must_use]
    pub fn stats(&self) -> &KeyStats {
        &self.stats
    }

    /// How many bytes the names of the stats have. The total is at least as large, however it is
    /// written.
    #[must_use]
    pub fn name_bytes(&self) -> usize {
        self.name_bytes
    }
}

/// The stats of every key of a dimension, and their totals.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DimensionSummary {
    keys: BTreeMap<DimensionKey, KeyStats>,
    total: KeyStats,
}

impl DimensionSummary {
    /// Adds the stats of one cell of one key's rollup.
    ///
    /// # Errors
    /// A sum or a total would need more than 38 digits.
    pub fn add(&mut self, key: DimensionKey, stats: &KeyStats) -> Result<(), Overflow> {
        self.total.add(stats)?;
        self.keys.entry(key).or_default().add(stats)
    }

    /// The keys and their stats, in the order of the keys.
    pub fn keys(&self) -> impl Iterator<Item = (&DimensionKey, &KeyStats)> {
        self.keys.iter()
    }

    /// The sums over all keys.
    #[must_use]
    pub fn total(&self) -> &KeyStats {
        &self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sums(stat: &str, value: i64) -> BTreeMap<StatName, Sum> {
        [(StatName::new(stat).unwrap(), value.into())].into()
    }

    #[test]
    fn cells_of_a_key_add_up_and_keys_add_up_to_the_total() {
        let mut summary = DimensionSummary::default();
        for (key, value) in [("es", 1), ("es", 2), ("fr", -5)] {
            let stats = KeyStats { counters: sums("a", value), ..KeyStats::default() };
            summary.add(DimensionKey::new(key).unwrap(), &stats).unwrap();
        }
        let keys: Vec<_> = summary.keys().map(|(_, stats)| stats.counters.clone()).collect();
        assert_eq!(keys, [sums("a", 3), sums("a", -5)]);
        assert_eq!(summary.total().counters, sums("a", -2));
    }

    #[test]
    fn a_total_is_the_sum_of_keys_and_knows_the_bytes_of_its_names() {
        let mut total = Total::default();
        for (stat, value) in [("a", 1), ("bcd", 2), ("a", 3)] {
            let stats = KeyStats { counters: sums(stat, value), ..KeyStats::default() };
            total.add(&stats).unwrap();
        }
        assert_eq!(
            total.stats().counters,
            [sums("a", 4), sums("bcd", 2)].into_iter().flatten().collect()
        );
        assert_eq!(total.name_bytes(), 4);
        let only = total.stats().clone().only(&[StatName::new("bcd").unwrap()].into());
        assert_eq!(only.counters, sums("bcd", 2));
    }

    #[test]
    fn a_name_used_for_a_gauge_and_for_members_reports_the_members() {
        let stats = KeyStats { gauges: sums("x", 7), members: sums("x", 2), ..KeyStats::default() };
        let reported: Vec<_> = stats.gauges_and_members().into_values().collect();
        assert_eq!(reported, [Sum::from(2)]);
    }
}
