//! `statshub migrate-from-redis`: takes over what a first statshub has counted.
//!
//! What ids have reported becomes their details, without dimensions: the first statshub does not
//! know where an id was, and its next report says so. Rollups are taken over as they are, on behalf
//! of one id that stands for all that was counted before.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    num::NonZeroU32,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use anyhow::Context;
use clap::Args;
use serde::Serialize;
use sha2::{Digest, Sha256};
use shared::{
    domain::{
        Detail, DimensionKey, DimensionName, Id, IdempotencyKey, Member, Overflow, Period,
        PeriodLength, RollupKey, StatName, Sum, Sums, UnixSeconds, Update,
    },
    store::{Deadline, Pacer, Store},
};

use crate::{
    exit::Exit,
    first_statshub::{FirstStatshub, StatKind, in_period},
    output::{OutputOptions, counted, grouped, print, print_json},
    progress::Progress,
    restored_ids::{KnownIds, RestoredId},
    table_access::{HOW_TO_REACH_IT, PeriodOptions, TableOptions, run_async},
};

const PERMISSIONS: &str = "\
The migration needs the permissions dynamodb:BatchGetItem, dynamodb:ConditionCheckItem, dynamodb:PutItem, \
dynamodb:Query and dynamodb:UpdateItem.";

/// After how long without any progress a migration gives up.
const PATIENCE: Duration = Duration::from_secs(60);
/// The most keys whose rollups are taken over in one transaction: two items each, of 100.
const KEYS_AT_ONCE: usize = 40;
/// The most ids in one transaction.
const IDS_AT_ONCE: usize = 90;
/// The most members of one update.
const MEMBERS_AT_ONCE: usize = 1_000;
/// The period of the first statshub.
const OLD_PERIOD: PeriodLength = PeriodLength::DEFAULT;
/// How many examples a warning has.
const EXAMPLES: usize = 3;

/// What to take over, and to where.
#[derive(Debug, Args)]
#[command(after_help = "\
It can be killed and run again, and counts nothing twice: what was taken over before is compared, and \
what has changed since is added. To move without a gap, run it first while the first statshub still \
serves, with --no-gauges; then stop that, run it again, and point the clients here. An id that has \
reported here already stays as it is.

The first statshub has turned the dashes of ids into underscores. If clients name them with dashes, \
restore those: --ids has a file with the ids, a line each; --uuids takes what looks like a UUID for one. \
An id that is not restored is another id here. All that its client has counted would count again with \
its first report.

The password of Redis is taken from REDIS_PASS.

Examples:
  export AWS_REGION=eu-west-1 REDIS_PASS=...
  statshub migrate-from-redis --redis stats.example.com:6379 --uuids --dry-run
  statshub migrate-from-redis --redis stats.example.com:6379 --uuids --stack statshub --no-gauges
  statshub migrate-from-redis --redis localhost --ids ids.txt --table statshub")]
pub struct MigrateOptions {
    /// Where Redis is: HOST, HOST:PORT, or a redis:// URL with the number of a database
    #[arg(long, value_name = "ADDRESS", env = "REDIS_ADDR", hide_env_values = true)]
    redis: String,
    /// A file with ids as clients name them, a line each
    #[arg(long, value_name = "FILE")]
    ids: Option<PathBuf>,
    /// What looks like a UUID with underscores has dashes
    #[arg(long)]
    uuids: bool,
    /// Leave gauges out: they are taken over once in each period
    #[arg(long)]
    no_gauges: bool,
    /// The id that stands for all that was counted before
    #[arg(long, value_name = "ID", default_value = "migrated-from-redis", value_parser = Id::new)]
    on_behalf_of: Id,
    /// Write nothing, and say what there is
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// How many read and write units a second it may take of the table, on average
    #[arg(long, value_name = "UNITS", default_value = "500")]
    units_per_second: NonZeroU32,
    #[command(flatten)]
    table: TableOptions,
    #[command(flatten)]
    period: PeriodOptions,
    #[command(flatten)]
    output: OutputOptions,
}

/// What was found, and what became of it.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
struct Summary {
    dimensions: u64,
    keys: u64,
    /// Rollups with counters.
    rollups: u64,
    /// Those of them that were written now.
    rollups_changed: u64,
    /// Rollups of gauges, each of a period.
    gauge_rollups: u64,
    /// Sets that have members.
    sets: u64,
    /// Members, counted for each set.
    members: u64,
    ids: u64,
    ids_written: u64,
    /// Ids that have reported to the new service, and stay as they are.
    ids_kept: u64,
    /// Ids with underscores that may have been dashes.
    ids_doubtful: u64,
    /// Names that the service does not take, and all that counts under them.
    names_left_out: u64,
    read_units: f64,
    write_units: f64,
}

/// Stats, as Redis and as the service name them.
type Stats = Vec<(String, StatName)>;

/// Sums of gauges in periods, by key.
type Gauges = BTreeMap<RollupKey, BTreeMap<Period, Sums>>;

struct Migration<'a> {
    options: &'a MigrateOptions,
    source: FirstStatshub,
    store: Store,
    period_length: PeriodLength,
    known_ids: KnownIds,
    pacer: Pacer,
    progress: Progress,
    summary: Summary,
    doubtful: Vec<String>,
}

/// Takes over what a first statshub has counted, and prints how much that is.
///
/// # Errors
/// Redis or the table can't be reached, or have what can't be taken over; the message says what to
/// do.
pub fn run(options: &MigrateOptions) -> anyhow::Result<Exit> {
    let list = options.ids.as_ref().map(|path| {
        fs::read_to_string(path).with_context(|| format!("{} can't be read", path.display()))
    });
    let known_ids = KnownIds::new(&list.transpose()?.unwrap_or_default(), options.uuids)?;
    let password = std::env::var("REDIS_PASS").ok().filter(|password| !password.is_empty());
    let source = FirstStatshub::connect(&options.redis, password.as_deref()).with_context(|| {
        "Redis can't be reached: --redis or REDIS_ADDR say where it is, REDIS_PASS has the password"
    })?;
    run_async(async {
        let table = options.table.open().await?;
        let mut migration = Migration {
            options,
            source,
            store: table.store_without_bounds(&options.period),
            period_length: table.period_length(&options.period),
            known_ids,
            pacer: Pacer::new(options.units_per_second),
            progress: Progress::new(if options.dry_run { "looking:" } else { "migrating:" }),
            summary: Summary::default(),
            doubtful: Vec::new(),
        };
        let result = Box::pin(migration.run()).await;
        result.with_context(|| {
            format!(
                "the migration is not complete: run the same command again. {HOW_TO_REACH_IT} {PERMISSIONS}\nThe \
                 cause"
            )
        })?;
        migration.finish()
    })
}

impl Migration<'_> {
    async fn run(&mut self) -> anyhow::Result<()> {
        let counters = self.stats(StatKind::Counter)?;
        let gauges = self.gauges()?;
        let members = self.stats(StatKind::Member)?;
        for name in self.source.dimensions()? {
            let Some(dimension) = self.valid(DimensionName::new(&name)) else { continue };
            self.summary.dimensions += 1;
            let keys: Vec<_> = self.source.keys(&name)?.into_iter().collect();
            let keys = keys.into_iter().filter_map(|key| {
                let valid = self.valid(DimensionKey::new(&key))?;
                Some((key, RollupKey { dimension: dimension.clone(), key: valid }))
            });
            let keys: Vec<_> = keys.collect();
            for keys in keys.chunks(KEYS_AT_ONCE) {
                self.summary.keys += u64::try_from(keys.len())?;
                self.take_counters(&name, keys, &counters).await?;
                self.take_gauges(&name, keys, &gauges).await?;
                self.take_members(&name, keys, &members).await?;
                self.report();
            }
        }
        self.take_ids(&counters, &gauges).await
    }

    /// The stats of a kind whose names the service takes.
    fn stats(&mut self, kind: StatKind) -> anyhow::Result<Stats> {
        let names = self.source.stats(kind)?;
        let stats = names.into_iter().filter_map(|name| {
            let stat = self.valid(StatName::new(&name))?;
            Some((name, stat))
        });
        Ok(stats.collect())
    }

    /// The gauges that still count: none if they are not wanted, or if periods differ.
    fn gauges(&mut self) -> anyhow::Result<Stats> {
        if self.options.no_gauges {
            return Ok(Stats::new());
        }
        if self.period_length != OLD_PERIOD {
            eprintln!(
                "statshub: gauges are left out, since this service has other periods than the first statshub. They \
                 come back with the next reports"
            );
            return Ok(Stats::new());
        }
        self.stats(StatKind::Gauge)
    }

    /// A name, if the service takes it; if not, says so.
    fn valid<T, E: std::fmt::Display>(&mut self, name: Result<T, E>) -> Option<T> {
        name.inspect_err(|error| {
            self.summary.names_left_out += 1;
            eprintln!("statshub: left out, with all that counts there: {error}");
        })
        .ok()
    }

    /// The numbers of rollups, by key and stat. Names that the service takes for one are added up.
    fn sums(
        &mut self,
        kind: StatKind,
        dimension: &str,
        keys: &[(String, RollupKey)],
        stats: &[(String, StatName)],
    ) -> anyhow::Result<BTreeMap<RollupKey, Sums>> {
        let places = || keys.iter().flat_map(|key| stats.iter().map(move |stat| (key, stat)));
        let names: Vec<_> =
            places().map(|((key, _), (stat, _))| kind.rollup(dimension, key, stat)).collect();
        let numbers = self.source.numbers(&names)?;
        let mut sums: BTreeMap<RollupKey, Sums> = BTreeMap::new();
        for (((_, of), (_, stat)), number) in places().zip(numbers) {
            if let Some(number) = number {
                add(sums.entry(of.clone()).or_default(), stat, number)?;
            }
        }
        Ok(sums)
    }

    async fn take_counters(
        &mut self,
        dimension: &str,
        keys: &[(String, RollupKey)],
        stats: &Stats,
    ) -> anyhow::Result<()> {
        let sums = self.sums(StatKind::Counter, dimension, keys, stats)?;
        self.summary.rollups += u64::try_from(sums.len())?;
        if self.options.dry_run || sums.is_empty() {
            return Ok(());
        }
        let id = &self.options.on_behalf_of;
        let work = self.store.adopt_counters(id, &sums, now(), deadline());
        self.summary.rollups_changed += u64::try_from(self.pacer.run(work).await?)?;
        Ok(())
    }

    /// The current period, and the one before it, which queries show.
    fn periods(&self) -> [Period; 2] {
        let current = self.period_length.containing(now());
        [self.period_length.prior(current), current]
    }

    async fn take_gauges(
        &mut self,
        dimension: &str,
        keys: &[(String, RollupKey)],
        stats: &Stats,
    ) -> anyhow::Result<()> {
        let mut gauges = Gauges::new();
        for period in self.periods() {
            let start = period.start().0;
            let stats: Stats =
                stats.iter().map(|(name, stat)| (in_period(name, start), stat.clone())).collect();
            for (of, sums) in self.sums(StatKind::Gauge, dimension, keys, &stats)? {
                gauges.entry(of).or_default().insert(period, sums);
            }
        }
        for (of, periods) in gauges {
            for (period, sums) in periods {
                self.summary.gauge_rollups += 1;
                if !self.options.dry_run {
                    let key = gauge_key(&of, period)?;
                    let gauges = [(period, sums)].into();
                    let id = &self.options.on_behalf_of;
                    let of = (&of, &gauges);
                    let work = self.store.adopt_gauges(id, &key, of, now(), deadline());
                    self.pacer.run(work).await?;
                }
            }
        }
        Ok(())
    }

    async fn take_members(
        &mut self,
        dimension: &str,
        keys: &[(String, RollupKey)],
        stats: &Stats,
    ) -> anyhow::Result<()> {
        let places: Vec<_> =
            keys.iter().flat_map(|key| stats.iter().map(move |stat| (key, stat))).collect();
        let names: Vec<_> = places
            .iter()
            .map(|((key, _), (stat, _))| StatKind::Member.rollup(dimension, key, stat))
            .collect();
        let sizes = self.source.sizes(&names)?;
        for ((((_, of), (_, stat)), set), size) in places.into_iter().zip(&names).zip(sizes) {
            if size == 0 {
                continue;
            }
            self.summary.sets += 1;
            if self.options.dry_run {
                self.summary.members += size;
                continue;
            }
            let mut place = 0;
            loop {
                let (next, members) = self.source.some_members(set, place)?;
                let members: BTreeSet<_> =
                    members.iter().filter_map(|member| self.valid(Member::new(member))).collect();
                self.add_members(of, stat, members).await?;
                if next == 0 {
                    break;
                }
                place = next;
            }
            self.summary.members += size;
            self.report();
        }
        Ok(())
    }

    /// Adds members to a set as an update does. To repeat that is harmless.
    async fn add_members(
        &mut self,
        of: &RollupKey,
        stat: &StatName,
        members: BTreeSet<Member>,
    ) -> anyhow::Result<()> {
        let members: Vec<_> = members.into_iter().collect();
        for members in members.chunks(MEMBERS_AT_ONCE) {
            let update = Update {
                dims: [(of.dimension.clone(), of.key.clone())].into(),
                members: [(stat.clone(), members.iter().cloned().collect())].into(),
                ..Update::default()
            };
            let id = &self.options.on_behalf_of;
            let work = self.store.update(id, &update, None, now(), deadline());
            self.pacer.run(work).await?;
        }
        Ok(())
    }

    /// Takes over what ids have reported last.
    async fn take_ids(&mut self, counters: &Stats, gauges: &Stats) -> anyhow::Result<()> {
        let [_, current] = self.periods();
        let mut names = self.source.ids(StatKind::Counter, None)?;
        if !gauges.is_empty() {
            names.extend(self.source.ids(StatKind::Gauge, Some(current.start().0))?);
        }
        let names: Vec<_> = names.into_iter().collect();
        for names in names.chunks(IDS_AT_ONCE) {
            let mut details: BTreeMap<Id, Detail> = BTreeMap::new();
            for (name, detail) in names.iter().zip(self.details(names, counters, gauges, current)?)
            {
                let restored = match self.known_ids.restore(name) {
                    RestoredId::Certain(id) => id,
                    RestoredId::Doubtful(id) => {
                        self.summary.ids_doubtful += 1;
                        if self.doubtful.len() < EXAMPLES {
                            self.doubtful.push(id.clone());
                        }
                        id
                    }
                };
                // A gauge may have expired since its id was found.
                if detail != Detail::default()
                    && let Some(id) = self.valid(Id::new(&restored))
                {
                    details.insert(id, detail);
                }
            }
            self.summary.ids += u64::try_from(details.len())?;
            if !self.options.dry_run {
                let work = self.store.adopt_ids(&details, now(), deadline());
                let adopted = self.pacer.run(work).await?;
                self.summary.ids_written += adopted.written;
                self.summary.ids_kept += adopted.kept;
            }
            self.report();
        }
        Ok(())
    }

    /// What each of these ids has reported last. No dimension: nobody knows where it was.
    fn details(
        &mut self,
        names: &[String],
        counters: &Stats,
        gauges: &Stats,
        current: Period,
    ) -> anyhow::Result<Vec<Detail>> {
        let start = current.start().0;
        let mut keys = Vec::new();
        for name in names {
            keys.extend(counters.iter().map(|(stat, _)| StatKind::Counter.detail(name, stat)));
            let gauges = gauges.iter().map(|(stat, _)| in_period(stat, start));
            keys.extend(gauges.map(|stat| StatKind::Gauge.detail(name, &stat)));
        }
        let mut numbers = self.source.numbers(&keys)?.into_iter();
        let mut details = Vec::new();
        for _ in names {
            let mut detail = Detail::default();
            for ((_, stat), number) in counters.iter().zip(&mut numbers) {
                if let Some(number) = number {
                    add(&mut detail.counters, stat, number)?;
                }
            }
            for ((_, stat), number) in gauges.iter().zip(&mut numbers) {
                if let Some(number) = number {
                    add(&mut detail.gauges, stat, number)?;
                    detail.gauge_period = Some(current);
                }
            }
            details.push(detail);
        }
        Ok(details)
    }

    fn report(&mut self) {
        let Summary { rollups, members, ids, .. } = self.summary;
        let units = self.pacer.read_units() + self.pacer.write_units();
        let (rollups, members) = (counted(rollups, "rollup"), counted(members, "member"));
        let ids = counted(ids, "id");
        self.progress.report(0, format!("{rollups}, {members}, {ids}; {units:.0} units"));
    }

    /// Prints what came of it.
    fn finish(mut self) -> anyhow::Result<Exit> {
        drop(self.progress);
        self.summary.read_units = self.pacer.read_units();
        self.summary.write_units = self.pacer.write_units();
        match self.options.output.json {
            true => print_json(&self.summary)?,
            false => print(&self.summary.text(self.options.dry_run))?,
        }
        if self.summary.ids_doubtful > 0 {
            eprintln!(
                "statshub: {} underscores that may have been dashes, such as {}. If clients name them with dashes, \
                 restore those by --ids or --uuids before they report here: otherwise all that they have counted \
                 counts a second time",
                match self.summary.ids_doubtful {
                    1 => "1 id has".to_owned(),
                    many => format!("{} ids have", grouped(many)),
                },
                self.doubtful.join(", ")
            );
        }
        Ok(match self.summary.names_left_out {
            0 => Exit::Done,
            _ => Exit::Different,
        })
    }
}

impl Summary {
    fn text(&self, is_dry_run: bool) -> String {
        let found = [
            counted(self.dimensions, "dimension"),
            counted(self.keys, "key"),
            counted(self.rollups, "rollup"),
            format!("{} of gauges", counted(self.gauge_rollups, "rollup")),
            format!("{} in {}", counted(self.members, "member"), counted(self.sets, "set")),
            counted(self.ids, "id"),
        ];
        let found = found.join(", ");
        if is_dry_run {
            let least =
                4 * (self.rollups + self.gauge_rollups + self.sets) + 2 * (self.members + self.ids);
            return format!(
                "{found}\nNothing is written yet. It takes at least {} write units.",
                grouped(least)
            );
        }
        format!(
            "{found}\nwritten now: {}, {}; {} reported here already and stay as they are\n{} read units, {} write \
             units",
            counted(self.rollups_changed, "rollup"),
            counted(self.ids_written, "id"),
            match self.ids_kept {
                1 => "1 id has".to_owned(),
                many => format!("{} ids have", grouped(many)),
            },
            self.read_units,
            self.write_units
        )
    }
}

/// Adds a number to the sum of a stat. A zero counts, too.
fn add(sums: &mut Sums, stat: &StatName, number: i64) -> Result<(), Overflow> {
    let sum = sums.entry(stat.clone()).or_default();
    *sum = sum.checked_add(Sum::from(number))?;
    Ok(())
}

/// What the gauges of a rollup in a period are recognized by.
fn gauge_key(of: &RollupKey, period: Period) -> anyhow::Result<IdempotencyKey> {
    let name = serde_json::to_string(&[of.dimension.as_str(), of.key.as_str()])?;
    let name = hex::encode(Sha256::digest(name));
    Ok(IdempotencyKey::new(&format!("gauges-{}-{name}", period.start().0))?)
}

fn now() -> UnixSeconds {
    SystemTime::now().into()
}

fn deadline() -> Deadline {
    Deadline::after(PATIENCE).of_job()
}
