//! What is measured: figures that are counted, in tables, and ratios of times.

use std::{collections::BTreeMap, fmt, fmt::Write, time::Duration};

use anyhow::Context;

/// Figures that are counted: a row for what is counted, a column for each of its figures.
#[derive(Debug, Clone, PartialEq)]
pub struct CountedTable {
    /// What the table is about.
    pub title: String,
    /// How far above the committed figures its own may be, as a part of them: 0 for what is exact.
    pub slack: f64,
    /// The names of the columns.
    pub columns: Vec<String>,
    /// What is counted, and its figures.
    pub rows: Vec<(String, Vec<f64>)>,
}

/// A figure that is above the committed one.
#[derive(Debug, Clone, PartialEq)]
pub struct Regression {
    what: String,
    committed: f64,
    now: f64,
}

impl fmt::Display for Regression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, committed, now } = self;
        write!(f, "{what}: {} instead of {}", shown(*now), shown(*committed))
    }
}

impl CountedTable {
    /// A table without rows.
    #[must_use]
    pub fn new(title: &str, slack: f64, columns: &[&str]) -> Self {
        let columns = columns.iter().map(|column| (*column).to_owned()).collect();
        Self { title: title.to_owned(), slack, columns, rows: Vec::new() }
    }

    /// The table in Markdown, below a heading with its title.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = format!("### {}\n\n| |", self.title);
        for column in &self.columns {
            let _ = write!(text, " {column} |");
        }
        let _ = write!(text, "\n| --- |{}\n", " --: |".repeat(self.columns.len()));
        for (what, figures) in &self.rows {
            let _ = write!(text, "| {what} |");
            for figure in figures {
                let _ = write!(text, " {} |", shown(*figure));
            }
            text.push('\n');
        }
        text
    }

    /// The figures of this table that are above those that a document of [`Self::markdown`] tables
    /// has.
    ///
    /// # Errors
    /// A figure of this table is not in the document.
    pub fn regressions(&self, document: &str) -> anyhow::Result<Vec<Regression>> {
        let committed = figures(document);
        let mut regressions = Vec::new();
        for (what, row) in &self.rows {
            for (column, now) in self.columns.iter().zip(row) {
                let name = (self.title.as_str(), what.as_str(), column.as_str());
                let what = format!("{}, {what}, {column}", self.title);
                let committed = committed.get(&name);
                let committed =
                    *committed.with_context(|| format!("nothing is committed of {what}"))?;
                if *now > committed * (1.0 + self.slack) {
                    regressions.push(Regression { what, committed, now: *now });
                }
            }
        }
        Ok(regressions)
    }
}

/// The figures of a document, by the heading above, the first cell of the row, and the column.
fn figures(document: &str) -> BTreeMap<(&str, &str, &str), f64> {
    let mut figures = BTreeMap::new();
    let (mut title, mut columns) = ("", Vec::new());
    for line in document.lines() {
        if let Some(heading) = line.strip_prefix("### ") {
            (title, columns) = (heading, Vec::new());
        }
        let Some(cells) = line.strip_prefix('|').and_then(|line| line.strip_suffix('|')) else {
            continue;
        };
        let cells: Vec<_> = cells.split('|').map(str::trim).collect();
        let [what, cells @ ..] = &cells[..] else { continue };
        if columns.is_empty() {
            columns = cells.to_vec();
            continue;
        }
        for (column, cell) in columns.iter().zip(cells) {
            if let Ok(figure) = cell.replace(',', "").parse() {
                figures.insert((title, *what, *column), figure);
            }
        }
    }
    figures
}

/// A number of things as a figure.
///
/// # Errors
/// It is above 2^32.
pub fn figure(count: usize) -> anyhow::Result<f64> {
    Ok(u32::try_from(count)?.into())
}

/// A figure with commas between thousands, and with one decimal place if it is not whole.
#[must_use]
pub fn shown(figure: f64) -> String {
    let text = match figure.fract() == 0.0 {
        true => format!("{figure:.0}"),
        false => format!("{figure:.1}"),
    };
    let (whole, rest) = text.split_once('.').map_or((&*text, None), |(a, b)| (a, Some(b)));
    let mut grouped = String::new();
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    match rest {
        Some(rest) => format!("{grouped}.{rest}"),
        None => grouped,
    }
}

/// How two times compare that were measured in one run, in alternation.
#[derive(Debug, Clone, PartialEq)]
pub struct Ratio {
    /// What is compared.
    pub what: String,
    /// The first time.
    pub time: Duration,
    /// The one that it is compared with.
    pub beside: Duration,
}

impl Ratio {
    /// The ratio of a time and of another one beside it.
    #[must_use]
    pub fn of(what: impl Into<String>, time: Duration, beside: Duration) -> Self {
        Self { what: what.into(), time, beside }
    }

    /// The ratio itself; 0 if there is nothing to compare with.
    #[must_use]
    pub fn value(&self) -> f64 {
        match self.beside.is_zero() {
            true => 0.0,
            false => self.time.as_secs_f64() / self.beside.as_secs_f64(),
        }
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, time, beside } = self;
        write!(f, "| {what} | {:.2} | {time:.2?} | {beside:.2?} |", self.value())
    }
}

/// The middle of times; none is 0.
#[must_use]
pub fn median(mut times: Vec<Duration>) -> Duration {
    times.sort_unstable();
    times.get(times.len() / 2).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(slack: f64, first: f64, second: f64) -> CountedTable {
        CountedTable {
            rows: vec![("a query".to_owned(), vec![first, second])],
            ..CountedTable::new("Units", slack, &["read units", "bytes"])
        }
    }

    fn regressions(table: &CountedTable, document: &str) -> Vec<String> {
        let regressions = table.regressions(document).unwrap();
        regressions.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_is_above_the_committed_figures_is_a_regression() {
        let document = table(0.0, 1.5, 1_234_567.0).markdown();
        assert!(document.contains("| a query | 1.5 | 1,234,567 |"), "{document}");
        assert!(regressions(&table(0.0, 1.5, 1_234_567.0), &document).is_empty());
        assert!(regressions(&table(0.0, 1.0, 999.0), &document).is_empty());
        assert_eq!(
            regressions(&table(0.0, 2.0, 1_234_568.0), &document),
            [
                "Units, a query, read units: 2 instead of 1.5",
                "Units, a query, bytes: 1,234,568 instead of 1,234,567"
            ]
        );
        assert!(regressions(&table(0.02, 1.5, 1_250_000.0), &document).is_empty());
    }

    #[test]
    fn what_is_not_committed_is_an_error() {
        let document = table(0.0, 1.0, 1.0).markdown();
        let mut other = table(0.0, 1.0, 1.0);
        other.columns = vec!["read units".to_owned(), "requests".to_owned()];
        let error = other.regressions(&document).unwrap_err().to_string();
        assert_eq!(error, "nothing is committed of Units, a query, requests");
    }

    #[test]
    fn figures_are_shown_in_groups_of_three_digits() {
        for (figure, expected) in
            [(0.0, "0"), (999.0, "999"), (1_000.0, "1,000"), (123_456.5, "123,456.5")]
        {
            assert_eq!(shown(figure), expected);
        }
    }

    #[test]
    fn a_ratio_is_of_the_middle_of_times() {
        let times = [3, 1, 100].map(Duration::from_millis).to_vec();
        assert_eq!(median(times), Duration::from_millis(3));
        assert_eq!(median(Vec::new()), Duration::ZERO);
        let ratio = Ratio::of("a", Duration::from_millis(3), Duration::from_millis(2));
        assert_eq!(ratio.to_string(), "| a | 1.50 | 3.00ms | 2.00ms |");
    }
}
