//! Compares a bundle on disk with the one that would be written now.

use std::path::Path;

use rustix::fs::FileType;

use crate::bundle::directory::{BundleDirectory, FileContent};
use crate::bundle::unified::hunks;
use crate::bundle::{BundleIndex, FileEntry, INDEX_FILE, NodePart, Provenance};
use crate::diagnostic::Diagnostic;
use crate::output::{BufferedOutput, OutputSink, TerminalWriter, visible};

/// A comparison with a bundle on disk, which it does not change.
#[derive(Debug)]
pub struct BundleComparison {
    directory: BundleDirectory,
    index: BundleIndex,
    diff: BufferedOutput,
}

impl BundleComparison {
    /// Starts a comparison with the bundle at `place`, which need not exist.
    ///
    /// # Errors
    /// If the directory cannot be read.
    pub fn new(place: &Path, provenance: Provenance) -> Result<Self, Diagnostic> {
        Ok(Self {
            directory: BundleDirectory::open(place)?,
            index: BundleIndex::new(provenance),
            diff: BufferedOutput::default(),
        })
    }

    /// Compares one node's scripts.
    ///
    /// # Errors
    /// If a file on disk cannot be read.
    pub fn add(&mut self, part: &NodePart) -> Result<(), Diagnostic> {
        for (path, text, counts) in part.files() {
            self.compare(&path, text)?;
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

    /// Compares the index, and finds entries that would not be written. Returns a unified diff from
    /// disk to now, empty if nothing differs.
    ///
    /// # Errors
    /// If the bundle on disk cannot be read, or contains a symbolic link.
    pub fn finish(mut self) -> Result<BufferedOutput, Diagnostic> {
        self.index.nodes.sort_unstable();
        let entries = self.directory.entries()?;
        for (path, kind) in &entries {
            let name = path.to_string_lossy();
            let is_expected = if *kind == FileType::Directory {
                // The entries of a directory are reported one by one, so only an empty directory
                // is.
                entries
                    .range(path.clone()..)
                    .nth(1)
                    .is_some_and(|(next, _)| next.starts_with(path))
            } else {
                name == INDEX_FILE || self.index.files.contains_key(&*name)
            };
            if !is_expected {
                self.only_on_disk(&name, *kind)?;
            }
        }

        let index = self.index.to_json();
        self.compare(INDEX_FILE, &index)?;
        Ok(self.diff)
    }

    /// Reports an entry on disk that would not be written.
    fn only_on_disk(&mut self, path: &str, kind: FileType) -> Result<(), Diagnostic> {
        let content = if kind == FileType::RegularFile {
            self.directory.read(path)?
        } else {
            FileContent::Missing
        };

        match content {
            FileContent::File(bytes) if !bytes.is_empty() => {
                let old = String::from_utf8_lossy(&bytes);
                self.diff.add(|out| unified(path, [&old, ""], out));
            }
            // There are no lines to show, as with `diff --recursive`.
            FileContent::File(_) | FileContent::Missing | FileContent::Other(_) => {
                self.diff.add(|out| {
                    TerminalWriter::on(out).line(format_args!("Only in a: {}", visible(path)))
                });
            }
        }

        Ok(())
    }

    fn compare(&mut self, path: &str, new: &str) -> Result<(), Diagnostic> {
        let old = match self.directory.read(path)? {
            // Invalid UTF-8 differs from every script, whatever it is replaced with.
            FileContent::File(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            FileContent::Missing => String::new(),
            FileContent::Other(what) => {
                let path = visible(path);
                self.diff.add(|out| {
                    TerminalWriter::on(out)
                        .line(format_args!("a/{path} is {what}, and b/{path} is a file"))
                });
                return Ok(());
            }
        };

        if old != new {
            self.diff.add(|out| unified(path, [&old, new], out));
        }

        Ok(())
    }
}

/// Prints a unified diff. Only the newlines of the scripts end its lines.
fn unified(path: &str, [old, new]: [&str; 2], out: &mut OutputSink<'_>) {
    let path = visible(path);
    let mut out = TerminalWriter::on(out);
    out.line(format!("--- a/{path}"));
    out.line(format!("+++ b/{path}"));
    hunks(old, new)
        .split_terminator('\n')
        .for_each(|line| out.line(line));
}
