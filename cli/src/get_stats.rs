//! `statshub get` and `statshub top`: the stats of a service, and its largest keys.

use std::collections::BTreeMap;

use anyhow::Context;
use clap::Args;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::{
    api_access::{Api, ApiOptions, named, parse, segment},
    output::{Column, OutputOptions, TextTable, grouped, print, print_json},
    stats_rows::{Filters, Kind, StatsPage, StatsRow, ask},
};

/// How wide the bar of the largest key is, in columns.
const BAR: usize = 20;

/// What to get.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  statshub get
  statshub get country
  statshub get country --key es --key fr --stat hits
  statshub get user --prefix a --sort -counter.hits --limit 20
  statshub get user --limit 0
  statshub get --id myid1
  statshub get country --json | jq -r 'select(.key == \"es\").value'")]
pub struct GetOptions {
    /// The dimension; all of them if none is named
    #[arg(conflicts_with = "id")]
    dimension: Option<String>,
    /// What this id last reported, instead of a dimension
    #[arg(long, conflicts_with_all = ["key", "prefix", "stat", "sort", "limit", "page"])]
    id: Option<String>,
    #[command(flatten)]
    filters: Filters,
    /// Only this stat; repeat it for several
    #[arg(long, value_name = "STAT")]
    stat: Vec<String>,
    /// The order: key, or counter.NAME, gauge.NAME, current.NAME; the largest first with - before it
    #[arg(long, value_name = "ORDER", allow_hyphen_values = true, requires = "dimension")]
    sort: Option<String>,
    /// At most so many keys; 0 for the total alone
    #[arg(long, value_name = "KEYS", requires = "dimension")]
    limit: Option<u32>,
    /// The token of the next page, as the page before has named it
    #[arg(long, value_name = "TOKEN", requires = "limit")]
    page: Option<String>,
    #[command(flatten)]
    api: ApiOptions,
    #[command(flatten)]
    output: OutputOptions,
}

/// Of what to show the largest keys.
#[derive(Debug, Args)]
#[command(after_help = "\
The service sorts: that reads the whole dimension, unless --key or --prefix name some of it.

Examples:
  statshub top country hits
  statshub top user users --kind gauge --limit 3
  statshub top user hits --prefix test-")]
pub struct TopOptions {
    /// The dimension
    dimension: String,
    /// The stat
    stat: String,
    /// What the stat is
    #[arg(long, value_enum, default_value_t = Kind::Counter)]
    kind: Kind,
    /// How many keys
    #[arg(long, value_name = "KEYS", default_value = "10", value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
    #[command(flatten)]
    filters: Filters,
    #[command(flatten)]
    api: ApiOptions,
    #[command(flatten)]
    output: OutputOptions,
}

/// Prints stats.
///
/// # Errors
/// The service does not answer, or refuses the question.
pub fn get(options: &GetOptions) -> anyhow::Result<()> {
    let api = options.api.open()?;
    if let Some(id) = &options.id {
        return get_id(&api, id, options.output);
    }
    let limit = options.limit.map(|limit| limit.to_string());
    let mut parameters = options.filters.parameters();
    parameters.extend(options.stat.iter().map(|stat| ("stat", stat.as_str())));
    parameters.extend(options.sort.iter().map(|sort| ("sort", sort.as_str())));
    parameters.extend(limit.iter().map(|limit| ("limit", limit.as_str())));
    parameters.extend(options.page.iter().map(|page| ("page", page.as_str())));
    let page = ask(&api, options.dimension.as_deref(), &parameters, None)?;
    let StatsPage { rows, next, .. } = page.context("an answer without content")?;
    if options.output.json {
        rows.iter().try_for_each(print_json)?;
    } else if rows.is_empty() {
        eprintln!("nothing is counted there");
    } else {
        let mut table = TextTable::new(&[
            Column::Text("DIMENSION"),
            Column::Text("KEY"),
            Column::Text("KIND"),
            Column::Text("STAT"),
            Column::Number("VALUE"),
        ]);
        for row in rows {
            let value = grouped(row.value.get());
            table.row([row.dim, row.key, row.kind, row.stat, value]);
        }
        print(&table.lines().join("\n"))?;
    }
    if let Some(next) = next {
        eprintln!("there are more: --page {next}");
    }
    Ok(())
}

/// Prints the largest keys of a stat.
///
/// # Errors
/// The service does not answer, or refuses the question.
pub fn top(options: &TopOptions) -> anyhow::Result<()> {
    let api = options.api.open()?;
    let (sort, limit) = (format!("-{}.{}", options.kind, options.stat), options.limit.to_string());
    let mut parameters = options.filters.parameters();
    let asked = [("sort", &sort), ("limit", &limit), ("stat", &options.stat)];
    parameters.extend(asked.map(|(name, value)| (name, value.as_str())));
    if options.filters.key.is_empty() && options.filters.prefix.is_none() {
        parameters.push(("total", "true"));
    }
    let page = ask(&api, Some(&options.dimension), &parameters, None)?;
    let mut rows = page.context("an answer without content")?.rows;
    let kind = options.kind.to_string();
    rows.retain(|row| row.kind == kind);
    if options.output.json {
        return Ok(rows.iter().try_for_each(print_json)?);
    }
    match rows.iter().any(|row| row.key != "total") {
        true => Ok(print(&ranking(&rows, &options.stat.to_uppercase()))?),
        false => {
            let TopOptions { dimension, stat, .. } = options;
            eprintln!("no key of {dimension} has a {kind} {stat}: see statshub get {dimension}");
            Ok(())
        }
    }
}

/// Keys from the largest to the smallest, each with its part of the total if that is known, and a
/// bar.
fn ranking(rows: &[StatsRow], stat: &str) -> String {
    let numbers = |row: &StatsRow| row.number().map_or(0.0, approximate);
    let (totals, keys): (Vec<_>, Vec<_>) = rows.iter().partition(|row| row.key == "total");
    let total = totals.first().map(|row| numbers(row)).filter(|total| *total > 0.0);
    let largest = keys.iter().map(|row| numbers(row)).fold(0.0, f64::max);
    let mut table = TextTable::new(&[
        Column::Number("#"),
        Column::Text("KEY"),
        Column::Number(stat),
        Column::Number(if total.is_some() { "SHARE" } else { "" }),
        Column::Text(""),
    ]);
    for (place, row) in (1_u32..).zip(&keys) {
        let share = total.map(|total| format!("{:.1} %", numbers(row) / total * 100.0));
        let bar = bar(numbers(row), largest);
        let value = grouped(row.value.get());
        table.row([place.to_string(), row.key.clone(), value, share.unwrap_or_default(), bar]);
    }
    for row in &totals {
        let value = grouped(row.value.get());
        table.row([String::new(), "total".to_owned(), value, String::new(), String::new()]);
    }
    table.lines().join("\n")
}

fn bar(value: f64, largest: f64) -> String {
    let width = (1..=BAR).filter(|width| {
        let width = u32::try_from(*width).map_or(0.0, f64::from);
        value * 20.0 >= largest * (width - 0.5) && value > 0.0
    });
    "█".repeat(width.count())
}

/// A number as a float, for shares and bars.
#[expect(clippy::cast_precision_loss, reason = "for one digit after the point")]
fn approximate(number: i128) -> f64 {
    number as f64
}

/// What an id last reported, as the service answers it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct IdAnswer {
    #[serde(default)]
    dims: BTreeMap<String, String>,
    #[serde(default)]
    counters: BTreeMap<String, Box<RawValue>>,
    #[serde(default)]
    gauges: BTreeMap<String, Box<RawValue>>,
}

fn get_id(api: &Api, id: &str, output: OutputOptions) -> anyhow::Result<()> {
    let answer = api.get(&format!("/ids/{}", segment(named(id, "id")?)), &[], None)?;
    if output.json {
        return Ok(print(answer.body())?);
    }
    let reported: IdAnswer = parse(answer.body())?;
    let mut table =
        TextTable::new(&[Column::Text("KIND"), Column::Text("NAME"), Column::Number("VALUE")]);
    for (dimension, key) in reported.dims {
        table.row(["dimension".to_owned(), dimension, key]);
    }
    for (kind, stats) in [("counter", reported.counters), ("gauge", reported.gauges)] {
        for (stat, value) in stats {
            table.row([kind.to_owned(), stat, grouped(value.get())]);
        }
    }
    Ok(print(&table.lines().join("\n"))?)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn rows(values: &[(&str, &str)]) -> Vec<StatsRow> {
        let row = |(key, value): &(&str, &str)| {
            json!({
                "dim": "d", "key": key, "kind": "counter", "stat": "x",
                "value": serde_json::from_str::<Box<RawValue>>(value).unwrap(),
            })
        };
        values.iter().map(|of| serde_json::from_str(&row(of).to_string()).unwrap()).collect()
    }

    #[test]
    fn keys_have_their_share_of_the_total_and_a_bar() {
        let rows = rows(&[("es", "7500"), ("fr", "1250"), ("total", "10000")]);
        let text = ranking(&rows, "X");
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        assert_eq!(
            lines[1..],
            [
                "1  es      7,500  75.0 %  ████████████████████",
                "2  fr      1,250  12.5 %  ███",
                "   total  10,000",
            ]
        );
    }

    #[test]
    fn negative_keys_have_no_bar_and_a_total_of_nothing_has_no_shares() {
        let rows = rows(&[("es", "-5"), ("total", "-5")]);
        assert!(!ranking(&rows, "X").contains(['█', '%']));
    }
}
