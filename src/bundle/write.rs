//! Writing: into a directory beside the place, then there by one rename.

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

/// A bundle that is being written. Dropped before [`BundleWriter::finish`], it leaves nothing
/// behind.
#[derive(Debug)]
pub struct BundleWriter {
    place: PathBuf,
    owner: DirectoryOwner,
    directory: TempDir,
    // dropped behind `directory`, which stands in one of them
    _parents: CreatedParents,
    index: BundleIndex,
}

/// Directories that were made on the way to the place, innermost first. When dropped, those that
/// are empty go again.
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
            // one that holds the bundle is not empty and stays
            let _ = fs::remove_dir(directory);
        }
    }
}

/// What a bundle that was replaced has left: entries that are no part of it, which came meanwhile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftoverEntries {
    /// Where they are now.
    pub place: PathBuf,
    /// Their paths there.
    pub entries: Vec<PathBuf>,
}

/// Whose the directory is that a bundle replaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DirectoryOwner {
    /// The user's: only what its index lists is a bundle's.
    User,
    /// Palisade's own.
    Palisade,
}

impl DirectoryOwner {
    /// What may be removed from the directory.
    fn owned(self, place: &Path) -> io::Result<BundleFiles> {
        match self {
            DirectoryOwner::User => BundleFiles::listed(place),
            DirectoryOwner::Palisade => Ok(BundleFiles::of_our_own(place)),
        }
    }
}

impl BundleWriter {
    /// Starts a bundle that is to stand at `place`, where nothing may be now, or a directory with
    /// nothing in it but a bundle: its index and files that the index lists. `provenance` says what
    /// it is made of.
    ///
    /// # Errors
    /// When something else is there, a symbolic link for one, or nothing can be written beside it.
    pub fn new(place: &Path, provenance: Provenance) -> Result<Self, Diagnostic> {
        Self::with_owner(place, provenance, DirectoryOwner::User)
    }

    /// The same where palisade alone keeps bundles: one with a damaged index may be there, too.
    ///
    /// # Errors
    /// As those of [`BundleWriter::new`].
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
    /// When they cannot be written.
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

    /// Writes the index and puts the bundle into its place, in one step that replaces a bundle that
    /// is there. Of that one its own files are removed; what else came into it meanwhile is kept.
    ///
    /// # Errors
    /// When that fails, or something else came into the place before that step; what was there is
    /// there still.
    pub fn finish(mut self) -> Result<Option<LeftoverEntries>, Diagnostic> {
        self.index.nodes.sort_unstable();
        self.write(INDEX_FILE, &self.index.to_json())?;
        sync(self.directory.path()).map_err(|error| unwritable(&self.place, &error))?;

        let owned = check_place(&self.place, self.owner)?;
        let draft = self.directory.path();
        let is_there = fs::symlink_metadata(&self.place).is_ok();
        let flags = if is_there {
            RenameFlags::EXCHANGE
        } else {
            RenameFlags::NOREPLACE
        };
        renameat_with(CWD, draft, CWD, &self.place, flags)
            .map_err(|error| unwritable(&self.place, &error.into()))?;
        // from here on the draft's path is that of the directory that was replaced
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

/// Puts everything on the disk's file system on the disk, once rather than file by file.
fn sync(directory: &Path) -> io::Result<()> {
    Ok(syncfs(File::open(directory)?)?)
}

/// Gives a draft the mode and, as far as the user may, the owner of the directory that it replaces;
/// the mode 0755 if it replaces nothing.
fn give(draft: &Path, place: &Path) -> io::Result<()> {
    let mode = match fs::symlink_metadata(place) {
        Ok(found) if found.is_dir() => {
            // only root may give a directory away; what another user owned is this user's then
            let _ = chown(draft, Some(found.uid()), Some(found.gid()));
            found.permissions().mode() & 0o7777
        }
        Ok(_) | Err(_) => 0o755,
    };
    fs::set_permissions(draft, Permissions::from_mode(mode))
}

/// Removes what was a bundle at the path of a draft that was exchanged for it; what is left.
pub fn clear(draft: TempDir, owned: &BundleFiles) -> Option<LeftoverEntries> {
    let place = draft.keep();
    let entries = match owned.remove_from(&place) {
        Ok(entries) if entries.is_empty() => return None,
        Ok(entries) => entries,
        // a link, for one, that took the directory's place in the last moment
        Err(_) => Vec::new(),
    };
    Some(LeftoverEntries { place, entries })
}

/// The same place by a path that a link at its end does not lead away from: without a slash behind
/// it.
fn without_link(place: &Path) -> PathBuf {
    match (place.parent(), place.file_name()) {
        (Some(parent), Some(name)) => parent.join(name),
        // `.` and `..` are no links
        _ => fs::canonicalize(place).unwrap_or_else(|_| place.to_owned()),
    }
}

/// How many entries are named.
const NAMED: usize = 5;

/// Only a bundle, an empty directory or nothing may be replaced; what may be removed of it.
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
        // what is no directory on the way there is said when the directories are made
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

/// `.git`, `README.md` and 3 more.
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
    /// That it was kept, and where.
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
