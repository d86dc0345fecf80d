//! Finds programs, and sets their environment.
//!
//! Nothing here reads the caller's environment: with `PATH`, `XTABLES_LIBDIR`, `LD_PRELOAD` and
//! similar variables, a caller could choose what root runs.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{Access, access};
use rustix::process::geteuid;

/// The directories to search for programs, in order, and the `PATH` of every child.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Programs found so far. A program that is missing, or no longer at its path, is searched for
/// again.
static FOUND: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());

/// Returns the path of a program in the directories of [`PATH`]. Searches once per process.
///
/// A name with a slash is a path. Returns `None` if the program does not exist, or if the path is
/// relative.
pub fn find(program: &str) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(|path| path.is_absolute());
    }

    let mut found = FOUND.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(path) = found.get(program).filter(|path| is_program(path)) {
        return Some(path.clone());
    }

    let path = search(program, PATH.as_ref())?;
    found.insert(program.to_owned(), path.clone());
    Some(path)
}

/// Returns the path of a program that users install anywhere, such as `git`.
///
/// `path` is the caller's `PATH`. Its absolute entries are searched before the directories of
/// [`PATH`], but not for root.
pub fn find_for_user(program: &str, path: Option<&OsStr>) -> Option<PathBuf> {
    // Root must not run a program from a directory that a caller chose.
    let path = path.filter(|_| !geteuid().is_root());
    path.and_then(|path| search(program, path))
        .or_else(|| find(program))
}

/// Returns the first executable file with this name. Skips empty and relative entries, because they
/// depend on the current directory.
fn search(program: &str, path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(path)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(program))
        .find(|place| is_program(place))
}

fn is_program(place: &Path) -> bool {
    place.is_file() && access(place, Access::EXEC_OK).is_ok()
}

/// Returns a command without the caller's variables: only [`PATH`], and English messages.
pub fn command(place: &Path) -> Command {
    let mut command = Command::new(place);
    command.env_clear().env("PATH", PATH).env("LC_ALL", "C");
    command
}
