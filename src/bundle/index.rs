//! `palisade.json`: what a bundle holds.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::lower::{Program, ProgramTable};

/// Version of the layout of bundles; readers refuse others.
pub const FORMAT_VERSION: u32 = 1;

/// Name of the index in a bundle.
pub const INDEX_FILE: &str = "palisade.json";

/// The index of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct BundleIndex {
    /// [`FORMAT_VERSION`] of the writer.
    pub format_version: u32,
    /// What the bundle is made of.
    #[serde(flatten)]
    pub provenance: Provenance,
    /// Matches and targets in scripts that templates added, by name; for information.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub extensions: BTreeSet<String>,
    /// Names of the nodes, in order.
    pub nodes: Vec<String>,
    /// Every other file of the bundle by its path in it.
    pub files: BTreeMap<String, FileEntry>,
}

/// What a bundle is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Provenance {
    /// [`input_digest`](crate::bundle::input_digest) of the input.
    pub inputs: String,
    /// Whether staged policies are in force in it: a proposal, not to be applied.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub staged: bool,
}

/// A file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct FileEntry {
    /// SHA-256 of the bytes, in hexadecimal.
    pub sha256: String,
    /// How many bytes.
    pub bytes: usize,
    /// What is in it.
    #[serde(flatten)]
    pub counts: ScriptCounts,
}

/// What a script holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum ScriptCounts {
    /// An ipset script.
    Sets {
        /// Sets.
        sets: usize,
        /// Members of all of them.
        members: usize,
    },
    /// A table.
    Table {
        /// Chains of ours.
        chains: usize,
        /// Rules in them, hooks not counted.
        rules: usize,
    },
}

impl BundleIndex {
    /// The index of nothing yet.
    pub fn new(provenance: Provenance) -> Self {
        Self {
            format_version: FORMAT_VERSION,
            provenance,
            extensions: BTreeSet::new(),
            nodes: Vec::new(),
            files: BTreeMap::new(),
        }
    }

    /// The index as it is written: indented JSON with an end of line.
    pub fn to_json(&self) -> String {
        serde_json::to_string_pretty(self).unwrap_or_default() + "\n"
    }
}

impl FileEntry {
    /// The entry of a text.
    pub fn for_text(text: &str, counts: ScriptCounts) -> Self {
        Self {
            sha256: hex(&Sha256::digest(text.as_bytes())),
            bytes: text.len(),
            counts,
        }
    }
}

impl ScriptCounts {
    /// Counts of a program's scripts, in the order they are loaded.
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

/// Bytes in hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
