//! Files and folders, whole or not at all.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};

use crate::bundle::read_file;
use crate::runner::{Failure, Folder};

pub(super) fn read(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    match read_file(path) {
        Ok(content) => Ok(Some(content)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failure("read", path, &error)),
    }
}

/// Writes beside the place and renames.
pub(super) fn write(path: &Path, content: &[u8]) -> Result<(), Failure> {
    let parent = make_parent(path)?;
    let written = tempfile::Builder::new().prefix(".palisade-").tempfile_in(parent).and_then(|mut file| {
        file.write_all(content)?;
        file.as_file().sync_all()?;
        file.persist(path).map_err(|error| error.error)?;
        sync(parent)
    });
    written.map_err(|error| failure("write", path, &error))
}

/// Writes beside the place and renames, in exchange for what is there.
pub(super) fn write_folder(path: &Path, files: &Folder) -> Result<(), Failure> {
    let parent = make_parent(path)?;
    let written = tempfile::Builder::new().prefix(".palisade-").tempdir_in(parent).and_then(|draft| {
        fs::set_permissions(draft.path(), Permissions::from_mode(0o755))?;
        files.iter().try_for_each(|(name, content)| write_below(draft.path(), name, content))?;
        sync(draft.path())?;
        let flags = if path.exists() { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
        renameat_with(CWD, draft.path(), CWD, path, flags)?;
        sync(parent)
        // what stands at the draft's path now goes with it
    });
    written.map_err(|error| failure("write", path, &error))
}

fn write_below(folder: &Path, name: &str, content: &[u8]) -> io::Result<()> {
    let path = folder.join(name);
    let parent = path.parent().unwrap_or(folder);
    make_directory(parent)?;
    let mut file = fs::OpenOptions::new().create_new(true).write(true).open(&path)?;
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(content)?;
    file.sync_all()?;
    sync(parent)
}

/// Removes a file or a folder; one that is not there is gone already.
pub(super) fn remove(path: &Path) -> Result<(), Failure> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.and_then(|()| path.parent().map_or(Ok(()), sync)).map_err(|error| failure("remove", path, &error)),
    }
}

/// Makes the directory that a file is to stand in; gives it.
pub(super) fn make_parent(path: &Path) -> Result<&Path, Failure> {
    let parent = path.parent().unwrap_or(path);
    make_directory(parent).map_err(|error| failure("make", parent, &error))?;
    Ok(parent)
}

fn make_directory(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o755).create(path)
}

fn sync(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

pub(super) fn failure(doing: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::Other(format!("cannot {doing} `{}`: {error}", path.display()))
}
