//! What belongs to a bundle in a directory, and what does not.
//!
//! A directory is replaced or removed only as far as its entries are those of a bundle: nothing else is
//! ever deleted. No symbolic link is followed, neither in the place of the directory nor below it: each
//! directory is opened by the one that holds it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, statat, unlinkat};
use rustix::io::Errno;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::bundle::{INDEX_FILE, read_file};

/// Directories in a bundle that are looked into at most; no version has more levels.
const MOST_LEVELS: usize = 8;

/// The paths in a directory that are a bundle's.
#[derive(Debug, Default)]
pub struct Owned {
    files: BTreeSet<PathBuf>,
    /// All directories on the way to them.
    directories: BTreeSet<PathBuf>,
    /// Whether a file with the name of a script is a bundle's, listed or not.
    by_name: bool,
}

/// An index of any format, as far as it says which files there are.
#[derive(Deserialize)]
struct AnyIndex<'text> {
    #[serde(borrow)]
    files: std::collections::BTreeMap<String, &'text RawValue>,
}

impl Owned {
    /// The files that the index in a directory lists, and the index. Without an index, nothing.
    ///
    /// # Errors
    /// When the index cannot be read.
    pub fn listed(directory: &Path) -> io::Result<Self> {
        let path = directory.join(INDEX_FILE);
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error),
            // it counts as foreign
            Ok(found) if !found.is_file() => return Ok(Self::default()),
            Ok(_) => {}
        }
        let text = read_file(&path)?;
        let index: AnyIndex<'_> = serde_json::from_slice(&text).map_err(io::Error::other)?;

        let mut owned = Self::default();
        owned.add(Path::new(INDEX_FILE));
        index.files.keys().for_each(|path| owned.add(Path::new(path)));
        Ok(owned)
    }

    /// The same of a directory that palisade alone keeps: files with the names of scripts are a bundle's
    /// too, also where the index is damaged.
    pub fn of_our_own(directory: &Path) -> Self {
        let mut owned = Self::listed(directory).unwrap_or_default();
        owned.add(Path::new(INDEX_FILE));
        Self { by_name: true, ..owned }
    }

    fn add(&mut self, path: &Path) {
        let is_below = path.components().all(|part| matches!(part, Component::Normal(_)));
        if is_below && path.components().count() <= MOST_LEVELS {
            self.files.insert(path.to_owned());
            let parents = path.ancestors().skip(1).filter(|parent| !parent.as_os_str().is_empty());
            self.directories.extend(parents.map(Path::to_owned));
        }
    }

    fn has(&self, path: &Path, kind: FileType) -> bool {
        let is_file = self.files.contains(path) || self.by_name && is_script(path);
        let is_directory = self.directories.contains(path) || self.by_name && is_folder(path);
        kind == FileType::RegularFile && is_file || kind == FileType::Directory && is_directory
    }

    /// Entries of a directory that are no part of a bundle; directories that are none are not looked
    /// into. Where there is no such directory, there are none.
    ///
    /// # Errors
    /// When the directory, or one below it, cannot be read, or is a symbolic link
    /// ([`io::ErrorKind::NotADirectory`]).
    pub fn foreign_in(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        let mut foreign = Vec::new();
        match open(CWD, directory) {
            Ok(root) => self.walk(&root, Path::new(""), false, &mut foreign)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        foreign.sort_unstable();
        Ok(foreign)
    }

    /// Removes a directory as far as it is a bundle's; what is left, by its path in it. The directory
    /// itself is removed where nothing is left.
    ///
    /// # Errors
    /// When something of the bundle cannot be removed.
    pub fn remove_from(&self, directory: &Path) -> io::Result<Vec<PathBuf>> {
        let mut foreign = Vec::new();
        match open(CWD, directory) {
            Ok(root) => self.walk(&root, Path::new(""), true, &mut foreign)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        }
        foreign.sort_unstable();
        match foreign.is_empty().then(|| unlinkat(CWD, directory, AtFlags::REMOVEDIR)) {
            None | Some(Ok(())) => Ok(foreign),
            // something came meanwhile
            Some(Err(Errno::NOTEMPTY)) => Ok(vec![PathBuf::from(".")]),
            Some(Err(error)) => Err(error.into()),
        }
    }

    /// Goes through a directory and those below it that are a bundle's; removes what is one's, if that is
    /// asked for.
    fn walk(&self, directory: &OwnedFd, at: &Path, removes: bool, foreign: &mut Vec<PathBuf>) -> io::Result<()> {
        for entry in Dir::read_from(directory)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let path = at.join(name);
            let about = statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
            let kind = FileType::from_raw_mode(about.st_mode);
            if !self.has(&path, kind) {
                foreign.push(path);
            } else if kind == FileType::Directory {
                let below = open(directory, Path::new(name))?;
                self.walk(&below, &path, removes, foreign)?;
                remove(directory, name, AtFlags::REMOVEDIR, removes)?;
            } else {
                remove(directory, name, AtFlags::empty(), removes)?;
            }
        }
        Ok(())
    }
}

/// Removes an entry, if that is asked for; a directory only where it is empty.
fn remove(directory: &OwnedFd, name: &OsStr, flags: AtFlags, removes: bool) -> io::Result<()> {
    match removes.then(|| unlinkat(directory, name, flags)) {
        None | Some(Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY)) => Ok(()),
        Some(Err(error)) => Err(error.into()),
    }
}

/// Opens a directory that is no symbolic link.
fn open(directory: impl AsFd, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(directory, path, flags, Mode::empty()).map_err(|error| match error {
        Errno::LOOP => io::ErrorKind::NotADirectory.into(),
        error => error.into(),
    })
}

/// Whether a path is that of a node's script: `nodes/n1/filter.v4.rules`.
fn is_script(path: &Path) -> bool {
    let is_name = path.extension().is_some_and(|extension| extension == "rules" || extension == "ipset");
    path.components().count() == 3 && path.starts_with("nodes") && is_name
}

/// Whether a path is that of a directory in every bundle: `nodes`, `nodes/n1`.
fn is_folder(path: &Path) -> bool {
    path.components().count() <= 2 && path.starts_with("nodes")
}
