//! One change of this node at a time.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use crate::runner::{Failure, files};

/// The lock's file.
pub(super) const NAME: &str = "lock";

/// How long to wait between two tries.
const PAUSE: Duration = Duration::from_millis(50);

/// Nobody else changes this node while this is there.
#[derive(Debug)]
pub struct Lock {
    _file: Option<Arc<File>>,
}

impl Lock {
    /// A lock of nothing, for runners that are alone.
    pub fn none() -> Self {
        Self { _file: None }
    }

    pub(super) fn of(file: Arc<File>) -> Self {
        Self { _file: Some(file) }
    }
}

/// Locks the file. It is never unlocked, only closed, so that a child that has it open holds the lock on.
pub(super) fn take(path: &Path, wait: Duration) -> Result<Option<File>, Failure> {
    files::make_parent(path)?;
    let opened = OpenOptions::new().create(true).truncate(false).write(true).open(path);
    let file = opened.map_err(|error| files::failure("lock", path, &error))?;
    let is_locked = wait_for(|| file.try_lock(), wait).map_err(|error| files::failure("lock", path, &error))?;
    Ok(is_locked.then_some(file))
}

/// Locks the file with all others who only look. Where there is none, nobody has changed this node since it booted.
pub(super) fn share(path: &Path, wait: Duration) -> Result<Option<Lock>, Failure> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Some(Lock::none())),
        Err(error) => return Err(files::failure("lock", path, &error)),
    };
    let is_locked = wait_for(|| file.try_lock_shared(), wait).map_err(|error| files::failure("lock", path, &error))?;
    Ok(is_locked.then(|| Lock::of(Arc::new(file))))
}

/// Tries until it succeeds; false where it does not in time.
fn wait_for(attempt: impl Fn() -> Result<(), TryLockError>, wait: Duration) -> io::Result<bool> {
    let start = Instant::now();
    loop {
        match attempt() {
            Ok(()) => return Ok(true),
            Err(TryLockError::Error(error)) => return Err(error),
            Err(TryLockError::WouldBlock) if start.elapsed() >= wait => return Ok(false),
            Err(TryLockError::WouldBlock) => thread::sleep(PAUSE.min(wait)),
        }
    }
}
