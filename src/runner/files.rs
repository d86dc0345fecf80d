//! Files and folders, whole or not at all.

use std::fs::{self, DirBuilder, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::bundle::{BundleFiles, clear, named, read_below, read_file};
use crate::runner::failure::failure;
use crate::runner::own::{self, sync};
use crate::runner::{EntryType, FileTree, RunnerFailure};

/// Reads a file of the kernel's, below `/proc`.
pub(super) fn read_of_kernel(path: &Path) -> Result<Option<Vec<u8>>, RunnerFailure> {
    match read_file(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failure("read", path, &error)),
    }
}

/// Reads a file by its path in a directory of ours, of which no link is followed.
pub(super) fn read(directory: &Path, path: &str) -> Result<Option<Vec<u8>>, RunnerFailure> {
    read_below(directory, path).map_err(|problem| RunnerFailure::Other(problem.message))
}

/// Writes beside the place and renames.
pub(super) fn write(directory: &Path, name: &str, content: &[u8]) -> Result<(), RunnerFailure> {
    let path = directory.join(name);
    own::check_entry(&path, EntryType::File)?;
    own::prepare(directory)?;

    let written = tempfile::Builder::new()
        .prefix(".palisade-")
        .tempfile_in(directory)
        .and_then(|mut file| {
            file.write_all(content)?;
            file.as_file().sync_all()?;
            file.persist(&path).map_err(|error| error.error)?;
            sync(directory)
        });
    written.map_err(|error| failure("write", &path, &error))
}

/// Writes beside the place and renames, in exchange for what is there.
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
            sync(draft.path())?;
            let owned = BundleFiles::of_our_own(&path);
            let flags = if is_there {
                RenameFlags::EXCHANGE
            } else {
                RenameFlags::NOREPLACE
            };
            renameat_with(CWD, draft.path(), CWD, &path, flags)?;
            // what came meanwhile and is no part of a bundle is kept beside
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

/// Removes a file; one that is not there is gone already.
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

/// Removes a folder that is a bundle; one that is not there is gone already.
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
