//! One process: its input as a file of memory, its output by pipes, its end by a deadline.
//!
//! The input is a file and no pipe: a tool whose input ends in the middle of a line takes the half
//! of it (`ipset restore` adds `10.0.0.1` where `10.0.0.128` was to come), and a pipe ends wherever
//! this process is killed.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, OFlags, fcntl_setfl, memfd_create};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use crate::runner::{ProcessOutput, RunnerFailure, ToolCall, programs};

/// How long a killed process may take to be gone; one that the kernel is busy with is left to init.
const LAST_RESPECTS: Duration = Duration::from_secs(2);

/// Bytes read at once.
const CHUNK: usize = 1 << 16;

/// Bytes that a process may say.
const MOST_OUTPUT: usize = 1 << 30;

/// Runs a process to its end, which is when it and all who have its output open are gone.
pub(super) fn run(
    call: &ToolCall,
    limit: Duration,
    lock: Option<&File>,
) -> Result<ProcessOutput, RunnerFailure> {
    RunningProcess::spawn(call, lock)?.finish(limit)
}

/// Runs processes at once, each as [`run`] does.
pub(super) fn run_all(
    calls: &[ToolCall],
    limit: Duration,
    lock: Option<&File>,
) -> Vec<Result<ProcessOutput, RunnerFailure>> {
    // one after another, since each opens and closes the lock to children
    let running: Vec<Result<RunningProcess<'_>, RunnerFailure>> = calls
        .iter()
        .map(|call| RunningProcess::spawn(call, lock))
        .collect();

    thread::scope(|scope| {
        let finish = |running: Result<RunningProcess<'_>, RunnerFailure>| running?.finish(limit);
        let threads: Vec<_> = running
            .into_iter()
            .map(|running| scope.spawn(move || finish(running)))
            .collect();
        let died = |_| {
            Err(RunnerFailure::Other(
                "a thread that reads a tool's output died".to_owned(),
            ))
        };
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap_or_else(died))
            .collect()
    })
}

/// A process that was started.
struct RunningProcess<'call> {
    call: &'call ToolCall,
    child: Child,
    start: Instant,
}

impl<'call> RunningProcess<'call> {
    fn spawn(call: &'call ToolCall, lock: Option<&File>) -> Result<Self, RunnerFailure> {
        let input = memory(&call.input).map_err(|error| broken(call, &error))?;
        let mut command = command(call)?;
        command
            .process_group(0)
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());

        let child = spawn(&mut command, lock);
        child
            .map(|child| Self {
                call,
                child,
                start: Instant::now(),
            })
            .map_err(|error| not_started(call, &error))
    }

    fn finish(mut self, limit: Duration) -> Result<ProcessOutput, RunnerFailure> {
        let watched = WatchedProcess::new(&mut self.child).and_then(|mut watched| {
            let is_over = watched.watch(self.start, limit)?;
            Ok(is_over.then_some(watched.pipes))
        });

        match watched {
            Ok(Some([output, errors])) => {
                let status = self
                    .child
                    .wait()
                    .map_err(|error| broken(self.call, &error))?;
                Ok(ProcessOutput {
                    status: status.code(),
                    output: text(output.bytes),
                    errors: text(errors.bytes),
                })
            }
            Ok(None) => Err(self.end(limit, RunnerFailure::TimedOut(self.call.to_string(), limit))),
            Err(error) => Err(self.end(limit, broken(self.call, &error))),
        }
    }
}

impl RunningProcess<'_> {
    /// Kills it; the failure, or that it cannot be killed.
    fn end(&mut self, limit: Duration, failure: RunnerFailure) -> RunnerFailure {
        match end(&mut self.child) {
            true => failure,
            false => RunnerFailure::Stuck(self.call.to_string(), limit),
        }
    }
}

/// Starts a process with nothing of this one's, and waits for its first line. It leads no group, so
/// that it may begin a session.
pub(super) fn start(call: &ToolCall, limit: Duration) -> Result<(), RunnerFailure> {
    let child = command(call)?
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    let mut child = child.map_err(|error| not_started(call, &error))?;
    let mut output = PipeReader::new(child.stdout.take()).map_err(|error| broken(call, &error))?;
    let begin = Instant::now();

    while !output.bytes.contains(&b'\n') {
        let left = limit.saturating_sub(begin.elapsed());
        let is_ready = output.fd.as_ref().is_some_and(|fd| {
            wait_for(&mut [PollFd::new(fd, PollFlags::IN)], left).unwrap_or(false)
        });
        if !is_ready || output.read_available().is_err() {
            end(&mut child);
            return Err(RunnerFailure::Other(format!("`{call}` did not get ready")));
        }
    }

    Ok(())
}

/// The library starts a program whose place it knows without a copy of this process's memory map.
fn command(call: &ToolCall) -> Result<Command, RunnerFailure> {
    let place = programs::find(&call.program);
    let place = place.ok_or_else(|| RunnerFailure::NotFound(call.program.clone()))?;
    let mut command = programs::command(&place);
    command.args(&call.arguments);
    Ok(command)
}

/// The child has the lock open too.
fn spawn(command: &mut Command, lock: Option<&File>) -> io::Result<Child> {
    let Some(lock) = lock else {
        return command.spawn();
    };
    fcntl_setfd(lock, FdFlags::empty())?;
    let child = command.spawn();
    fcntl_setfd(lock, FdFlags::CLOEXEC)?;
    child
}

fn memory(text: &str) -> io::Result<File> {
    let mut file = File::from(memfd_create("palisade-input", MemfdFlags::CLOEXEC)?);
    file.write_all(text.as_bytes())?;
    file.rewind()?;
    Ok(file)
}

/// A process and what it says.
struct WatchedProcess {
    process: OwnedFd,
    has_ended: bool,
    pipes: [PipeReader; 2],
}

/// The reading end of a pipe, until nobody has the other one.
struct PipeReader {
    fd: Option<File>,
    bytes: Vec<u8>,
    /// What is read at once.
    chunk: Vec<u8>,
}

impl WatchedProcess {
    fn new(child: &mut Child) -> io::Result<Self> {
        let pipes = [
            PipeReader::new(child.stdout.take())?,
            PipeReader::new(child.stderr.take())?,
        ];
        Ok(Self {
            process: pidfd_open(Pid::from_child(child), PidfdFlags::empty())?,
            has_ended: false,
            pipes,
        })
    }

    /// Reads until the end; false when that does not come in time.
    fn watch(&mut self, start: Instant, limit: Duration) -> io::Result<bool> {
        while !self.has_ended || self.pipes.iter().any(|pipe| pipe.fd.is_some()) {
            let mut events: Vec<PollFd<'_>> = self
                .pipes
                .iter()
                .filter_map(|pipe| pipe.fd.as_ref())
                .map(readable)
                .collect();
            if !self.has_ended {
                events.push(readable(&self.process));
            }
            if !wait_for(&mut events, limit.saturating_sub(start.elapsed()))? {
                return Ok(false);
            }
            let is_process_done = !self.has_ended
                && events
                    .last()
                    .is_some_and(|event| !event.revents().is_empty());
            self.has_ended |= is_process_done;
            self.pipes
                .iter_mut()
                .try_for_each(PipeReader::read_available)?;
        }

        Ok(true)
    }
}

impl PipeReader {
    fn new(end: Option<impl Into<OwnedFd>>) -> io::Result<Self> {
        let fd = end.map(|end| File::from(end.into()));
        fd.as_ref()
            .map_or(Ok(()), |fd| fcntl_setfl(fd, OFlags::NONBLOCK))?;
        Ok(Self {
            fd,
            bytes: Vec::new(),
            chunk: vec![0; CHUNK],
        })
    }

    /// Takes a chunk of what is there now.
    fn read_available(&mut self) -> io::Result<()> {
        let Some(fd) = &mut self.fd else {
            return Ok(());
        };

        match fd.read(&mut self.chunk) {
            Ok(0) => self.fd = None,
            Ok(_) if self.bytes.len() > MOST_OUTPUT => {
                return Err(io::Error::other("it says more than 1 GiB"));
            }
            Ok(length) => self
                .bytes
                .extend_from_slice(self.chunk.get(..length).unwrap_or_default()),
            Err(error)
                if [io::ErrorKind::WouldBlock, io::ErrorKind::Interrupted]
                    .contains(&error.kind()) => {}
            Err(error) => return Err(error),
        }

        Ok(())
    }
}

fn readable(fd: &impl AsFd) -> PollFd<'_> {
    PollFd::new(fd, PollFlags::IN)
}

/// Whether any event came in time.
fn wait_for(events: &mut [PollFd<'_>], left: Duration) -> io::Result<bool> {
    if left.is_zero() {
        return Ok(false);
    }
    let time = Timespec::try_from(left).map_err(io::Error::other)?;
    match poll(events, Some(&time)) {
        Ok(count) => Ok(count > 0),
        // nothing is ready, and the caller looks at the clock
        Err(rustix::io::Errno::INTR) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Kills a process and its children; whether the process is gone.
fn end(child: &mut Child) -> bool {
    let process = Pid::from_child(child);
    // where they are gone already, there is nothing to kill
    let _ = kill_process_group(process, Signal::KILL);
    let _ = child.kill();
    let is_gone = pidfd_open(process, PidfdFlags::empty())
        .map_or(Ok(true), |fd| wait_for(&mut [readable(&fd)], LAST_RESPECTS));

    let is_gone = is_gone.unwrap_or(false);
    if is_gone {
        let _ = child.wait();
    }

    is_gone
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes)
        .unwrap_or_else(|error| String::from_utf8_lossy(error.as_bytes()).into_owned())
}

fn not_started(call: &ToolCall, error: &io::Error) -> RunnerFailure {
    match error.kind() == io::ErrorKind::NotFound {
        true => RunnerFailure::NotFound(call.program.clone()),
        false => broken(call, error),
    }
}

fn broken(call: &ToolCall, error: &io::Error) -> RunnerFailure {
    RunnerFailure::Other(format!("cannot run `{call}`: {error}"))
}
