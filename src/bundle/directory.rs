//! Reads the directory of a bundle without following symbolic links.
//!
//! The target of a link may change without a change in the bundle, and no bundle contains links.
//! All readers use [`BundleDirectory`], which opens each directory relative to its parent's
//! descriptor. So a link that replaces a directory meanwhile is not followed either. The path to
//! the bundle itself belongs to the user, and may contain links.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, openat, statat};
use rustix::io::Errno;

use crate::bundle::file::read_open;
use crate::bundle::{io_error, path};
use crate::diagnostic::{Code, Diagnostic};

/// The directory of a bundle.
#[derive(Debug)]
pub(super) struct BundleDirectory {
    place: PathBuf,
    /// `None` if there is no such directory.
    root: Option<OwnedFd>,
}

/// What is at a path where a file is expected.
#[derive(Debug)]
pub(super) enum FileContent {
    /// A file with these bytes.
    File(Vec<u8>),
    /// Nothing.
    Missing,
    /// Another type of entry, with its description, such as `a directory`.
    Other(&'static str),
}

/// Reads a file by its path below a directory, without following symbolic links. Returns `None` if
/// it does not exist.
///
/// # Errors
/// If the entry is not a file, for example a symbolic link, or cannot be read.
pub fn read_below(directory: &Path, path: &str) -> Result<Option<Vec<u8>>, Diagnostic> {
    match BundleDirectory::open(directory)?.read(path)? {
        FileContent::File(bytes) => Ok(Some(bytes)),
        FileContent::Missing => Ok(None),
        FileContent::Other(what) => {
            let message = format!(
                "cannot read `{}`: it is {what}, and no file",
                directory.join(path).display()
            );
            Err(Diagnostic::new(Code::Unreadable, message))
        }
    }
}

impl BundleDirectory {
    /// Opens the directory of a bundle, which need not exist.
    ///
    /// # Errors
    /// If it cannot be opened.
    pub(super) fn open(place: &Path) -> Result<Self, Diagnostic> {
        match openat(CWD, place, OPENED, Mode::empty()) {
            Ok(root) => Ok(Self {
                place: place.to_owned(),
                root: Some(root),
            }),
            Err(Errno::NOENT) => Ok(Self {
                place: place.to_owned(),
                root: None,
            }),
            Err(Errno::NOTDIR) => {
                let message = format!("`{}` is no bundle: it is no directory", place.display());
                Err(Diagnostic::new(Code::NotABundle, message)
                    .help("name a directory that `palisade render` wrote"))
            }
            Err(error) => Err(io_error(Code::Unreadable, "read", place, &error.into())),
        }
    }

    /// Returns all entries with their types, by path in the bundle. Does not descend into
    /// directories that no bundle has.
    ///
    /// # Errors
    /// If an entry is a symbolic link, or a directory cannot be read.
    pub(super) fn entries(&self) -> Result<BTreeMap<PathBuf, FileType>, Diagnostic> {
        let mut entries = BTreeMap::new();
        if let Some(root) = &self.root {
            self.walk(root, Path::new(""), &mut entries)?;
        }
        Ok(entries)
    }

    fn walk(
        &self,
        directory: &OwnedFd,
        at: &Path,
        entries: &mut BTreeMap<PathBuf, FileType>,
    ) -> Result<(), Diagnostic> {
        let unreadable = |error: Errno| {
            io_error(
                Code::Unreadable,
                "read",
                &self.place.join(at),
                &error.into(),
            )
        };

        for entry in Dir::read_from(directory).map_err(unreadable)? {
            let entry = entry.map_err(unreadable)?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes());
            if name == "." || name == ".." {
                continue;
            }
            let path = at.join(name);
            let Some(kind) = self.kind(directory, name, &path)? else {
                continue;
            };
            if kind == FileType::Directory && path.to_str().is_some_and(path::is_folder) {
                let below = openat(directory, name, OPENED | OFlags::NOFOLLOW, Mode::empty())
                    .map_err(unreadable)?;
                self.walk(&below, &path, entries)?;
            }
            entries.insert(path, kind);
        }

        Ok(())
    }

    /// Reads a file by its path in the bundle.
    ///
    /// # Errors
    /// If a component of the path is a symbolic link, or the file cannot be read.
    pub(super) fn read(&self, path: &str) -> Result<FileContent, Diagnostic> {
        let Some(root) = &self.root else {
            return Ok(FileContent::Missing);
        };
        let unreadable =
            |error: io::Error| io_error(Code::Unreadable, "read", &self.place.join(path), &error);
        let (folders, name) = path
            .rsplit_once('/')
            .map_or((None, path), |(folders, name)| (Some(folders), name));
        let mut at = PathBuf::new();
        let mut directory = root.as_fd();
        let mut opened: OwnedFd;
        for folder in folders.iter().flat_map(|folders| folders.split('/')) {
            at.push(folder);
            if self.kind(directory, OsStr::new(folder), &at)? != Some(FileType::Directory) {
                return Ok(FileContent::Missing);
            }
            let below = openat(directory, folder, OPENED | OFlags::NOFOLLOW, Mode::empty());
            opened = below.map_err(|error| unreadable(error.into()))?;
            directory = opened.as_fd();
        }

        match self.kind(directory, OsStr::new(name), Path::new(path))? {
            None => return Ok(FileContent::Missing),
            Some(FileType::RegularFile) => {}
            Some(kind) => return Ok(FileContent::Other(type_name(kind))),
        }
        // NONBLOCK: a named pipe in the file's place must not block the open.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file = openat(directory, name, flags, Mode::empty())
            .map_err(|error| unreadable(error.into()))?;
        read_open(File::from(file))
            .map(FileContent::File)
            .map_err(unreadable)
    }

    /// Returns the type of a directory entry, or `None` if it does not exist. A symbolic link is an
    /// error.
    fn kind(
        &self,
        directory: impl AsFd,
        name: &OsStr,
        path: &Path,
    ) -> Result<Option<FileType>, Diagnostic> {
        match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
            .map(|about| FileType::from_raw_mode(about.st_mode))
        {
            Ok(FileType::Symlink) => Err(self.link(path)),
            Ok(kind) => Ok(Some(kind)),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(io_error(
                Code::Unreadable,
                "read",
                &self.place.join(path),
                &error.into(),
            )),
        }
    }

    /// Error: a bundle contains a symbolic link.
    fn link(&self, path: &Path) -> Diagnostic {
        let message = format!(
            "`{}` is a symbolic link, which is not followed",
            self.place.join(path).display()
        );
        Diagnostic::new(Code::BundleDamaged, message).help(
            "copy the bundle again, with files in place of links (`cp --recursive --dereference`)",
        )
    }
}

/// Flags for opening directories.
const OPENED: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

/// Describes the type of an entry.
fn type_name(kind: FileType) -> &'static str {
    match kind {
        FileType::Directory => "a directory",
        FileType::Fifo => "a named pipe",
        FileType::Socket => "a socket",
        FileType::RegularFile => "a file",
        FileType::Symlink => "a symbolic link",
        FileType::CharacterDevice | FileType::BlockDevice | FileType::Unknown => "a device",
    }
}
