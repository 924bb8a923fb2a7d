//! Questions to the operator, on a terminal only: a script is never held up by one.

use std::io::{self, BufRead, IsTerminal};

/// Asks a question, and returns the line that is typed; `None` if this is no terminal.
///
/// # Errors
/// The terminal can't be read.
pub fn ask(question: &str) -> io::Result<Option<String>> {
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        return Ok(None);
    }
    eprint!("{question} ");
    let mut line = String::new();
    io::stdin().lock().read_line(&mut line)?;
    Ok(Some(line.trim().to_owned()))
}

/// Asks whether to do something; `false` if this is no terminal.
///
/// # Errors
/// The terminal can't be read.
pub fn confirm(question: &str) -> io::Result<bool> {
    let answer = ask(&format!("{question} [y/N]"))?.unwrap_or_default();
    Ok(matches!(answer.to_lowercase().as_str(), "y" | "yes"))
}
