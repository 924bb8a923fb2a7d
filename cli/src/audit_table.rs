//! `statshub audit`: whether the rollups of a table are the sums of what its ids reported, on a live
//! table too; and makes them so.

use std::{
    num::{NonZeroU32, NonZeroUsize},
    time::{Duration, SystemTime},
};

use anyhow::Context;
use clap::Args;
use serde_json::{Value, json};
use shared::{
    domain::UnixSeconds,
    store::{
        AuditMode, AuditRun, Audited, Discrepancy, Finding, Pacer, Place, Store, Subject, Workspace,
    },
};

use crate::{
    exit::Exit,
    output::{OutputOptions, counted, print, print_json},
    progress::Progress,
    table_access::{HOW_TO_REACH_IT, PeriodOptions, TableOptions, run_async},
};

const PERMISSIONS: &str = "\
The audit needs the permissions dynamodb:Scan, dynamodb:BatchGetItem, dynamodb:GetItem and dynamodb:Query. A \
repair also needs dynamodb:UpdateItem.";

/// After how long without any progress an audit gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// What to audit.
#[derive(Debug, Args)]
#[command(after_help = "\
Clients may go on reporting. Keys that change while the table is read are read again, up to --scans times. What \
never holds still is reported as undecided: audit a table that was restored from a backup then.

Each scan reads the whole table, at a read unit per 4 KB, the first one at half of that. There is only one scan \
if nothing is wrong and nobody writes.

With --repair, wrong rollups become what ids and sets add up to. What is reported meanwhile counts. If it is \
killed, run it again.

It exits with 0 if all is right or was repaired, with 3 if numbers are wrong, and with 4 if something is \
undecided. What to do then is in docs/operations.md.

Examples:
  AWS_REGION=eu-west-1 statshub audit --stack statshub
  AWS_REGION=eu-west-1 statshub audit --table statshub-restored --units-per-second 3000
  AWS_REGION=eu-west-1 statshub audit --stack statshub --json > wrong.ndjson
  AWS_REGION=eu-west-1 statshub audit --stack statshub --repair
  AWS_ENDPOINT_URL_DYNAMODB=http://localhost:8000 statshub audit")]
pub struct AuditOptions {
    /// Make wrong numbers right. Without it, nothing is written
    #[arg(long)]
    repair: bool,
    /// How many read and write units a second it may take of the table, on average
    #[arg(long, value_name = "UNITS", default_value = "1000")]
    units_per_second: NonZeroU32,
    /// How often it reads the table at most
    #[arg(long, value_name = "TIMES", default_value = "4")]
    scans: NonZeroU32,
    /// About how many MB of memory it uses before it writes temporary files, into TMPDIR
    #[arg(long, value_name = "MB", default_value = "128")]
    memory: NonZeroUsize,
    #[command(flatten)]
    table: TableOptions,
    #[command(flatten)]
    output: OutputOptions,
}

/// Audits the table, and prints each finding as a line.
///
/// # Errors
/// The table can't be read or written.
pub fn run(options: &AuditOptions) -> anyhow::Result<Exit> {
    let mut pacer = Pacer::new(options.units_per_second);
    let audited = run_async(async {
        let table = options.table.open().await?;
        // Which gauges count makes no difference to it.
        let store = table.store(&PeriodOptions::default());
        let audited = Box::pin(audit(&store, options, &mut pacer)).await;
        audited.with_context(|| {
            let name = table.name();
            format!("the table {name} can't be audited. {HOW_TO_REACH_IT} {PERMISSIONS}\nThe cause")
        })
    })?;
    match options.output.json {
        true => print_json(&summary_json(&audited, &pacer))?,
        false => eprintln!("statshub: {}", summary_text(&audited, &pacer)),
    }
    Ok(match audited {
        Audited { wrong, repaired, .. } if wrong > repaired => Exit::Different,
        Audited { undecided, .. } if undecided > 0 => Exit::Unfinished,
        _ => Exit::Done,
    })
}

async fn audit(
    store: &Store,
    options: &AuditOptions,
    pacer: &mut Pacer,
) -> anyhow::Result<Audited> {
    let mut progress = Progress::new("auditing");
    let mut printed = Ok(());
    let mut run = AuditRun {
        mode: if options.repair { AuditMode::Repair } else { AuditMode::Report },
        clock: || UnixSeconds::from(SystemTime::now()),
        pacer,
        patience: PATIENCE,
        workspace: Workspace {
            directory: std::env::temp_dir(),
            memory: options.memory.get().saturating_mul(1 << 20),
        },
        most_scans: options.scans.get(),
        progress: &mut |audited| {
            let items = counted(audited.items, "item");
            progress.report(audited.items, format!("scan {}, {items} read", audited.scans));
        },
        report: &mut |finding| {
            if printed.is_ok() {
                printed = match options.output.json {
                    true => print_json(&finding_json(&finding)),
                    false => print(&finding_text(&finding)),
                };
            }
        },
        audited: Audited::default(),
    };
    store.audit(&mut run).await?;
    let audited = run.audited;
    printed?;
    Ok(audited)
}

fn finding_text(finding: &Finding) -> String {
    match finding {
        Finding::Found(wrong) => wrong.to_string(),
        Finding::Repaired(wrong) => format!("{wrong}: repaired"),
        Finding::NotRepaired(wrong, why) => format!("{wrong}: not repaired: {why}"),
        Finding::Undecided(place) => format!("{place}: undecided, since it never held still"),
    }
}

fn finding_json(finding: &Finding) -> Value {
    let (mut line, state) = match finding {
        Finding::Found(wrong) => (discrepancy_json(wrong), "wrong"),
        Finding::Repaired(wrong) => (discrepancy_json(wrong), "repaired"),
        Finding::NotRepaired(wrong, why) => {
            let mut line = discrepancy_json(wrong);
            set(&mut line, "why", (*why).into());
            (line, "wrong")
        }
        Finding::Undecided(place) => (place_json(place), "undecided"),
    };
    set(&mut line, "state", state.into());
    line
}

fn place_json(place: &Place) -> Value {
    match place {
        Place::Key { dimension, key } => json!({"dim": dimension, "key": key}),
        Place::Dimension(dimension) => json!({"dim": dimension}),
    }
}

fn discrepancy_json(wrong: &Discrepancy) -> Value {
    let mut line = place_json(&wrong.place);
    let (number, stat) = match &wrong.subject {
        Subject::Counter(stat) => ("counter", Some(stat)),
        Subject::Members(stat) => ("members", Some(stat)),
        Subject::Presence => ("key", None),
        Subject::Keys => ("keys", None),
        Subject::Partitions => ("partitions", None),
    };
    set(&mut line, "number", number.into());
    if let Some(stat) = stat {
        set(&mut line, "stat", stat.as_str().into());
    }
    // As text: most programs read numbers as doubles.
    set(&mut line, "stored", wrong.stored.to_string().into());
    set(&mut line, "computed", wrong.computed.to_string().into());
    line
}

fn set(line: &mut Value, name: &str, value: Value) {
    if let Some(fields) = line.as_object_mut() {
        fields.insert(name.to_owned(), value);
    }
}

fn summary_json(audited: &Audited, pacer: &Pacer) -> Value {
    let Audited { items, scans, keys, suspects, wrong, repaired, undecided } = audited;
    json!({
        "audited": {
            "items": items,
            "scans": scans,
            "keys": keys,
            "suspects": suspects,
            "wrong": wrong,
            "repaired": repaired,
            "undecided": undecided,
            "readUnits": pacer.read_units(),
            "writeUnits": pacer.write_units(),
        }
    })
}

fn summary_text(audited: &Audited, pacer: &Pacer) -> String {
    let Audited { items, scans, keys, wrong, repaired, undecided, .. } = audited;
    let (keys, items) = (counted(*keys, "key"), counted(*items, "item"));
    let found = match (wrong, repaired, undecided) {
        (0, _, 0) => "every number is what it should be".to_owned(),
        _ => format!("{wrong} wrong, {repaired} repaired, {undecided} undecided"),
    };
    let (read, written) = (pacer.read_units(), pacer.write_units());
    let scans = counted((*scans).into(), "scan");
    let mut text =
        format!("{keys}: {found} ({items} in {scans}, {read} read units, {written} write units)");
    if wrong > repaired {
        text.push_str("\nThe audit with --repair makes wrong numbers right.");
    }
    if *undecided > 0 {
        text.push_str(
            "\nWhat is undecided changes all the time. Run the audit again in a quiet hour, with more --scans, or on \
             a table that was restored from a backup.",
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong() -> Discrepancy {
        let place = Place::Key { dimension: "user".to_owned(), key: "bob \"b\"".to_owned() };
        let subject = Subject::Counter("a".to_owned());
        Discrepancy { place, subject, stored: 5.into(), computed: 7.into() }
    }

    #[test]
    fn a_finding_is_a_line_of_text_or_json_with_names_as_people_type_them() {
        let repaired = Finding::Repaired(wrong());
        assert_eq!(
            finding_text(&repaired),
            "the key bob \"b\" of user: counter a: stored 5, computed 7: repaired"
        );
        let expected = json!({
            "dim": "user", "key": "bob \"b\"", "number": "counter", "stat": "a",
            "stored": "5", "computed": "7", "state": "repaired"
        });
        assert_eq!(finding_json(&repaired), expected);
        let undecided = Finding::Undecided(Place::Dimension("user".to_owned()));
        assert_eq!(finding_json(&undecided), json!({"dim": "user", "state": "undecided"}));
    }
}
