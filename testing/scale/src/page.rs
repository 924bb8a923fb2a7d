//! docs/scale.md.

use std::{fmt::Write, fs, path::Path};

use anyhow::Context;

use crate::{
    plots::short,
    record::{Borne, ContentionRow, Record, Row},
    runs::FLEETS,
};

/// The page.
pub const PAGE: &str = "docs/scale.md";
/// The folder of its plots and figures.
pub const FOLDER: &str = "docs/scale";
/// Its figures.
pub const FIGURES: &str = "docs/scale/figures.json";

/// What `cargo xtask contention` has measured.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct MeasuredContention {
    /// Keys that were written to.
    pub keys: usize,
    /// The most cells of a sum.
    pub max_cells: u8,
    /// What a partition took, as a part of what DynamoDB's take.
    pub part: f64,
    /// Updates a second.
    pub updates: f64,
    /// Conflicts for each of them.
    pub conflicts: f64,
    /// Throttles for each of them.
    pub throttles: f64,
}

/// What `cargo xtask contention` has measured, on a machine where 64 writers make 350 to 490 updates a
/// second if nothing limits them.
pub const MEASURED: [MeasuredContention; 9] = [
    of_contention(1, 1, 0.01, [5.0, 0.0, 57.6]),
    of_contention(200, 1, 0.01, [5.0, 0.0, 56.4]),
    of_contention(10_000, 1, 0.01, [5.0, 0.0, 55.1]),
    of_contention(1, 128, 0.01, [298.0, 0.008, 0.024]),
    of_contention(200, 128, 0.01, [368.0, 0.011, 0.078]),
    of_contention(10_000, 128, 0.01, [467.0, 0.0, 0.068]),
    of_contention(1, 128, 0.002, [99.0, 0.0, 4.698]),
    of_contention(200, 128, 0.002, [109.0, 0.0, 7.314]),
    of_contention(10_000, 128, 0.002, [97.0, 0.0, 4.687]),
];

const fn of_contention(
    keys: usize,
    max_cells: u8,
    part: f64,
    [updates, conflicts, throttles]: [f64; 3],
) -> MeasuredContention {
    MeasuredContention { keys, max_cells, part, updates, conflicts, throttles }
}

/// The figures that are committed.
///
/// # Errors
/// They can't be read.
pub fn read_record(root: &Path) -> anyhow::Result<Record> {
    let text = fs::read_to_string(root.join(FIGURES)).context(FIGURES)?;
    serde_json::from_str(&text).context(FIGURES)
}

/// The page as it is written from these figures.
#[must_use]
pub fn page(record: &Record) -> String {
    [
        INTRODUCTION.to_owned(),
        fleets(&record.raised),
        AFTER_FLEETS.to_owned(),
        breaks(&record.borne),
        AFTER_BREAKS.to_owned(),
        moves("10 million clients, two dimensions", &record.moves),
        moves("3 million clients, all under one key", &record.one_key_moves),
        AFTER_MOVES.to_owned(),
        all_under_one_key(&record.one_key),
        START.to_owned(),
        starts(&record.start),
        AFTER_STARTS.to_owned(),
        contention(&record.contention),
        MODEL.to_owned(),
    ]
    .join("\n")
}

fn table(head: &[&str], rows: impl IntoIterator<Item = Vec<String>>) -> String {
    let mut text = format!("| {} |\n|", head.join(" | "));
    for column in 0..head.len() {
        text.push_str(if column == 0 { " --- |" } else { " --: |" });
    }
    text.push('\n');
    for row in rows {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text
}

/// `12,345`
fn thousands(number: f64) -> String {
    let digits = format!("{number:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn dollars(amount: f64) -> String {
    format!("${}", thousands(amount))
}

fn rate(number: f64) -> String {
    if number == 0.0 { "0".to_owned() } else { format!("{number:.3}") }
}

fn percent(part: f64) -> String {
    match part * 100.0 {
        0.0 => "0 %".to_owned(),
        percent if percent < 0.1 => "< 0.1 %".to_owned(),
        percent => format!("{percent:.1} %"),
    }
}

fn milliseconds(row: &Row) -> String {
    let time = |ms: f64| if ms < 10.0 { format!("{ms:.0}") } else { thousands(ms) };
    format!("{} / {}", time(row.figures.added_p50), time(row.figures.added_p99))
}

fn most(cells: &[u32]) -> String {
    cells.iter().max().map_or_else(String::new, ToString::to_string)
}

fn widest(spread: &[u8]) -> String {
    spread.iter().max().map_or_else(String::new, ToString::to_string)
}

/// The rows of the fleets that the page shows; plots have more.
fn shown(rows: &[Row]) -> impl Iterator<Item = &Row> {
    rows.iter().filter(|row| FLEETS.contains(&row.clients))
}

/// What [`met`] is, column by column.
const MET: [&str; 8] = [
    "updates/s",
    "conflicts",
    "throttles",
    "refused",
    "ms added, p50 / p99",
    "partitions",
    "cells",
    "write units/s",
];

fn met(row: &Row) -> Vec<String> {
    let figures = &row.figures;
    vec![
        thousands(figures.sent),
        rate(figures.conflicts),
        rate(figures.throttles),
        percent(figures.refused()),
        milliseconds(row),
        widest(&figures.spread),
        most(&figures.hottest_cells),
        thousands(figures.write_units),
    ]
}

fn fleets(rows: &[Row]) -> String {
    let head = [&["clients"], MET.as_slice()].concat();
    let figures = shown(rows).map(|row| [vec![short(row.clients)], met(row)].concat());
    let costs = shown(rows).map(|row| {
        let costs = &row.costs;
        let parts = [costs.dynamodb, costs.api, costs.lambda, costs.logs, costs.together];
        let a_million = costs.together / row.clients * 1e6;
        let mut cells = vec![short(row.clients)];
        cells.extend(parts.map(dollars));
        cells.push(dollars(a_million));
        cells
    });
    let of_costs =
        ["clients", "DynamoDB", "API", "Lambda", "logs", "together", "for a million clients"];
    format!("{}\nDollars a month:\n\n{}", table(&head, figures), table(&of_costs, costs))
}

fn breaks(borne: &[Borne]) -> String {
    let rows = borne.iter().map(|borne| {
        let clients = if borne.refused_by.is_empty() { "all that were tried" } else { "" };
        let clients = match clients {
            "" => short(borne.clients),
            all => all.to_owned(),
        };
        vec![borne.what.clone(), clients, borne.refused_by.clone()]
    });
    let rows: Vec<_> = rows.collect();
    let mut text =
        "| limits | clients at most | who refuses, beyond that |\n| --- | --: | --- |\n".to_owned();
    for row in rows {
        let _ = writeln!(text, "| {} |", row.join(" | "));
    }
    text
}

fn moves(of: &str, rows: &[Row]) -> String {
    let head = [&[of], MET.as_slice(), &["dollars a month"]].concat();
    let rows = rows
        .iter()
        .map(|row| [vec![row.what.clone()], met(row), vec![dollars(row.costs.together)]].concat());
    table(&head, rows)
}

fn all_under_one_key(rows: &[Row]) -> String {
    let head = [&["clients under one key"], MET.as_slice()].concat();
    table(&head, rows.iter().map(|row| [vec![short(row.clients)], met(row)].concat()))
}

fn starts(rows: &[Row]) -> String {
    let head = [
        "new clients",
        "updates/s",
        "refused in the first minute",
        "in the first 5 minutes",
        "in the last minute",
        "partitions of the table at the end",
        "partitions of a dimension",
    ];
    let rows = rows.iter().map(|row| {
        let course = &row.figures.course;
        let end = course.last().map_or(0.0, |moment| moment.at);
        let part = |from: f64, until: f64| {
            let moments = course.iter().filter(|moment| moment.at > from && moment.at <= until);
            let (refused, all) = moments.fold((0.0, 0.0), |(refused, all), moment| {
                (refused + moment.refused, all + moment.refused + moment.counted)
            });
            percent(if all > 0.0 { refused / all } else { 0.0 })
        };
        vec![
            short(row.clients),
            thousands(row.figures.sent),
            part(0.0, 60.0),
            part(0.0, 300.0),
            part(end - 60.0, end),
            row.figures.partitions.to_string(),
            widest(&row.figures.spread),
        ]
    });
    table(&head, rows)
}

fn contention(rows: &[ContentionRow]) -> String {
    let head = [
        "keys, cells at most, part of a partition",
        "measured: updates/s",
        "conflicts",
        "throttles",
        "simulated: updates/s",
        "conflicts",
        "throttles",
    ];
    let rows = rows.iter().zip(MEASURED).map(|(row, measured)| {
        let figures = &row.figures;
        vec![
            format!("{}, {}, 1/{:.0}", thousands(number(row.keys)), row.max_cells, 1.0 / row.part),
            thousands(measured.updates),
            rate(measured.conflicts),
            rate(measured.throttles),
            thousands(figures.counted),
            rate(figures.conflicts),
            rate(figures.throttles),
        ]
    });
    table(&head, rows)
}

fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

const INTRODUCTION: &str = include_str!("page/introduction.txt");
const AFTER_FLEETS: &str = include_str!("page/after_fleets.txt");
const AFTER_BREAKS: &str = include_str!("page/after_breaks.txt");
const AFTER_MOVES: &str = include_str!("page/after_moves.txt");
const START: &str = include_str!("page/start.txt");
const AFTER_STARTS: &str = include_str!("page/after_starts.txt");
const MODEL: &str = include_str!("page/model.txt");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_written_as_people_read_them() {
        assert_eq!(thousands(1_234_567.4), "1,234,567");
        assert_eq!(thousands(999.0), "999");
        let percents = [0.0, 0.000_1, 0.012_34, 1.0].map(percent);
        assert_eq!(percents, ["0 %", "< 0.1 %", "1.2 %", "100.0 %"]);
    }
}
