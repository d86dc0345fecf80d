//! Why the node gave no answer.

use std::fmt;
use std::io;
use std::path::Path;
use std::time::Duration;

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RunnerFailure {
    /// There is no such program.
    NotFound(String),
    /// It did not end in time, and was killed with all of its children.
    TimedOut(String, Duration),
    /// It did not end in time and could not be killed: the kernel is busy with it, and it may still
    /// write.
    Stuck(String, Duration),
    /// Something else: what the system said.
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

/// What the system said when something was done to a file.
pub(super) fn failure(doing: &str, path: &Path, error: &io::Error) -> RunnerFailure {
    RunnerFailure::Other(format!("cannot {doing} `{}`: {error}", path.display()))
}
