//! What statshub remembers of one id: its last values, and how much of them its rollups hold.

use std::collections::{BTreeMap, BTreeSet};

use super::{CounterChange, DimensionKey, DimensionName, Overflow, Period, StatName, Sum, Update};

/// An id's own last values, against which its next update is computed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Detail {
    /// The id's counters.
    pub counters: BTreeMap<StatName, Sum>,
    /// The id's gauges, as set in `gauge_period`.
    pub gauges: BTreeMap<StatName, Sum>,
    /// The period of the gauges; `None` if the id has never set one.
    pub gauge_period: Option<Period>,
    /// Where the id last reported, by dimension.
    pub placements: BTreeMap<DimensionName, Placement>,
}

/// The key of a dimension that an id last reported under, and how much of the id's values that
/// key's rollups hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The key.
    pub key: DimensionKey,
    /// How much of the id's counters.
    pub counters: Shares,
    /// How much of the id's gauges.
    pub gauges: Shares,
}

/// How much of an id's value the rollup of a key holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Share {
    /// All of it: the id has never reported the stat anywhere else.
    Whole,
    /// The value less this much, which was reported under another key or without the dimension.
    Less(Sum),
    /// Nothing: the stat was never reported under this key, not even as zero.
    Absent,
}

/// The shares of an id's stats under one key. Those that are [`Share::Whole`] take no room.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shares(BTreeMap<StatName, Share>);

impl Shares {
    /// Every one of `stats` is absent.
    pub(super) fn absent<'a>(stats: impl IntoIterator<Item = &'a StatName>) -> Self {
        let absent = |stat: &StatName| (stat.clone(), Share::Absent);
        Self(stats.into_iter().map(absent).collect())
    }

    /// The share of a stat.
    #[must_use]
    pub fn get(&self, stat: &StatName) -> Share {
        self.0.get(stat).copied().unwrap_or(Share::Whole)
    }

    /// Sets the share of a stat.
    pub fn set(&mut self, stat: &StatName, share: Share) {
        if matches!(share, Share::Whole | Share::Less(Sum::ZERO)) {
            self.0.remove(stat);
        } else {
            self.0.insert(stat.clone(), share);
        }
    }

    /// Whether every stat's share is the whole value.
    #[must_use]
    pub fn all_whole(&self) -> bool {
        self.0.is_empty()
    }

    /// What the rollups hold of these `values`: a sum for each stat that was reported under the
    /// key.
    ///
    /// # Errors
    /// A sum would need more than 38 digits.
    pub fn of(
        &self,
        values: &BTreeMap<StatName, Sum>,
    ) -> Result<BTreeMap<StatName, Sum>, Overflow> {
        let held = values.iter().filter_map(|(stat, value)| {
            let sum = match self.get(stat) {
                Share::Whole => Ok(*value),
                Share::Less(elsewhere) => value.checked_sub(elsewhere),
                Share::Absent => return None,
            };
            Some(sum.map(|sum| (stat.clone(), sum)))
        });
        held.collect()
    }

    /// Records that `stat` has changed by `delta` from `old` (`None` if it is new). The update
    /// reported the change under this key if it `named` the dimension.
    fn record(
        &mut self,
        stat: &StatName,
        old: Option<Sum>,
        delta: Sum,
        named: bool,
    ) -> Result<(), Overflow> {
        let share = match (old, self.get(stat), named) {
            (None, _, true) => Share::Whole,
            (None, _, false) | (Some(_), Share::Absent, false) => Share::Absent,
            (Some(old), Share::Absent, true) => Share::Less(old),
            (Some(_), share, true) => share,
            (Some(_), Share::Whole, false) => Share::Less(delta),
            (Some(_), Share::Less(elsewhere), false) => Share::Less(elsewhere.checked_add(delta)?),
        };
        self.set(stat, share);
        Ok(())
    }
}

impl Detail {
    /// The detail after `update`, whose gauges count in `period`.
    ///
    /// # Errors
    /// A counter would need more than 38 digits.
    pub fn apply(&self, update: &Update, period: Period) -> Result<Self, Overflow> {
        let mut next = self.clone();
        if update.reports_nothing() {
            return Ok(next);
        }
        if !update.gauges.is_empty() && next.gauge_period != Some(period) {
            next.begin_period(period);
        }
        next.place(&update.dims);
        for (stat, change) in &update.counters {
            next.change_counter(stat, *change, update)?;
        }
        for (stat, value) in &update.gauges {
            next.set_gauge(stat, (*value).into(), update)?;
        }
        Ok(next)
    }

    /// The dimensions of this detail that `before` did not have.
    #[must_use]
    pub fn dimensions_new_since<'a>(&'a self, before: &Self) -> BTreeSet<&'a DimensionName> {
        self.placements
            .keys()
            .filter(|dimension| !before.placements.contains_key(dimension))
            .collect()
    }

    /// Whether this detail has a stat or a dimension that `before` did not have.
    #[must_use]
    pub fn has_more_than(&self, before: &Self) -> bool {
        let is_new = |values: &BTreeMap<StatName, Sum>, stat| !values.contains_key(stat);
        self.counters.keys().any(|stat| is_new(&before.counters, stat))
            || self.gauges.keys().any(|stat| is_new(&before.gauges, stat))
            || !self.dimensions_new_since(before).is_empty()
    }

    fn begin_period(&mut self, period: Period) {
        self.gauge_period = Some(period);
        self.gauges.clear();
        for placement in self.placements.values_mut() {
            placement.gauges = Shares::default();
        }
    }

    fn place(&mut self, dims: &BTreeMap<DimensionName, DimensionKey>) {
        for (dimension, key) in dims {
            let stays = self.placements.get(dimension).is_some_and(|p| p.key == *key);
            if !stays {
                let placement = Placement {
                    key: key.clone(),
                    counters: Shares::absent(self.counters.keys()),
                    gauges: Shares::absent(self.gauges.keys()),
                };
                self.placements.insert(dimension.clone(), placement);
            }
        }
    }

    fn change_counter(
        &mut self,
        stat: &StatName,
        change: CounterChange,
        update: &Update,
    ) -> Result<(), Overflow> {
        let old = self.counters.get(stat).copied();
        let new = match change {
            CounterChange::Set(value) => Sum::from(value),
            CounterChange::Add(value) => old.unwrap_or_default().checked_add(value.into())?,
            CounterChange::SetThenAdd(value, more) => Sum::from(value).checked_add(more.into())?,
        };
        let delta = new.checked_sub(old.unwrap_or_default())?;
        for (dimension, placement) in &mut self.placements {
            let named = update.dims.contains_key(dimension);
            placement.counters.record(stat, old, delta, named)?;
        }
        self.counters.insert(stat.clone(), new);
        Ok(())
    }

    fn set_gauge(&mut self, stat: &StatName, new: Sum, update: &Update) -> Result<(), Overflow> {
        let old = self.gauges.get(stat).copied();
        let delta = new.checked_sub(old.unwrap_or_default())?;
        for (dimension, placement) in &mut self.placements {
            let named = update.dims.contains_key(dimension);
            placement.gauges.record(stat, old, delta, named)?;
        }
        self.gauges.insert(stat.clone(), new);
        Ok(())
    }
}
