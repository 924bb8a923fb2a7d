//! `statshub delete`: deletes ids, members, keys or stats from a table, on a live service too.

use std::{
    num::NonZeroU32,
    time::{Duration, SystemTime},
};

use anyhow::{Context, bail};
use clap::{ArgGroup, Args};
use serde_json::json;
use shared::{
    domain::{Deletion, DimensionKey, DimensionName, Id, Member, StatPattern, UnixSeconds},
    store::{Deleted, DeletionMode, DeletionRun, Pacer, Store},
};

use crate::{
    output::{OutputOptions, counted, print, print_json},
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
Without --yes nothing is deleted: a preview says what there is, and what it takes to delete it.

A deletion is safe beside live traffic: whatever others report stays exact. If it is killed, run it again: it \
does what is left. Reads and writes together stay below --units-per-second on average.

--id and --member read what they need. --dim and --stat read the whole table.

Names are taken as clients send them. The case of ids, members and stats counts.

What it means for what remains, and what keeps names elsewhere (the archive in BigQuery, backups), is in \
docs/operations.md.

Examples:
  AWS_REGION=eu-west-1 statshub delete --id myid1
  AWS_REGION=eu-west-1 statshub delete --id myid1 --yes
  AWS_REGION=eu-west-1 statshub delete --member item1 --yes --units-per-second 500
  AWS_REGION=eu-west-1 statshub delete --dim user --key bob --yes
  AWS_REGION=eu-west-1 statshub delete --stat 'debug_*' --yes
  AWS_REGION=eu-west-1 statshub delete --dim user --yes --confirm user"
)]
pub struct DeleteOptions {
    /// An id: all that is kept of it, and exactly its part of every rollup
    #[arg(long, group = "what", value_parser = Id::new)]
    id: Option<Id>,
    /// A member: it is removed from every set, under whatever key and stat
    #[arg(long, group = "what", value_parser = Member::new)]
    member: Option<Member>,
    /// A dimension: all of its keys, or the one that --key names
    #[arg(long, group = "what", value_name = "NAME", value_parser = DimensionName::new)]
    dim: Option<DimensionName>,
    /// A key of the dimension: what counts there, and the key
    #[arg(long, requires = "dim", value_parser = DimensionKey::new)]
    key: Option<DimensionKey>,
    /// Stats under all keys, of all ids: `*` stands for any text, `?` for any character
    #[arg(long, group = "what", value_name = "PATTERN", value_parser = StatPattern::new)]
    stat: Option<StatPattern>,
    /// With --yes, the name of the dimension once more, if all of its keys go
    #[arg(long, requires = "dim", conflicts_with = "key", value_name = "NAME")]
    #[arg(value_parser = DimensionName::new)]
    confirm: Option<DimensionName>,
    /// Delete it. It can't be undone
    #[arg(long, conflicts_with = "dry_run")]
    yes: bool,
    /// Delete nothing, and say what there is to delete: the default
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

/// Previews a deletion, or carries it out, and prints what was found.
///
/// # Errors
/// The table can't be read or written; the message says what to do.
pub fn run(options: &DeleteOptions) -> anyhow::Result<()> {
    options.check_confirmation()?;
    let report = run_async(async {
        let table = options.table.open().await?;
        Box::pin(delete(&table.store(&options.period), table.name(), options)).await
    })?;
    match options.output.json {
        true => print_json(&report.json())?,
        false => print(&report.text())?,
    }
    Ok(())
}

async fn delete(store: &Store, table: &str, options: &DeleteOptions) -> anyhow::Result<Report> {
    let mode = if options.yes { DeletionMode::Delete } else { DeletionMode::Preview };
    let mut pacer = Pacer::new(options.units_per_second);
    let mut run = DeletionRun {
        mode,
        clock: || UnixSeconds::from(SystemTime::now()),
        pacer: &mut pacer,
        patience: PATIENCE,
        deleted: Deleted::default(),
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
    result.with_context(|| match options.yes {
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
        is_done: options.yes,
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
            Self { dim: Some(dimension), .. } => format!("the dimension {dimension}"),
            _ => "these stats".to_owned(),
        }
    }

    /// What it is of all ids; none if it is one id or a member.
    fn deletion(&self) -> Option<Deletion> {
        let keys = |dim: &DimensionName| Deletion::Keys(dim.clone(), self.key.clone());
        let stats = || self.stat.clone().map(Deletion::Stats);
        self.dim.as_ref().map(keys).or_else(stats)
    }

    /// The SQL that deletes it from the archive. Of stats this would be one statement for each, and
    /// ids and members are not in the archive.
    fn archive_sql(&self) -> Option<String> {
        let dimension = self.dim.as_ref()?;
        Some(match &self.key {
            None => format!("DROP TABLE statshub.`{dimension}`;"),
            Some(key) => {
                let key = key.as_str().replace('\\', "\\\\").replace('\'', "\\'");
                format!("DELETE FROM statshub.`{dimension}` WHERE _dim = '{key}';")
            }
        })
    }

    /// # Errors
    /// A whole dimension would go, and nobody has confirmed its name.
    fn check_confirmation(&self) -> anyhow::Result<()> {
        match (&self.dim, &self.key) {
            (Some(dimension), None) if self.yes && self.confirm.as_ref() != Some(dimension) => {
                bail!(
                    "all keys of {dimension} would go. Add --confirm '{dimension}' if that is what you want, or \
                     --key for one of them"
                )
            }
            _ => Ok(()),
        }
    }
}

impl Report {
    fn text(&self) -> String {
        let Self { what, deleted, .. } = self;
        let archive = self.archive_sql.as_ref().map(|sql| {
            format!("The archive in BigQuery is not touched. There, this deletes it:\n{sql}")
        });
        if *deleted == Deleted::default() {
            let nothing = format!("nothing is kept of {what}");
            return [Some(nothing), archive].into_iter().flatten().collect::<Vec<_>>().join("\n");
        }
        let mut lines = match self.is_done {
            true => vec![
                format!("{what}, deleted: {}", self.found()),
                format!("{} read units, {} write units", self.read_units, self.write_units),
            ],
            false => vec![
                format!("{what}: {}", self.found()),
                format!(
                    "Nothing is deleted yet. To delete it, add --yes. It can't be undone, and takes at least {} \
                     write units.",
                    deleted.least_write_units()
                ),
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

    /// What there is, in words.
    fn found(&self) -> String {
        let Deleted { ids, departures, rollups, sums, members, shards, keys, bytes, .. } =
            self.deleted;
        let parts = [
            (ids, counted(ids, "id")),
            (
                sums,
                format!(
                    "{} in {}",
                    counted(sums, "sum"),
                    counted(rollups.saturating_sub(shards), "rollup")
                ),
            ),
            (departures, format!("{departures} of them of keys that ids have left")),
            (members, format!("{} of sets", counted(members, "member"))),
            (keys, counted(keys, "key")),
            (bytes, counted(bytes, "byte")),
        ];
        let parts = parts.into_iter().filter(|(number, _)| *number > 0).map(|(_, words)| words);
        parts.collect::<Vec<_>>().join(", ")
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
        assert_eq!(sql(&["--dim", "user"]).unwrap(), "DROP TABLE statshub.`user`;");
        assert_eq!(sql(&["--id", "bob"]), None);
        assert_eq!(sql(&["--stat", "x*"]), None);
    }
}
