//! Events from the system: file changes and signals; and notifications to systemd.

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

/// Watches paths and signals. Notifies systemd, if it asks for that, that the loop is alive.
#[derive(Debug)]
pub struct SystemEvents {
    paths: Vec<PathBuf>,
    /// `None` if no path could be watched yet.
    watch: Option<OwnedFd>,
    /// Why the last attempt to watch failed. Each wait tries again.
    unwatched: Option<WatchFailure>,
    stop: UnixStream,
    ask: UnixStream,
    /// How often to notify the watchdog of systemd.
    watchdog: Option<Duration>,
}

/// What cannot be watched, and why.
#[derive(Debug)]
pub struct WatchFailure(&'static str, io::Error);

/// The inotify events to report for directories.
const CHANGES: inotify::WatchFlags = inotify::WatchFlags::CLOSE_WRITE
    .union(inotify::WatchFlags::CREATE)
    .union(inotify::WatchFlags::DELETE)
    .union(inotify::WatchFlags::MOVED_FROM)
    .union(inotify::WatchFlags::MOVED_TO)
    .union(inotify::WatchFlags::MOVE_SELF);

/// Files change in bursts. A round begins after this time without a change.
const SETTLED: Duration = Duration::from_millis(200);

/// A round begins after this time even if changes continue.
const NEVER_SETTLED: Duration = Duration::from_secs(2);

/// Maximum number of watched directories below the paths. Changes in further ones are found at the
/// next interval.
const MOST_DIRECTORIES: usize = 4096;

impl SystemEvents {
    /// Watches files, and directories with everything below them. For a path that does not exist,
    /// watches its parent directory. If the paths cannot be watched ([`SystemEvents::unwatched`]),
    /// signals still arrive.
    ///
    /// # Errors
    /// If signal handlers or their pipes cannot be created.
    pub fn watching(paths: &[PathBuf]) -> Result<Self, WatchFailure> {
        let deaf = |error| WatchFailure("signals", error);
        let (stop, stopped) = UnixStream::pair().map_err(deaf)?;
        let (ask, asked) = UnixStream::pair().map_err(deaf)?;

        for (signal, end) in [(SIGTERM, &stopped), (SIGINT, &stopped), (SIGHUP, &asked)] {
            end.try_clone()
                .and_then(|end| pipe::register(signal, end))
                .map_err(deaf)?;
        }

        // Half of the watchdog period, as sd_watchdog_enabled(3) recommends.
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

    /// Returns why some or all file changes are not seen, or `None` if all are.
    pub fn unwatched(&self) -> Option<&WatchFailure> {
        self.unwatched.as_ref()
    }

    /// Watches the current directories. After a failure, the old watches stay.
    fn watch_anew(&mut self) {
        match watch(&self.paths) {
            Ok(watch) => (self.watch, self.unwatched) = (Some(watch), None),
            Err(error) => self.unwatched = Some(WatchFailure("changes", error)),
        }
    }

    /// Waits for an event, at most for `most`. Returns `None` if there was none.
    fn poll(&mut self, most: Duration) -> Option<WakeEvent> {
        let timeout = Timespec::try_from(most).unwrap_or(Timespec {
            tv_sec: i64::MAX,
            tv_nsec: 0,
        });
        // Without watches, the stop pipe is in the list twice.
        let watch = self.watch.as_ref().map_or(self.stop.as_fd(), AsFd::as_fd);
        let mut waiting = [self.stop.as_fd(), self.ask.as_fd(), watch]
            .map(|end| PollFd::from_borrowed_fd(end, PollFlags::IN));
        // A signal may interrupt the poll. Its pipe is then ready at the next one.
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

    /// Waits until a burst of changes is over, but not longer than [`NEVER_SETTLED`].
    fn settled(&mut self) -> WakeEvent {
        let begun = Instant::now();
        while begun.elapsed() < NEVER_SETTLED
            && let Some(event) = self.poll(SETTLED)
        {
            if event != WakeEvent::Changed {
                return event;
            }
        }
        // The burst may have created or replaced directories.
        self.watch_anew();

        WakeEvent::Changed
    }

    /// Reads the pending inotify events. Returns whether one concerns the paths.
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
            // In a parent directory, other files may change too, so the name must match. Below a
            // path, every change counts.
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

/// Returns the number of watches on parent directories. They are added first, and the kernel
/// numbers watches from 1.
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
        // If the directory has disappeared meanwhile, the watch on its parent reports that.
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

/// Notifies systemd that the first round is over, with a status text. Does nothing without systemd.
pub fn tell_ready(status: &'static str) {
    notify(&[NotifyState::Ready, NotifyState::Status(status)]);
}

/// Notifies systemd that the loop ends.
pub fn tell_stopping() {
    notify(&[NotifyState::Stopping]);
}

/// Sends a notification to systemd without blocking. A lost message does no harm: the loop goes on,
/// and the next message says the same.
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

/// Prefix of every metrics file that Palisade writes.
const BEGIN: &[u8] = b"# HELP palisade_";

/// Writes a metrics file atomically, and replaces an older one.
///
/// # Errors
/// If the path is anything but a metrics file of Palisade, such as a symbolic link or a device, or
/// if the directory is not writable.
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
    // The mode must not depend on this process's umask, because the collector reads the file.
    file.as_file()
        .set_permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))?;
    file.persist(path)?;

    Ok(())
}

/// Returns whether the path is free, an empty file, or a metrics file of Palisade.
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
