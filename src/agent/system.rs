//! The real world: files that change, signals, and systemd.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixStream};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use std::{fmt, fs};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify;
use sd_notify::NotifyState;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::pipe;

use crate::agent::{LoopEnvironment, WakeEvent};
use crate::bundle::read_file;

/// Watches paths and signals; tells systemd, where it asks, that the loop is alive.
#[derive(Debug)]
pub struct SystemEvents {
    paths: Vec<PathBuf>,
    /// None where nothing could be watched yet.
    watch: Option<OwnedFd>,
    /// Why watching failed when it was tried last; each wait tries it again.
    unwatched: Option<WatchFailure>,
    stop: UnixStream,
    ask: UnixStream,
    /// How often systemd wants to hear of us.
    watchdog: Option<Duration>,
}

/// What cannot be watched, and why.
#[derive(Debug)]
pub struct WatchFailure(&'static str, io::Error);

/// What is told of directories.
const CHANGES: inotify::WatchFlags = inotify::WatchFlags::CLOSE_WRITE
    .union(inotify::WatchFlags::CREATE)
    .union(inotify::WatchFlags::DELETE)
    .union(inotify::WatchFlags::MOVED_FROM)
    .union(inotify::WatchFlags::MOVED_TO)
    .union(inotify::WatchFlags::MOVE_SELF);

/// Files change one after another; a round begins when none did for so long.
const SETTLED: Duration = Duration::from_millis(200);

/// Where something changes all the time, a round begins after so long all the same.
const NEVER_SETTLED: Duration = Duration::from_secs(2);

/// Directories below a path that are watched; what changes in others is seen when the interval is
/// over.
const MOST_DIRECTORIES: usize = 4096;

impl SystemEvents {
    /// Watches files and directories, and everything below these. A path that is not there yet is
    /// watched for in its directory. Where that cannot be done ([`SystemEvents::unwatched`]),
    /// signals are heard all the same.
    ///
    /// # Errors
    /// When the kernel gives no more pipes.
    pub fn watching(paths: &[PathBuf]) -> Result<Self, WatchFailure> {
        let deaf = |error| WatchFailure("signals", error);
        let (stop, stopped) = UnixStream::pair().map_err(deaf)?;
        let (ask, asked) = UnixStream::pair().map_err(deaf)?;

        for (signal, end) in [(SIGTERM, &stopped), (SIGINT, &stopped), (SIGHUP, &asked)] {
            end.try_clone()
                .and_then(|end| pipe::register(signal, end))
                .map_err(deaf)?;
        }

        // half of what systemd waits, as sd_watchdog_enabled(3) advises
        let watchdog = sd_notify::watchdog_enabled().map(|period| period / 2);
        let mut system = Self {
            paths: paths.to_vec(),
            watch: None,
            unwatched: None,
            stop,
            ask,
            watchdog,
        };
        system.watch_anew();

        Ok(system)
    }

    /// Why changes of files are not seen, or not all of them; none where they are.
    pub fn unwatched(&self) -> Option<&WatchFailure> {
        self.unwatched.as_ref()
    }

    /// Watches what is there now; where that fails, what was watched is watched still.
    fn watch_anew(&mut self) {
        match watch(&self.paths) {
            Ok(watch) => (self.watch, self.unwatched) = (Some(watch), None),
            Err(error) => self.unwatched = Some(WatchFailure("changes", error)),
        }
    }

    /// What happened within a time; none where that is nothing.
    fn poll(&mut self, most: Duration) -> Option<WakeEvent> {
        let timeout = Timespec::try_from(most).unwrap_or(Timespec {
            tv_sec: i64::MAX,
            tv_nsec: 0,
        });
        // where nothing is watched, the first one stands there twice
        let watch = self.watch.as_ref().map_or(self.stop.as_fd(), AsFd::as_fd);
        let mut waiting = [self.stop.as_fd(), self.ask.as_fd(), watch]
            .map(|end| PollFd::from_borrowed_fd(end, PollFlags::IN));
        // a signal may interrupt; then its pipe is ready the next time
        let _ = poll(&mut waiting, Some(&timeout));
        let [stop, ask, watch] = waiting.map(|waiting| !waiting.revents().is_empty());

        match (stop, ask, watch) {
            (true, _, _) => Some(WakeEvent::Stop),
            (_, true, _) => {
                let _ = self.ask.read(&mut [0; 64]);
                Some(WakeEvent::Asked)
            }
            (_, _, true) => self.has_changed().then_some(WakeEvent::Changed),
            (false, false, false) => None,
        }
    }

    /// Waits for the last of many changes, but not for ever.
    fn settled(&mut self) -> WakeEvent {
        let begun = Instant::now();
        while begun.elapsed() < NEVER_SETTLED
            && let Some(event) = self.poll(SETTLED)
        {
            if event != WakeEvent::Changed {
                return event;
            }
        }
        // directories may be others now
        self.watch_anew();

        WakeEvent::Changed
    }

    /// Takes what the watch has to say; whether it is about one of the paths.
    fn has_changed(&mut self) -> bool {
        let names: BTreeSet<&[u8]> = self
            .paths
            .iter()
            .filter_map(|path| path.file_name())
            .map(|name| name.as_encoded_bytes())
            .collect();

        let Some(watch) = &self.watch else {
            return false;
        };

        let mut space = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(watch, &mut space);
        let mut is_ours = false;

        while let Ok(event) = events.next() {
            // in the directory beside a path others may change too; what is below a path is always
            // of interest, by whatever name
            is_ours |= event
                .file_name()
                .is_none_or(|name| names.contains(name.to_bytes()))
                || event.wd() > beside(&self.paths);
        }

        is_ours
    }
}

impl LoopEnvironment for SystemEvents {
    fn wait(&mut self, most: Duration) -> WakeEvent {
        let begun = Instant::now();
        if self.unwatched.is_some() {
            self.watch_anew();
        }

        loop {
            notify(&[NotifyState::Watchdog]);
            let left = most.saturating_sub(begun.elapsed());
            let event = self.poll(self.watchdog.map_or(left, |period| period.min(left)));
            match event {
                Some(WakeEvent::Changed) => return self.settled(),
                Some(event) => return event,
                None if begun.elapsed() >= most => return WakeEvent::Elapsed,
                None => {}
            }
        }
    }
}

/// How many watches are on directories beside paths; those come first, and the kernel numbers
/// watches from 1.
fn beside(paths: &[PathBuf]) -> i32 {
    let directories: BTreeSet<PathBuf> = paths.iter().map(|path| parent(path)).collect();
    i32::try_from(directories.len()).unwrap_or(i32::MAX)
}

fn parent(path: &Path) -> PathBuf {
    path.parent()
        .filter(|parent| !parent.as_os_str().is_empty())
        .map_or_else(|| PathBuf::from("."), Path::to_owned)
}

fn watch(paths: &[PathBuf]) -> io::Result<OwnedFd> {
    let watch = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK)?;
    let beside: BTreeSet<PathBuf> = paths.iter().map(|path| parent(path)).collect();
    for directory in &beside {
        inotify::add_watch(&watch, directory, CHANGES)?;
    }

    let mut open: Vec<PathBuf> = paths.iter().filter(|path| path.is_dir()).cloned().collect();
    let mut watched = 0;
    while let Some(directory) = open.pop().filter(|_| watched < MOST_DIRECTORIES) {
        // one that has gone in the meantime is told by the one above it
        if inotify::add_watch(&watch, &directory, CHANGES).is_err() {
            continue;
        }
        watched += 1;
        let entries = fs::read_dir(&directory).into_iter().flatten().flatten();
        open.extend(
            entries
                .map(|entry| entry.path())
                .filter(|path| path.is_dir() && !path.is_symlink()),
        );
    }

    Ok(watch)
}

/// Tells systemd that the first round is over, and in words how things are. Where nobody listens,
/// nothing happens.
pub fn tell_ready(status: &'static str) {
    notify(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Tells systemd that the loop ends.
pub fn tell_stopping() {
    notify(&[NotifyState::Stopping]);
}

/// Tells systemd, and does not wait for it: where nobody reads, the node is looked after all the
/// same, and the next message says as much.
fn notify(states: &[NotifyState<'_>]) {
    let text: String = states.iter().map(|state| format!("{state}\n")).collect();
    let place = std::env::var_os("NOTIFY_SOCKET");
    let _ = place.map_or(Ok(()), |place| send(&place, text.as_bytes()));
}

fn send(place: &OsStr, text: &[u8]) -> io::Result<()> {
    let address = match place.as_bytes().strip_prefix(b"@") {
        Some(name) => SocketAddr::from_abstract_name(name)?,
        None => SocketAddr::from_pathname(place)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to_addr(text, &address).map(drop)
}

/// What every file of our metrics begins with.
const BEGIN: &[u8] = b"# HELP palisade_";

/// Writes metrics for others to read, whole or not at all, in place of a file that has older ones.
///
/// # Errors
/// When something else is there, a symbolic link or a device for one, or its directory does not
/// take it.
pub fn write_metrics(path: &Path, text: &str) -> io::Result<()> {
    if !may_be_replaced(path)? {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "there is something else than metrics of palisade",
        ));
    }

    let mut file = tempfile::Builder::new()
        .prefix(".palisade-")
        .tempfile_in(parent(path))?;
    file.write_all(text.as_bytes())?;
    // whatever this process's umask is
    file.as_file()
        .set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    file.persist(path)?;

    Ok(())
}

/// Whether nothing is there, an empty file, or one of metrics.
fn may_be_replaced(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Ok(found) if !found.is_file() => return Ok(false),
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(true),
        Err(error) => return Err(error),
    }
    let text = read_file(path)?;
    Ok(text.is_empty() || text.starts_with(BEGIN))
}

impl std::error::Error for WatchFailure {}

impl fmt::Display for WatchFailure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "cannot watch for {}: {}", self.0, self.1)
    }
}
