//! The exit codes of `statshub`.

use std::process::ExitCode;

/// What the help says of them.
pub const HELP: &str = "\
Exit codes:
  0  done, or there was nothing to do
  1  failed; the message says why and what to do
  2  the command line is wrong
  3  numbers are not what they should be
  4  done in part: the rest can't be done or decided yet. Run it again later";

/// How a command ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exit {
    /// It is done, or there was nothing to do.
    Done,
    /// It found numbers that are not what they should be; they were printed.
    Different,
    /// Something is left that can't be done or decided yet; it was printed.
    Unfinished,
}

impl Exit {
    /// The exit code.
    #[must_use]
    pub fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Different => 3,
            Self::Unfinished => 4,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
