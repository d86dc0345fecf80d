//! The node's world: everything that is done to it goes through one [`Runner`].
//!
//! In: [`ToolCall`]s, each one process with its input, [`NetfilterRequest`]s to the kernel, and
//! files of our own. Out: what they answered, as it is. Absent: what calls and requests mean. The
//! real one is [`ProcessRunner`]; tests put faults before, into and behind each call.
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

/// A process to be run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolCall {
    /// The program: a name to be looked for in the directories of [`programs::PATH`], or an
    /// absolute path.
    pub program: String,
    /// Its arguments.
    pub arguments: Vec<String>,
    /// What it reads on standard input.
    pub input: String,
}

/// A request to the kernel's netfilter, over netlink.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetfilterRequest {
    /// The subsystem and its message: `NFNL_SUBSYS_… << 8 | …`.
    pub kind: u16,
    /// What stands behind the header of netlink.
    pub body: Vec<u8>,
}

/// What a process said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProcessOutput {
    /// Its exit status; none where a signal ended it.
    pub status: Option<i32>,
    /// Standard output; bytes that are no UTF-8 are replaced.
    pub output: String,
    /// Standard error, likewise.
    pub errors: String,
}

/// Everything that a node can be made to do.
pub trait Runner {
    /// Runs a process to its end.
    ///
    /// # Errors
    /// When it cannot be started, or does not end in time. An exit status is no error here.
    fn run(&mut self, call: &ToolCall) -> Result<ProcessOutput, RunnerFailure>;

    /// Runs processes that do not depend on each other, as [`Runner::run`] does; the answers in the
    /// order of the calls. The real one runs them at once.
    fn run_all(&mut self, calls: &[ToolCall]) -> Vec<Result<ProcessOutput, RunnerFailure>> {
        calls.iter().map(|call| self.run(call)).collect()
    }

    /// Makes requests of the kernel's netfilter, one after another; what the kernel says of each. A
    /// runner without a kernel has no answers.
    ///
    /// # Errors
    /// When the kernel cannot be asked, or does not answer.
    fn ask(
        &mut self,
        _requests: &[NetfilterRequest],
    ) -> Result<Vec<io::Result<()>>, RunnerFailure> {
        Err(RunnerFailure::Other(
            "there is no kernel to be asked".to_owned(),
        ))
    }

    /// Starts a process that outlives this one, and waits until it has written a first line.
    ///
    /// # Errors
    /// When it cannot be started, or ends without a line.
    fn start(&mut self, call: &ToolCall) -> Result<(), RunnerFailure>;

    /// Waits until nobody else changes this node; none where somebody still does after that long.
    ///
    /// Processes that [`Runner::run`] starts while it is held hold it too: where this process is
    /// killed, the node is free when they have ended.
    ///
    /// # Errors
    /// When there can be no lock.
    fn lock(&mut self, wait: Duration) -> Result<Option<NodeLock>, RunnerFailure>;

    /// Waits until nobody changes this node, and keeps others from it, but not from looking too;
    /// none where somebody still does after that long. Nothing is written. A runner that is alone
    /// need not wait.
    ///
    /// # Errors
    /// When the lock cannot be looked at.
    fn lock_to_look(&mut self, _wait: Duration) -> Result<Option<NodeLock>, RunnerFailure> {
        Ok(Some(NodeLock::none()))
    }

    /// Reads a file; none where there is none.
    ///
    /// # Errors
    /// When there is one and it cannot be read.
    fn read(&mut self, file: Retention, name: &str) -> Result<Option<Vec<u8>>, RunnerFailure>;

    /// Writes a file, whole or not at all; none removes it.
    ///
    /// # Errors
    /// When it cannot be written; what was there is there still.
    fn write(
        &mut self,
        file: Retention,
        name: &str,
        content: Option<&[u8]>,
    ) -> Result<(), RunnerFailure>;

    /// Writes a folder in place of the one that is there, whole or not at all; none removes it.
    ///
    /// # Errors
    /// When it cannot be written; what was there is there still.
    fn write_folder(
        &mut self,
        folder: Retention,
        name: &str,
        files: Option<&FileTree>,
    ) -> Result<(), RunnerFailure>;

    /// Whether a file or folder of ours may be written at a name: nothing that palisade did not
    /// write is there. Changes nothing. A runner that keeps nothing has nothing against it.
    ///
    /// # Errors
    /// When it may not, with what stands there.
    fn check(
        &mut self,
        _keep: Retention,
        _name: &str,
        _sort: EntryType,
    ) -> Result<(), RunnerFailure> {
        Ok(())
    }

    /// Tries whether files can be kept, and leaves nothing behind.
    ///
    /// # Errors
    /// When they cannot.
    fn try_to_keep(&mut self, _keep: Retention) -> Result<(), RunnerFailure> {
        Ok(())
    }

    /// Where a file or folder stands.
    fn place(&self, keep: Retention, name: &str) -> PathBuf;
}

/// Files by their paths in a folder.
pub type FileTree = BTreeMap<String, Vec<u8>>;

/// What is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryType {
    /// A file.
    File,
    /// A directory with a bundle in it.
    Folder,
}

/// How long a file is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// As long as the kernel runs, like its tables: in `/run/palisade`.
    UntilBoot,
    /// Beyond a boot: in `/var/lib/palisade`.
    Always,
    /// The kernel's own, below `/proc`; only to be read.
    Kernel,
}

impl ToolCall {
    /// A call without input.
    pub fn new(program: &str, arguments: &[&str]) -> Self {
        Self {
            program: program.to_owned(),
            arguments: arguments.iter().map(|word| (*word).to_owned()).collect(),
            input: String::new(),
        }
    }

    /// The same call with input.
    #[must_use]
    pub fn with_input(self, input: String) -> Self {
        Self { input, ..self }
    }
}

impl fmt::Display for ToolCall {
    /// `ipset restore`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.program)?;
        self.arguments
            .iter()
            .try_for_each(|word| write!(out, " {word}"))
    }
}
