//! What belongs to a bundle in a directory, and what does not.
//!
//! A directory is replaced or removed only as far as its entries are those of a bundle: nothing
//! else is ever deleted. The index chooses among the paths that palisade writes ([`BundlePath`])
//! and adds none, since it may come from others. No symbolic link is followed, neither in the place
//! of the directory nor below it: each directory is opened by the one that holds it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, statat, unlinkat};
use rustix::io::Errno;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::bundle::path::{self, BundlePath};
use crate::bundle::{FORMAT_VERSION, INDEX_FILE, read_file};

/// The paths in a directory that are a bundle's.
#[derive(Debug, Default)]
pub struct BundleFiles {
    files: BTreeSet<PathBuf>,
    /// All directories on the way to them.
    directories: BTreeSet<PathBuf>,
    /// Whether a file with the name of a script is a bundle's, listed or not.
    by_name: bool,
}

/// An index, as far as it says which files there are.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FileList<'text> {
    format_version: u32,
    #[serde(borrow)]
    files: std::collections::BTreeMap<String, &'text RawValue>,
}

impl BundleFiles {
    /// Returns the index and the files that it lists. Without an index, returns nothing.
    ///
    /// # Errors
    /// If the index cannot be read, has another format, or lists a path that no bundle has.
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
        let index: FileList<'_> = serde_json::from_slice(&text).map_err(io::Error::other)?;
        if index.format_version != FORMAT_VERSION {
            let format = index.format_version;
            let problem =
                format!("it has format {format}, and this version writes {FORMAT_VERSION}");
            return Err(io::Error::other(problem));
        }

        let mut owned = Self::default();
        owned.files.insert(INDEX_FILE.into());
        for path in index.files.keys() {
            let problem = || io::Error::other(format!("it lists `{path}`, which no bundle has"));
            owned.add(&BundlePath::parse(path).ok_or_else(problem)?);
        }
        Ok(owned)
    }

    /// The same of a directory that palisade alone keeps: files with the names of scripts are a
    /// bundle's too, also where the index is damaged.
    pub fn of_our_own(directory: &Path) -> Self {
        let mut owned = Self::listed(directory).unwrap_or_default();
        owned.files.insert(INDEX_FILE.into());
        Self {
            by_name: true,
            ..owned
        }
    }

    fn add(&mut self, path: &BundlePath<'_>) {
        let folder = path.node_folder();
        self.files.insert(folder.join(path.script));
        self.directories
            .extend([PathBuf::from(path::NODES), folder]);
    }

    fn has(&self, path: &Path, kind: FileType) -> bool {
        let is_file = self.files.contains(path) || self.by_name && is_script(path);
        let is_directory = self.directories.contains(path) || self.by_name && is_folder(path);
        kind == FileType::RegularFile && is_file || kind == FileType::Directory && is_directory
    }

    /// Entries of a directory that are no part of a bundle; directories that are none are not
    /// looked into. Where there is no such directory, there are none.
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

    /// Removes a directory as far as it is a bundle's; what is left, by its path in it. The
    /// directory itself is removed where nothing is left.
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
        match foreign
            .is_empty()
            .then(|| unlinkat(CWD, directory, AtFlags::REMOVEDIR))
        {
            None | Some(Ok(())) => Ok(foreign),
            // something came meanwhile
            Some(Err(Errno::NOTEMPTY)) => Ok(vec![PathBuf::from(".")]),
            Some(Err(error)) => Err(error.into()),
        }
    }

    /// Goes through a directory and those below it that are a bundle's; removes what is one's, if
    /// that is asked for.
    fn walk(
        &self,
        directory: &OwnedFd,
        at: &Path,
        removes: bool,
        foreign: &mut Vec<PathBuf>,
    ) -> io::Result<()> {
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

/// Whether a bundle may have a file at this path: `nodes/n1/filter.v4.rules`.
fn is_script(path: &Path) -> bool {
    path.to_str()
        .is_some_and(|path| BundlePath::parse(path).is_some())
}

/// Whether a bundle may have a directory at this path: `nodes`, `nodes/n1`.
fn is_folder(path: &Path) -> bool {
    path.to_str().is_some_and(path::is_folder)
}
