//! Writes a bundle to a temporary directory next to its destination, then moves it there with one
//! rename.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with, syncfs};
use tempfile::TempDir;

use crate::bundle::{
    BundleFiles, BundleIndex, FileEntry, INDEX_FILE, NodePart, Provenance, io_error,
};
use crate::diagnostic::{Code, Diagnostic};

/// A bundle that is being written. If dropped before [`BundleWriter::finish`], it removes its
/// files.
#[derive(Debug)]
pub struct BundleWriter {
    place: PathBuf,
    owner: DirectoryOwner,
    directory: TempDir,
    // Dropped after `directory`, which may be inside one of them.
    _parents: CreatedParents,
    index: BundleIndex,
}

/// Parent directories that were created for the destination, innermost first. Dropping removes
/// those that are empty.
#[derive(Debug)]
struct CreatedParents(Vec<PathBuf>);

impl CreatedParents {
    fn make(directory: &Path) -> io::Result<Self> {
        let missing = directory
            .ancestors()
            .take_while(|path| !path.as_os_str().is_empty() && !path.exists());
        let parents = Self(missing.map(Path::to_owned).collect());
        fs::create_dir_all(directory).map(|()| parents)
    }
}

impl Drop for CreatedParents {
    fn drop(&mut self) {
        for directory in &self.0 {
            // A directory that contains the bundle is not empty, so it stays.
            let _ = fs::remove_dir(directory);
        }
    }
}

/// Foreign entries that appeared in a replaced bundle while it was being replaced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftoverEntries {
    /// The directory that contains them now.
    pub place: PathBuf,
    /// Their paths in it.
    pub entries: Vec<PathBuf>,
}

/// The owner of the directory that a bundle replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DirectoryOwner {
    /// The user. Only the files that its index lists belong to the bundle.
    User,
    /// Palisade.
    Palisade,
}

impl DirectoryOwner {
    /// Returns what may be removed from the directory.
    fn owned(self, place: &Path) -> io::Result<BundleFiles> {
        match self {
            DirectoryOwner::User => BundleFiles::listed(place),
            DirectoryOwner::Palisade => Ok(BundleFiles::of_our_own(place)),
        }
    }
}

impl BundleWriter {
    /// Starts a bundle for `place`. There must be nothing now, or an empty directory, or a
    /// directory with only a bundle: its index and the files that the index lists. `provenance` is
    /// the source of the new bundle.
    ///
    /// # Errors
    /// If anything else is there, such as a symbolic link, or if the parent directory cannot be
    /// written.
    pub fn new(place: &Path, provenance: Provenance) -> Result<Self, Diagnostic> {
        Self::with_owner(place, provenance, DirectoryOwner::User)
    }

    /// Like [`BundleWriter::new`], for a directory that only Palisade uses. The existing bundle may
    /// have a damaged index.
    ///
    /// # Errors
    /// As for [`BundleWriter::new`].
    pub fn of_our_own(place: &Path, provenance: Provenance) -> Result<Self, Diagnostic> {
        Self::with_owner(place, provenance, DirectoryOwner::Palisade)
    }

    fn with_owner(
        place: &Path,
        provenance: Provenance,
        owner: DirectoryOwner,
    ) -> Result<Self, Diagnostic> {
        let place = without_link(place);
        check_place(&place, owner)?;
        let parent = match place.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        };
        let parents = CreatedParents::make(parent).map_err(|error| unwritable(parent, &error))?;

        let directory = tempfile::Builder::new()
            .prefix(".palisade-")
            .tempdir_in(parent)
            .map_err(|error| unwritable(parent, &error))?;
        give(directory.path(), &place).map_err(|error| unwritable(directory.path(), &error))?;
        Ok(Self {
            place,
            owner,
            directory,
            _parents: parents,
            index: BundleIndex::new(provenance),
        })
    }

    /// Writes one node's scripts.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn add(&mut self, part: &NodePart) -> Result<(), Diagnostic> {
        for (path, text, counts) in part.files() {
            self.write(&path, text)?;
            self.index
                .files
                .insert(path, FileEntry::for_text(text, counts));
        }

        self.index
            .extensions
            .extend(part.extensions.iter().cloned());
        self.index.nodes.push(part.node.clone());
        Ok(())
    }

    /// Writes the index, and moves the bundle to its destination in one atomic step. Removes the
    /// files of the replaced bundle. Keeps foreign entries that appeared in it meanwhile, and
    /// returns them.
    ///
    /// # Errors
    /// If a step fails, or if a foreign entry appeared before the move. The old bundle stays then.
    pub fn finish(mut self) -> Result<Option<LeftoverEntries>, Diagnostic> {
        self.index.nodes.sort_unstable();
        self.write(INDEX_FILE, &self.index.to_json())?;
        // On disk before the rename, so that a crash leaves the old or the new bundle.
        sync(self.directory.path()).map_err(|error| unwritable(&self.place, &error))?;

        // Checked again, because entries may have appeared since `new`.
        let owned = check_place(&self.place, self.owner)?;
        let draft = self.directory.path();
        let is_there = fs::symlink_metadata(&self.place).is_ok();
        // EXCHANGE and NOREPLACE fail if the destination has appeared or disappeared since the
        // check.
        let flags = if is_there {
            RenameFlags::EXCHANGE
        } else {
            RenameFlags::NOREPLACE
        };
        renameat_with(CWD, draft, CWD, &self.place, flags)
            .map_err(|error| unwritable(&self.place, &error.into()))?;
        // After the exchange, the temporary path contains the replaced directory.
        Ok(clear(self.directory, &owned))
    }

    fn write(&self, path: &str, text: &str) -> Result<(), Diagnostic> {
        let target = self.directory.path().join(path);
        let written = target
            .parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::write(&target, text));
        written.map_err(|error| unwritable(&self.place.join(path), &error))
    }
}

/// Flushes the whole file system, which is faster than flushing file by file.
fn sync(directory: &Path) -> io::Result<()> {
    Ok(syncfs(File::open(directory)?)?)
}

/// Gives a temporary directory the mode and, if permitted, the owner of the directory that it
/// replaces. The mode is 0755 if it replaces nothing.
fn give(draft: &Path, place: &Path) -> io::Result<()> {
    let mode = match fs::symlink_metadata(place) {
        Ok(found) if found.is_dir() => {
            // Only root may change the owner. For other users, the new directory belongs to this
            // user.
            let _ = chown(draft, Some(found.uid()), Some(found.gid()));
            found.permissions().mode() & 0o7777
        }
        Ok(_) | Err(_) => 0o755,
    };
    fs::set_permissions(draft, Permissions::from_mode(mode))
}

/// Removes a replaced bundle, which is at the path of the temporary directory. Returns the entries
/// that are left.
pub fn clear(draft: TempDir, owned: &BundleFiles) -> Option<LeftoverEntries> {
    let place = draft.keep();
    let entries = match owned.remove_from(&place) {
        Ok(entries) if entries.is_empty() => return None,
        Ok(entries) => entries,
        // For example, a symbolic link replaced the directory at the last moment.
        Err(_) => Vec::new(),
    };
    Some(LeftoverEntries { place, entries })
}

/// Returns the path without a trailing slash, which would follow a symbolic link at its end.
fn without_link(place: &Path) -> PathBuf {
    match (place.parent(), place.file_name()) {
        (Some(parent), Some(name)) => parent.join(name),
        // `.` and `..` are not symbolic links.
        _ => fs::canonicalize(place).unwrap_or_else(|_| place.to_owned()),
    }
}

/// How many entries a message lists by name.
const NAMED: usize = 5;

/// Checks that the destination is a bundle, an empty directory, or absent. Returns what may be
/// removed from it.
fn check_place(place: &Path, owner: DirectoryOwner) -> Result<BundleFiles, Diagnostic> {
    let refused = |problem: String| {
        let message = format!("`{}` {problem}", place.display());
        Diagnostic::new(Code::NotABundle, message)
    };
    match fs::symlink_metadata(place) {
        Ok(found) if found.is_symlink() => {
            let help = "name the directory itself with --out; nothing was changed";
            return Err(refused("is a symbolic link".to_owned()).help(help));
        }
        Ok(found) if !found.is_dir() => {
            return Err(refused("is a file, and a bundle is a directory".to_owned())
                .help("name another directory with --out"));
        }
        Ok(_) | Err(_) => {}
    }
    let owned = owner.owned(place).map_err(|error| {
        let help = "name an empty or a new directory with --out; nothing was changed";
        refused(format!(
            "has a `{INDEX_FILE}` that does not say which files are a bundle's: {error}"
        ))
        .help(help)
    })?;

    let foreign = match owned.foreign_in(place) {
        Ok(foreign) => foreign,
        // A parent that is not a directory is reported when the parents are created.
        Err(error) if error.kind() == io::ErrorKind::NotADirectory => return Ok(owned),
        Err(error) => return Err(unwritable(place, &error)),
    };
    match foreign.is_empty() {
        true => Ok(owned),
        false => {
            let help = "name an empty or a new directory with --out, or move that away; nothing \
                        was changed";
            Err(refused(format!(
                "holds what is no part of a bundle: {}",
                named(&foreign)
            ))
            .help(help))
        }
    }
}

/// Formats `.git`, `README.md` and 3 more.
pub fn named(entries: &[PathBuf]) -> String {
    let shown: Vec<String> = entries
        .iter()
        .take(NAMED)
        .map(|path| format!("`{}`", path.display()))
        .collect();
    let more = match entries.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!("{}{more}", shown.join(", "))
}

impl LeftoverEntries {
    /// Returns the warning that the entries were kept, and where.
    pub fn diagnostic(&self) -> Diagnostic {
        let what = if self.entries.is_empty() {
            "it".to_owned()
        } else {
            named(&self.entries)
        };

        let message = format!(
            "what came into the bundle's directory while it was replaced was kept in `{}`: {what}",
            self.place.display()
        );
        Diagnostic::new(Code::EntriesKept, message)
            .help("move it to where it belongs, and remove that directory")
    }
}

fn unwritable(path: &Path, error: &io::Error) -> Diagnostic {
    io_error(Code::Unwritable, "write", path, error)
        .help("nothing was changed; what was there before is there still")
}
