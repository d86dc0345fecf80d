//! Writes scripts to a directory atomically, and reads them back.
//!
//! In: [`NodeScripts`] of one node after another. Out: the bundle directory, with `palisade.json`
//! (digests and counts) and `nodes/<node>/` (scripts). Absent: rendering, and the kernel.
//!
//! Cost: linear in the bytes.
#![expect(
    clippy::disallowed_methods,
    reason = "this room writes bundles to disk and reads them back"
)]

mod changes;
mod compare;
mod directory;
mod file;
mod index;
mod inputs;
mod path;
mod read;
mod tree;
mod unified;
mod write;

pub use changes::{LineCount, ScriptChange};
pub use compare::BundleComparison;
pub use directory::read_below;
pub use file::read_file;
pub use index::{BundleIndex, FORMAT_VERSION, FileEntry, INDEX_FILE, Provenance, ScriptCounts};
pub use inputs::input_digest;
pub use read::{BundleOnDisk, FileProblem, FileProblemKind, NodeTexts};
pub use tree::BundleFiles;
pub use write::{BundleWriter, LeftoverEntries, clear, named};

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;

use crate::diagnostic::{Code, Diagnostic};
use crate::lower::Program;
use crate::render::NodeScripts;

/// One node's part of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodePart {
    /// The node's name, which is a valid directory name.
    pub node: String,
    /// The node's scripts.
    pub scripts: NodeScripts,
    /// Counts of the scripts' contents, in the order of [`NodeScripts::files`].
    pub counts: Vec<ScriptCounts>,
    /// Names of the template matches and targets in the scripts.
    pub extensions: BTreeSet<String>,
}

impl NodePart {
    /// Combines a node's scripts with the counts of its program and the extensions that they use.
    pub fn new(
        node: &str,
        program: &Program,
        scripts: NodeScripts,
        extensions: BTreeMap<&str, usize>,
    ) -> Self {
        let extensions = extensions.into_keys().map(str::to_owned).collect();
        Self {
            node: node.to_owned(),
            scripts,
            counts: ScriptCounts::from_program(program),
            extensions,
        }
    }

    /// Returns paths in the bundle, texts and counts, in load order.
    fn files(&self) -> impl Iterator<Item = (String, &str, ScriptCounts)> {
        let files = self
            .scripts
            .files()
            .into_iter()
            .zip(self.counts.iter().copied());
        files.map(|((name, text), counts)| (format!("nodes/{}/{name}", self.node), text, counts))
    }
}

/// Converts an I/O error on `path`.
fn io_error(code: Code, doing: &str, path: &Path, error: &io::Error) -> Diagnostic {
    Diagnostic::new(
        code,
        format!("cannot {doing} `{}`: {error}", path.display()),
    )
}

#[cfg(test)]
mod tests;
