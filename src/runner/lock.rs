//! One change of this node at a time.

use std::fs::{self, File, Metadata, OpenOptions, Permissions, TryLockError};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{io, thread};

use rustix::fs::OFlags;

use crate::runner::failure::failure;
use crate::runner::{EntryType, RunnerFailure, own};

/// The lock's file, which is kept until the next boot.
pub const LOCK_FILE: &str = "lock";

/// How long to wait between two tries.
const PAUSE: Duration = Duration::from_millis(50);

/// Nobody else changes this node while this is there.
#[derive(Debug)]
pub struct NodeLock {
    _file: Option<Arc<File>>,
}

impl NodeLock {
    /// A lock of nothing, for runners that are alone.
    pub fn none() -> Self {
        Self { _file: None }
    }

    pub(super) fn new(file: Arc<File>) -> Self {
        Self { _file: Some(file) }
    }
}

/// Only root's: whoever can read a file can lock it, and keep all others waiting.
const MODE: u32 = 0o600;

/// Locks the file in a directory of ours. It is never unlocked, only closed, so that a child that
/// has it open holds the lock on.
pub(super) fn acquire(directory: &Path, wait: Duration) -> Result<Option<File>, RunnerFailure> {
    let path = directory.join(LOCK_FILE);
    own::check_entry(&path, EntryType::File)?;
    own::prepare(directory)?;
    let locked = wait_for(&path, || open(&path), File::try_lock, wait);
    locked.map_err(|error| failure("lock", &path, &error))
}

/// Locks the file with all others who only look. Where there is none, nobody has changed this node
/// since it booted.
pub(super) fn share(directory: &Path, wait: Duration) -> Result<Option<NodeLock>, RunnerFailure> {
    let path = directory.join(LOCK_FILE);
    own::check_entry(&path, EntryType::File)?;
    match wait_for(&path, || open_to_look(&path), File::try_lock_shared, wait) {
        Ok(file) => Ok(file.map(|file| NodeLock::new(Arc::new(file)))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Some(NodeLock::none())),
        Err(error) => Err(failure("lock", &path, &error)),
    }
}

/// No other file than the lock's own is opened, nor has its mode changed, and no pipe is waited on.
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

/// Opens the lock's file, and takes from others the right to, which they had in files of versions
/// before.
fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.create(true).truncate(false).write(true).mode(MODE);
    let file = options.custom_flags(NO_LINK).open(path)?;
    if file.metadata()?.mode() & 0o777 != MODE {
        file.set_permissions(Permissions::from_mode(MODE))?;
    }
    Ok(file)
}

/// Tries until it succeeds; none where it does not in time. A file that was removed or replaced
/// meanwhile is no lock any more: it is opened anew each time.
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

/// Whether this file is the one that stands there now.
pub(super) fn stands_at(file: &File, path: &Path) -> io::Result<bool> {
    let is = |found: &Metadata| (found.dev(), found.ino());
    match fs::metadata(path) {
        Ok(found) => Ok(is(&found) == is(&file.metadata()?)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}
