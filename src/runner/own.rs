//! Palisade's directories: which directories are its own, and which of their entries.
//!
//! A user names the directories, perhaps by mistake, and Palisade runs as root. So Palisade writes
//! and removes nothing in a directory unless it is its own: a default one, one that was empty
//! before, or one that Palisade has marked. Even there, it removes or replaces nothing that it did
//! not write: each entry must have the type that Palisade writes, and no symbolic link is followed.
//!
//! A check and the change after it are separate steps. A race between them gains an attacker
//! nothing: only root and this user may write to the directories on the path, as sshd requires for
//! its files (`StrictModes` in sshd_config(5)). In a directory that every user may write to, such
//! as `/tmp`, the sticky bit must protect the entries of others.

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

/// The default directories.
pub(super) const RUN_DIRECTORY: &str = "/run/palisade";
pub(super) const STATE_DIRECTORY: &str = "/var/lib/palisade";

/// The file that marks a directory as Palisade's own. It is empty, so that it needs no space.
pub(super) const MARK: &str = ".palisade-directory";

/// A directory that some file systems have in their root.
const OF_FILE_SYSTEMS: &str = "lost+found";

/// Maximum number of symbolic links on a path, as in the kernel (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// Displayed user id of an owner that is not mapped into the user namespace (user_namespaces(7)).
const UNMAPPED: u32 = 65_534;

/// Checks that Palisade may write to `directory` or create it, and that its contents are
/// Palisade's.
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

/// Creates `directory` if necessary, and marks it as Palisade's own.
pub(super) fn prepare(directory: &Path) -> Result<(), RunnerFailure> {
    check(directory)?;
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(directory)
        .map_err(|error| failure("make", directory, &error))?;
    // Another process may have created it meanwhile.
    check_way(directory)?;
    // Default directories need no mark.
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

/// Removes the mark from a directory that contains nothing else.
pub(super) fn release(directory: &Path) -> io::Result<()> {
    let names: Vec<OsString> = fs::read_dir(directory)?
        .map(|entry| entry.map(|entry| entry.file_name()))
        .collect::<io::Result<_>>()?;
    match names.iter().all(|name| name == MARK) && is_marked(directory)? {
        true => fs::remove_file(directory.join(MARK)),
        false => Ok(()),
    }
}

/// Returns whether an entry of Palisade's exists at `path`. Anything else there is an error, such
/// as a symbolic link.
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

/// Returns `None` if a directory is Palisade's own or may become so, or else the foreign entries.
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
    // Another Palisade process may have marked it meanwhile.
    Ok((!foreign.is_empty() && !is_marked(directory)?).then_some(foreign))
}

/// Returns whether a directory has the mark.
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

/// Checks that only root and this user control what is at `directory`, which need not exist. It
/// must not be a symbolic link, must belong to one of them, and no other user may write to it. The
/// same holds for each directory above it, except that a directory with the sticky bit may be
/// writable for all. Symbolic links above it are followed if the directories that contain them meet
/// these conditions.
///
/// A user who could write there could replace what is applied at the next boot, or make Palisade
/// change files elsewhere.
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
            // The target may contain links itself, so its components go through the same checks.
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

    // After a trailing `..`, the last directory was checked only as a parent.
    let about = fs::symlink_metadata(&at).map_err(|error| failure("look at", &at, &error))?;
    check_directory(&at, &about, false)
}

/// Appends one component to a path without symbolic links.
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
    // In a sticky directory, users cannot rename or delete the entries of others.
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

/// Returns whether root or this user owns an entry. Above Palisade's directory, an unmapped owner
/// in a user namespace counts as root, because whoever created the namespace chose its files.
fn is_trusted(about: &Metadata, is_above: bool) -> bool {
    [0, geteuid().as_raw()].contains(&about.uid())
        || is_above && about.uid() == UNMAPPED && is_in_user_namespace()
}

fn is_in_user_namespace() -> bool {
    let map = fs::read_to_string("/proc/self/uid_map").unwrap_or_default();
    let words: Vec<&str> = map.split_whitespace().collect();
    !map.is_empty() && words != ["0", "0", "4294967295"]
}

/// Tests whether a file can be created in `directory`, or in its nearest existing ancestor. Leaves
/// no file.
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

/// Flushes the entries of a directory to disk.
pub(super) fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}
