//! A runner that goes wrong at one call.

use std::path::PathBuf;
use std::time::Duration;

use palisade::runner::{
    FileTree, NodeLock, ProcessOutput, ProcessRunner, Retention, Runner, RunnerFailure, ToolCall,
};

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// Nothing: calls are counted.
    None,
    /// Killed before the call; nothing works from then on.
    KilledBefore,
    /// Killed behind it.
    KilledBehind,
    /// Killed in the middle: the tool did the first half of its lines.
    KilledWithin,
    /// The tool ends with 1, and did nothing.
    Fails,
    /// It ends with 0, did nothing, and says so on standard error.
    FailsWithZero,
    /// It ends with 0 and prints garbage in place of what it found; it does what it is told.
    Garbage,
    /// It does not end, and did nothing.
    Hangs,
    /// It does not end, and did everything.
    HangsBehind,
    /// It ends with 1, and did everything.
    FailsBehind,
    /// It ends with 1, and did the first half: of its lines, or of its tables.
    FailsWithin,
    /// It ends with 0 and says nothing, and did nothing.
    Lies,
    /// It ends with 0 and says nothing, and did the first half.
    LiesWithin,
}

/// Runs processes, but for one.
pub(super) struct Faulty {
    inner: ProcessRunner,
    fault: Fault,
    /// The number of the call that it is about.
    at: usize,
    /// How many calls that write it is about, behind that one; it is met by a call that looks only
    /// there.
    more: usize,
    /// All calls until now.
    pub(super) calls: Vec<String>,
    is_dead: bool,
}

impl Faulty {
    pub(super) fn new(inner: ProcessRunner, fault: Fault, at: usize) -> Self {
        Self {
            inner,
            fault,
            at,
            more: 0,
            calls: Vec::new(),
            is_dead: false,
        }
    }

    /// The fault comes about at so many more calls that write.
    pub(super) fn lasting(self, more: usize) -> Self {
        Self { more, ..self }
    }

    /// Whether the fault came about.
    pub(super) fn was_met(&self) -> bool {
        self.calls.len() > self.at
    }

    fn killed(&mut self) -> RunnerFailure {
        self.is_dead = true;
        RunnerFailure::Other("killed".to_owned())
    }

    fn alive(&self) -> Result<(), RunnerFailure> {
        if self.is_dead {
            Err(RunnerFailure::Other("killed".to_owned()))
        } else {
            Ok(())
        }
    }

    fn go_wrong(&mut self, call: &ToolCall) -> Result<ProcessOutput, RunnerFailure> {
        let answer = |status: i32, output: &str, errors: &str| {
            Ok(ProcessOutput {
                status: Some(status),
                output: output.to_owned(),
                errors: errors.to_owned(),
            })
        };

        match self.fault {
            Fault::None => self.inner.run(call),
            Fault::KilledBefore => Err(self.killed()),
            Fault::KilledBehind => {
                self.inner.run(call)?;
                Err(self.killed())
            }
            Fault::KilledWithin => {
                // a table is committed whole or not at all
                if call.program == "ipset" {
                    let lines: Vec<&str> = call.input.lines().collect();
                    let half = lines
                        .iter()
                        .take(lines.len() / 2)
                        .map(|line| format!("{line}\n"))
                        .collect();
                    self.inner.run(&call.clone().with_input(half))?;
                }
                Err(self.killed())
            }
            Fault::Fails => answer(1, "", "no reason\n"),
            Fault::FailsWithZero => answer(0, "", "Error: bad file descriptor\n"),
            Fault::Garbage => self.inner.run(call).map(|answer| ProcessOutput {
                output: "\u{1}garbage".to_owned(),
                ..answer
            }),
            Fault::Hangs => Err(hung(call)),
            Fault::HangsBehind => {
                self.inner.run(call)?;
                Err(hung(call))
            }
            Fault::FailsBehind => {
                self.inner.run(call)?;
                answer(1, "", "no reason\n")
            }
            Fault::FailsWithin => {
                self.run_half(call)?;
                answer(1, "", "no reason\n")
            }
            Fault::Lies => answer(0, "", ""),
            Fault::LiesWithin => {
                self.run_half(call)?;
                answer(0, "", "")
            }
        }
    }
}

impl Faulty {
    /// Runs a call with the first half of its input: of its lines, or of its tables, which are
    /// committed whole or not at all.
    fn run_half(&mut self, call: &ToolCall) -> Result<ProcessOutput, RunnerFailure> {
        let end = if call.program == "ipset" {
            "\n"
        } else {
            "COMMIT\n"
        };
        let parts: Vec<&str> = call.input.split_inclusive(end).collect();
        let half: String = parts.iter().take(parts.len() / 2).copied().collect();
        self.inner.run(&call.clone().with_input(half))
    }
}

fn hung(call: &ToolCall) -> RunnerFailure {
    RunnerFailure::TimedOut(call.to_string(), Duration::from_secs(1))
}

impl Runner for Faulty {
    fn run(&mut self, call: &ToolCall) -> Result<ProcessOutput, RunnerFailure> {
        self.alive()?;
        self.calls.push(call.to_string());
        let number = self.calls.len();
        let writes = call.program.ends_with("-restore") || !call.input.is_empty();

        let is_more = number > self.at + 1 && writes && self.more > 0;
        self.more -= usize::from(is_more);
        let is_met = number == self.at + 1 || is_more;
        if is_met {
            self.go_wrong(call)
        } else {
            self.inner.run(call)
        }
    }

    fn start(&mut self, call: &ToolCall) -> Result<(), RunnerFailure> {
        self.alive()?;
        self.inner.start(call)
    }

    fn lock(&mut self, wait: Duration) -> Result<Option<NodeLock>, RunnerFailure> {
        self.inner.lock(wait)
    }

    fn read(&mut self, file: Retention, name: &str) -> Result<Option<Vec<u8>>, RunnerFailure> {
        self.alive()?;
        self.inner.read(file, name)
    }

    fn write(
        &mut self,
        file: Retention,
        name: &str,
        content: Option<&[u8]>,
    ) -> Result<(), RunnerFailure> {
        self.alive()?;
        self.inner.write(file, name, content)
    }

    fn write_folder(
        &mut self,
        folder: Retention,
        name: &str,
        files: Option<&FileTree>,
    ) -> Result<(), RunnerFailure> {
        self.alive()?;
        self.inner.write_folder(folder, name, files)
    }

    fn place(&self, keep: Retention, name: &str) -> PathBuf {
        self.inner.place(keep, name)
    }
}
