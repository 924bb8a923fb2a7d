//! How far a long command is: a bar where standard error is a terminal, and a line now and then
//! where it is not.

use std::{
    borrow::Cow,
    io::{self, IsTerminal},
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

/// How often a line is written where there is no terminal.
const BETWEEN_LINES: Duration = Duration::from_secs(30);
/// How often the sign of life of a terminal turns, even if nothing is reported.
const TICK: Duration = Duration::from_millis(120);

/// How far a command is. It is gone from the terminal when it is dropped.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    what: &'static str,
    /// When the last line was written; `None` on a terminal.
    last_line: Option<Instant>,
}

impl Progress {
    /// The progress of something, such as `deleting`, of which nobody knows how long it takes.
    #[must_use]
    pub fn new(what: &'static str) -> Self {
        let is_terminal = io::stderr().is_terminal();
        let bar = match is_terminal {
            true => ProgressBar::new_spinner(),
            false => ProgressBar::hidden(),
        };
        bar.set_style(style("{spinner} {prefix} {msg} ({elapsed})"));
        bar.set_prefix(what);
        if is_terminal {
            bar.enable_steady_tick(TICK);
        }
        Self { bar, what, last_line: (!is_terminal).then(Instant::now) }
    }

    /// The progress of something that is over at `total`.
    #[must_use]
    pub fn of(what: &'static str, total: u64) -> Self {
        let progress = Self::new(what);
        progress.bar.set_style(style("{prefix} {wide_bar} {percent}% {msg} ({eta} left)"));
        progress.bar.set_length(total);
        progress
    }

    /// Reports how far it is, in the unit of the total if there is one, and in words.
    pub fn report(&mut self, position: u64, words: impl Into<Cow<'static, str>>) {
        let words = words.into();
        if let Some(last_line) = &mut self.last_line
            && last_line.elapsed() >= BETWEEN_LINES
        {
            *last_line = Instant::now();
            eprintln!("statshub: {} {words}", self.what);
        }
        self.bar.set_position(position);
        self.bar.set_message(words);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}
