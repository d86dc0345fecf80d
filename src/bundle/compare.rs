//! What a bundle on disk has otherwise than it would be written now.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use similar::TextDiff;

use crate::bundle::{FileEntry, INDEX_FILE, Index, NodePart, Provenance, io_error, read_file};
use crate::diagnostic::{Code, Diagnostic};
use crate::output::{Printed, Sink, Terminal, visible};

/// Lines shown round a difference.
const CONTEXT_LINES: usize = 3;

/// A comparison with a bundle on disk, which stays as it is.
#[derive(Debug)]
pub struct Comparison {
    place: PathBuf,
    index: Index,
    diff: Printed,
}

impl Comparison {
    /// Starts a comparison with the bundle at `place`, which need not exist.
    pub fn new(place: &Path, provenance: Provenance) -> Self {
        Self { place: place.to_owned(), index: Index::new(provenance), diff: Printed::default() }
    }

    /// Compares one node's scripts.
    ///
    /// # Errors
    /// When a file on disk cannot be read.
    pub fn add(&mut self, part: &NodePart) -> Result<(), Diagnostic> {
        for (path, text, counts) in part.files() {
            self.compare(&path, text)?;
            self.index.files.insert(path, FileEntry::of(text, counts));
        }
        self.index.extensions.extend(part.extensions.iter().cloned());
        self.index.nodes.push(part.node.clone());
        Ok(())
    }

    /// Compares the index, and finds files that would not be written. Gives a unified diff from disk to now, empty when
    /// nothing differs.
    ///
    /// # Errors
    /// When the bundle on disk cannot be read.
    pub fn finish(mut self) -> Result<Printed, Diagnostic> {
        self.index.nodes.sort_unstable();
        for path in self.files_on_disk()? {
            if path != INDEX_FILE && !self.index.files.contains_key(&path) {
                let old = self.read(&path)?;
                self.diff.add(|out| unified(&path, [&old, ""], out));
            }
        }
        let index = self.index.to_json();
        self.compare(INDEX_FILE, &index)?;
        Ok(self.diff)
    }

    fn compare(&mut self, path: &str, new: &str) -> Result<(), Diagnostic> {
        let old = self.read(path)?;
        if old != new {
            self.diff.add(|out| unified(path, [&old, new], out));
        }
        Ok(())
    }

    /// A file of the bundle; one that is not there is empty. Bytes that are no text differ from any script.
    fn read(&self, path: &str) -> Result<String, Diagnostic> {
        let path = self.place.join(path);
        match read_file(&path) {
            Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(String::new()),
            Err(error) => Err(io_error(Code::Unreadable, "read", &path, &error)),
        }
    }

    /// Every file under the place, by its path there. Links are not followed: they may lead back.
    fn files_on_disk(&self) -> Result<BTreeSet<String>, Diagnostic> {
        let mut files = BTreeSet::new();
        let mut open = vec![self.place.clone()];
        while let Some(directory) = open.pop() {
            let entries = match fs::read_dir(&directory) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(io_error(Code::Unreadable, "read", &directory, &error)),
            };
            for entry in entries {
                let entry = entry.and_then(|entry| entry.file_type().map(|kind| (entry.path(), kind.is_dir())));
                let (path, is_directory) = entry.map_err(|error| io_error(Code::Unreadable, "read", &directory, &error))?;
                match is_directory {
                    true => open.push(path),
                    false => files.extend(path.strip_prefix(&self.place).ok().map(|path| path.to_string_lossy().into_owned())),
                }
            }
        }
        Ok(files)
    }
}

/// Prints a unified diff. Only the scripts' own newlines end lines in it.
fn unified(path: &str, [old, new]: [&str; 2], out: &mut Sink<'_>) {
    let path = visible(path);
    let diff = TextDiff::from_lines(old, new);
    let mut diff = diff.unified_diff();
    let diff = diff.context_radius(CONTEXT_LINES).header(&format!("a/{path}"), &format!("b/{path}"));
    let mut out = Terminal::on(out);
    diff.to_string().split_terminator('\n').for_each(|line| out.line(line));
}
