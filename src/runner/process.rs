//! Runs one process: input from a memory file, output through pipes, end by a deadline.
//!
//! The input is a file and not a pipe. If its input ends within a line, a tool takes the partial
//! line: `ipset restore` adds `10.0.0.1` where `10.0.0.128` was meant. A pipe ends anywhere if this
//! process is killed.

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

/// How long a killed process may take to exit. One that is blocked in the kernel is left to init.
const LAST_RESPECTS: Duration = Duration::from_secs(2);

/// Bytes to read at once.
const CHUNK: usize = 1 << 16;

/// Maximum bytes of output of a process.
const MOST_OUTPUT: usize = 1 << 30;

/// Runs a process to its end: it has exited, and no process has its output open.
pub(super) fn run(
    call: &ToolCall,
    limit: Duration,
    lock: Option<&File>,
) -> Result<ProcessOutput, RunnerFailure> {
    RunningProcess::spawn(call, lock)?.finish(limit)
}

/// Runs processes concurrently, each like [`run`].
pub(super) fn run_all(
    calls: &[ToolCall],
    limit: Duration,
    lock: Option<&File>,
) -> Vec<Result<ProcessOutput, RunnerFailure>> {
    // Spawned one after another: each spawn makes the lock inheritable and then not, for all
    // threads.
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

/// A spawned process.
struct RunningProcess<'call> {
    call: &'call ToolCall,
    child: Child,
    start: Instant,
}

impl<'call> RunningProcess<'call> {
    fn spawn(call: &'call ToolCall, lock: Option<&File>) -> Result<Self, RunnerFailure> {
        let input = memory(&call.input).map_err(|error| broken(call, &error))?;
        // A process group of its own, so that a timeout kills the tool's children, too.
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
    /// Kills the process. Returns the failure, or `Stuck` if it cannot be killed.
    fn end(&mut self, limit: Duration, failure: RunnerFailure) -> RunnerFailure {
        match end(&mut self.child) {
            true => failure,
            false => RunnerFailure::Stuck(self.call.to_string(), limit),
        }
    }
}

/// Starts a process that inherits nothing from this one, and waits for its first line of output. It
/// does not lead a process group, so that it may create a session (setsid(2)).
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

/// Returns the command of a call. Its program is an absolute path, so the standard library can
/// spawn it without copying this process's memory map.
fn command(call: &ToolCall) -> Result<Command, RunnerFailure> {
    let place = programs::find(&call.program);
    let place = place.ok_or_else(|| RunnerFailure::NotFound(call.program.clone()))?;
    let mut command = programs::command(&place);
    command.args(&call.arguments);
    Ok(command)
}

/// Spawns a process that inherits the lock.
fn spawn(command: &mut Command, lock: Option<&File>) -> io::Result<Child> {
    let Some(lock) = lock else {
        return command.spawn();
    };
    // exec closes descriptors with CLOEXEC, so the flag is cleared for this spawn.
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

/// A process and its output.
struct WatchedProcess {
    process: OwnedFd,
    has_ended: bool,
    pipes: [PipeReader; 2],
}

/// The read end of a pipe, until all write ends are closed.
struct PipeReader {
    fd: Option<File>,
    bytes: Vec<u8>,
    /// Buffer for one read.
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

    /// Reads until the process and its output end. Returns false after the time limit.
    fn watch(&mut self, start: Instant, limit: Duration) -> io::Result<bool> {
        // A child of the process may keep the pipes open after the process has exited.
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

    /// Reads one chunk of the available output.
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

/// Waits for an event. Returns whether one came in time.
fn wait_for(events: &mut [PollFd<'_>], left: Duration) -> io::Result<bool> {
    if left.is_zero() {
        return Ok(false);
    }
    let time = Timespec::try_from(left).map_err(io::Error::other)?;
    match poll(events, Some(&time)) {
        Ok(count) => Ok(count > 0),
        // No event is ready. The caller checks the time again.
        Err(rustix::io::Errno::INTR) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Kills a process and its children. Returns whether the process has exited.
fn end(child: &mut Child) -> bool {
    let process = Pid::from_child(child);
    // Fails if they have exited already, which is fine.
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
