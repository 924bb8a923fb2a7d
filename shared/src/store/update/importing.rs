//! Importing: records of an export become part of a table, beside live traffic too.
//!
//! They are written as updates are, by plans. Each write is conditional on what is there already, so
//! a record that is imported again changes nothing, whatever became of its first attempt.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{StreamExt, TryStreamExt, stream};

use super::{Consistency, load::new_members};
use crate::{
    domain::{
        Cell, CellSums, DimensionName, Direction, Id, IdRecord, JointPlan, KeyRecord, Member,
        MemberSet, Record, Restoring, RollupKey, StatName, StepSize, StoredId, Sum, Sums,
        UnixSeconds,
    },
    store::{Deadline, Store, StoreError, backoff::Backoff, read::partition::Stretch},
    table::{
        Item, ItemKey, KeyRange, Partition, Revision, Shard, Writing, decode_departure,
        decode_detail, decode_rollup,
    },
};

/// So much of an id is restored in one transaction that it fits even if all names are new: for each
/// rollup its own action and two for names, and one for what the id left there.
const STEP: StepSize = StepSize { rollups: 24, sums: 400 };
/// How many records are imported at the same time.
const AT_ONCE: usize = 16;

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Imported {
    /// It was written, or the rest of it.
    Written,
    /// All of it is there already.
    Unchanged,
    /// The id is there, and has reported something else. It stays as it is.
    Different,
}

impl Store {
    /// Imports records: what became of each, in their order. Keys are imported before the sets and
    /// ids that are among the records.
    ///
    /// # Errors
    /// See [`StoreError`]. Each transaction is complete or was not carried out, and a repetition
    /// does what is left.
    pub async fn import(
        &self,
        records: &[Record],
        clock: fn() -> UnixSeconds,
        deadline: impl Fn() -> Deadline,
    ) -> Result<Vec<Imported>, StoreError> {
        let mut results = BTreeMap::new();
        for phase in 0..=2 {
            let of_phase =
                records.iter().enumerate().filter(|(_, record)| phase_of(record) == phase);
            let imports: Vec<_> = of_phase
                .map(async |(place, record)| {
                    let imported = Box::pin(self.import_one(record, clock, deadline()));
                    Ok::<_, StoreError>((place, imported.await?))
                })
                .collect();
            let imports = stream::iter(imports).buffer_unordered(AT_ONCE);
            results.extend(imports.try_collect::<Vec<_>>().await?);
        }
        Ok(results.into_values().collect())
    }

    async fn import_one(
        &self,
        record: &Record,
        clock: fn() -> UnixSeconds,
        deadline: Deadline,
    ) -> Result<Imported, StoreError> {
        match record {
            Record::Begin | Record::End(_) => Ok(Imported::Unchanged),
            Record::Dimension(name) => self.import_dimension(name, clock, deadline).await,
            Record::Key(record) => self.import_key(record, clock, deadline).await,
            Record::Members(set, members) => {
                let members = members.iter().cloned().collect();
                self.import_members(set, members, clock, deadline).await
            }
            Record::Id(record) => self.import_id(record, clock, deadline).await,
        }
    }

    async fn import_dimension(
        &self,
        name: &DimensionName,
        clock: fn() -> UnixSeconds,
        deadline: Deadline,
    ) -> Result<Imported, StoreError> {
        let mut backoff = self.backoff(deadline);
        loop {
            if self.dimension_entry(name, deadline).await?.is_some() {
                return Ok(Imported::Unchanged);
            }
            let plan = JointPlan { dimensions: [name.clone()].into(), ..JointPlan::default() };
            if self.import_plan(&plan, &BTreeMap::new(), clock(), &mut backoff).await? {
                return Ok(Imported::Written);
            }
        }
    }

    /// Adds a key, with what does not follow from ids and sets. Gauges come only with a key that is
    /// new: of one that is there, nobody knows whether it has them already.
    async fn import_key(
        &self,
        record: &KeyRecord,
        clock: fn() -> UnixSeconds,
        deadline: Deadline,
    ) -> Result<Imported, StoreError> {
        let first_cell = ItemKey::rollup(&record.of, Cell::FIRST);
        let mut backoff = self.backoff(deadline);
        loop {
            let now = clock();
            let found =
                self.get([first_cell.clone()].into(), Consistency::Strong, deadline).await?;
            let mut gain = CellSums::default();
            let stored = found.get(&first_cell).map(decode_rollup).transpose()?;
            let shown = stored.as_ref().map(|cell| &cell.sums);
            let zeros = |stats: &BTreeSet<StatName>, shown: Option<&Sums>| {
                let is_shown = |stat| shown.is_some_and(|shown| shown.contains_key(stat));
                let new = stats.iter().filter(|stat| !is_shown(*stat));
                new.map(|stat| (stat.clone(), Sum::ZERO)).collect::<Sums>()
            };
            gain.counters = zeros(&record.counters, shown.map(|sums| &sums.counters));
            gain.members = zeros(&record.members, shown.map(|sums| &sums.members));
            if stored.is_none() {
                gain.gauges.clone_from(&record.gauges);
                gain = gain.live(self.settings.period_length, now);
            } else if gain.count() == 0 {
                return Ok(Imported::Unchanged);
            }
            let mut plan = JointPlan::default();
            plan_gain(&mut plan, &record.of, gain);
            if self.import_plan(&plan, &BTreeMap::new(), now, &mut backoff).await? {
                return Ok(Imported::Written);
            }
        }
    }

    async fn import_members(
        &self,
        set: &MemberSet,
        members: BTreeSet<Member>,
        clock: fn() -> UnixSeconds,
        deadline: Deadline,
    ) -> Result<Imported, StoreError> {
        let mut backoff = self.backoff(deadline);
        let mut imported = Imported::Unchanged;
        loop {
            let shards = members.iter().map(|member| ItemKey::members(set, Shard::of(member)));
            let shards = self.get(shards.collect(), Consistency::Strong, deadline).await?;
            let sets = BTreeMap::from([(set.clone(), members.clone())]);
            let new = new_members(sets, &shards)?;
            if new.is_empty() {
                return Ok(imported);
            }
            let mut plan = JointPlan { members: new, ..JointPlan::default() };
            plan.dimensions.insert(set.of.dimension.clone());
            plan.keys.insert(set.of.clone());
            if self.import_plan(&plan, &BTreeMap::new(), clock(), &mut backoff).await? {
                imported = Imported::Written;
            }
        }
    }

    async fn import_id(
        &self,
        record: &IdRecord,
        clock: fn() -> UnixSeconds,
        deadline: Deadline,
    ) -> Result<Imported, StoreError> {
        let mut backoff = self.backoff(deadline);
        let mut imported = Imported::Unchanged;
        loop {
            let now = clock();
            let (found, revision) = self.stored_id(record, deadline).await?;
            let stored = match found {
                Found::Nothing => None,
                Found::Something(stored) => Some(stored),
                Found::More => return Ok(Imported::Different),
            };
            let counts = |period| !self.settings.period_length.has_expired(period, now);
            let step = match record.restore(stored.as_ref(), counts, STEP)? {
                Restoring::Done => return Ok(imported),
                Restoring::Different => return Ok(Imported::Different),
                Restoring::Step(step) => step,
            };
            let mut plan = JointPlan::default();
            plan.details.insert(record.id.clone(), step.after);
            for (of, gain) in step.rollups {
                plan_gain(&mut plan, &of, gain);
            }
            let left = step.left.into_iter();
            plan.departures = left.map(|(of, sums)| ((record.id.clone(), of), sums)).collect();
            let revisions = BTreeMap::from([(record.id.clone(), revision)]);
            if self.import_plan(&plan, &revisions, now, &mut backoff).await? {
                imported = Imported::Written;
                backoff = self.backoff(deadline);
            }
        }
    }

    /// What is stored of an id; none if it has no detail. All writers of the rest change the detail,
    /// so what is written on the condition of its revision is written for all of it.
    async fn stored_id(
        &self,
        record: &IdRecord,
        deadline: Deadline,
    ) -> Result<(Found, Revision), StoreError> {
        let key = ItemKey::detail(&record.id);
        let found = self.get([key.clone()].into(), Consistency::Strong, deadline).await?;
        let Some(stored) = found.get(&key).map(decode_detail).transpose()? else {
            return Ok((Found::Nothing, Revision::default()));
        };
        let mut targets: BTreeMap<_, _> =
            record.left.keys().map(|of| (ItemKey::departure(&record.id, of), of)).collect();
        let (partition, range) = (Partition::of_item(&key), KeyRange::departures());
        let stretch = Stretch { partition, range, direction: Direction::Forward };
        let mut items = self.items_after::<Item>(stretch, None, None, deadline);
        let mut left = BTreeMap::new();
        while let Some(item) = items.next().await? {
            let sums = decode_departure(&item)?;
            match ItemKey::of_item(&item).and_then(|key| targets.remove(&key)) {
                Some(of) => drop(left.insert(of.clone(), sums)),
                None if sums.is_empty() => {}
                None => return Ok((Found::More, stored.revision)),
            }
        }
        let id = StoredId { detail: stored.detail, left };
        Ok((Found::Something(id), stored.revision))
    }

    /// Writes a plan whose details are in these revisions. False if what it was made from has
    /// changed; then it has waited.
    async fn import_plan(
        &self,
        plan: &JointPlan,
        revisions: &BTreeMap<Id, Revision>,
        now: UnixSeconds,
        backoff: &mut Backoff<'_>,
    ) -> Result<bool, StoreError> {
        let deadline = backoff.deadline();
        let new_names = self.new_names(plan, Consistency::Strong, now, deadline).await?;
        let writing = Writing {
            table: &self.settings.table,
            revisions,
            token: self.new_update_token(),
            plan,
            departures_found: None,
            new_names: &new_names,
            markers: &[],
            period_length: self.settings.period_length,
            now,
        };
        self.write_plan(&writing, backoff).await
    }
}

/// What is found of an id that is imported.
enum Found {
    Nothing,
    Something(StoredId),
    /// It has left something behind where the record has nothing.
    More,
}

/// In which order records are imported: those on which others depend come first.
fn phase_of(record: &Record) -> u8 {
    match record {
        Record::Begin | Record::Dimension(_) | Record::End(_) => 0,
        Record::Key(_) => 1,
        Record::Members(..) | Record::Id(_) => 2,
    }
}

/// Plans what a rollup gains, and that it may be new to the table.
fn plan_gain(plan: &mut JointPlan, of: &RollupKey, gain: CellSums) {
    plan.dimensions.insert(of.dimension.clone());
    plan.keys.insert(of.clone());
    plan.rollups.insert(of.clone(), gain);
}
