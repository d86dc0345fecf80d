//! Where programs are, and the environment that they get.
//!
//! Nothing here reads the caller's environment: `PATH`, `XTABLES_LIBDIR`, `LD_PRELOAD` and others
//! like them would let a caller choose what root runs.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::{Mutex, PoisonError};

use rustix::fs::{Access, access};
use rustix::process::geteuid;

/// The directories that are searched for programs, in this order, and the `PATH` of every child.
pub const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Programs that were found. One that is missing, or is gone from its place, is searched for again
/// when it is needed again.
static FOUND: Mutex<BTreeMap<String, PathBuf>> = Mutex::new(BTreeMap::new());

/// Returns the place of a program in the directories of [`PATH`]. It is looked up once per process.
///
/// A name with a slash is taken as a path. Returns `None` if there is no such program, or if the
/// path is relative.
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

/// Returns the place of a program that users install where they like, such as `git`.
///
/// The absolute entries of `path`, which is the caller's `PATH`, are searched before the
/// directories of [`PATH`]; for root only the latter.
pub fn find_for_user(program: &str, path: Option<&OsStr>) -> Option<PathBuf> {
    let path = path.filter(|_| !geteuid().is_root());
    path.and_then(|path| search(program, path))
        .or_else(|| find(program))
}

/// Returns the first executable file of this name. An entry that is empty or relative means
/// another directory wherever the caller is, so it is skipped.
fn search(program: &str, path: &OsStr) -> Option<PathBuf> {
    std::env::split_paths(path)
        .filter(|directory| directory.is_absolute())
        .map(|directory| directory.join(program))
        .find(|place| is_program(place))
}

fn is_program(place: &Path) -> bool {
    place.is_file() && access(place, Access::EXEC_OK).is_ok()
}

/// Returns a command with no variable of the caller's: [`PATH`], and messages in English.
pub fn command(place: &Path) -> Command {
    let mut command = Command::new(place);
    command.env_clear().env("PATH", PATH).env("LC_ALL", "C");
    command
}
