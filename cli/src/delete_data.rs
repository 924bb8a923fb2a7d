//! `statshub delete`: deletes ids, members, keys or stats from a table, on a live service too.

use std::{
    io,
    num::NonZeroU32,
    time::{Duration, SystemTime},
};

use anyhow::{Context, bail, ensure};
use clap::{ArgGroup, Args};
use serde_json::json;
use shared::{
    domain::{
        DeletionOfAllIds, DimensionKey, DimensionName, Id, KeyPrefix, KeySelection, Member,
        StatPattern, UnixSeconds,
    },
    store::{Deleted, DeletionMode, DeletionRun, Pacer, Store},
};

use crate::{
    exit::Exit,
    output::{OutputOptions, counted, grouped, print, print_json},
    progress::Progress,
    prompt::{ask, confirm},
    table_access::{HOW_TO_REACH_IT, PeriodOptions, TableOptions, run_async},
};

const PERMISSIONS: &str = "\
A preview needs the permissions dynamodb:BatchGetItem, dynamodb:Query and dynamodb:Scan. Deleting also needs \
dynamodb:ConditionCheckItem, dynamodb:DeleteItem, dynamodb:PutItem and dynamodb:UpdateItem.";

/// After how long without any progress a deletion gives up.
const PATIENCE: Duration = Duration::from_secs(30);

/// What to delete.
#[derive(Debug, Args)]
#[command(
    group(ArgGroup::new("what").required(true)),
    after_help = "\
It says what there is, and what it takes to delete it. With --yes it deletes it; on a terminal, it asks \
first.

A deletion is safe beside live traffic: whatever others report stays exact. If it is killed, run it again: it \
does what is left. Reads and writes together stay below --units-per-second on average.

--id and --member read what they need. --dim and --stat read the whole table.

Names are taken as clients send them. The case of ids, members and stats counts.

What it means for what remains, and what keeps names elsewhere (the archive in BigQuery, backups), is in \
docs/operations.md.

Examples:
  export AWS_REGION=eu-west-1
  statshub delete --id myid1 --dry-run
  statshub delete --id myid1 --yes
  statshub delete --member item1 --yes --units-per-second 500
  statshub delete --dim user --key bob --yes
  statshub delete --dim user --prefix test- --yes
  statshub delete --stat 'debug_*' --yes
  statshub delete --dim user --yes --confirm user"
)]
pub struct DeleteOptions {
    /// An id: all that is kept of it, and exactly its part of every rollup
    #[arg(long, group = "what", value_parser = Id::new)]
    id: Option<Id>,
    /// A member: it is removed from every set, under whatever key and stat
    #[arg(long, group = "what", value_parser = Member::new)]
    member: Option<Member>,
    /// A dimension: all of its keys, or those that --key or --prefix name
    #[arg(long, group = "what", value_name = "NAME", value_parser = DimensionName::new)]
    dim: Option<DimensionName>,
    /// A key of the dimension: what counts there, and the key
    #[arg(long, requires = "dim", value_parser = DimensionKey::new)]
    key: Option<DimensionKey>,
    /// Keys of the dimension, by how they begin
    #[arg(long, requires = "dim", conflicts_with = "key", value_parser = nonempty_prefix)]
    prefix: Option<KeyPrefix>,
    /// Stats under all keys, of all ids: `*` stands for any text, `?` for any character
    #[arg(long, group = "what", value_name = "PATTERN", value_parser = StatPattern::new)]
    stat: Option<StatPattern>,
    /// With --yes, the name of the dimension once more, if all of its keys go
    #[arg(long, requires = "dim", conflicts_with_all = ["key", "prefix"], value_name = "NAME")]
    #[arg(value_parser = DimensionName::new)]
    confirm: Option<DimensionName>,
    /// Delete it, and ask nothing. It can't be undone
    #[arg(long, conflicts_with = "dry_run")]
    yes: bool,
    /// Delete nothing and ask nothing: say what there is to delete
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// How many read and write units a second it may take of the table, on average
    #[arg(long, value_name = "UNITS", default_value = "100")]
    units_per_second: NonZeroU32,
    #[command(flatten)]
    table: TableOptions,
    #[command(flatten)]
    period: PeriodOptions,
    #[command(flatten)]
    output: OutputOptions,
}

/// What was found or deleted, and what it has consumed.
#[derive(Debug)]
struct Report {
    what: String,
    /// The SQL that deletes it from the archive; none if the archive has nothing of it.
    archive_sql: Option<String>,
    is_done: bool,
    deleted: Deleted,
    read_units: f64,
    write_units: f64,
}

/// Previews a deletion, or carries it out, and prints what was found. On a terminal, it asks in
/// between.
///
/// # Errors
/// The table can't be read or written; the message says what to do.
pub fn run(options: &DeleteOptions) -> anyhow::Result<Exit> {
    options.check_confirmation()?;
    run_async(async {
        let table = options.table.open().await?;
        let store = table.store(&options.period);
        let delete = async |mode| Box::pin(delete(&store, table.name(), options, mode)).await;
        if options.yes {
            return delete(DeletionMode::Delete).await?.print(options);
        }
        let preview = delete(DeletionMode::Preview).await?;
        preview.print(options)?;
        match preview.has_found_something() && options.is_wanted()? {
            true => delete(DeletionMode::Delete).await?.print(options),
            false => Ok(Exit::Done),
        }
    })
}

async fn delete(
    store: &Store,
    table: &str,
    options: &DeleteOptions,
    mode: DeletionMode,
) -> anyhow::Result<Report> {
    let is_done = mode == DeletionMode::Delete;
    let mut pacer = Pacer::new(options.units_per_second);
    let mut progress = Progress::new(if is_done { "deleting:" } else { "looking:" });
    let mut watch = |deleted: &Deleted, units: f64| {
        let found = match found(deleted) {
            nothing if nothing.is_empty() => "nothing yet".to_owned(),
            found => found,
        };
        progress.report(0, format!("{found}; {units:.0} units"));
    };
    let mut run = DeletionRun {
        mode,
        clock: || UnixSeconds::from(SystemTime::now()),
        pacer: &mut pacer,
        patience: PATIENCE,
        deleted: Deleted::default(),
        watch: &mut watch,
    };
    let what = options.what();
    let result = match (&options.id, &options.member) {
        (Some(id), _) => store.delete_id(id, &mut run).await,
        (_, Some(member)) => store.delete_member(member, &mut run).await,
        (None, None) => match options.deletion() {
            Some(deletion) => store.delete_of_all_ids(&deletion, &mut run).await,
            None => bail!("say what to delete: see statshub delete --help"),
        },
    };
    let deleted = run.deleted;
    drop(progress);
    result.with_context(|| match is_done {
        true => format!(
            "{what} is deleted in part at most. Every number is exact; run the same command again to delete the \
             rest. {HOW_TO_REACH_IT} {PERMISSIONS}\nThe cause"
        ),
        false => {
            format!("the table {table} can't be read. {HOW_TO_REACH_IT} {PERMISSIONS}\nThe cause")
        }
    })?;
    Ok(Report {
        what,
        archive_sql: options.archive_sql(),
        is_done,
        deleted,
        read_units: pacer.read_units(),
        write_units: pacer.write_units(),
    })
}

impl DeleteOptions {
    /// What it is, in words.
    fn what(&self) -> String {
        match self {
            Self { id: Some(id), .. } => format!("the id {id}"),
            Self { member: Some(member), .. } => format!("the member {member}"),
            Self { dim: Some(dimension), key: Some(key), .. } => {
                format!("the key {key} of {dimension}")
            }
            Self { dim: Some(dimension), prefix: Some(prefix), .. } => {
                format!("the keys of {dimension} that begin with {}", prefix.as_str())
            }
            Self { dim: Some(dimension), .. } => format!("the dimension {dimension}"),
            _ => "these stats".to_owned(),
        }
    }

    /// What it is of all ids; none if it is one id or a member.
    fn deletion(&self) -> Option<DeletionOfAllIds> {
        let keys = |dimension: &DimensionName| {
            let selection = match (&self.key, &self.prefix) {
                (Some(key), _) => KeySelection::These([key.clone()].into()),
                (None, Some(prefix)) => KeySelection::WithPrefix(prefix.clone()),
                (None, None) => KeySelection::All,
            };
            DeletionOfAllIds::Keys(dimension.clone(), selection)
        };
        let stats = || self.stat.clone().map(DeletionOfAllIds::Stats);
        self.dim.as_ref().map(keys).or_else(stats)
    }

    /// Whether a whole dimension would go.
    fn whole_dimension(&self) -> Option<&DimensionName> {
        self.dim.as_ref().filter(|_| self.key.is_none() && self.prefix.is_none())
    }

    /// Whether the operator wants it deleted, who has seen the preview: only a terminal can say so.
    fn is_wanted(&self) -> io::Result<bool> {
        if self.dry_run || self.output.json {
            return Ok(false);
        }
        match self.whole_dimension() {
            None => confirm("Delete it?"),
            Some(dimension) => {
                let name = ask(&format!("To delete all of it, type the name {dimension}:"))?;
                Ok(name.is_some_and(|name| name == dimension.as_str()))
            }
        }
    }

    /// The SQL that deletes it from the archive. Of stats this would be one statement for each, and
    /// ids and members are not in the archive.
    fn archive_sql(&self) -> Option<String> {
        let dimension = self.dim.as_ref()?;
        let quoted = |name: &str| name.replace('\\', "\\\\").replace('\'', "\\'");
        Some(match (&self.key, &self.prefix) {
            (Some(key), _) => {
                let key = quoted(key.as_str());
                format!("DELETE FROM statshub.`{dimension}` WHERE _dim = '{key}';")
            }
            (None, Some(prefix)) => {
                let prefix = quoted(prefix.as_str());
                let keys = format!("STARTS_WITH(_dim, '{prefix}') AND _dim != 'total'");
                format!("DELETE FROM statshub.`{dimension}` WHERE {keys};")
            }
            (None, None) => format!("DROP TABLE statshub.`{dimension}`;"),
        })
    }

    /// # Errors
    /// A whole dimension would go, and nobody has confirmed its name.
    fn check_confirmation(&self) -> anyhow::Result<()> {
        if let Some(dimension) = self.whole_dimension() {
            ensure!(
                !self.yes || self.confirm.as_ref() == Some(dimension),
                "all keys of {dimension} would go. Add --confirm '{dimension}' if that is what you want, or --key \
                 for one of them"
            );
        }
        Ok(())
    }
}

impl Report {
    fn has_found_something(&self) -> bool {
        self.deleted != Deleted::default()
    }

    fn print(&self, options: &DeleteOptions) -> anyhow::Result<Exit> {
        match options.output.json {
            true => print_json(&self.json())?,
            false => print(&self.text())?,
        }
        Ok(match self.deleted.keys_left {
            0 => Exit::Done,
            _ => Exit::Unfinished,
        })
    }

    fn text(&self) -> String {
        let Self { what, deleted, .. } = self;
        let archive = self.archive_sql.as_ref().map(|sql| {
            format!("The archive in BigQuery is not touched. There, this deletes it:\n{sql}")
        });
        if !self.has_found_something() {
            let nothing = format!("nothing is kept of {what}");
            return [Some(nothing), archive].into_iter().flatten().collect::<Vec<_>>().join("\n");
        }
        let mut lines = match self.is_done {
            true => vec![
                format!("{what}, deleted: {}", found(deleted)),
                format!("{} read units, {} write units", self.read_units, self.write_units),
            ],
            false => vec![
                format!("{what}: {}", found(deleted)),
                "Nothing is deleted yet. To delete it, add --yes. It can't be undone.".to_owned(),
                format!("It takes at least {} write units.", grouped(deleted.least_write_units())),
            ],
        };
        if deleted.keys_left > 0 {
            lines.push(format!(
                "{} can't go yet: somebody reports there, gauges have not expired, or the dimension is spread over \
                 several partitions. Run the same command again in an hour.",
                counted(deleted.keys_left, "key")
            ));
        }
        lines.extend(archive);
        lines.join("\n")
    }

    fn json(&self) -> serde_json::Value {
        let Deleted { ids, departures, rollups, sums, members, keys, keys_left, bytes, .. } =
            self.deleted;
        json!({
            "deleted": self.is_done,
            "ids": ids,
            "departures": departures,
            "rollups": rollups,
            "sums": sums,
            "members": members,
            "keys": keys,
            "keysLeft": keys_left,
            "bytes": bytes,
            "archiveSql": self.archive_sql,
            "leastWriteUnits": self.deleted.least_write_units(),
            "readUnits": self.read_units,
            "writeUnits": self.write_units,
        })
    }
}

/// What there is, in words.
fn found(deleted: &Deleted) -> String {
    let Deleted { ids, departures, rollups, sums, members, shards, keys, bytes, .. } = *deleted;
    let of_rollups = counted(rollups.saturating_sub(shards), "rollup");
    let parts = [
        (ids, counted(ids, "id")),
        (sums, format!("{} in {of_rollups}", counted(sums, "sum"))),
        (departures, format!("{} of them of keys that ids have left", grouped(departures))),
        (members, format!("{} of sets", counted(members, "member"))),
        (keys, counted(keys, "key")),
        (bytes, counted(bytes, "byte")),
    ];
    let parts = parts.into_iter().filter(|(number, _)| *number > 0).map(|(_, words)| words);
    parts.collect::<Vec<_>>().join(", ")
}

/// A prefix that is not that of all keys.
fn nonempty_prefix(text: &str) -> anyhow::Result<KeyPrefix> {
    ensure!(!text.is_empty(), "all keys begin so; leave it out, and name the dimension alone");
    Ok(KeyPrefix::new(text)?)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: DeleteOptions,
    }

    fn sql(arguments: &[&str]) -> Option<String> {
        let line = [&["statshub"], arguments].concat();
        Line::try_parse_from(line).unwrap().options.archive_sql()
    }

    #[test]
    fn the_sql_for_the_archive_names_exactly_the_key_that_was_typed() {
        let of_key = sql(&["--dim", "User", "--key", r"O'Neill\' OR 1=1"]).unwrap();
        assert_eq!(of_key, r"DELETE FROM statshub.`user` WHERE _dim = 'o\'neill\\\' or 1=1';");
        let of_prefix = sql(&["--dim", "user", "--prefix", "T'"]).unwrap();
        assert_eq!(
            of_prefix,
            r"DELETE FROM statshub.`user` WHERE STARTS_WITH(_dim, 't\'') AND _dim != 'total';"
        );
        assert_eq!(sql(&["--dim", "user"]).unwrap(), "DROP TABLE statshub.`user`;");
        assert_eq!(sql(&["--id", "bob"]), None);
        assert_eq!(sql(&["--stat", "x*"]), None);
    }
}
