//! Why the node gave no answer.

use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunnerFailure {
    /// The program does not exist.
    NotFound(String),
    /// The process did not end in time, and was killed with all its children.
    TimedOut(String, Duration),
    /// The process did not end in time and could not be killed, because it is blocked in the
    /// kernel. It may still write.
    Stuck(String, Duration),
    /// Another failure, with the system's message.
    Other(String),
}

impl std::error::Error for RunnerFailure {}

impl fmt::Display for RunnerFailure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RunnerFailure::NotFound(program) => write!(out, "there is no program `{program}`"),
            RunnerFailure::TimedOut(call, after) => write!(
                out,
                "`{call}` did not end within {} s and was killed",
                after.as_secs()
            ),
            RunnerFailure::Stuck(call, after) => {
                write!(
                    out,
                    "`{call}` did not end within {} s and could not be killed",
                    after.as_secs()
                )
            }
            RunnerFailure::Other(problem) => out.write_str(problem),
        }
    }
}

/// Converts an I/O error on a file.
pub(super) fn failure(doing: &str, path: &Path, error: &io::Error) -> RunnerFailure {
    RunnerFailure::Other(format!("cannot {doing} `{}`: {error}", path.display()))
}
