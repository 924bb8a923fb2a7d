//! Deletion: what an id has reported is taken out of its detail, and out of the rollups that hold
//! it.
//!
//! A transaction of DynamoDB may be too small for all of it, so it happens in steps. After each of
//! them the rollups are the sums of what details say they hold: what is taken out of a rollup is
//! absent from then on in the id's shares. Whoever repeats a deletion that was interrupted finds
//! what is left.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    CellSums, Detail, DimensionKey, DimensionName, KeySelection, Overflow, Period, Placement,
    RollupKey, Share, Shares, StatName, StatPattern, Sum, Sums,
};

/// What an operator deletes of all ids: never all that they have reported.
#[derive(Debug, Clone, PartialEq)]
pub enum DeletionOfAllIds {
    /// What counts under these keys of a dimension.
    Keys(DimensionName, KeySelection),
    /// The stats that match a pattern, under whatever key.
    Stats(StatPattern),
}

/// What is deleted of an id's own.
#[derive(Debug, Clone, PartialEq)]
pub enum Deletion {
    /// All of it.
    Everything,
    /// What counts under these keys of a dimension, or under all of them if there is no list.
    Keys(DimensionName, Option<BTreeSet<DimensionKey>>),
    /// The stats that match a pattern, under whatever key.
    Stats(StatPattern),
}

/// A step of a deletion, for one id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeletionStep {
    /// The id's detail after it; `None` if nothing is left of it.
    pub after: Option<Detail>,
    /// What to add to rollups: the negative of what they held.
    pub rollups: BTreeMap<RollupKey, CellSums>,
    /// Whether nothing is left to delete after it.
    pub is_last: bool,
}

/// How much one step may take out of rollups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StepSize {
    /// The most rollups.
    pub rollups: usize,
    /// The most sums, over all rollups.
    pub sums: usize,
}

impl StepSize {
    /// So much that there is one step only.
    pub const UNLIMITED: Self = Self { rollups: usize::MAX, sums: usize::MAX };
    /// What fits into a transaction of DynamoDB, even if each rollup is as large as it may be (100
    /// actions, 4 MB), and even if all sums are those of one rollup (4 KB for an expression).
    pub const OF_TRANSACTION: Self = Self { rollups: 45, sums: 400 };
}

impl Deletion {
    /// Whether what counts under this key is deleted.
    #[must_use]
    pub fn covers_key(&self, dimension: &DimensionName, key: &DimensionKey) -> bool {
        match self {
            Self::Everything | Self::Stats(_) => true,
            Self::Keys(of, only) => {
                of == dimension && only.as_ref().is_none_or(|only| only.contains(key))
            }
        }
    }

    /// Whether this stat is deleted, of a key that is covered.
    #[must_use]
    pub fn covers_stat(&self, stat: &StatName) -> bool {
        match self {
            Self::Everything | Self::Keys(..) => true,
            Self::Stats(pattern) => pattern.matches(stat),
        }
    }

    /// The next step for an id whose detail is `before`; `None` if there is nothing to delete.
    /// Gauges are taken out of the rollups if those of their period still count.
    ///
    /// # Errors
    /// A sum would need more than 38 digits.
    pub fn step(
        &self,
        before: &Detail,
        counts: impl Fn(Period) -> bool,
        size: StepSize,
    ) -> Result<Option<DeletionStep>, Overflow> {
        let period = before.gauge_period.filter(|period| counts(*period));
        let mut step =
            Step { deletion: self, before, period, room: size, rollups: BTreeMap::new() };
        let mut partly = before.clone();
        let mut is_last = true;
        for (dimension, placement) in &mut partly.placements {
            if self.covers_key(dimension, &placement.key) {
                is_last &= step.take(dimension, placement)?;
            }
        }
        let after = match is_last {
            true => self.last(before),
            false => Some(partly),
        };
        let is_changed = after.as_ref() != Some(before);
        Ok(is_changed.then_some(DeletionStep { after, rollups: step.rollups, is_last }))
    }

    /// The detail after the last step.
    fn last(&self, before: &Detail) -> Option<Detail> {
        match self {
            Self::Everything => None,
            Self::Keys(..) => {
                let mut after = before.clone();
                after
                    .placements
                    .retain(|dimension, placement| !self.covers_key(dimension, &placement.key));
                Some(after)
            }
            Self::Stats(_) => Some(self.without_stats(before.clone())),
        }
    }

    fn without_stats(&self, mut detail: Detail) -> Detail {
        for placement in detail.placements.values_mut() {
            // Names that are no longer there have no shares.
            for stat in detail.counters.keys().filter(|stat| self.covers_stat(stat)) {
                placement.counters.set(stat, Share::Whole);
            }
            for stat in detail.gauges.keys().filter(|stat| self.covers_stat(stat)) {
                placement.gauges.set(stat, Share::Whole);
            }
        }
        detail.counters.retain(|stat, _| !self.covers_stat(stat));
        detail.gauges.retain(|stat, _| !self.covers_stat(stat));
        detail
    }
}

/// A step as it is made.
struct Step<'a> {
    deletion: &'a Deletion,
    before: &'a Detail,
    /// The period of the gauges, if they still count.
    period: Option<Period>,
    room: StepSize,
    rollups: BTreeMap<RollupKey, CellSums>,
}

impl Step<'_> {
    /// Takes out of a key's rollup what it holds of the id, as far as there is room. Whether that
    /// is all.
    fn take(
        &mut self,
        dimension: &DimensionName,
        placement: &mut Placement,
    ) -> Result<bool, Overflow> {
        if self.room.rollups == 0 {
            return Ok(false);
        }
        let before = self.before;
        let mut gain = CellSums::default();
        let mut is_all = true;
        is_all &= self.take_held(&mut placement.counters, &before.counters, &mut gain.counters)?;
        if let Some(period) = self.period {
            let mut gauges = Sums::new();
            is_all &= self.take_held(&mut placement.gauges, &before.gauges, &mut gauges)?;
            if !gauges.is_empty() {
                gain.gauges.insert(period, gauges);
            }
        }
        if gain.count() > 0 {
            self.room.rollups -= 1;
            let of = RollupKey { dimension: dimension.clone(), key: placement.key.clone() };
            self.rollups.insert(of, gain);
        }
        Ok(is_all)
    }

    fn take_held(
        &mut self,
        shares: &mut Shares,
        values: &BTreeMap<StatName, Sum>,
        gains: &mut Sums,
    ) -> Result<bool, Overflow> {
        // A zero has to leave no rollup.
        let deletion = self.deletion;
        let is_taken =
            |(stat, sum): &(StatName, Sum)| *sum != Sum::ZERO && deletion.covers_stat(stat);
        for (stat, sum) in shares.of(values)?.into_iter().filter(is_taken) {
            let Some(left) = self.room.sums.checked_sub(1) else {
                return Ok(false);
            };
            self.room.sums = left;
            shares.set(&stat, Share::Absent);
            gains.insert(stat, Sum::ZERO.checked_sub(sum)?);
        }
        Ok(true)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{PeriodLength, UnixSeconds, Update, plan};

    const NOW: UnixSeconds = UnixSeconds(3_600);

    fn period() -> Period {
        PeriodLength::DEFAULT.containing(NOW)
    }

    /// A detail after these updates, and the sums of what they added to rollups.
    fn after(updates: &[&str]) -> (Detail, BTreeMap<RollupKey, CellSums>) {
        let (mut detail, mut rollups) = (Detail::default(), BTreeMap::new());
        for update in updates {
            let update = Update::from_json(update.as_bytes()).unwrap();
            let plan = plan(&detail, &update, period(), BTreeMap::new()).unwrap();
            for (of, gain) in plan.rollups {
                rollups.entry(of).or_insert_with(CellSums::default).add(&gain).unwrap();
            }
            detail = plan.detail.unwrap();
        }
        (detail, rollups)
    }

    fn is_zero(sums: &CellSums) -> bool {
        let gauges = sums.gauges.values().flatten();
        sums.counters.iter().chain(gauges).all(|(_, sum)| *sum == Sum::ZERO)
    }

    const UPDATES: [&str; 3] = [
        r#"{"dims":{"d":"a","e":"x"},"counters":{"p":5,"z":0},"gauges":{"g":7}}"#,
        r#"{"dims":{"f":"y"},"counters":{"p":9},"increments":{"q":-2}}"#,
        r#"{"dims":{"d":"a"},"counters":{"p":20},"gauges":{"g":1,"h":2}}"#,
    ];

    #[test]
    fn steps_of_any_size_take_exactly_what_an_id_has_added() {
        for size in [
            StepSize { rollups: 1, sums: 1 },
            StepSize { rollups: 2, sums: 3 },
            StepSize::OF_TRANSACTION,
            StepSize::UNLIMITED,
        ] {
            let (detail, mut rollups) = after(&UPDATES);
            let mut detail = Some(detail);
            let mut steps = 0;
            while let Some(before) = detail {
                let step = Deletion::Everything.step(&before, |_| true, size).unwrap().unwrap();
                assert!(step.rollups.len() <= size.rollups);
                for (of, gain) in &step.rollups {
                    rollups.get_mut(of).unwrap().add(gain).unwrap();
                }
                assert_eq!(step.is_last, step.after.is_none());
                detail = step.after;
                steps += 1;
            }
            assert!(rollups.values().all(is_zero), "{size:?}: {rollups:?}");
            assert_eq!(steps == 1, size.sums > 100, "{size:?}: {steps}");
        }
    }

    #[test]
    fn gauges_whose_period_is_over_are_not_taken_out_of_anything() {
        let (detail, _) = after(&UPDATES);
        let step = Deletion::Everything.step(&detail, |_| false, StepSize::UNLIMITED);
        let step = step.unwrap().unwrap();
        assert!(step.rollups.values().all(|gain| gain.gauges.is_empty()), "{step:?}");
    }

    #[test]
    fn what_counts_under_other_keys_stays() {
        let (detail, rollups) = after(&UPDATES);
        let d = DimensionName::new("d").unwrap();
        let (a, b) = (DimensionKey::new("a").unwrap(), DimensionKey::new("b").unwrap());
        let of_key = |key: &DimensionKey| {
            let deletion = Deletion::Keys(d.clone(), Some([key.clone()].into()));
            deletion.step(&detail, |_| true, StepSize::UNLIMITED).unwrap()
        };
        assert_eq!(of_key(&b), None);
        let step = of_key(&a).unwrap();
        let of = RollupKey { dimension: d.clone(), key: a.clone() };
        assert_eq!(step.rollups.keys().collect::<Vec<_>>(), [&of]);
        let mut rollup = rollups.get(&of).unwrap().clone();
        rollup.add(step.rollups.get(&of).unwrap()).unwrap();
        assert!(is_zero(&rollup), "{rollup:?}");
        let left = step.after.unwrap();
        assert_eq!(left.counters, detail.counters);
        assert!(!left.placements.contains_key(&d) && left.placements.len() == 2);
    }

    #[test]
    fn stats_that_match_are_taken_from_everywhere_and_count_from_zero_when_they_come_back() {
        let (detail, mut rollups) = after(&UPDATES);
        let stats = |pattern| Deletion::Stats(StatPattern::new(pattern).unwrap());
        let none = stats("pg").step(&detail, |_| true, StepSize::UNLIMITED).unwrap();
        assert_eq!(none, None);
        let step = stats("?").step(&detail, |_| true, StepSize::UNLIMITED).unwrap().unwrap();
        for (of, gain) in &step.rollups {
            rollups.get_mut(of).unwrap().add(gain).unwrap();
        }
        assert!(rollups.values().all(is_zero), "{rollups:?}");
        let left = step.after.unwrap();
        assert!(left.counters.is_empty() && left.gauges.is_empty());
        assert!(left.placements.values().all(|placement| placement.counters.all_whole()));
        assert_eq!(left.placements.len(), 3);
        let again = Update::from_json(UPDATES[0].as_bytes()).unwrap();
        let plan = plan(&left, &again, period(), BTreeMap::new()).unwrap();
        let p = StatName::new("p").unwrap();
        let sums: Vec<_> = plan.rollups.values().map(|gain| gain.counters[&p]).collect();
        assert_eq!(sums, [Sum::from(5), Sum::from(5)]);
    }
}
