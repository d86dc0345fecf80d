//! Writing: into a directory beside the place, then there by one rename.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with, syncfs};
use tempfile::TempDir;

use crate::bundle::{FileEntry, INDEX_FILE, Index, NodePart, Provenance, io_error};
use crate::diagnostic::{Code, Diagnostic};

/// A bundle that is being written. Dropped before [`Writer::finish`], it leaves nothing behind.
#[derive(Debug)]
pub struct Writer {
    place: PathBuf,
    directory: TempDir,
    // dropped behind `directory`, which stands in one of them
    _parents: Parents,
    index: Index,
}

/// Directories that were made on the way to the place, innermost first. When dropped, those that are empty go again.
#[derive(Debug)]
struct Parents(Vec<PathBuf>);

impl Parents {
    fn make(directory: &Path) -> io::Result<Self> {
        let missing = directory.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists());
        let parents = Self(missing.map(Path::to_owned).collect());
        fs::create_dir_all(directory).map(|()| parents)
    }
}

impl Drop for Parents {
    fn drop(&mut self) {
        for directory in &self.0 {
            // one that holds the bundle is not empty and stays
            let _ = fs::remove_dir(directory);
        }
    }
}

impl Writer {
    /// Starts a bundle that is to stand at `place`, where nothing, an empty directory or a bundle may be now. `provenance` says
    /// what it is made of.
    ///
    /// # Errors
    /// When something else stands there, or nothing can be written beside it.
    pub fn new(place: &Path, provenance: Provenance) -> Result<Self, Diagnostic> {
        let place = fs::canonicalize(place).unwrap_or_else(|_| place.to_owned());
        check_place(&place)?;
        let parent = match place.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let parents = Parents::make(parent).map_err(|error| unwritable(parent, &error))?;
        let directory = tempfile::Builder::new().prefix(".palisade-").tempdir_in(parent).map_err(|error| unwritable(parent, &error))?;
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755)).map_err(|error| unwritable(directory.path(), &error))?;
        Ok(Self { place, directory, _parents: parents, index: Index::new(provenance) })
    }

    /// Writes one node's scripts.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn add(&mut self, part: &NodePart) -> Result<(), Diagnostic> {
        for (path, text, counts) in part.files() {
            self.write(&path, text)?;
            self.index.files.insert(path, FileEntry::of(text, counts));
        }
        self.index.nodes.push(part.node.clone());
        Ok(())
    }

    /// Writes the index and puts the bundle into its place, in one step that replaces a bundle that is there.
    ///
    /// # Errors
    /// When that fails; what was there is there still.
    pub fn finish(mut self) -> Result<(), Diagnostic> {
        self.index.nodes.sort_unstable();
        self.write(INDEX_FILE, &self.index.to_json())?;
        let draft = self.directory.path();
        sync(draft).map_err(|error| unwritable(&self.place, &error))?;
        let moved = match self.place.exists() {
            true => renameat_with(CWD, draft, CWD, &self.place, RenameFlags::EXCHANGE),
            false => renameat_with(CWD, draft, CWD, &self.place, RenameFlags::NOREPLACE),
        };
        moved.map_err(|error| unwritable(&self.place, &error.into()))
        // what stands at the draft's path now, the old bundle or nothing, goes when `directory` is dropped
    }

    fn write(&self, path: &str, text: &str) -> Result<(), Diagnostic> {
        let target = self.directory.path().join(path);
        let written = target.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&target, text));
        written.map_err(|error| unwritable(&self.place.join(path), &error))
    }
}

/// Puts everything on the disk's file system on the disk, once rather than file by file.
fn sync(directory: &Path) -> io::Result<()> {
    Ok(syncfs(File::open(directory)?)?)
}

/// Only a bundle, an empty directory or nothing may be replaced.
fn check_place(place: &Path) -> Result<(), Diagnostic> {
    let entries = match fs::read_dir(place) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => {
            let message = format!("`{}` is a file, and a bundle is a directory", place.display());
            return Err(Diagnostic::new(Code::NotABundle, message).help("name another directory with --out"));
        }
        Err(error) => return Err(unwritable(place, &error)),
    };
    let is_empty = entries.count() == 0;
    if !is_empty && !place.join(INDEX_FILE).is_file() {
        let message = format!("`{}` holds something else than a bundle, which would be lost", place.display());
        return Err(Diagnostic::new(Code::NotABundle, message).help("name an empty or a new directory with --out"));
    }
    Ok(())
}

fn unwritable(path: &Path, error: &io::Error) -> Diagnostic {
    io_error(Code::Unwritable, "write", path, error).help("nothing was changed; what was there before is there still")
}
