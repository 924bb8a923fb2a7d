//! What reports write: planned by the service's own code.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use anyhow::{Context, ensure};
use aws_sdk_dynamodb::types::AttributeValue;
use shared::{
    domain::{
        Cell, CellSums, CounterChange, Detail, DimensionName, Id, JointPlan, PeriodLength,
        RollupKey, RollupStat, SpreadSum, StatName, UnixSeconds, Update, plan,
    },
    store::{Submission, decisions::groups},
    table::{
        Action, ItemKey, NewNames, Part, Revision, Target, UpdateToken, Writing, decode_detail,
        item_bytes,
    },
};

use crate::{
    dynamodb::{Position, Touched},
    population::{Keys, Population},
};

const TABLE: &str = "statshub";
/// Bytes of an item that a write unit pays for. Source: *DynamoDB read and write operations*, Amazon
/// DynamoDB Developer Guide.
const BYTES_OF_UNIT: usize = 1_024;
/// A transaction writes each item twice, once in each phase. Source: *Amazon DynamoDB Transactions:
/// How it works*, ibid.
const PHASES: f64 = 2.0;
/// After so many reports, a detail remembers as many updates as it ever does.
const REPORTS_UNTIL_STEADY: u64 = 10;

/// What a client reports.
#[derive(Debug, Clone)]
pub struct Report {
    /// The number of the client.
    pub client: u64,
    /// Its keys.
    pub keys: Keys,
    /// Whether it has never reported before.
    pub is_first: bool,
}

/// What an action of a transaction writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// The detail of a client.
    Detail(u64),
    /// A cell of a rollup, by dimension and key.
    Rollup(usize, usize),
    /// The first cell of a rollup that is new.
    NewKey(usize, usize),
    /// A cell of a dimension's number of keys.
    KeyCount(usize),
    /// An entry in the list of dimensions.
    Dimension(usize),
}

/// What a transaction writes.
#[derive(Debug, Default)]
pub struct Work {
    /// The sums that it adds to, each in a cell of its own choice.
    pub sums: BTreeSet<SpreadSum>,
    /// Its actions, in their order.
    pub actions: Vec<Written>,
}

/// Plans reports.
#[derive(Debug)]
pub struct Planner {
    counters: Vec<StatName>,
    names: Vec<DimensionName>,
    numbers: HashMap<RollupKey, (usize, usize)>,
    sums: Vec<Vec<SpreadSum>>,
    cells: Vec<Vec<Position>>,
    key_counts: Vec<Vec<Position>>,
    entries: Vec<Position>,
    detail_units: f64,
    rollup_units: f64,
}

impl Planner {
    /// A planner of reports with so many counters.
    ///
    /// # Errors
    /// A name is not valid, or a report can't be planned.
    pub fn new(population: &Population, counters: usize) -> anyhow::Result<Self> {
        let counters = (0..counters).map(|number| StatName::new(&format!("counter_{number}")));
        let dimensions = 0..population.dimensions();
        let names = dimensions.clone().map(|dimension| {
            let first = population.rollup(dimension, 0)?;
            Ok(first.dimension.clone())
        });
        let names = names.collect::<anyhow::Result<Vec<_>>>()?;
        let numbers = dimensions.clone().flat_map(|dimension| {
            let rollups = population.rollups(dimension).iter().enumerate();
            rollups.map(move |(key, of)| (of.clone(), (dimension, key)))
        });
        let cells = dimensions.clone().map(|dimension| {
            let of = population.rollup(dimension, 0)?;
            let keys = Cell::first(Cell::MOST).map(|cell| ItemKey::rollup(of, cell));
            keys.map(|key| position(&key, 0)).collect()
        });
        let key_counts = names.iter().map(|name| {
            let keys = Cell::first(Cell::MOST).map(|cell| ItemKey::key_count(name, cell));
            keys.map(|key| position(&key, 0)).collect()
        });
        let entries = names.iter().zip(0..).map(|(name, number)| {
            let key = ItemKey::dimension(name);
            position(&key, number)
        });
        let sums = dimensions.map(|dimension| {
            population.rollups(dimension).iter().cloned().map(SpreadSum::Rollup).collect()
        });
        let mut planner = Self {
            counters: counters.collect::<Result<_, _>>()?,
            numbers: numbers.collect(),
            sums: sums.collect(),
            cells: cells.collect::<anyhow::Result<_>>()?,
            key_counts: key_counts.collect::<anyhow::Result<_>>()?,
            entries: entries.collect::<anyhow::Result<_>>()?,
            names,
            detail_units: 0.0,
            rollup_units: 0.0,
        };
        planner.measure()?;
        Ok(planner)
    }

    /// Finds out what items cost, by the reports of a client.
    fn measure(&mut self) -> anyhow::Result<()> {
        let keys = vec![0; self.names.len()];
        let id = id(0)?;
        let (mut detail, mut revision) = (Detail::default(), Revision::default());
        let mut rollup = 0;
        for number in 1..=REPORTS_UNTIL_STEADY {
            let mut joint = JointPlan::default();
            joint.add(&id, self.plan(&keys, &detail, number)?)?;
            let revisions = BTreeMap::from([(id.clone(), revision)]);
            let actions = transaction(&joint, &NewNames::default(), &revisions)?;
            let put = actions.iter().find(|action| action.target == Target::Detail);
            let put = put.and_then(|action| action.write.put()).context("a detail is put")?;
            let stored = decode_detail(put.item())?;
            (detail, revision) = (stored.detail, stored.revision);
            self.detail_units = units(item_bytes(put.item()));
            for (of, gain) in &joint.rollups {
                let last = Cell::first(Cell::MOST).last().unwrap_or_default();
                let key = item_bytes(&ItemKey::rollup(of, last).attributes());
                rollup = rollup.max(key + bytes_of(gain));
            }
        }
        self.rollup_units = units(rollup);
        Ok(())
    }

    fn update(&self, keys: &[usize], value: u64) -> anyhow::Result<Update> {
        let dims = keys.iter().enumerate().map(|(dimension, key)| {
            let of = self.sums.get(dimension).and_then(|sums| sums.get(*key));
            match of.context("no such key")? {
                SpreadSum::Rollup(of) => Ok((of.dimension.clone(), of.key.clone())),
                SpreadSum::Keys(_) => anyhow::bail!("not a key"),
            }
        });
        let set = CounterChange::Set(i64::try_from(value)?);
        Ok(Update {
            dims: dims.collect::<anyhow::Result<_>>()?,
            counters: self.counters.iter().map(|stat| (stat.clone(), set)).collect(),
            ..Update::default()
        })
    }

    fn plan(
        &self,
        keys: &[usize],
        before: &Detail,
        value: u64,
    ) -> anyhow::Result<shared::domain::Plan> {
        let update = self.update(keys, value)?;
        let period = PeriodLength::DEFAULT.containing(UnixSeconds(0));
        Ok(plan(before, &update, period, BTreeMap::new())?)
    }

    /// The plan of reports that are counted together.
    ///
    /// # Errors
    /// They can't be.
    pub fn joint_plan(&self, reports: &[Report]) -> anyhow::Result<JointPlan> {
        let mut joint = JointPlan::default();
        for report in reports {
            let first = self.plan(&report.keys, &Detail::default(), 1)?;
            let plan = match (report.is_first, first.detail) {
                (false, Some(detail)) => self.plan(&report.keys, &detail, 2)?,
                (_, detail) => shared::domain::Plan { detail, ..first },
            };
            joint.add(&id(report.client)?, plan)?;
        }
        Ok(joint)
    }

    /// The id and the update of a report whose counters have this value.
    ///
    /// # Errors
    /// It is not valid.
    pub fn submitted(&self, report: &Report, value: u64) -> anyhow::Result<(Id, Update)> {
        Ok((id(report.client)?, self.update(&report.keys, value)?))
    }

    /// Which of these reports are counted together, by their places.
    ///
    /// # Errors
    /// One of them is not valid.
    pub fn groups(&self, reports: &[Report]) -> anyhow::Result<Vec<Vec<usize>>> {
        let updates = reports.iter().map(|report| self.submitted(report, 1));
        let updates = updates.collect::<anyhow::Result<Vec<_>>>()?;
        let submissions =
            updates.iter().map(|(id, update)| Submission { id, update, idempotency: None });
        Ok(groups(&submissions.collect::<Vec<_>>()))
    }

    /// What a plan writes in one transaction; none if it does not fit into one.
    ///
    /// # Errors
    /// A rollup of the plan is none of the population.
    pub fn work(
        &self,
        plan: &JointPlan,
        new_names: &NewNames,
        reports: &[Report],
    ) -> anyhow::Result<Option<Work>> {
        let revisions = BTreeMap::new();
        let writing = writing(plan, new_names, &revisions);
        let parts = writing.parts();
        let Some(part) = parts.last.filter(|_| parts.is_one) else { return Ok(None) };
        let transaction = writing.transaction(&part, |_| Cell::FIRST)?;
        let actions = self.written(&transaction, plan, new_names, reports)?;
        Ok(Some(Work { sums: writing.spread(&part), actions }))
    }

    /// What actions write to, in their order.
    fn written(
        &self,
        transaction: &[Action],
        plan: &JointPlan,
        new_names: &NewNames,
        reports: &[Report],
    ) -> anyhow::Result<Vec<Written>> {
        let mut clients = reports.iter().map(|report| report.client);
        let rollups: BTreeSet<_> = plan.rollups.keys().chain(&new_names.keys).collect();
        let mut rollups = rollups.into_iter();
        let mut dimensions = new_names.dimensions.iter();
        let mut next_rollup = || {
            let of = rollups.next().context("fewer rollups than actions")?;
            self.numbers.get(of).copied().context("no such rollup")
        };
        let written = transaction.iter().map(|action| {
            Ok(match &action.target {
                Target::Detail => Written::Detail(clients.next().context("no client is left")?),
                Target::Cell(SpreadSum::Rollup(_), _) => {
                    let (dimension, key) = next_rollup()?;
                    Written::Rollup(dimension, key)
                }
                Target::NewKey => {
                    let (dimension, key) = next_rollup()?;
                    Written::NewKey(dimension, key)
                }
                Target::Cell(SpreadSum::Keys(of), _) => Written::KeyCount(self.dimension(of)?),
                Target::Dimension => {
                    let name = dimensions.next().context("fewer dimensions than actions")?;
                    Written::Dimension(self.dimension(name)?)
                }
                other => anyhow::bail!("reports of counters don't write {other:?}"),
            })
        });
        written.collect()
    }

    /// What the next reports of clients write that stay under their keys: as [`Self::work`] has it, but
    /// without a plan for each. Tests compare the two.
    ///
    /// # Errors
    /// There is no such key.
    pub fn next_work(&self, reports: &[Report]) -> anyhow::Result<Work> {
        let mut work = Work::default();
        let mut rollups = BTreeSet::new();
        for report in reports {
            work.actions.push(Written::Detail(report.client));
            rollups.extend(report.keys.iter().copied().enumerate());
        }
        // The population's dimensions and keys are in the order of their names.
        for (dimension, key) in rollups {
            work.sums.insert(self.sum(dimension, key)?.clone());
            work.actions.push(Written::Rollup(dimension, key));
        }
        Ok(work)
    }

    /// The sum of a key.
    ///
    /// # Errors
    /// There is none.
    pub fn sum(&self, dimension: usize, key: usize) -> anyhow::Result<&SpreadSum> {
        self.sums.get(dimension).and_then(|sums| sums.get(key)).context("no such key")
    }

    /// The number of a dimension.
    ///
    /// # Errors
    /// There is none.
    pub fn dimension(&self, name: &DimensionName) -> anyhow::Result<usize> {
        self.names.iter().position(|other| other == name).context("no such dimension")
    }

    /// The numbers of the dimension and of the key.
    ///
    /// # Errors
    /// There is no such key.
    pub fn key(&self, of: &RollupKey) -> anyhow::Result<(usize, usize)> {
        self.numbers.get(of).copied().context("no such key")
    }

    /// A dimension.
    ///
    /// # Errors
    /// There is none.
    pub fn name(&self, dimension: usize) -> anyhow::Result<&DimensionName> {
        self.names.get(dimension).context("no such dimension")
    }

    /// Where an entry of the list of dimensions is.
    ///
    /// # Errors
    /// There is none.
    pub fn entry(&self, dimension: usize) -> anyhow::Result<Position> {
        self.entries.get(dimension).copied().context("no such dimension")
    }

    /// Where a cell of a rollup is.
    ///
    /// # Errors
    /// There is none.
    pub fn cell(&self, dimension: usize, key: usize, cell: Cell) -> anyhow::Result<Position> {
        let cells = self.cells.get(dimension);
        let at = cells.and_then(|cells| cells.get(usize::from(cell.number())));
        Ok(at.context("no such cell")?.below(u32::try_from(key)?))
    }

    /// Where a cell of a dimension's number of keys is.
    ///
    /// # Errors
    /// There is none.
    pub fn key_count(&self, dimension: usize, cell: Cell) -> anyhow::Result<Position> {
        let cells = self.key_counts.get(dimension);
        let at = cells.and_then(|cells| cells.get(usize::from(cell.number())));
        at.copied().context("no such cell")
    }

    /// What an action touches, where its sum is in the cell that `cell` says.
    ///
    /// # Errors
    /// There is no such item.
    pub fn touched(
        &self,
        written: Written,
        cell: impl Fn(&SpreadSum) -> Cell,
    ) -> anyhow::Result<Touched> {
        let shared = |at, units| Touched { at, units, is_shared: true };
        Ok(match written {
            Written::Detail(client) => {
                Touched { at: detail(client), units: PHASES * self.detail_units, is_shared: false }
            }
            Written::Rollup(dimension, key) => {
                let cell = cell(self.sum(dimension, key)?);
                shared(self.cell(dimension, key, cell)?, PHASES * self.rollup_units)
            }
            Written::NewKey(dimension, key) => {
                shared(self.cell(dimension, key, Cell::FIRST)?, PHASES * self.rollup_units)
            }
            Written::KeyCount(dimension) => {
                let cell = cell(&SpreadSum::Keys(self.name(dimension)?.clone()));
                shared(self.key_count(dimension, cell)?, PHASES)
            }
            Written::Dimension(dimension) => shared(self.entry(dimension)?, PHASES),
        })
    }

    /// The target of an action, as the service's judgement of a cancellation has it.
    ///
    /// # Errors
    /// There is no such item.
    pub fn target(
        &self,
        written: Written,
        cell: impl Fn(&SpreadSum) -> Cell,
    ) -> anyhow::Result<Target> {
        let in_cell = |sum: SpreadSum| {
            let cell = cell(&sum);
            Target::Cell(sum, cell)
        };
        Ok(match written {
            Written::Detail(_) => Target::Detail,
            Written::Rollup(dimension, key) => in_cell(self.sum(dimension, key)?.clone()),
            Written::NewKey(..) => Target::NewKey,
            Written::KeyCount(dimension) => in_cell(SpreadSum::Keys(self.name(dimension)?.clone())),
            Written::Dimension(_) => Target::Dimension,
        })
    }
}

/// Where the detail of a client is.
#[must_use]
pub fn detail(client: u64) -> Position {
    Position::new(client, 0)
}

fn id(client: u64) -> anyhow::Result<Id> {
    Ok(Id::new(&format!("client-{client:020}"))?)
}

fn position(key: &ItemKey, sort: u32) -> anyhow::Result<Position> {
    let attributes = key.attributes();
    let partition_key = attributes.get("pk").map(AttributeValue::as_s);
    let Some(Ok(partition_key)) = partition_key else { anyhow::bail!("no partition key") };
    Ok(Position::new(partition_key, sort))
}

fn bytes_of(gain: &CellSums) -> usize {
    gain.rollup_stats().iter().map(RollupStat::bytes).sum()
}

/// Write units of an item of so many bytes, outside of transactions.
fn units(bytes: usize) -> f64 {
    f64::from(u32::try_from(bytes.div_ceil(BYTES_OF_UNIT)).unwrap_or(u32::MAX))
}

fn writing<'a>(
    plan: &'a JointPlan,
    new_names: &'a NewNames,
    revisions: &'a BTreeMap<Id, Revision>,
) -> Writing<'a> {
    Writing {
        table: TABLE,
        revisions,
        token: UpdateToken(1),
        plan,
        departures_found: None,
        new_names,
        markers: &[],
        period_length: PeriodLength::DEFAULT,
        now: UnixSeconds(0),
    }
}

fn transaction(
    plan: &JointPlan,
    new_names: &NewNames,
    revisions: &BTreeMap<Id, Revision>,
) -> anyhow::Result<Vec<Action>> {
    let writing = writing(plan, new_names, revisions);
    let parts = writing.parts();
    ensure!(parts.is_one, "a report fits into a transaction");
    let part: Part = parts.last.context("there is something to write")?;
    Ok(writing.transaction(&part, |_| Cell::FIRST)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::population::DimensionShape;

    fn planner(keys: usize) -> Planner {
        let shapes =
            [DimensionShape::new("country", keys, 1.0), DimensionShape::new("user", 9, 0.0)];
        let population = Population::new(&shapes, &mut fastrand::Rng::with_seed(1)).unwrap();
        Planner::new(&population, 2).unwrap()
    }

    fn report(client: u64, keys: &[usize], is_first: bool) -> Report {
        Report { client, keys: keys.to_vec(), is_first }
    }

    fn units_of(planner: &Planner, work: &Work) -> f64 {
        let touched = work.actions.iter().map(|of| planner.touched(*of, |_| Cell::FIRST).unwrap());
        touched.map(|touched| touched.units).sum()
    }

    #[test]
    fn next_reports_write_what_their_plan_says() {
        let planner = planner(200);
        for client in 0..100 {
            let key = usize::try_from(client).unwrap();
            let report = report(client, &[key, key % 9], false);
            let plan = planner.joint_plan(std::slice::from_ref(&report)).unwrap();
            assert!(plan.keys.is_empty() && plan.stats.is_empty());
            let work = planner.work(&plan, &NewNames::default(), std::slice::from_ref(&report));
            let next = planner.next_work(std::slice::from_ref(&report)).unwrap();
            let work = work.unwrap().unwrap();
            assert_eq!((&next.sums, &next.actions), (&work.sums, &work.actions));
            assert!((units_of(&planner, &next) - 6.0).abs() < 1e-9);
        }
    }

    #[test]
    fn first_reports_of_new_keys_write_their_names_too() {
        let planner = planner(200);
        let reports = [report(7, &[3, 4], true)];
        let plan = planner.joint_plan(&reports).unwrap();
        let new_names = NewNames { dimensions: plan.dimensions.clone(), keys: plan.keys.clone() };
        let work = planner.work(&plan, &new_names, &reports).unwrap().unwrap();
        let expected = [
            Written::Detail(7),
            Written::NewKey(0, 3),
            Written::NewKey(1, 4),
            Written::Dimension(0),
            Written::Dimension(1),
            Written::KeyCount(0),
            Written::KeyCount(1),
        ];
        assert_eq!(work.actions, expected);
        assert_eq!(work.sums.len(), 2, "the numbers of keys");
        for written in expected {
            planner.target(written, |_| Cell::FIRST).unwrap();
        }
    }

    #[test]
    fn batches_share_the_writes_of_their_keys() {
        let planner = planner(2);
        let reports: Vec<_> = (0..80).map(|client| report(client, &[0, 1], false)).collect();
        assert_eq!(planner.groups(&reports).unwrap().len(), 1);
        let plan = planner.joint_plan(&reports).unwrap();
        let work = planner.work(&plan, &NewNames::default(), &reports).unwrap().unwrap();
        assert_eq!(work.actions.len(), 82);
        let next = planner.next_work(&reports).unwrap();
        assert_eq!((&next.sums, &next.actions), (&work.sums, &work.actions));
        assert!((units_of(&planner, &work) - 164.0).abs() < 1e-9);
    }

    #[test]
    fn cells_have_partition_keys_of_their_own() {
        let planner = planner(2);
        let at = |key, cell| planner.cell(0, key, Cell::new(cell).unwrap()).unwrap();
        assert_ne!(at(0, 0), at(0, 1));
        assert_ne!(at(0, 0), at(1, 0));
        assert_eq!(at(0, 5).below(1), at(1, 5));
    }
}
