//! One change of this node at a time.

use std::fs::{File, OpenOptions, TryLockError};
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
    let problem = |error: &std::io::Error| files::failure("lock", path, error);
    files::make_parent(path)?;
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(path).map_err(|error| problem(&error))?;
    let start = Instant::now();
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::Error(error)) => return Err(problem(&error)),
            Err(TryLockError::WouldBlock) if start.elapsed() >= wait => return Ok(None),
            Err(TryLockError::WouldBlock) => thread::sleep(PAUSE.min(wait)),
        }
    }
}
