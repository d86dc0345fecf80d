//! Directories that palisade keeps its files in: which are its own, and what in them is.
//!
//! A user names them, perhaps by mistake, and palisade runs as root. So nothing is written or
//! removed in a directory unless the directory is palisade's own: a default one, one that was empty
//! before, or one that palisade has marked. Nothing that palisade did not write is removed or
//! replaced there either: each entry must be of the type that palisade writes, and no link is
//! followed.
//!
//! Checks and changes are steps of their own. Nobody comes between who could not do all of it
//! anyway: only root and this user may write to a directory on the way there, as sshd has it of its
//! files (`StrictModes` in sshd_config(5)). In a directory that all may write to, as `/tmp`, the
//! sticky bit must keep them from the entries of others.

use std::collections::VecDeque;
use std::ffi::{OsStr, OsString};
use std::fs::{self, DirBuilder, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use rustix::process::geteuid;

use crate::bundle::{BundleFiles, named};
use crate::runner::failure::failure;
use crate::runner::{EntryType, RunnerFailure};

/// The directories that no user needs to name.
pub(super) const RUN_DIRECTORY: &str = "/run/palisade";
pub(super) const STATE_DIRECTORY: &str = "/var/lib/palisade";

/// The file that says that a directory is palisade's own. It is empty, so that it takes no room.
pub(super) const MARK: &str = ".palisade-directory";

/// What a file system has in its root.
const OF_FILE_SYSTEMS: &str = "lost+found";

/// The most links on the way to a directory, as the kernel has it (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// What an owner is shown as who has no number in a user namespace (user_namespaces(7)).
const UNMAPPED: u32 = 65_534;

/// Fails unless palisade may write to `directory` or make it, and what is in it is palisade's.
pub(super) fn check(directory: &Path) -> Result<(), RunnerFailure> {
    check_way(directory)?;
    is_own(directory)
        .map_err(|error| failure("look into", directory, &error))?
        .map_or(Ok(()), |foreign| {
            let what = named(&foreign);
            let problem = format!(
                "`{}` holds what palisade did not write: {what}; palisade uses an empty directory \
                 or one that it made",
                directory.display()
            );
            Err(RunnerFailure::Other(problem))
        })
}

/// Makes `directory`, unless it is there, and marks it as palisade's own.
pub(super) fn prepare(directory: &Path) -> Result<(), RunnerFailure> {
    check(directory)?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(directory)
        .map_err(|error| failure("make", directory, &error))?;
    // somebody else may have made it meanwhile
    check_way(directory)?;
    if is_default(directory) {
        return Ok(());
    }

    let path = directory.join(MARK);
    match OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o644)
        .open(&path)
    {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            Err(failure("write", &path, &error))
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

/// Removes the mark from a directory that has nothing else in it any more.
pub(super) fn release(directory: &Path) -> io::Result<()> {
    let names: Vec<OsString> = fs::read_dir(directory)?
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<io::Result<_>>()?;
    match names.iter().all(|name| name == MARK) && is_marked(directory)? {
        true => fs::remove_file(directory.join(MARK)),
        false => Ok(()),
    }
}

/// Whether something of palisade's stands at `path`. Anything else there is an error, a symbolic
/// link for one.
pub(super) fn check_entry(path: &Path, sort: EntryType) -> Result<bool, RunnerFailure> {
    let about = match fs::symlink_metadata(path) {
        Ok(about) => about,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(failure("look at", path, &error)),
    };

    match sort {
        EntryType::File if about.is_file() => Ok(true),
        EntryType::File => Err(RunnerFailure::Other(format!(
            "`{}`: it is {}, and no file of palisade's",
            path.display(),
            type_name(&about)
        ))),
        EntryType::Folder if about.is_dir() => {
            let foreign = BundleFiles::of_our_own(path)
                .foreign_in(path)
                .map_err(|error| failure("look into", path, &error))?;
            match foreign.is_empty() {
                true => Ok(true),
                false => Err(RunnerFailure::Other(format!(
                    "`{}` holds what palisade did not write: {}",
                    path.display(),
                    named(&foreign)
                ))),
            }
        }
        EntryType::Folder => Err(RunnerFailure::Other(format!(
            "`{}`: it is {}, and no directory of palisade's",
            path.display(),
            type_name(&about)
        ))),
    }
}

fn type_name(about: &Metadata) -> &'static str {
    let kind = about.file_type();
    match () {
        () if kind.is_file() => "a file",
        () if kind.is_dir() => "a directory",
        () if kind.is_symlink() => "a symbolic link",
        () if kind.is_fifo() => "a named pipe",
        () if kind.is_socket() => "a socket",
        () => "a device",
    }
}

fn is_default(directory: &Path) -> bool {
    [RUN_DIRECTORY, STATE_DIRECTORY]
        .iter()
        .any(|default| directory == Path::new(default))
}

/// Returns `None` if a directory is palisade's own, or may become so, else the entries that say no.
fn is_own(directory: &Path) -> io::Result<Option<Vec<PathBuf>>> {
    if is_default(directory) || is_marked(directory)? {
        return Ok(None);
    }

    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let names = entries.map(|entry| entry.map(|entry| PathBuf::from(entry.file_name())));

    let mut foreign: Vec<PathBuf> = names.collect::<io::Result<_>>()?;
    foreign.retain(|name| name.as_os_str() != OF_FILE_SYSTEMS);
    foreign.sort_unstable();
    // another palisade may have marked it meanwhile
    Ok((!foreign.is_empty() && !is_marked(directory)?).then_some(foreign))
}

/// Whether a directory has the mark.
fn is_marked(directory: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(directory.join(MARK)) {
        Ok(about) => Ok(about.is_file() && about.len() == 0),
        Err(error)
            if [io::ErrorKind::NotFound, io::ErrorKind::NotADirectory].contains(&error.kind()) =>
        {
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Fails unless only root and this user say what stands at `directory`, which need not be there: it
/// is no link, theirs, and nobody else may write there; each directory above it is theirs, and
/// nobody else may write there, or the sticky bit keeps them from the entries of others. Links
/// above it are followed where that holds of the directories that they are in.
///
/// Who could write there could exchange what is applied at the next boot, or have files elsewhere
/// changed.
pub(super) fn check_way(directory: &Path) -> Result<(), RunnerFailure> {
    let absolute =
        std::path::absolute(directory).map_err(|error| failure("look at", directory, &error))?;
    let mut rest: VecDeque<OsString> = absolute
        .components()
        .map(|component| component.as_os_str().to_owned())
        .collect();
    let (mut at, mut links) = (PathBuf::from("/"), 0);

    while let Some(name) = rest.pop_front() {
        let next = step(&at, &name);
        let about = match fs::symlink_metadata(&next) {
            Ok(about) => about,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(failure("look at", &next, &error)),
        };
        if about.is_symlink() && !rest.is_empty() {
            links += 1;
            if links > MOST_LINKS || !is_trusted(&about, true) {
                return Err(refused(
                    &next,
                    "is a symbolic link of somebody else, or one of too many",
                ));
            }
            let target = fs::read_link(&next).map_err(|error| failure("look at", &next, &error))?;
            target
                .components()
                .rev()
                .for_each(|component| rest.push_front(component.as_os_str().to_owned()));
            continue;
        }
        check_directory(&next, &about, !rest.is_empty())?;
        at = next;
    }

    // a `..` at the end leads to one that was only on the way
    let about = fs::symlink_metadata(&at).map_err(|error| failure("look at", &at, &error))?;
    check_directory(&at, &about, false)
}

/// The path behind one more component of a path without links.
fn step(at: &Path, name: &OsStr) -> PathBuf {
    match Path::new(name).components().next() {
        Some(Component::RootDir) => PathBuf::from("/"),
        Some(Component::ParentDir) => at.parent().unwrap_or(at).to_owned(),
        Some(Component::Normal(name)) => at.join(name),
        Some(Component::CurDir | Component::Prefix(_)) | None => at.to_owned(),
    }
}

fn check_directory(path: &Path, about: &Metadata, is_above: bool) -> Result<(), RunnerFailure> {
    let mode = about.mode() & 0o7777;
    let is_sticky = is_above && mode & 0o1000 != 0;

    match () {
        () if about.is_symlink() => Err(refused(path, "is a symbolic link")),
        () if !about.is_dir() => Err(refused(path, "is no directory")),
        () if !is_trusted(about, is_above) => {
            Err(refused(path, &format!("belongs to user {}", about.uid())))
        }
        () if mode & 0o022 != 0 && !is_sticky => Err(refused(
            path,
            &format!(
                "has mode {:o}, so that others may write there",
                mode & 0o777
            ),
        )),
        () => Ok(()),
    }
}

fn refused(path: &Path, problem: &str) -> RunnerFailure {
    RunnerFailure::Other(format!(
        "`{}` {problem}; nothing is kept in such a directory, nor below it",
        path.display()
    ))
}

/// Whether something is root's or this user's. Above our own directory, an owner without a number
/// in this user namespace counts as root: who made the namespace chose what is there.
fn is_trusted(about: &Metadata, is_above: bool) -> bool {
    [0, geteuid().as_raw()].contains(&about.uid())
        || is_above && about.uid() == UNMAPPED && is_in_user_namespace()
}

fn is_in_user_namespace() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let words: Vec<&str> = map.split_whitespace().collect();
    !map.is_empty() && words != ["0", "0", "4294967295"]
}

/// Tries whether a file can be made in `directory`, or where that would be made. Nothing is left
/// there.
pub(super) fn try_to_keep(directory: &Path) -> Result<(), RunnerFailure> {
    check(directory)?;
    let absolute =
        std::path::absolute(directory).map_err(|error| failure("look at", directory, &error))?;
    let there = absolute
        .ancestors()
        .find(|path| path.is_dir())
        .unwrap_or(Path::new("/"));

    let tried = tempfile::Builder::new()
        .prefix(".palisade-")
        .tempfile_in(there)
        .and_then(|file| file.close());
    tried.map_err(|error| failure("write to", there, &error))
}

/// Puts the entries of a directory on the disk.
pub(super) fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
