//! One process: how long, how much of a processor, how much memory.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{io, thread};

use rustix::process::{Pid, WaitId, WaitIdOptions, waitid};

/// How often the peak of memory is looked at; what comes behind the last look is missed.
const LOOK: Duration = Duration::from_millis(1);

/// What a process took, without its children but for the time that passed.
#[derive(Clone, Copy, Default)]
pub(super) struct Cost {
    pub(super) passed: Duration,
    pub(super) busy: Duration,
    pub(super) peak_kilobytes: usize,
}

/// Runs a process, which must go well; gives what it printed where that is asked for.
pub(super) fn run(command: &mut Command, input: Option<File>) -> io::Result<Cost> {
    command
        .stdin(input.map_or_else(Stdio::null, Stdio::from))
        .stdout(Stdio::null());
    let started = Instant::now();
    let mut child = command.spawn()?;
    let mut cost = Cost::default();

    while !has_ended(&child)? {
        cost.peak_kilobytes = peak(&child).unwrap_or(cost.peak_kilobytes);
        thread::sleep(LOOK);
    }

    cost.passed = started.elapsed();
    // it has ended, and is not waited for yet
    let times = fs::read_to_string(format!("/proc/{}/schedstat", child.id()))?;
    cost.busy = Duration::from_nanos(
        times
            .split(' ')
            .next()
            .and_then(|word| word.parse().ok())
            .unwrap_or_default(),
    );

    match child.wait()? {
        status if status.success() => Ok(cost),
        status => Err(io::Error::other(format!(
            "{}: {status}",
            command.get_program().display()
        ))),
    }
}

fn has_ended(child: &Child) -> io::Result<bool> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    Ok(waitid(WaitId::Pid(Pid::from_child(child)), options)?.is_some())
}

fn peak(child: &Child) -> Option<usize> {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().trim_end_matches(" kB").parse().ok()
}

impl Cost {
    /// The shorter of two runs, and the higher of the peaks.
    pub(super) fn best(self, other: Self) -> Self {
        let shorter = if other.passed < self.passed {
            other
        } else {
            self
        };
        Self {
            peak_kilobytes: self.peak_kilobytes.max(other.peak_kilobytes),
            ..shorter
        }
    }
}
