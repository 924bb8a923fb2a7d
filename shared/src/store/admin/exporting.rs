//! Exporting: what a table means, in an order that does not depend on how it is stored.
//!
//! A scan gives items in the order of hashes, so they are sorted in temporary files first. Each id is
//! exported as it was at one moment, with what it left behind.

use std::{
    collections::{BTreeMap, BTreeSet},
    hash::RandomState,
    io,
    time::Duration,
};

use serde::{Deserialize, Serialize};

use super::{
    Pacer, RunError, Workspace,
    sorted_runs::{Addend, SortedRuns},
};
use crate::{
    domain::{
        Detail, DimensionKey, DimensionName, Direction, Id, IdRecord, KeyRecord, Member, MemberSet,
        NameError, Overflow, Period, Record, RecordError, RollupKey, StatName, Sum, Sums,
        UnixSeconds,
    },
    store::{
        Deadline, Store, StoreError, failure::Failure, read::partition::Stretch,
        update::Consistency,
    },
    table::{
        CorruptItem, EscapedKey, Inventory, Item, ItemKey, KeyRange, KeyTally, LongNames,
        Partition, Stocktaking, SumsByName, TallyError, bytes_of_map, decode_departure,
        decode_detail, decode_id, inventory,
    },
};

/// The most members of a line.
const MEMBERS_OF_LINE: usize = 100;
/// Separates the parts of a place in the order. It comes before all characters of names.
const SEPARATOR: char = '\0';

/// Why a table can't be exported.
#[derive(Debug, thiserror::Error)]
pub enum ExportFailure {
    /// DynamoDB did not give its items.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An item can't be read.
    #[error(transparent)]
    Corrupt(#[from] CorruptItem),
    /// The same.
    #[error(transparent)]
    Tally(#[from] TallyError),
    /// A name is none, or a sum is too large.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A temporary file can't be used.
    #[error(transparent)]
    Run(#[from] RunError),
    /// A line can't be written.
    #[error("the export can't be written")]
    Write(#[from] io::Error),
}

impl From<NameError> for ExportFailure {
    fn from(error: NameError) -> Self {
        Self::Record(error.into())
    }
}

impl From<Overflow> for ExportFailure {
    fn from(error: Overflow) -> Self {
        Self::Record(error.into())
    }
}

/// What was exported.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExportedCounts {
    /// Items that were read.
    pub items: u64,
    /// Lines that were written.
    pub lines: u64,
    /// Ids.
    pub ids: u64,
    /// Keys.
    pub keys: u64,
    /// Members of sets.
    pub members: u64,
    /// What was left out, since nothing in the table has its name any more.
    pub nameless: u64,
}

/// An export on its way.
pub struct ExportRun<'a> {
    /// Knows which gauges count.
    pub clock: fn() -> UnixSeconds,
    /// How fast it goes.
    pub pacer: &'a mut Pacer,
    /// After how long without any progress it gives up.
    pub patience: Duration,
    /// Where it sorts.
    pub workspace: Workspace,
    /// Is called after each page that was read.
    pub progress: &'a mut (dyn FnMut(&ExportedCounts) + Send),
    /// Writes a line.
    pub write: &'a mut (dyn FnMut(&str) -> io::Result<()> + Send),
    /// What was exported.
    pub counts: ExportedCounts,
}

/// What is known of a place in the order.
#[derive(Debug, Serialize, Deserialize)]
enum Place {
    Dimension,
    Key(Box<KeyTally>),
    Shard(BTreeSet<String>),
    Id {
        /// Its line, without what it left behind.
        line: String,
        /// By key, in the escaped form.
        left: BTreeMap<String, SumsByName>,
    },
}

impl Addend for Place {
    fn add(&mut self, other: Self) -> Result<(), Overflow> {
        match (self, other) {
            (Self::Key(tally), Self::Key(more)) => tally.merge(*more),
            (place, later) => {
                *place = later;
                Ok(())
            }
        }
    }

    fn bytes(&self) -> usize {
        let sums = |sums: &SumsByName| bytes_of_map::<Sum>(sums.keys());
        size_of::<Self>()
            + match self {
                Self::Dimension => 0,
                Self::Key(tally) => tally.bytes(),
                Self::Shard(members) => members.iter().map(|member| member.len() + 48).sum(),
                Self::Id { line, left } => {
                    line.len()
                        + bytes_of_map::<SumsByName>(left.keys())
                        + left.values().map(sums).sum::<usize>()
                }
            }
    }
}

fn place(parts: &[&str]) -> String {
    parts.join(&SEPARATOR.to_string())
}

fn place_of_key(of: &EscapedKey) -> String {
    place(&["1", of.dimension(), of.key()])
}

impl Store {
    /// Exports all that the table means, except for idempotency markers and gauges that have
    /// expired.
    ///
    /// Of a table that is written to, each id is of a moment of its own; so are sets. What is
    /// exported is exact in itself: it is what some rollups are the sums of.
    ///
    /// # Errors
    /// See [`ExportFailure`].
    pub async fn export(&self, run: &mut ExportRun<'_>) -> Result<(), ExportFailure> {
        let mut stock = Stocktaking::new(RandomState::new(), UnixSeconds(u64::MAX), None);
        let mut places = SortedRuns::new(run.workspace.clone());
        let (mut start, mut last_id) = (None, None);
        loop {
            let (consistency, deadline) = (Consistency::Strong, run.deadline());
            let page = self.scan_page(start, None, consistency, run.pacer, deadline).await?;
            for item in &page.items {
                run.counts.items += 1;
                for (of, tally) in stock.note(item)? {
                    places.add(place_of_key(&of), Place::Key(Box::new(tally)))?;
                }
                self.note_place(item, &mut last_id, &mut places, run).await?;
            }
            (run.progress)(&run.counts);
            start = page.next;
            if start.is_none() {
                break;
            }
        }
        let now = (run.clock)();
        let counts = |period: Period| !self.settings.period_length.has_expired(period, now);
        let mut lines = Lines { names: stock.names, set: None, run };
        lines.write(&Record::Begin)?;
        for known in places.into_sorted()? {
            let (place, known) = known?;
            lines.write_place(&place, known, &counts)?;
        }
        lines.end()
    }

    /// Notes what an item means by itself. What an id left behind has to fit its detail, so both are
    /// read again together.
    async fn note_place(
        &self,
        item: &Item,
        last_id: &mut Option<String>,
        places: &mut SortedRuns<Place>,
        run: &mut ExportRun<'_>,
    ) -> Result<(), ExportFailure> {
        let Some(key) = ItemKey::of_item(item) else {
            return Ok(());
        };
        let id = key.partition();
        match inventory(item)? {
            Some(Inventory::Dimension(name)) => {
                places.add(place(&["0", name.as_str()]), Place::Dimension)?;
            }
            Some(Inventory::Shard { of, stat, shard, members }) => {
                let place = place(&["1", of.dimension(), of.key(), &stat, &shard]);
                places.add(place, Place::Shard(members))?;
            }
            Some(Inventory::Detail) => {
                let (line, left) = (id_line(item)?, BTreeMap::new());
                places.add(place(&["2", id]), Place::Id { line, left })?;
            }
            Some(Inventory::Departure { id: name, .. }) if last_id.as_deref() != Some(id) => {
                *last_id = Some(id.to_owned());
                let Some((detail, left)) = self.id_at_once(id, run).await? else {
                    return Ok(());
                };
                let line = match (detail, name) {
                    (Some(detail), _) => id_line(&detail)?,
                    (None, Some(name)) => line_of(Id::new(&name)?, Detail::default())?,
                    (None, None) => {
                        run.counts.nameless += 1;
                        return Ok(());
                    }
                };
                places.add(place(&["2", id]), Place::Id { line, left })?;
            }
            Some(Inventory::Departure { .. }) | None => {}
        }
        Ok(())
    }

    /// The detail of an id and what it left behind, as they were at one moment: the detail is the
    /// same before and after the rest is read, and whoever writes to the rest changes it.
    async fn id_at_once(
        &self,
        id: &str,
        run: &mut ExportRun<'_>,
    ) -> Result<Option<(Option<Item>, BTreeMap<String, SumsByName>)>, ExportFailure> {
        let detail = ItemKey::detail_in(id);
        let (partition, range) = (Partition::of_item(&detail), KeyRange::departures());
        let stretch = Stretch { partition, range, direction: Direction::Forward };
        let mut backoff = self.backoff(run.deadline());
        loop {
            let before = self.item_now(&detail, run).await?;
            let (mut left, mut after) = (BTreeMap::new(), None);
            loop {
                let read = self.page::<Item>(&stretch, after.as_ref(), None, run.deadline());
                let page = run.pacer.run(read).await?;
                for item in &page.items {
                    if let Some(Inventory::Departure { of, .. }) = inventory(item)? {
                        let sums = decode_departure(item)?;
                        let sums: SumsByName =
                            sums.iter().map(|(stat, sum)| (stat.to_string(), *sum)).collect();
                        left.extend((!sums.is_empty()).then(|| (of.as_str().to_owned(), sums)));
                    }
                }
                after = page.last;
                if after.is_none() {
                    break;
                }
            }
            if self.item_now(&detail, run).await? == before {
                return Ok((before.is_some() || !left.is_empty()).then_some((before, left)));
            }
            backoff.wait(Failure::InTheWay, "the id is reporting".into()).await?;
        }
    }

    async fn item_now(
        &self,
        key: &ItemKey,
        run: &mut ExportRun<'_>,
    ) -> Result<Option<Item>, StoreError> {
        let read = self.get([key.clone()].into(), Consistency::Strong, run.deadline());
        Ok(run.pacer.run(read).await?.remove(key))
    }
}

fn id_line(detail: &Item) -> Result<String, ExportFailure> {
    line_of(decode_id(detail)?, decode_detail(detail)?.detail)
}

fn line_of(id: Id, detail: Detail) -> Result<String, ExportFailure> {
    Ok(Record::Id(IdRecord { id, detail, left: BTreeMap::new() }).to_json()?)
}

impl ExportRun<'_> {
    fn deadline(&self) -> Deadline {
        Deadline::after(self.patience).of_job()
    }
}

/// Writes lines in their order.
struct Lines<'a, 'b> {
    names: LongNames,
    /// The members of a set that wait for a line.
    set: Option<(MemberSet, BTreeSet<Member>)>,
    run: &'a mut ExportRun<'b>,
}

impl Lines<'_, '_> {
    fn write(&mut self, record: &Record) -> Result<(), ExportFailure> {
        (self.run.write)(&record.to_json()?)?;
        self.run.counts.lines += 1;
        Ok(())
    }

    fn write_place(
        &mut self,
        place: &str,
        known: Place,
        counts: &impl Fn(Period) -> bool,
    ) -> Result<(), ExportFailure> {
        let parts: Vec<_> = place.split(SEPARATOR).collect();
        match (&parts[..], known) {
            ([_, name], Place::Dimension) => {
                self.write(&Record::Dimension(DimensionName::new(name)?))?;
            }
            ([_, dimension, key], Place::Key(tally)) if tally.is_key() => {
                self.flush()?;
                self.run.counts.keys += 1;
                match self.rollup_key(dimension, key)? {
                    Some(of) => self.write(&Record::Key(key_record(of, &tally, counts)?))?,
                    None => self.run.counts.nameless += 1,
                }
            }
            ([_, dimension, key, stat, _], Place::Shard(members)) => {
                let stat = self.names.known(stat).map(|stat| StatName::new(&stat)).transpose()?;
                match self.rollup_key(dimension, key)?.zip(stat) {
                    Some((of, stat)) => self.add_members(&MemberSet { of, stat }, members)?,
                    None => self.run.counts.nameless += 1,
                }
            }
            (_, Place::Id { line, left }) => {
                self.flush()?;
                self.run.counts.ids += 1;
                self.write_id(&line, left)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn write_id(
        &mut self,
        line: &str,
        left: BTreeMap<String, SumsByName>,
    ) -> Result<(), ExportFailure> {
        let Record::Id(mut record) = Record::from_json(line)? else {
            return Ok(());
        };
        for (of, sums) in left {
            let Some(of) = EscapedKey::joined(&of) else { continue };
            match self.rollup_key(of.dimension(), of.key())? {
                Some(of) => drop(record.left.insert(of, stat_sums(&sums)?)),
                None => self.run.counts.nameless += 1,
            }
        }
        self.write(&Record::Id(record))
    }

    /// Adds members to the line of their set, which is written when it is full. The order of shards
    /// and members is that of the set, whatever the table's is.
    fn add_members(
        &mut self,
        set: &MemberSet,
        members: BTreeSet<String>,
    ) -> Result<(), ExportFailure> {
        for member in members {
            self.run.counts.members += 1;
            let member = Member::new(&member)?;
            match &mut self.set {
                Some((of, waiting)) if of == set && waiting.len() < MEMBERS_OF_LINE => {
                    waiting.insert(member);
                }
                _ => {
                    self.flush()?;
                    self.set = Some((set.clone(), [member].into()));
                }
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), ExportFailure> {
        match self.set.take() {
            Some((set, members)) => self.write(&Record::Members(set, members)),
            None => Ok(()),
        }
    }

    fn end(mut self) -> Result<(), ExportFailure> {
        self.flush()?;
        self.write(&Record::End(self.run.counts.lines))
    }

    fn rollup_key(&self, dimension: &str, key: &str) -> Result<Option<RollupKey>, NameError> {
        let names = self.names.known(dimension).zip(self.names.known(key));
        let of = names.map(|(dimension, key)| {
            Ok(RollupKey {
                dimension: DimensionName::new(&dimension)?,
                key: DimensionKey::new(&key)?,
            })
        });
        of.transpose()
    }
}

fn key_record(
    of: RollupKey,
    tally: &KeyTally,
    counts: &impl Fn(Period) -> bool,
) -> Result<KeyRecord, ExportFailure> {
    let period = |start: u64| Period::starting_at(UnixSeconds(start));
    let leftovers = tally.leftovers(|start| counts(period(start)))?;
    let stats = |names: BTreeSet<String>| {
        names.iter().map(|name| StatName::new(name)).collect::<Result<BTreeSet<_>, _>>()
    };
    let gauges = leftovers.gauges.iter();
    let gauges = gauges.map(|(start, sums)| Ok((period(*start), stat_sums(sums)?)));
    Ok(KeyRecord {
        of,
        counters: stats(leftovers.counters)?,
        members: stats(leftovers.members)?,
        gauges: gauges.collect::<Result<_, NameError>>()?,
    })
}

fn stat_sums(sums: &SumsByName) -> Result<Sums, NameError> {
    sums.iter().map(|(stat, sum)| Ok((StatName::new(stat)?, *sum))).collect()
}
