//! What commands print: lines, tables and JSON on standard output, and nothing else there.

use std::io::{self, IsTerminal, Write};

use clap::Args;
use comfy_table::{CellAlignment, ContentArrangement, Table, presets};
use console::{Style, Term, truncate_str};
use serde::Serialize;

/// Whether a command prints for people or for programs.
#[derive(Debug, Clone, Copy, Default, Args)]
pub struct OutputOptions {
    /// Print JSON: an object a line
    #[arg(long, help_heading = None::<&str>)]
    pub json: bool,
}

/// Rows below a header.
#[derive(Debug)]
pub struct TextTable {
    table: Table,
}

/// A column of a table.
#[derive(Debug, Clone, Copy)]
pub enum Column<'a> {
    /// Of words: to the left.
    Text(&'a str),
    /// Of numbers: to the right.
    Number(&'a str),
}

/// Prints text and ends the line.
///
/// # Errors
/// Nobody reads it any more, or it can't be written; [`is_closed_pipe`] says which.
pub fn print(text: &str) -> io::Result<()> {
    let mut output = io::stdout().lock();
    writeln!(output, "{text}")?;
    output.flush()
}

/// Prints a value as a line of JSON.
///
/// # Errors
/// As [`print()`].
pub fn print_json(value: &impl Serialize) -> io::Result<()> {
    print(&serde_json::to_string(value)?)
}

/// Whether a command ended early because nobody reads what it prints, as in `statshub top | head`.
#[must_use]
pub fn is_closed_pipe(error: &anyhow::Error) -> bool {
    let mut causes = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
    causes.any(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

/// How many lines and columns the terminal has; `None` if standard output is none.
#[must_use]
pub fn terminal_size() -> Option<(usize, usize)> {
    let is_terminal = io::stdout().is_terminal();
    let size = is_terminal.then(|| Term::stdout().size_checked()).flatten()?;
    Some((size.0.into(), size.1.into()))
}

/// How a number counts something, in words: `1 key`, `2 keys`.
#[must_use]
pub fn counted(number: u64, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        _ => format!("{} {what}s", grouped(number)),
    }
}

/// A number with commas between its thousands.
#[must_use]
pub fn grouped(number: impl ToString) -> String {
    let text = number.to_string();
    let (sign, digits) = text.strip_prefix('-').map_or(("", text.as_str()), |digits| ("-", digits));
    let mut grouped = String::from(sign);
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

impl TextTable {
    /// A table with these columns.
    #[must_use]
    pub fn new(columns: &[Column<'_>]) -> Self {
        let mut table = Table::new();
        table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
        table.set_header(columns.iter().map(Column::title));
        for (column, kind) in table.column_iter_mut().zip(columns) {
            column.set_padding((0, 2));
            if let Column::Number(_) = kind {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        Self { table }
    }

    /// Adds a row. What would move the cursor of a terminal is shown as its escape.
    pub fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.table.add_row(cells.into_iter().map(|cell| visible(&cell)));
    }

    /// The lines, the header first: bold where colours are, and cut where a terminal ends.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let width = terminal_size().map(|(_, columns)| columns);
        let lines = self.table.lines().enumerate().map(|(number, line)| {
            let line = line.trim_end();
            let line = width.map_or(line.into(), |width| truncate_str(line, width, "…"));
            match number {
                0 => Style::new().bold().apply_to(line).to_string(),
                _ => line.into_owned(),
            }
        });
        lines.collect()
    }
}

impl<'a> Column<'a> {
    fn title(&self) -> &'a str {
        match self {
            Self::Text(title) | Self::Number(title) => title,
        }
    }
}

/// A name as a line shows it.
fn visible(name: &str) -> String {
    let shown = name.chars().map(|character| match character.is_control() {
        true => character.escape_default().to_string(),
        false => character.to_string(),
    });
    shown.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_one_are_singular_and_thousands_are_grouped() {
        assert_eq!((counted(1, "key"), counted(0, "key")), ("1 key".into(), "0 keys".into()));
        assert_eq!(counted(100_000, "key"), "100,000 keys");
        for (number, text) in
            [(0, "0"), (-999, "-999"), (1_000, "1,000"), (-1_234_567, "-1,234,567")]
        {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn numbers_are_below_each_other_and_no_name_moves_the_cursor() {
        let mut table = TextTable::new(&[Column::Text("KEY"), Column::Number("HITS")]);
        table.row(["es".to_owned(), "5".to_owned()]);
        table.row(["a\u{1b}[2Jb".to_owned(), "1,000".to_owned()]);
        let lines = table.lines();
        assert_eq!(lines[1..], ["es               5", "a\\u{1b}[2Jb  1,000"]);
    }
}
