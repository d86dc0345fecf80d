//! Separates the entries of a directory that belong to a bundle from others.
//!
//! Palisade replaces or removes only the entries of a bundle, and never deletes anything else. The
//! index selects among the paths that Palisade writes ([`BundlePath`]) but cannot add any, because
//! it may come from others. No symbolic link is followed, neither at the directory nor below it:
//! each directory is opened relative to its parent's descriptor.

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

/// The paths in a directory that belong to a bundle.
#[derive(Debug, Default)]
pub struct BundleFiles {
    files: BTreeSet<PathBuf>,
    /// All their parent directories.
    directories: BTreeSet<PathBuf>,
    /// Whether every file with a script's name belongs to the bundle, listed or not.
    by_name: bool,
}

/// The list of files in an index.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FileList<'text> {
    format_version: u32,
    #[serde(borrow)]
    files: std::collections::BTreeMap<String, &'text RawValue>,
}

impl BundleFiles {
    /// Returns the index and the files that it lists. Empty if there is no index.
    ///
    /// # Errors
    /// If the index cannot be read, has another format, or lists a path that no bundle has.
    pub fn listed(directory: &Path) -> io::Result<Self> {
        let path = directory.join(INDEX_FILE);
        match fs::symlink_metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Self::default()),
            Err(error) => return Err(error),
            // An index that is not a file counts as foreign.
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

    /// Like [`listed`](Self::listed), for a directory that only Palisade uses. All files with
    /// scripts' names belong to the bundle, even if the index is damaged.
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

    /// Returns the entries of a directory that belong to no bundle, without descending into foreign
    /// directories. Empty if the directory does not exist.
    ///
    /// # Errors
    /// If the directory or one below it cannot be read, or is a symbolic link
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

    /// Removes the bundle's entries from a directory, and the directory itself if nothing is left.
    /// Returns the paths that are left.
    ///
    /// # Errors
    /// If an entry of the bundle cannot be removed.
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
            // Another process has created an entry meanwhile.
            Some(Err(Errno::NOTEMPTY)) => Ok(vec![PathBuf::from(".")]),
            Some(Err(error)) => Err(error.into()),
        }
    }

    /// Visits a directory and the bundle's directories below it. Collects foreign entries in
    /// `foreign`. Removes the bundle's entries if `removes`.
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

/// Removes an entry if `removes`. Keeps a directory that is not empty.
fn remove(directory: &OwnedFd, name: &OsStr, flags: AtFlags, removes: bool) -> io::Result<()> {
    match removes.then(|| unlinkat(directory, name, flags)) {
        None | Some(Ok(()) | Err(Errno::NOENT | Errno::NOTEMPTY)) => Ok(()),
        Some(Err(error)) => Err(error.into()),
    }
}

/// Opens a directory, which must not be a symbolic link.
fn open(directory: impl AsFd, path: &Path) -> io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    openat(directory, path, flags, Mode::empty()).map_err(|error| match error {
        Errno::LOOP => io::ErrorKind::NotADirectory.into(),
        error => error.into(),
    })
}

/// Returns whether a bundle may have a file at this path: `nodes/n1/filter.v4.rules`.
fn is_script(path: &Path) -> bool {
    path.to_str()
        .is_some_and(|path| BundlePath::parse(path).is_some())
}

/// Returns whether a bundle may have a directory at this path: `nodes`, `nodes/n1`.
fn is_folder(path: &Path) -> bool {
    path.to_str().is_some_and(path::is_folder)
}
