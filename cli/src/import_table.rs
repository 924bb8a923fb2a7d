//! `statshub import`: adds what an export has to a table.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read},
    num::NonZeroU32,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use anyhow::{Context, bail, ensure};
use clap::Args;
use flate2::bufread::MultiGzDecoder;
use serde_json::json;
use shared::{
    domain::{Record, UnixSeconds},
    store::{Deadline, Imported, Pacer, Store},
};

use crate::{
    exit::Exit,
    output::{OutputOptions, counted, print, print_json},
    progress::Progress,
    table_access::{HOW_TO_REACH_IT, PeriodOptions, TableOptions, run_async},
};

const PERMISSIONS: &str = "\
The import needs the permissions dynamodb:BatchGetItem, dynamodb:Query, dynamodb:PutItem and dynamodb:UpdateItem.";

/// After how long without any progress an import gives up.
const PATIENCE: Duration = Duration::from_secs(60);
/// How many lines are imported together.
const LINES_AT_ONCE: usize = 256;
/// The first bytes of a compressed file.
const GZIP: [u8; 2] = [0x1f, 0x8b];

/// What to import.
#[derive(Debug, Args)]
#[command(after_help = "\
What the export has is added to what the table has: ids, their part of every rollup, and members that are not in \
their sets yet. Clients may go on reporting; every number stays exact.

Whatever is there already is not counted again. So an import that was killed or has failed is run again, and does \
what is left. An id that is there and has reported something else stays as it is; it is printed, and the exit code \
is 3.

Gauges count only if their period is not over. The bounds on keys and dimensions don't apply.

Examples:
  AWS_REGION=eu-west-1 statshub import --stack statshub --file statshub.ndjson.gz
  statshub import --dry-run --file statshub.ndjson.gz
  AWS_REGION=eu-west-1 statshub export --table old | AWS_REGION=us-east-1 statshub import --table new")]
pub struct ImportOptions {
    /// The file to read, compressed or not [default: standard input]
    #[arg(long, value_name = "PATH")]
    file: Option<PathBuf>,
    /// Only check that the export is complete and can be read
    #[arg(long, short = 'n')]
    dry_run: bool,
    /// How many read and write units a second it may take of the table, on average
    #[arg(long, value_name = "UNITS", default_value = "1000")]
    units_per_second: NonZeroU32,
    #[command(flatten)]
    table: TableOptions,
    #[command(flatten)]
    period: PeriodOptions,
    #[command(flatten)]
    output: OutputOptions,
}

/// What became of the lines of an export.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    lines: u64,
    written: u64,
    unchanged: u64,
    different: u64,
}

/// Imports an export, and prints each id that is there with something else.
///
/// # Errors
/// The export can't be read or is not complete, or the table can't be written.
pub fn run(options: &ImportOptions) -> anyhow::Result<Exit> {
    let mut pacer = Pacer::new(options.units_per_second);
    let mut records = Records::new(options.open()?);
    let counts = match options.dry_run {
        true => check(&mut records)?,
        false => run_async(async {
            let table = options.table.open().await?;
            let store = table.store_without_bounds(&options.period);
            let imported = Box::pin(import(&store, &mut records, options, &mut pacer)).await;
            imported.with_context(|| {
                let name = table.name();
                format!(
                    "not all is in the table {name} yet. Run the same command again: it does what is left. \
                     {HOW_TO_REACH_IT} {PERMISSIONS}\nThe cause"
                )
            })
        })?,
    };
    report(&counts, &pacer, options)?;
    Ok(match counts.different {
        0 => Exit::Done,
        _ => Exit::Different,
    })
}

fn check(records: &mut Records) -> anyhow::Result<Counts> {
    let mut counts = Counts::default();
    while records.next()?.is_some() {
        counts.lines += 1;
    }
    Ok(counts)
}

async fn import(
    store: &Store,
    records: &mut Records,
    options: &ImportOptions,
    pacer: &mut Pacer,
) -> anyhow::Result<Counts> {
    let mut progress = Progress::new("importing");
    let mut counts = Counts::default();
    loop {
        let mut chunk = Vec::new();
        while chunk.len() < LINES_AT_ONCE
            && let Some(record) = records.next()?
        {
            chunk.push(record);
        }
        if chunk.is_empty() {
            return Ok(counts);
        }
        let clock = || UnixSeconds::from(SystemTime::now());
        let deadline = || Deadline::after(PATIENCE).of_job();
        let imported = pacer.run(store.import(&chunk, clock, deadline)).await?;
        for (record, imported) in chunk.iter().zip(imported) {
            counts.lines += 1;
            match imported {
                Imported::Written => counts.written += 1,
                Imported::Unchanged => counts.unchanged += 1,
                Imported::Different => {
                    counts.different += 1;
                    print_different(record, options)?;
                }
            }
        }
        progress.report(counts.lines, counted(counts.lines, "line"));
    }
}

fn print_different(record: &Record, options: &ImportOptions) -> io::Result<()> {
    let Record::Id(record) = record else {
        return Ok(());
    };
    let id = record.id.as_str();
    match options.output.json {
        true => print_json(&json!({"id": id, "state": "different"})),
        false => print(&format!("the id {id} is there, and has reported something else")),
    }
}

fn report(counts: &Counts, pacer: &Pacer, options: &ImportOptions) -> io::Result<()> {
    let Counts { lines, written, unchanged, different } = counts;
    let (read_units, write_units) = (pacer.read_units(), pacer.write_units());
    if options.output.json {
        return print_json(&json!({"imported": {
            "lines": lines, "written": written, "unchanged": unchanged, "different": different,
            "readUnits": read_units, "writeUnits": write_units,
        }}));
    }
    match options.dry_run {
        true => eprintln!("statshub: {}: complete, and can be imported", counted(*lines, "line")),
        false => eprintln!(
            "statshub: {}: {written} written, {unchanged} there already, {different} different ({read_units} read \
             units, {write_units} write units)",
            counted(*lines, "line")
        ),
    }
    Ok(())
}

impl ImportOptions {
    fn open(&self) -> anyhow::Result<Box<dyn BufRead>> {
        let input: Box<dyn Read> = match &self.file {
            None => Box::new(io::stdin()),
            Some(path) => {
                let file = File::open(path);
                Box::new(file.with_context(|| format!("{} can't be read", path.display()))?)
            }
        };
        let mut input = BufReader::new(input);
        let is_compressed = input.fill_buf()?.starts_with(&GZIP);
        Ok(match is_compressed {
            true => Box::new(BufReader::new(MultiGzDecoder::new(input))),
            false => Box::new(input),
        })
    }
}

/// The records of an export, which is complete if it has its first and its last line.
struct Records {
    input: Box<dyn BufRead>,
    lines: u64,
    is_over: bool,
}

impl Records {
    fn new(input: Box<dyn BufRead>) -> Self {
        Self { input, lines: 0, is_over: false }
    }

    /// The next record; none at the end.
    ///
    /// # Errors
    /// The export can't be read or is not complete.
    fn next(&mut self) -> anyhow::Result<Option<Record>> {
        while let Some(record) = self.read()? {
            match (&record, self.lines) {
                (Record::Begin, 0) => {}
                (Record::Begin, line) => bail!("line {}: another export begins", line + 1),
                (_, 0) => bail!("this is no export of statshub: its first line is another one"),
                (Record::End(lines), line) => {
                    ensure!(
                        *lines == line,
                        "lines are missing: {lines} were exported, {line} are here"
                    );
                    self.is_over = true;
                }
                _ if self.is_over => bail!("line {}: the export has ended before", self.lines + 1),
                _ => {
                    self.lines += 1;
                    return Ok(Some(record));
                }
            }
            self.lines += 1;
        }
        ensure!(
            self.is_over,
            "the export ends after line {}, and is not complete. What it has up to there was read",
            self.lines
        );
        Ok(None)
    }

    fn read(&mut self) -> anyhow::Result<Option<Record>> {
        let mut line = String::new();
        let number = self.lines + 1;
        let read = self.input.read_line(&mut line);
        if read.with_context(|| format!("line {number} can't be read"))? == 0 {
            return Ok(None);
        }
        let record = Record::from_json(line.trim_end());
        record.map(Some).with_context(|| format!("line {number} is no line of an export"))
    }
}
