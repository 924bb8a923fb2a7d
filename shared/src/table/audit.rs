//! Checks the table's invariants on its items: rollups are the sums of details, and the numbers of
//! members are those of the sets. This needs no log and no history. It is for tests, and for anyone
//! who wants to be sure.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use super::{
    attribute::MEMBERS,
    escape::{SEPARATOR, part},
    item::{
        CorruptItem, Item, decode_departure, decode_detail, decode_dimension, decode_key_count,
        decode_rollup,
    },
    key::{ItemKey, ItemKind},
};
use crate::domain::{Cell, CellState, Overflow, RollupCell, Sum, sum_of_cells};

/// Sums by what they are of, in the escaped form of keys: `<dimension>#<key>#<group>:<stat>`.
type SumsByName = BTreeMap<String, Sum>;

/// An audit in progress. It has to see every item of a table that nobody writes to, in any order.
#[derive(Debug, Default)]
pub struct Audit {
    /// What details and members add up to.
    computed: SumsByName,
    cells: BTreeMap<String, Vec<RollupCell>>,
    /// The keys that have a first cell, and those that some id was last seen under.
    keys: BTreeSet<String>,
    placed: BTreeSet<String>,
    key_counts: BTreeMap<String, u64>,
    /// How many partitions of a dimension hold something, and how many its entry says.
    partitions: BTreeMap<String, u64>,
    spreads: BTreeMap<String, u64>,
}

/// A number that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discrepancy {
    /// What it is of.
    pub of: String,
    /// What the table says.
    pub stored: String,
    /// What follows from the rest of the table.
    pub computed: String,
}

impl fmt::Display for Discrepancy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: stored {}, computed {}", self.of, self.stored, self.computed)
    }
}

/// Why an audit can't be made.
#[derive(Debug, thiserror::Error)]
pub enum AuditError {
    /// An item can't be read.
    #[error(transparent)]
    Corrupt(#[from] CorruptItem),
    /// A sum would need more than 38 digits.
    #[error(transparent)]
    Overflow(#[from] Overflow),
}

impl Audit {
    /// Takes an item into account.
    ///
    /// # Errors
    /// The item can't be read, or a sum would need more than 38 digits.
    pub fn add(&mut self, item: &Item) -> Result<(), AuditError> {
        let Some(key) = ItemKey::of_item(item) else {
            return Ok(());
        };
        match key.kind() {
            Some(ItemKind::Detail) => self.add_detail(item)?,
            Some(ItemKind::Departure(of)) => {
                for (stat, sum) in decode_departure(item)? {
                    gain(&mut self.computed, format!("{of}#c:{}", part(stat.as_str())), sum)?;
                }
            }
            Some(ItemKind::Rollup(of, cell)) => {
                if cell == Cell::FIRST {
                    self.keys.insert(of.clone());
                }
                let (dimension, _) = of.split_once(SEPARATOR).unwrap_or((&of, ""));
                let partitions = self.partitions.entry(dimension.to_owned()).or_default();
                *partitions = u64::from(cell.number() + 1).max(*partitions);
                self.cells.entry(of).or_default().push(decode_rollup(item)?);
            }
            Some(ItemKind::Members(set)) => {
                let members = item.get(MEMBERS).and_then(|members| members.as_ss().ok());
                let count = i64::try_from(members.map_or(0, Vec::len)).unwrap_or(i64::MAX);
                let (of, stat) = set.rsplit_once(SEPARATOR).unwrap_or((set, ""));
                gain(&mut self.computed, format!("{of}#m:{stat}"), count.into())?;
            }
            Some(ItemKind::KeyCount(dimension)) => {
                *self.key_counts.entry(dimension.to_owned()).or_default() +=
                    decode_key_count(item)?;
            }
            Some(ItemKind::Dimension) => {
                let entry = decode_dimension(item)?;
                self.spreads.insert(part(entry.name.as_str()), entry.spread.cells.into());
            }
            None => {}
        }
        Ok(())
    }

    /// Everything that is not as it should be.
    ///
    /// # Errors
    /// A sum would need more than 38 digits.
    pub fn finish(mut self) -> Result<Vec<Discrepancy>, AuditError> {
        let stored = std::mem::take(&mut self.cells);
        let stored = stored.into_iter().map(|(of, cells)| sums_of_cells(&of, cells));
        let mut stored: SumsByName =
            stored.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect();
        stored.retain(|_, sum| *sum != Sum::ZERO);
        self.computed.retain(|_, sum| *sum != Sum::ZERO);
        let mut found = differences(&stored, &self.computed);

        let absent = self.placed.difference(&self.keys).map(|of| Discrepancy {
            of: format!("{of} among the keys"),
            stored: "absent".to_owned(),
            computed: "present".to_owned(),
        });
        found.extend(absent);
        let mut keys: BTreeMap<String, u64> = BTreeMap::new();
        for of in &self.keys {
            let (dimension, _) = of.split_once(SEPARATOR).unwrap_or((of, ""));
            *keys.entry(format!("{dimension}: its number of keys")).or_default() += 1;
        }
        let counts = self.key_counts.into_iter();
        let counts = counts.map(|(of, count)| (format!("{of}: its number of keys"), count));
        found.extend(differences(&counts.collect(), &keys));
        found.extend(unread(&self.spreads, &self.partitions));
        Ok(found)
    }

    fn add_detail(&mut self, item: &Item) -> Result<(), AuditError> {
        let detail = decode_detail(item)?.detail;
        for (dimension, placement) in &detail.placements {
            let of = format!("{}#{}", part(dimension.as_str()), part(placement.key.as_str()));
            let counters = placement.counters.of(&detail.counters)?;
            let gauges = placement.gauges.of(&detail.gauges)?;
            // A key that was deleted after the id had come to it is back once the id reports there.
            if !counters.is_empty() || !gauges.is_empty() {
                self.placed.insert(of.clone());
            }
            for (stat, sum) in counters {
                gain(&mut self.computed, format!("{of}#c:{}", part(stat.as_str())), sum)?;
            }
        }
        Ok(())
    }
}

fn sums_of_cells(of: &str, mut cells: Vec<RollupCell>) -> Result<SumsByName, AuditError> {
    cells.sort_by_key(|cell| match &cell.state {
        CellState::First(_) => None,
        CellState::Other(other) => Some(other.cell),
    });
    let of_cells = sum_of_cells(cells)?;
    let mut sums = SumsByName::new();
    for (group, stats) in [("c", &of_cells.counters), ("m", &of_cells.members)] {
        for (stat, sum) in stats {
            gain(&mut sums, format!("{of}#{group}:{}", part(stat.as_str())), *sum)?;
        }
    }
    Ok(sums)
}

/// Dimensions of which readers don't read all partitions that hold something.
fn unread(spreads: &BTreeMap<String, u64>, partitions: &BTreeMap<String, u64>) -> Vec<Discrepancy> {
    let read = |dimension| spreads.get(dimension).copied().unwrap_or_default();
    let pairs = partitions.iter().map(|(dimension, held)| (dimension, read(dimension), *held));
    let unread = pairs.filter(|(_, read, held)| read < held);
    unread
        .map(|(dimension, read, held)| Discrepancy {
            of: format!("{dimension}: its number of partitions"),
            stored: read.to_string(),
            computed: held.to_string(),
        })
        .collect()
}

fn gain(sums: &mut SumsByName, of: String, gain: Sum) -> Result<(), Overflow> {
    let sum = sums.entry(of).or_default();
    *sum = sum.checked_add(gain)?;
    Ok(())
}

fn differences<N: Copy + Default + PartialEq + ToString>(
    stored: &BTreeMap<String, N>,
    computed: &BTreeMap<String, N>,
) -> Vec<Discrepancy> {
    let all: BTreeSet<_> = stored.keys().chain(computed.keys()).collect();
    let number = |numbers: &BTreeMap<String, N>, of| numbers.get(of).copied().unwrap_or_default();
    let pairs = all.into_iter().map(|of| (of, number(stored, of), number(computed, of)));
    let different = pairs.filter(|(_, stored, computed)| stored != computed);
    different
        .map(|(of, stored, computed)| Discrepancy {
            of: of.clone(),
            stored: stored.to_string(),
            computed: computed.to_string(),
        })
        .collect()
}
