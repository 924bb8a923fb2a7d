//! `statshub tail`: the values of a dimension every few seconds, and how fast they change.

use std::{
    collections::BTreeSet,
    num::NonZeroU32,
    thread,
    time::{Duration, Instant},
};

use clap::Args;
use console::Term;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::{
    api_access::{Api, ApiOptions},
    live_values::{LiveValue, LiveValues, Name},
    output::{Column, OutputOptions, TextTable, grouped, print, print_json, terminal_size},
    run_archive::now,
    stats_rows::{Filters, StatsPage, ask},
    timestamp,
};

/// Lines of a terminal that are not for values.
const OTHER_LINES: usize = 3;

/// What to watch.
#[derive(Debug, Args)]
#[command(after_help = "\
On a terminal, all values are shown in place, those that change fastest first. Elsewhere, a line is \
printed for each value that has changed. Ctrl-C ends it.

Each look is a query: it costs read units unless the service has the dimension in its cache, and \
values of a cached dimension change only when the cache does.

Examples:
  statshub tail country
  statshub tail country hits users --key es --every 10
  statshub tail country --count 6 --json")]
pub struct TailOptions {
    /// The dimension
    dimension: String,
    /// Only these stats
    stats: Vec<String>,
    #[command(flatten)]
    filters: Filters,
    /// How long to wait between two looks, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "5")]
    every: NonZeroU32,
    /// End after so many looks
    #[arg(long, value_name = "LOOKS")]
    count: Option<NonZeroU32>,
    #[command(flatten)]
    api: ApiOptions,
    #[command(flatten)]
    output: OutputOptions,
}

/// Shows values until it is interrupted, or has looked often enough.
///
/// # Errors
/// The service does not answer, or refuses the question.
pub fn run(options: &TailOptions) -> anyhow::Result<()> {
    let api = options.api.open()?;
    let every = Duration::from_secs(options.every.get().into());
    let mut tail = Tail::default();
    let mut looks = 0;
    loop {
        let began = Instant::now();
        let changed = tail.look(&api, options)?;
        tail.show(&changed, options)?;
        looks += 1;
        if options.count.is_some_and(|count| looks >= count.get()) {
            return Ok(());
        }
        thread::sleep(every.saturating_sub(began.elapsed()));
    }
}

/// What was seen, and what of it is on the terminal.
#[derive(Debug, Default)]
struct Tail {
    values: LiveValues,
    etag: Option<String>,
    last_look: Option<Instant>,
    lines_shown: usize,
}

impl Tail {
    /// Looks again, and returns which values have changed.
    fn look(&mut self, api: &Api, options: &TailOptions) -> anyhow::Result<BTreeSet<Name>> {
        let mut parameters = options.filters.parameters();
        parameters.extend(options.stats.iter().map(|stat| ("stat", stat.as_str())));
        let found = ask(api, Some(&options.dimension), &parameters, self.etag.as_deref())?;
        let since = self.last_look.replace(Instant::now()).map(|last| last.elapsed());
        Ok(match found {
            None => {
                self.values.note_nothing_new();
                BTreeSet::new()
            }
            Some(StatsPage { rows, etag, .. }) => {
                self.etag = etag;
                self.values.note(rows, since.unwrap_or_default())
            }
        })
    }

    fn show(&mut self, changed: &BTreeSet<Name>, options: &TailOptions) -> anyhow::Result<()> {
        let time = timestamp::from_seconds(now());
        let values = changed.iter().filter_map(|name| Some((name, self.values.get(name)?)));
        if options.output.json {
            for (name, value) in values {
                print_json(&json_of(&time, name, value)?)?;
            }
            return Ok(());
        }
        match terminal_size() {
            Some((lines, _)) => Ok(self.redraw(&time, lines, options)?),
            None => {
                for ([_, key, kind, stat], value) in values {
                    let rate = value.per_second.map(|rate| format!(" {}/s", rate_text(rate)));
                    let rate = rate.unwrap_or_default();
                    print(&format!("{time} {key} {kind} {stat} {}{rate}", value.text))?;
                }
                Ok(())
            }
        }
    }

    /// Shows all values that fit, in place of those of the look before.
    fn redraw(&mut self, time: &str, lines: usize, options: &TailOptions) -> std::io::Result<()> {
        let mut table = TextTable::new(&[
            Column::Text("KEY"),
            Column::Text("KIND"),
            Column::Text("STAT"),
            Column::Number("VALUE"),
            Column::Number("PER SECOND"),
        ]);
        let values = self.values.fastest_first();
        let room = lines.saturating_sub(OTHER_LINES).max(1);
        for ([_, key, kind, stat], value) in values.iter().take(room) {
            let rate = value.per_second.map(rate_text).unwrap_or_default();
            let words = [key, kind, stat].map(ToOwned::to_owned);
            table.row(words.into_iter().chain([grouped(&value.text), rate]));
        }
        let left = values.len().saturating_sub(room);
        let more = if left > 0 { format!(", {left} more") } else { String::new() };
        let TailOptions { dimension, every, .. } = options;
        let title = format!("{dimension} at {time}, every {every} s{more}");
        let shown = [vec![title], table.lines()].concat();
        Term::stdout().clear_last_lines(self.lines_shown)?;
        self.lines_shown = shown.len();
        print(&shown.join("\n"))
    }
}

/// A value that has changed. Its number may be too large for most types.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct JsonLine<'a> {
    time: &'a str,
    dim: &'a str,
    key: &'a str,
    kind: &'a str,
    stat: &'a str,
    value: &'a RawValue,
    per_second: Option<f64>,
}

fn json_of<'a>(
    time: &'a str,
    name: &'a Name,
    value: &'a LiveValue,
) -> anyhow::Result<JsonLine<'a>> {
    let [dim, key, kind, stat] = name;
    let (value, per_second) = (serde_json::from_str(&value.text)?, value.per_second);
    Ok(JsonLine { time, dim, key, kind, stat, value, per_second })
}

/// A rate in as many digits as one can read in passing.
fn rate_text(rate: f64) -> String {
    match rate.abs() {
        0.0 => "·".to_owned(),
        0.0..10.0 => format!("{rate:+.2}"),
        10.0..1000.0 => format!("{rate:+.1}"),
        _ => format!("{rate:+.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_have_a_sign_and_few_digits() {
        let texts = [0.0, 0.5, -12.34, 123_456.7].map(rate_text);
        assert_eq!(texts, ["·", "+0.50", "-12.3", "+123457"]);
    }
}
