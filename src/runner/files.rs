//! Writes files and directories atomically.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::bundle::{BundleFiles, clear, named, read_below, read_file};
use crate::runner::failure::failure;
use crate::runner::own::{self, sync};
use crate::runner::{EntryType, FileTree, RunnerFailure};

/// Reads a kernel file below `/proc`. Returns `None` if it does not exist.
pub(super) fn read_of_kernel(path: &Path) -> Result<Option<Vec<u8>>, RunnerFailure> {
    match read_file(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failure("read", path, &error)),
    }
}

/// Reads a file by its path in one of Palisade's directories. Follows no symbolic link.
pub(super) fn read(directory: &Path, path: &str) -> Result<Option<Vec<u8>>, RunnerFailure> {
    read_below(directory, path).map_err(|problem| RunnerFailure::Other(problem.message))
}

/// Writes a file atomically: to a temporary file in the same directory, then renamed.
pub(super) fn write(directory: &Path, name: &str, content: &[u8]) -> Result<(), RunnerFailure> {
    let path = directory.join(name);
    own::check_entry(&path, EntryType::File)?;
    own::prepare(directory)?;

    let written = tempfile::Builder::new()
        .prefix(".palisade-")
        .tempfile_in(directory)
        .and_then(|mut file| {
            file.write_all(content)?;
            // Data must reach the disk before the rename, and the rename before success is
            // reported.
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|error| error.error)?;
            sync(directory)
        });
    written.map_err(|error| failure("write", &path, &error))
}

/// Writes a directory atomically: to a temporary directory, which then changes places with the
/// existing one.
pub(super) fn write_folder(
    directory: &Path,
    name: &str,
    files: &FileTree,
) -> Result<(), RunnerFailure> {
    let path = directory.join(name);
    let is_there = own::check_entry(&path, EntryType::Folder)?;
    own::prepare(directory)?;

    let written = tempfile::Builder::new()
        .prefix(".palisade-")
        .tempdir_in(directory)
        .and_then(|draft| {
            fs::set_permissions(draft.path(), Permissions::from_mode(0o755))?;
            files
                .iter()
                .try_for_each(|(name, content)| write_below(draft.path(), name, content))?;
            // On disk before the exchange makes it visible.
            sync(draft.path())?;
            let owned = BundleFiles::of_our_own(&path);
            let flags = if is_there {
                RenameFlags::EXCHANGE
            } else {
                RenameFlags::NOREPLACE
            };
            renameat_with(CWD, draft.path(), CWD, &path, flags)?;
            // Entries that appeared meanwhile and belong to no bundle are kept under the temporary
            // name.
            drop(clear(draft, &owned));
            sync(directory)
        });
    written.map_err(|error| failure("write", &path, &error))
}

fn write_below(folder: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let path = folder.join(name);
    let parent = path.parent().unwrap_or(folder);
    make_directory(parent)?;

    let mut file = fs::OpenOptions::new()
        .create_new(true)
        .write(true)
        .open(&path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(content)?;
    file.sync_all()?;

    sync(parent)
}

/// Removes a file. Succeeds if it does not exist.
pub(super) fn remove(directory: &Path, name: &str) -> Result<(), RunnerFailure> {
    let path = directory.join(name);
    if !own::check_entry(&path, EntryType::File)? {
        return Ok(());
    }
    own::check(directory)?;
    let removed = fs::remove_file(&path)
        .and_then(|()| own::release(directory))
        .and_then(|()| sync(directory));
    removed.map_err(|error| failure("remove", &path, &error))
}

/// Removes a directory that contains a bundle. Succeeds if it does not exist.
pub(super) fn remove_folder(directory: &Path, name: &str) -> Result<(), RunnerFailure> {
    let path = directory.join(name);
    if !own::check_entry(&path, EntryType::Folder)? {
        return Ok(());
    }

    own::check(directory)?;
    let left = BundleFiles::of_our_own(&path)
        .remove_from(&path)
        .map_err(|error| failure("remove", &path, &error))?;
    if !left.is_empty() {
        let what = named(&left);
        return Err(RunnerFailure::Other(format!(
            "cannot remove `{}`: palisade did not write {what}",
            path.display()
        )));
    }

    own::release(directory)
        .and_then(|()| sync(directory))
        .map_err(|error| failure("remove", &path, &error))
}

fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(path)
}
