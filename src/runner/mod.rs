//! Access to the node: every process, file and netlink request goes through one [`Runner`].
//!
//! In: [`ToolCall`]s, each one process with its input; [`NetfilterRequest`]s to the kernel; and
//! Palisade's files. Out: their answers, unchanged. Absent: the meaning of calls and requests.
//! [`ProcessRunner`] is the real implementation. Tests inject faults before, during and after each
//! call.
#![expect(
    clippy::disallowed_methods,
    reason = "this room runs processes and keeps files"
)]

mod failure;
mod files;
mod lock;
mod netlink;
mod own;
mod process;
mod processes;
pub mod programs;
#[cfg(test)]
mod tests;

pub use failure::RunnerFailure;
pub use lock::{LOCK_FILE, NodeLock};
pub use processes::{ProcessRunner, ProcessSettings};

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;
use std::{fmt, io};

/// A process to run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// The program: a name to find in the directories of [`programs::PATH`], or an absolute path.
    pub program: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// Its standard input.
    pub input: String,
}

/// A request to the kernel's netfilter subsystem, over netlink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetfilterRequest {
    /// Subsystem and message type: `NFNL_SUBSYS_… << 8 | …`.
    pub kind: u16,
    /// The message after the netlink header.
    pub body: Vec<u8>,
}

/// Result of a process.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProcessOutput {
    /// Exit status. `None` if a signal ended the process.
    pub status: Option<i32>,
    /// Standard output. Bytes that are not UTF-8 are replaced.
    pub output: String,
    /// Standard error, likewise.
    pub errors: String,
}

/// Everything that Palisade does to a node.
pub trait Runner {
    /// Runs a process to its end.
    ///
    /// # Errors
    /// If it cannot be started, or does not end in time. A nonzero exit status is not an error
    /// here.
    fn run(&mut self, call: &ToolCall) -> Result<ProcessOutput, RunnerFailure>;

    /// Runs independent processes, each like [`Runner::run`]. Returns the answers in the order of
    /// the calls. [`ProcessRunner`] runs them concurrently.
    fn run_all(&mut self, calls: &[ToolCall]) -> Vec<Result<ProcessOutput, RunnerFailure>> {
        calls.iter().map(|call| self.run(call)).collect()
    }

    /// Sends requests to the kernel's netfilter, one after another. Returns the kernel's answer to
    /// each. A runner without a kernel fails.
    ///
    /// # Errors
    /// If the kernel cannot be reached, or does not answer.
    fn ask(
        &mut self,
        _requests: &[NetfilterRequest],
    ) -> Result<Vec<io::Result<()>>, RunnerFailure> {
        Err(RunnerFailure::Other(
            "there is no kernel to be asked".to_owned(),
        ))
    }

    /// Starts a process that outlives this one, and waits for the first line of its output.
    ///
    /// # Errors
    /// If it cannot be started, or ends without a line.
    fn start(&mut self, call: &ToolCall) -> Result<(), RunnerFailure>;

    /// Acquires the node lock, or returns `None` after `wait`.
    ///
    /// Processes that [`Runner::run`] starts meanwhile inherit the lock. So if this process is
    /// killed, the lock is free only when they have ended.
    ///
    /// # Errors
    /// If the lock file cannot be created or locked.
    fn lock(&mut self, wait: Duration) -> Result<Option<NodeLock>, RunnerFailure>;

    /// Acquires the node lock in shared mode, or returns `None` after `wait`. Other readers may
    /// hold it too, writers may not. Writes nothing. A runner without other processes need not
    /// wait.
    ///
    /// # Errors
    /// If the lock file cannot be opened.
    fn lock_to_look(&mut self, _wait: Duration) -> Result<Option<NodeLock>, RunnerFailure> {
        Ok(Some(NodeLock::none()))
    }

    /// Reads a file. Returns `None` if it does not exist.
    ///
    /// # Errors
    /// If it exists and cannot be read.
    fn read(&mut self, file: Retention, name: &str) -> Result<Option<Vec<u8>>, RunnerFailure>;

    /// Writes a file atomically. `None` removes it.
    ///
    /// # Errors
    /// If it cannot be written. The old file stays then.
    fn write(
        &mut self,
        file: Retention,
        name: &str,
        content: Option<&[u8]>,
    ) -> Result<(), RunnerFailure>;

    /// Replaces a directory atomically. `None` removes it.
    ///
    /// # Errors
    /// If it cannot be written. The old directory stays then.
    fn write_folder(
        &mut self,
        folder: Retention,
        name: &str,
        files: Option<&FileTree>,
    ) -> Result<(), RunnerFailure>;

    /// Checks that Palisade may write a file or directory at a name: nothing that Palisade did not
    /// write is there. Changes nothing. A runner that keeps no files accepts every name.
    ///
    /// # Errors
    /// If something else is there.
    fn check(
        &mut self,
        _keep: Retention,
        _name: &str,
        _sort: EntryType,
    ) -> Result<(), RunnerFailure> {
        Ok(())
    }

    /// Tests whether files can be kept, without leaving any.
    ///
    /// # Errors
    /// If they cannot.
    fn try_to_keep(&mut self, _keep: Retention) -> Result<(), RunnerFailure> {
        Ok(())
    }

    /// Returns the path of a file or directory.
    fn place(&self, keep: Retention, name: &str) -> PathBuf;
}

/// Contents of files, by their paths in a directory.
pub type FileTree = BTreeMap<String, Vec<u8>>;

/// Type of a kept entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryType {
    /// A file.
    File,
    /// A directory that contains a bundle.
    Folder,
}

/// How long a file is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// Until reboot, like the kernel's tables: in `/run/palisade`.
    UntilBoot,
    /// Beyond a reboot: in `/var/lib/palisade`.
    Always,
    /// The kernel's own files below `/proc`, which are read-only here.
    Kernel,
}

impl ToolCall {
    /// Returns a call without input.
    pub fn new(program: &str, arguments: &[&str]) -> Self {
        Self {
            program: program.to_owned(),
            arguments: arguments.iter().map(|word| (*word).to_owned()).collect(),
            input: String::new(),
        }
    }

    /// Returns the same call with input.
    #[must_use]
    pub fn with_input(self, input: String) -> Self {
        Self { input, ..self }
    }
}

impl fmt::Display for ToolCall {
    /// Formats the command line: `ipset restore`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.program)?;
        self.arguments
            .iter()
            .try_for_each(|word| write!(out, " {word}"))
    }
}
