//! `palisade.json`, the index of a bundle.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::lower::{Program, ProgramTable};

/// Version of the bundle layout. Readers refuse other versions.
pub const FORMAT_VERSION: u32 = 1;

/// File name of the index.
pub const INDEX_FILE: &str = "palisade.json";

/// The index of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BundleIndex {
    /// [`FORMAT_VERSION`] of the writer.
    pub format_version: u32,
    /// The source of the bundle.
    #[serde(flatten)]
    pub provenance: Provenance,
    /// Names of the matches and targets that templates added to the scripts. Informative only.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub extensions: BTreeSet<String>,
    /// Names of the nodes, sorted.
    pub nodes: Vec<String>,
    /// All other files of the bundle, by path.
    pub files: BTreeMap<String, FileEntry>,
}

/// The source of a bundle.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Provenance {
    /// [`input_digest`](crate::bundle::input_digest) of the input.
    pub inputs: String,
    /// Whether the bundle enforces staged policies. Such a bundle is a proposal, and must not be
    /// applied.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub staged: bool,
}

/// A file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FileEntry {
    /// SHA-256 of the bytes, in hexadecimal.
    pub sha256: String,
    /// Number of bytes.
    pub bytes: usize,
    /// Counts of the contents.
    #[serde(flatten)]
    pub counts: ScriptCounts,
}

/// Counts of a script's contents.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum ScriptCounts {
    /// A script for ipset.
    Sets {
        /// Number of sets.
        sets: usize,
        /// Number of members in all sets.
        members: usize,
    },
    /// A script for one table.
    Table {
        /// Number of Palisade chains.
        chains: usize,
        /// Number of rules in these chains, without hooks.
        rules: usize,
    },
}

impl BundleIndex {
    /// Creates an index without files.
    pub fn new(provenance: Provenance) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            provenance,
            extensions: BTreeSet::new(),
            nodes: Vec::new(),
            files: BTreeMap::new(),
        }
    }

    /// Returns the index as written: indented JSON with a trailing newline.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

impl FileEntry {
    /// Creates the entry for a text.
    pub fn for_text(text: &str, counts: ScriptCounts) -> Self {
        Self {
            sha256: hex(&Sha256::digest(text.as_bytes())),
            bytes: text.len(),
            counts,
        }
    }
}

impl ScriptCounts {
    /// Counts the contents of a program's scripts, in load order.
    pub(super) fn from_program(program: &Program) -> Vec<ScriptCounts> {
        let members = program.sets.iter().map(|set| set.members.len()).sum();
        let table = |table: &ProgramTable| ScriptCounts::Table {
            chains: table.chains.len(),
            rules: table.chains.iter().map(|chain| chain.rules.len()).sum(),
        };
        let tables = [&program.v4, &program.v6]
            .into_iter()
            .chain(&program.early)
            .map(table);

        std::iter::once(ScriptCounts::Sets {
            sets: program.sets.len(),
            members,
        })
        .chain(tables)
        .collect()
    }
}

/// Formats bytes in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
