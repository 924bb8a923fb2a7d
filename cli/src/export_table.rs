//! `statshub export`: all that a table means, as lines of JSON.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    num::{NonZeroU32, NonZeroUsize},
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use anyhow::Context;
use clap::Args;
use flate2::{Compression, write::GzEncoder};
use serde_json::json;
use shared::{
    domain::UnixSeconds,
    store::{ExportRun, ExportedCounts, Pacer, Store, Workspace},
};

use crate::{
    exit::Exit,
    output::{OutputOptions, counted, print_json},
    progress::Progress,
    table_access::{HOW_TO_REACH_IT, PeriodOptions, TableOptions, run_async},
};

const PERMISSIONS: &str = "\
The export needs the permissions dynamodb:Scan, dynamodb:BatchGetItem and dynamodb:Query.";

/// After how long without any progress an export gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// What to export, and where to.
#[derive(Debug, Args)]
#[command(after_help = "\
An export has all ids with their values, keys and what each holds, all members of sets, and all keys and \
dimensions. Rollups follow from these. It is for backups, for moving to another table or account, and for test \
data; statshub import reads it. Two exports of tables that mean the same are the same, byte by byte.

Clients may go on reporting. Each id is then exported as it was at one moment, each of its own. To export one \
moment of the whole table, export a table that was restored from a backup.

A file appears under its name when it is complete. An export that was killed leaves nothing but NAME.part; run it \
again.

Examples:
  AWS_REGION=eu-west-1 statshub export --stack statshub --file statshub.ndjson.gz
  AWS_REGION=eu-west-1 statshub export --stack statshub | grep '^{\"id\"' | wc -l
  AWS_REGION=eu-west-1 statshub export --table old | AWS_REGION=us-east-1 statshub import --table new")]
pub struct ExportOptions {
    /// The file to write; compressed if its name ends in .gz [default: standard output]
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// Compress the export
    #[arg(long)]
    gzip: bool,
    /// How many read units a second it may take of the table, on average
    #[arg(long, value_name = "UNITS", default_value = "1000")]
    units_per_second: NonZeroU32,
    /// About how many MB of memory it uses before it writes temporary files, into TMPDIR
    #[arg(long, value_name = "MB", default_value = "128")]
    memory: NonZeroUsize,
    #[command(flatten)]
    table: TableOptions,
    #[command(flatten)]
    period: PeriodOptions,
    #[command(flatten)]
    output: OutputOptions,
}

/// Exports the table.
///
/// # Errors
/// The table can't be read, or the export can't be written.
pub fn run(options: &ExportOptions) -> anyhow::Result<Exit> {
    let mut pacer = Pacer::new(options.units_per_second);
    let counts = match &options.file {
        None => export_to(io::stdout(), options.gzip, options, &mut pacer)?.0,
        Some(path) => {
            let is_compressed = options.gzip || path.extension().is_some_and(|end| end == "gz");
            let part = part_of(path);
            let written = File::create(&part).map_err(anyhow::Error::from).and_then(|file| {
                let (counts, file) = export_to(file, is_compressed, options, &mut pacer)?;
                file.sync_all()?;
                fs::rename(&part, path)?;
                Ok(counts)
            });
            written.with_context(|| format!("{} was not written", path.display()))?
        }
    };
    report(&counts, &pacer, options)?;
    Ok(match counts.nameless {
        0 => Exit::Done,
        _ => Exit::Unfinished,
    })
}

/// Where a file is before it is complete.
fn part_of(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

fn export_to<W: Write + Send>(
    output: W,
    is_compressed: bool,
    options: &ExportOptions,
    pacer: &mut Pacer,
) -> anyhow::Result<(ExportedCounts, W)> {
    let output = BufWriter::new(output);
    let (counts, output) = match is_compressed {
        false => {
            let mut output = output;
            (export(&mut output, options, pacer)?, output)
        }
        true => {
            let mut encoder = GzEncoder::new(output, Compression::default());
            let counts = export(&mut encoder, options, pacer)?;
            (counts, encoder.finish()?)
        }
    };
    Ok((counts, output.into_inner().map_err(io::IntoInnerError::into_error)?))
}

fn export(
    output: &mut (impl Write + Send),
    options: &ExportOptions,
    pacer: &mut Pacer,
) -> anyhow::Result<ExportedCounts> {
    let mut progress = Progress::new("exporting");
    let mut run = ExportRun {
        clock: || UnixSeconds::from(SystemTime::now()),
        pacer,
        patience: PATIENCE,
        workspace: Workspace {
            directory: std::env::temp_dir(),
            memory: options.memory.get().saturating_mul(1 << 20),
        },
        progress: &mut |counts| {
            let items = counted(counts.items, "item");
            progress.report(counts.items, format!("{items} read"));
        },
        write: &mut |line| writeln!(output, "{line}"),
        counts: ExportedCounts::default(),
    };
    run_async(async {
        let table = options.table.open().await?;
        let store: Store = table.store(&options.period);
        let exported = Box::pin(store.export(&mut run)).await;
        exported.with_context(|| {
            let name = table.name();
            format!(
                "the table {name} can't be exported. {HOW_TO_REACH_IT} {PERMISSIONS}\nThe cause"
            )
        })
    })?;
    Ok(run.counts)
}

fn report(counts: &ExportedCounts, pacer: &Pacer, options: &ExportOptions) -> io::Result<()> {
    let ExportedCounts { items, lines, ids, keys, members, nameless } = counts;
    let units = pacer.read_units();
    if options.output.json {
        let summary = json!({"exported": {
            "items": items, "lines": lines, "ids": ids, "keys": keys, "members": members,
            "nameless": nameless, "readUnits": units,
        }});
        // Standard output may be the export itself.
        return match options.file {
            Some(_) => print_json(&summary),
            None => writeln!(io::stderr(), "{summary}"),
        };
    }
    let [ids, keys] = [counted(*ids, "id"), counted(*keys, "key")];
    let [members, items] = [counted(*members, "member"), counted(*items, "item")];
    eprintln!("statshub: exported {ids}, {keys} and {members} ({items}, {units} read units)");
    if *nameless > 0 {
        let left_out = counted(*nameless, "item");
        eprintln!(
            "statshub: {left_out} left out: the name is longer than 255 bytes, and nothing in the table has it. \
             statshub audit says what is missing"
        );
    }
    Ok(())
}
