//! The node lock: one process at a time changes the node.

use std::fs::{self, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{io, thread};

use rustix::fs::OFlags;

use crate::runner::failure::failure;
use crate::runner::{EntryType, RunnerFailure, own};

/// The lock file, which is kept until reboot.
pub const LOCK_FILE: &str = "lock";

/// Pause between two attempts.
const PAUSE: Duration = Duration::from_millis(50);

/// The node lock. No other process changes the node while this value exists.
#[derive(Debug)]
pub struct NodeLock {
    _file: Option<Arc<File>>,
}

impl NodeLock {
    /// Returns a lock that locks nothing, for runners without other processes.
    pub fn none() -> Self {
        Self { _file: None }
    }

    pub(super) fn new(file: Arc<File>) -> Self {
        Self { _file: Some(file) }
    }
}

/// Only root may open the file: any process that can open it can lock it, and block all others.
const MODE: u32 = 0o600;

/// Locks the lock file. The lock is never released explicitly: it ends when all descriptors are
/// closed. So a child that inherited the descriptor keeps it.
pub(super) fn acquire(directory: &Path, wait: Duration) -> Result<Option<File>, RunnerFailure> {
    let path = directory.join(LOCK_FILE);
    own::check_entry(&path, EntryType::File)?;
    own::prepare(directory)?;
    let locked = wait_for(&path, || open(&path), File::try_lock, wait);
    locked.map_err(|error| failure("lock", &path, &error))
}

/// Locks the lock file in shared mode, for readers. If the file does not exist, no process has
/// changed the node since boot, and no lock is needed.
pub(super) fn share(directory: &Path, wait: Duration) -> Result<Option<NodeLock>, RunnerFailure> {
    let path = directory.join(LOCK_FILE);
    own::check_entry(&path, EntryType::File)?;
    match wait_for(&path, || open_to_look(&path), File::try_lock_shared, wait) {
        Ok(file) => Ok(file.map(|file| NodeLock::new(Arc::new(file)))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Some(NodeLock::none())),
        Err(error) => Err(failure("lock", &path, &error)),
    }
}

/// Open flags: no symbolic link is followed, so no other file is opened or changes its mode; and a
/// named pipe does not block.
const NO_LINK: i32 = OFlags::NOFOLLOW
    .union(OFlags::NONBLOCK)
    .bits()
    .cast_signed();

fn open_to_look(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(NO_LINK)
        .open(path)
}

/// Opens the lock file for writing. Restricts its mode, which older versions left open to other
/// users.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(MODE);
    let file = options.custom_flags(NO_LINK).open(path)?;
    if file.metadata()?.mode() & 0o777 != MODE {
        file.set_permissions(Permissions::from_mode(MODE))?;
    }
    Ok(file)
}

/// Opens and tries the lock until it succeeds. Returns `None` after `wait`. Each attempt opens the
/// file again, because a file that was removed or replaced locks nothing.
fn wait_for(
    path: &Path,
    open: impl Fn() -> io::Result<File>,
    attempt: impl Fn(&File) -> Result<(), TryLockError>,
    wait: Duration,
) -> io::Result<Option<File>> {
    let start = Instant::now();
    loop {
        let file = open()?;
        match attempt(&file) {
            Ok(()) if stands_at(&file, path)? => return Ok(Some(file)),
            Err(TryLockError::Error(error)) => return Err(error),
            Ok(()) | Err(TryLockError::WouldBlock) if start.elapsed() >= wait => return Ok(None),
            Ok(()) | Err(TryLockError::WouldBlock) => thread::sleep(PAUSE.min(wait)),
        }
    }
}

/// Returns whether the open file is the one that the path names now.
pub(super) fn stands_at(file: &File, path: &Path) -> io::Result<bool> {
    let is = |found: &Metadata| (found.dev(), found.ino());
    match fs::metadata(path) {
        Ok(found) => Ok(is(&found) == is(&file.metadata()?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
