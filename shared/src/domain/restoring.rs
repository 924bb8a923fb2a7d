//! Restoring an id: what it had reported comes back, with its part of every rollup.
//!
//! It is the reverse of a deletion, and goes in steps for the same reason. At first the rollups hold
//! nothing of the id: everything is absent in its shares. With each step some of them become what
//! they were, and the rollups gain as much. Whoever repeats it after an interruption finds what is
//! left to do.

use std::collections::BTreeMap;

use super::{
    CellSums, Detail, DimensionName, IdRecord, Overflow, Period, Placement, RollupKey, Share,
    Shares, StepSize, Sums,
};

/// What is stored of an id.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StoredId {
    /// Its detail.
    pub detail: Detail,
    /// What it left behind.
    pub left: BTreeMap<RollupKey, Sums>,
}

/// What there is to do next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restoring {
    /// Nothing: all of it is there.
    Done,
    /// Nothing: the id has something else by now.
    Different,
    /// A step.
    Step(RestoringStep),
}

/// A step of restoring an id.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RestoringStep {
    /// The detail after it.
    pub after: Detail,
    /// What to add to rollups.
    pub rollups: BTreeMap<RollupKey, CellSums>,
    /// What to note as left behind.
    pub left: BTreeMap<RollupKey, Sums>,
}

impl IdRecord {
    /// The next step of restoring the id, of which so much is `stored`. Gauges are added to rollups
    /// if those of their period still count.
    ///
    /// # Errors
    /// A sum would need more than 38 digits.
    pub fn restore(
        &self,
        stored: Option<&StoredId>,
        counts: impl Fn(Period) -> bool,
        size: StepSize,
    ) -> Result<Restoring, Overflow> {
        let before = match stored {
            None => StoredId { detail: self.all_absent(), left: BTreeMap::new() },
            Some(stored) if self.may_become_of(stored) => stored.clone(),
            Some(_) => return Ok(Restoring::Different),
        };
        let period = self.detail.gauge_period.filter(|period| counts(*period));
        let mut step = Step { record: self, period, room: size, rollups: BTreeMap::new() };
        let mut after = before.detail.clone();
        for (dimension, placement) in &mut after.placements {
            step.add(dimension, placement)?;
        }
        let left = step.leave(&before)?;
        if stored.is_some() && after == before.detail && left.is_empty() {
            return Ok(Restoring::Done);
        }
        Ok(Restoring::Step(RestoringStep { after, rollups: step.rollups, left }))
    }

    /// The detail as no rollup holds anything of it.
    fn all_absent(&self) -> Detail {
        let mut detail = self.detail.clone();
        for placement in detail.placements.values_mut() {
            placement.counters = Shares::absent(self.detail.counters.keys());
            placement.gauges = Shares::absent(self.detail.gauges.keys());
        }
        detail
    }

    /// Whether some steps lead from what is stored to this.
    fn may_become_of(&self, stored: &StoredId) -> bool {
        let (target, found) = (&self.detail, &stored.detail);
        let may_become = |(dimension, found): (&DimensionName, &Placement)| {
            target.placements.get(dimension).is_some_and(|placement| {
                placement.key == found.key
                    && are_restored_in_part(&found.counters, &placement.counters, &target.counters)
                    && are_restored_in_part(&found.gauges, &placement.gauges, &target.gauges)
            })
        };
        found.counters == target.counters
            && found.gauges == target.gauges
            && found.gauge_period == target.gauge_period
            && found.placements.len() == target.placements.len()
            && found.placements.iter().all(may_become)
            && stored.left.iter().all(|(of, sums)| {
                let target = self.left.get(of);
                let is_there =
                    |(stat, sum)| target.and_then(|target| target.get(stat)) == Some(sum);
                sums.iter().all(is_there)
            })
    }
}

fn are_restored_in_part(found: &Shares, target: &Shares, values: &Sums) -> bool {
    let mut shares = values.keys().map(|stat| (found.get(stat), target.get(stat)));
    shares.all(|(found, target)| found == target || found == Share::Absent)
}

/// A step as it is made.
struct Step<'a> {
    record: &'a IdRecord,
    /// The period of the gauges, if they still count.
    period: Option<Period>,
    room: StepSize,
    rollups: BTreeMap<RollupKey, CellSums>,
}

impl Step<'_> {
    /// Adds to a key's rollup what it is to hold of the id, as far as there is room.
    fn add(
        &mut self,
        dimension: &DimensionName,
        placement: &mut Placement,
    ) -> Result<(), Overflow> {
        let target = &self.record.detail;
        let Some(of_target) = target.placements.get(dimension) else {
            return Ok(());
        };
        if self.room.rollups == 0 {
            return Ok(());
        }
        let mut gain = CellSums::default();
        let counters = (&mut placement.counters, &of_target.counters, &target.counters);
        self.add_held(counters, &mut gain.counters)?;
        let mut gauges = Sums::new();
        self.add_held((&mut placement.gauges, &of_target.gauges, &target.gauges), &mut gauges)?;
        if let Some(period) = self.period.filter(|_| !gauges.is_empty()) {
            gain.gauges.insert(period, gauges);
        }
        if gain.count() > 0 {
            self.room.rollups -= 1;
            let of = RollupKey { dimension: dimension.clone(), key: placement.key.clone() };
            self.rollups.entry(of).or_default().add(&gain)?;
        }
        Ok(())
    }

    fn add_held(
        &mut self,
        (shares, target, values): (&mut Shares, &Shares, &Sums),
        gains: &mut Sums,
    ) -> Result<(), Overflow> {
        for (stat, held) in target.of(values)? {
            if shares.get(&stat) == target.get(&stat) {
                continue;
            }
            let Some(left) = self.room.sums.checked_sub(1) else {
                return Ok(());
            };
            self.room.sums = left;
            shares.set(&stat, target.get(&stat));
            gains.insert(stat, held);
        }
        Ok(())
    }

    /// Adds to rollups what the id left behind in them, as far as there is room.
    fn leave(&mut self, before: &StoredId) -> Result<BTreeMap<RollupKey, Sums>, Overflow> {
        let mut left = BTreeMap::new();
        for (of, sums) in &self.record.left {
            let noted = before.left.get(of);
            let is_noted = |stat| noted.is_some_and(|noted| noted.contains_key(stat));
            let missing = sums.iter().filter(|(stat, _)| !is_noted(*stat)).take(self.room.sums);
            let missing: Sums = missing.map(|(stat, sum)| (stat.clone(), *sum)).collect();
            if missing.is_empty() || self.room.rollups == 0 {
                continue;
            }
            self.room.rollups -= 1;
            self.room.sums -= missing.len();
            let gain = CellSums { counters: missing.clone(), ..CellSums::default() };
            self.rollups.entry(of.clone()).or_default().add(&gain)?;
            left.insert(of.clone(), missing);
        }
        Ok(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Record;

    fn record() -> IdRecord {
        let line = r#"{"id":{"id":"i","counters":{"a":5,"b":0,"c":9},"gauges":{"g":1,"h":2},"gaugePeriod":360,"keys":{"d":{"key":"k"},"e":{"key":"x","counters":{"a":-3},"gauges":{"g":1}}},"left":{"e":{"x":{"a":7},"y":{"c":2}}}}}"#;
        match Record::from_json(line).unwrap() {
            Record::Id(record) => record,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn steps_of_any_size_lead_to_the_same_rollups() {
        let mut results = Vec::new();
        for size in [
            StepSize { rollups: 1, sums: 1 },
            StepSize { rollups: 2, sums: 3 },
            StepSize::UNLIMITED,
        ] {
            let (record, mut stored, mut rollups) = (record(), None, BTreeMap::new());
            let mut steps = 0;
            while let Restoring::Step(step) =
                record.restore(stored.as_ref(), |_| true, size).unwrap()
            {
                let before: StoredId = stored.unwrap_or_default();
                let mut left: BTreeMap<_, Sums> = before.left;
                for (of, sums) in step.left {
                    left.entry(of).or_default().extend(sums);
                }
                stored = Some(StoredId { detail: step.after, left });
                for (of, gain) in step.rollups {
                    rollups.entry(of).or_insert_with(CellSums::default).add(&gain).unwrap();
                }
                steps += 1;
            }
            let stored = stored.unwrap();
            assert_eq!((&stored.detail, &stored.left), (&record.detail, &record.left));
            assert_eq!(record.restore(Some(&stored), |_| true, size).unwrap(), Restoring::Done);
            assert_eq!(steps == 1, size == StepSize::UNLIMITED, "{steps}");
            results.push(rollups);
        }
        assert!(results.windows(2).all(|pair| pair[0] == pair[1]), "{results:?}");
    }

    #[test]
    fn an_id_that_has_reported_something_else_stays_as_it_is() {
        let (record, size) = (record(), StepSize::UNLIMITED);
        let stored = StoredId { detail: record.detail.clone(), left: record.left.clone() };
        let differs = |change: fn(&mut StoredId)| {
            let mut other = stored.clone();
            change(&mut other);
            record.restore(Some(&other), |_| true, size).unwrap() == Restoring::Different
        };
        assert!(!differs(|_| {}));
        assert!(differs(|id| id.detail.gauge_period = None));
        assert!(differs(|id| drop(id.detail.counters.pop_first())));
        assert!(differs(|id| drop(id.detail.placements.pop_first())));
        assert!(differs(|id| {
            for sum in id.left.values_mut().flat_map(Sums::values_mut) {
                *sum = 1.into();
            }
        }));
    }

    #[test]
    fn gauges_whose_period_is_over_are_in_no_rollup() {
        let Restoring::Step(step) = record().restore(None, |_| false, StepSize::UNLIMITED).unwrap()
        else {
            panic!("there is something to do");
        };
        assert!(step.rollups.values().all(|gain| gain.gauges.is_empty()));
        assert_eq!(step.after, record().detail);
    }
}
