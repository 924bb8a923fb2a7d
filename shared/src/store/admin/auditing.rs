//! Auditing: whether the rollups of a table are what its ids and sets add up to, on a table that is
//! written to.
//!
//! One scan finds the keys that may be wrong: each item of it is of another moment, so an update that
//! arrives meanwhile may look like a difference. Those keys are looked at again (`verifying`), until
//! it is certain that nothing has moved. What is certain can be repaired (`repairing`).
//!
//! What the scan has seen of keys is kept in memory as far as it fits, and else in temporary files.

use std::{
    collections::BTreeMap,
    fmt,
    hash::RandomState,
    time::{Duration, SystemTime},
};

use aws_sdk_dynamodb::Client;

use super::{
    Pacer,
    sorted_runs::{Addend, RunError, SortedRuns, Workspace},
};
use crate::{
    domain::{Overflow, PeriodLength, Sum, UnixSeconds},
    store::{Deadline, Settings, Store, StoreError, update::Consistency},
    table::{Differences, EscapedKey, KeyTally, LongNames, Number, Stocktaking, TallyError},
};

/// Ids that have changed within this time before an audit probably change during it, too.
const ACTIVE_FOR: Duration = Duration::from_secs(15 * 60);
/// The most keys that are looked at again. More of them would take too much memory.
const MOST_SUSPECTS: usize = 100_000;

/// Whether an audit repairs what it finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AuditMode {
    /// It writes nothing.
    Report,
    /// It makes rollups what the rest of the table says.
    Repair,
}

/// Why a table can't be audited.
#[derive(Debug, thiserror::Error)]
pub enum AuditFailure {
    /// DynamoDB did not do what it was asked.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// An item can't be read, or a sum is too large.
    #[error(transparent)]
    Tally(#[from] TallyError),
    /// A temporary file can't be used.
    #[error(transparent)]
    Run(#[from] RunError),
    /// Something never held still.
    #[error("{0} could not be compared, since it never held still")]
    Undecided(Place),
}

impl From<Overflow> for AuditFailure {
    fn from(error: Overflow) -> Self {
        Self::Store(error.into())
    }
}

/// What an audit looks at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// A key.
    Key {
        /// Its dimension.
        dimension: String,
        /// The key.
        key: String,
    },
    /// A dimension.
    Dimension(String),
}

impl Place {
    pub(super) fn of(of: &EscapedKey, names: &LongNames) -> Self {
        Self::Key { dimension: names.name(of.dimension()), key: names.name(of.key()) }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Key { dimension, key } => write!(f, "the key {key} of {dimension}"),
            Self::Dimension(dimension) => write!(f, "the dimension {dimension}"),
        }
    }
}

/// Which number of a place is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// A counter.
    Counter(String),
    /// The number of members of a stat.
    Members(String),
    /// Whether the key is in the table: 1 or 0.
    Presence,
    /// How many keys the dimension counts.
    Keys,
    /// How many of the dimension's partitions readers read.
    Partitions,
}

/// A number that is not what it should be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Discrepancy {
    /// Where.
    pub place: Place,
    /// Which number.
    pub subject: Subject,
    /// What the table says.
    pub stored: Sum,
    /// What follows from the rest of the table.
    pub computed: Sum,
}

impl fmt::Display for Discrepancy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { place, subject, stored, computed } = self;
        match subject {
            Subject::Counter(stat) => write!(f, "{place}: counter {stat}: ")?,
            Subject::Members(stat) => write!(f, "{place}: members of {stat}: ")?,
            Subject::Presence => return write!(f, "{place}: ids count there, and it is missing"),
            Subject::Keys => write!(f, "{place}: number of keys: ")?,
            Subject::Partitions => write!(f, "{place}: partitions that are read: ")?,
        }
        write!(f, "stored {stored}, computed {computed}")
    }
}

/// What an audit reports.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finding {
    /// A number is wrong.
    Found(Discrepancy),
    /// A number was wrong, and is right now.
    Repaired(Discrepancy),
    /// A number is wrong and was not repaired, for this reason.
    NotRepaired(Discrepancy, &'static str),
    /// Whether this is right is unknown: it never held still.
    Undecided(Place),
}

/// What an audit has looked at and found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Audited {
    /// Items that were read in scans.
    pub items: u64,
    /// How often the table was scanned.
    pub scans: u32,
    /// Keys of dimensions.
    pub keys: u64,
    /// Keys that the first scan could not tell to be right.
    pub suspects: u64,
    /// Numbers that are wrong.
    pub wrong: u64,
    /// Numbers that were wrong and are right now.
    pub repaired: u64,
    /// Places that never held still.
    pub undecided: u64,
}

/// An audit on its way.
pub struct AuditRun<'a> {
    /// Whether it repairs what it finds.
    pub mode: AuditMode,
    /// Knows which ids have changed lately.
    pub clock: fn() -> UnixSeconds,
    /// How fast it goes.
    pub pacer: &'a mut Pacer,
    /// After how long without any progress it gives up.
    pub patience: Duration,
    /// Where it keeps what it has seen.
    pub workspace: Workspace,
    /// How often it scans the table at most: once, and then as long as keys don't hold still.
    pub most_scans: u32,
    /// Is called after each page.
    pub progress: &'a mut (dyn FnMut(&Audited) + Send),
    /// Is called with each finding.
    pub report: &'a mut (dyn FnMut(Finding) + Send),
    /// What it has looked at and found.
    pub audited: Audited,
}

impl Addend for KeyTally {
    fn add(&mut self, other: Self) -> Result<(), Overflow> {
        self.merge(other)
    }

    fn bytes(&self) -> usize {
        Self::bytes(self)
    }
}

/// Keys that may be wrong, and what was seen of them.
pub(super) type Suspects = BTreeMap<EscapedKey, KeyTally>;

impl Store {
    /// Audits the table, and reports what is not as it should be.
    ///
    /// Updates may go on. What is reported as wrong is wrong, and stays wrong by as much until it is
    /// repaired.
    ///
    /// # Errors
    /// The table can't be read or written, or a sum would need more than 38 digits.
    pub async fn audit(&self, run: &mut AuditRun<'_>) -> Result<(), AuditFailure> {
        let hasher = RandomState::new();
        let active_since = UnixSeconds((run.clock)().0.saturating_sub(ACTIVE_FOR.as_secs()));
        let mut stock = Stocktaking::new(hasher, active_since, None);
        let mut tallies = SortedRuns::new(run.workspace.clone());
        let add = |of: EscapedKey, tally| tallies.add(of.as_str().to_owned(), tally);
        // An item that is read a little late only makes a suspect.
        self.take_stock(&mut stock, Consistency::Eventual, run, add).await?;
        let mut suspects = Suspects::new();
        for tally in tallies.into_sorted()? {
            let (of, tally) = tally?;
            run.audited.keys += u64::from(tally.is_key());
            let Some(of) = EscapedKey::joined(&of).filter(|_| is_suspect(&tally)) else {
                continue;
            };
            run.audited.suspects += 1;
            match suspects.len() < MOST_SUSPECTS {
                true => drop(suspects.insert(of, tally)),
                false => run.leave_undecided(Place::of(&of, &stock.names)),
            }
        }
        while !suspects.is_empty() && run.audited.scans < run.most_scans {
            suspects = self.look_again(suspects, &mut stock, run).await?;
        }
        for of in suspects.keys() {
            run.leave_undecided(Place::of(of, &stock.names));
        }
        self.audit_dimensions(&stock, run).await
    }

    /// Reads all items, and passes on what they say of keys.
    pub(super) async fn take_stock(
        &self,
        stock: &mut Stocktaking,
        consistency: Consistency,
        run: &mut AuditRun<'_>,
        mut take: impl FnMut(EscapedKey, KeyTally) -> Result<(), RunError>,
    ) -> Result<(), AuditFailure> {
        run.audited.scans += 1;
        let mut start = None;
        loop {
            let deadline = run.deadline();
            let page = self.scan_page(start, None, consistency, run.pacer, deadline).await?;
            for item in &page.items {
                run.audited.items += 1;
                for (of, tally) in stock.note(item)? {
                    take(of, tally)?;
                }
            }
            (run.progress)(&run.audited);
            start = page.next;
            if start.is_none() {
                return Ok(());
            }
        }
    }
}

/// Whether a key has to be looked at again. A sum that is too large for a scan of a moving table may
/// be none once it holds still.
fn is_suspect(tally: &KeyTally) -> bool {
    tally.differences().map_or(true, |found| !found.is_empty())
}

impl AuditRun<'_> {
    /// That of a request, or of attempts none of which makes progress.
    pub(super) fn deadline(&self) -> Deadline {
        Deadline::after(self.patience).of_job()
    }

    pub(super) fn leave_undecided(&mut self, place: Place) {
        self.audited.undecided += 1;
        (self.report)(Finding::Undecided(place));
    }

    pub(super) fn report_repaired(&mut self, discrepancy: Discrepancy) {
        self.audited.wrong += 1;
        self.audited.repaired += 1;
        (self.report)(Finding::Repaired(discrepancy));
    }

    pub(super) fn report_wrong(&mut self, discrepancy: Discrepancy, why: Option<&'static str>) {
        self.audited.wrong += 1;
        (self.report)(match why {
            None => Finding::Found(discrepancy),
            Some(why) => Finding::NotRepaired(discrepancy, why),
        });
    }
}

/// The differences of a key as they are reported.
pub(super) fn discrepancies(
    of: &EscapedKey,
    differences: &Differences,
    names: &LongNames,
) -> Vec<(Number, Discrepancy)> {
    let discrepancy = |number: &Number| match number {
        Number::Key => Subject::Presence,
        Number::Counter(stat) => Subject::Counter(stat.clone()),
        Number::Members(stat) => Subject::Members(names.name(stat)),
    };
    differences
        .iter()
        .map(|(number, difference)| {
            let (stored, computed) = (difference.stored, difference.computed);
            let (place, subject) = (Place::of(of, names), discrepancy(number));
            (number.clone(), Discrepancy { place, subject, stored, computed })
        })
        .collect()
}

/// Audits a table with the default settings, in memory; returns the numbers that are not what they
/// should be.
///
/// # Errors
/// The table can't be read, something never holds still, or a sum would need more than 38 digits.
pub async fn audit(client: &Client, table: &str) -> Result<Vec<Discrepancy>, AuditFailure> {
    let settings = Settings::new(table, PeriodLength::DEFAULT);
    let store = Store::new(client.clone(), settings, fastrand::Rng::new());
    let mut findings = Vec::new();
    let mut pacer = Pacer::new(std::num::NonZeroU32::MAX);
    let mut run = AuditRun {
        mode: AuditMode::Report,
        clock: || UnixSeconds::from(SystemTime::now()),
        pacer: &mut pacer,
        patience: Duration::from_secs(60),
        workspace: Workspace::in_memory(),
        most_scans: 5,
        progress: &mut |_| {},
        report: &mut |finding| findings.push(finding),
        audited: Audited::default(),
    };
    // Boxed, since the types of the SDK's futures nest too deeply for the compiler.
    Box::pin(store.audit(&mut run)).await?;
    let discrepancies = findings.into_iter().map(|finding| match finding {
        Finding::Found(wrong) | Finding::Repaired(wrong) | Finding::NotRepaired(wrong, _) => {
            Ok(wrong)
        }
        Finding::Undecided(place) => Err(AuditFailure::Undecided(place)),
    });
    discrepancies.collect()
}
