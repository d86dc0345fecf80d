//! Files and folders, whole or not at all.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::process::geteuid;

use crate::bundle::{Owned, clear, named, read_file};
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
        let owned = Owned::of_our_own(path);
        let is_there = fs::symlink_metadata(path).is_ok();
        let flags = if is_there { RenameFlags::EXCHANGE } else { RenameFlags::NOREPLACE };
        renameat_with(CWD, draft.path(), CWD, path, flags)?;
        // what was there and is no part of a bundle is kept beside
        drop(clear(draft, &owned));
        sync(parent)
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

/// Removes a file; one that is not there is gone already.
pub(super) fn remove(path: &Path) -> Result<(), Failure> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.and_then(|()| path.parent().map_or(Ok(()), sync)).map_err(|error| failure("remove", path, &error)),
    }
}

/// Removes a folder as far as it is a bundle; one that is not there is gone already.
pub(super) fn remove_folder(path: &Path) -> Result<(), Failure> {
    match Owned::of_our_own(path).remove_from(path) {
        Ok(left) if left.is_empty() => path.parent().map_or(Ok(()), |parent| match sync(parent) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(|error| failure("remove", path, &error)),
        }),
        Ok(left) => {
            let what = named(&left);
            Err(Failure::Other(format!("cannot remove `{}`: palisade did not write {what}", path.display())))
        }
        // a file, or a link, in its place
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => remove(path),
        Err(error) => Err(failure("remove", path, &error)),
    }
}

/// Whether a directory may be ours to keep files in, or is not there yet: no symbolic link, of this user
/// or of root, and nobody else may write there. Who could, could exchange what is applied at the next
/// boot, or have files elsewhere changed.
pub(super) fn check_directory(directory: &Path) -> Result<(), Failure> {
    // a slash behind a link would lead to what it names
    let path: PathBuf = directory.components().collect();
    let about = match fs::symlink_metadata(&path) {
        Ok(about) => about,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failure("look at", &path, &error)),
    };
    let is_mine = [0, geteuid().as_raw()].contains(&about.uid());
    let problem = match about.mode() & 0o777 {
        _ if about.is_symlink() => "is a symbolic link".to_owned(),
        _ if !about.is_dir() => "is no directory".to_owned(),
        _ if !is_mine => format!("belongs to user {}", about.uid()),
        mode if mode & 0o022 != 0 => format!("has mode {mode:o}, so that others may write there"),
        _ => return Ok(()),
    };
    Err(Failure::Other(format!("`{}` {problem}; nothing is kept in such a directory", path.display())))
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
