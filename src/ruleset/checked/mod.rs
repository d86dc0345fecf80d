//! The strict grammar of a bundle's scripts. `render`, `verify`, `apply`, `reconcile` and `status`
//! all use it.
//!
//! In: the texts of one node's scripts by file name, and the allowed [`ExtensionSet`]. Out:
//! [`CheckedScripts`], which nothing else can create; or the first line that no version of Palisade
//! writes. Accepted text means the same to the stock tools as it does here: every byte is printable
//! ASCII, the tools read every line whole, and every word has the one form that Palisade writes.
//!
//! Absent: the effect of rules on packets (`netfilter`), and the way to a kernel state (`plan`).
//!
//! Cost: linear in the text.

mod extension;
mod lines;
mod model;
mod reader;
mod rule;
mod sets;
mod structure;
mod table;
mod words;

pub use model::{CheckedRule, CheckedTarget, ConntrackMatch, InterfaceMatch, RuleCondition};
pub use table::CheckedTable;

use std::collections::BTreeMap;
use std::fmt;

use crate::options::ExtensionSet;
use crate::ruleset::{ParsedSets, TableId, TableKind};

/// One node's scripts, as the stock tools read them.
#[derive(Debug, Clone)]
pub struct CheckedScripts(KernelContents);

/// The sets and tables that scripts create in a kernel.
#[derive(Debug, Clone)]
pub struct KernelContents {
    sets: ParsedSets,
    tables: BTreeMap<TableId, CheckedTable>,
}

/// Why scripts are refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptError {
    /// The script's file name.
    pub file: String,
    /// Line number, from 1. `None` if the problem concerns the whole script.
    pub line: Option<usize>,
    /// What is wrong.
    pub problem: String,
}

/// File name of the script for sets.
pub const SETS_FILE: &str = "sets.ipset";

/// Result of reading a part of a script, or what is wrong with it.
type ReadResult<T> = Result<T, String>;

/// Result of reading a script, or the line number and what is wrong.
type ReadScript<T> = Result<T, (Option<usize>, String)>;

/// How strict the checks are.
#[derive(Debug, Clone, Copy)]
enum CheckLevel<'run> {
    /// A complete bundle, with these extensions.
    Bundle(&'run ExtensionSet),
    /// Any part of Palisade's state in a kernel.
    Kernel,
}

impl CheckedScripts {
    /// Reads all scripts of a node, by file name.
    ///
    /// # Errors
    /// The first line that Palisade would not write, a missing script, or a file that is not a
    /// script.
    pub fn read<'text>(
        files: impl IntoIterator<Item = (&'text str, &'text str)>,
        allowed: &ExtensionSet,
    ) -> Result<Self, ScriptError> {
        let holdings = KernelContents::read(files, CheckLevel::Bundle(allowed))?;
        structure::check(&holdings)?;

        Ok(Self(holdings))
    }

    /// Returns what the scripts create in a kernel.
    pub fn holdings(&self) -> &KernelContents {
        &self.0
    }

    /// Like [`holdings`](Self::holdings), by value.
    pub fn into_holdings(self) -> KernelContents {
        self.0
    }

    /// Returns the number of rules that use each extension, by extension name.
    pub fn extensions(&self) -> BTreeMap<&str, usize> {
        let rules = self
            .0
            .tables
            .values()
            .flat_map(|table| table.chains.values().flatten());
        let mut counts = BTreeMap::new();
        for name in rules.flat_map(|rule| &rule.extensions) {
            *counts.entry(name.as_str()).or_default() += 1;
        }

        counts
    }
}

impl KernelContents {
    /// Reads the state of a kernel, which need not be a complete bundle: sets may have other names
    /// and unsorted members, hooks may be missing, and rules may be at either end of a built-in
    /// chain. For kernel models in tests; [`CheckedScripts::read`] reads bundles.
    ///
    /// # Errors
    /// The first line that the stock tools would refuse, or that Palisade would not write.
    pub fn of_kernel<'text>(
        files: impl IntoIterator<Item = (&'text str, &'text str)>,
    ) -> Result<Self, ScriptError> {
        Self::read(files, CheckLevel::Kernel)
    }

    fn read<'text>(
        files: impl IntoIterator<Item = (&'text str, &'text str)>,
        level: CheckLevel<'_>,
    ) -> Result<Self, ScriptError> {
        let files: BTreeMap<&str, &str> = files.into_iter().collect();
        if let Some(other) = files.keys().find(|file| !is_script(file)) {
            return Err(ScriptError::whole(other, "it is no script of a bundle"));
        }

        let required = |file: &str| {
            files
                .get(file)
                .copied()
                .ok_or_else(|| ScriptError::whole(file, "it is missing"))
        };
        let sets =
            sets::read(required(SETS_FILE)?, level).map_err(ScriptError::in_file(SETS_FILE))?;
        let mut tables = BTreeMap::new();
        for id in TableId::of_bundles() {
            let file = id.file();
            // Every bundle has filter scripts. Raw and mangle scripts are optional.
            let text = match id.kind {
                TableKind::Filter => Some(required(&file)?),
                TableKind::Raw | TableKind::Mangle | TableKind::Security => {
                    files.get(file.as_str()).copied()
                }
            };
            let Some(text) = text else { continue };
            let table = table::read(text, id, &sets, level).map_err(ScriptError::in_file(&file))?;
            tables.insert(id, table);
        }

        Ok(Self { sets, tables })
    }

    /// Returns the sets by name, with members in script order.
    pub fn sets(&self) -> &ParsedSets {
        &self.sets
    }

    /// Returns the tables.
    pub fn tables(&self) -> &BTreeMap<TableId, CheckedTable> {
        &self.tables
    }

    /// Returns the sets and tables, by value.
    pub fn into_parts(self) -> (ParsedSets, BTreeMap<TableId, CheckedTable>) {
        (self.sets, self.tables)
    }
}

impl ScriptError {
    fn whole(file: &str, problem: &str) -> Self {
        Self {
            file: file.to_owned(),
            line: None,
            problem: problem.to_owned(),
        }
    }

    fn in_file(file: &str) -> impl Fn((Option<usize>, String)) -> Self {
        move |(line, problem)| Self {
            file: file.to_owned(),
            line,
            problem,
        }
    }
}

/// Returns whether this is the file name of a script.
fn is_script(file: &str) -> bool {
    file == SETS_FILE || TableId::of_bundles().any(|id| id.file() == file)
}

fn ensure(holds: bool, problem: impl FnOnce() -> String) -> ReadResult<()> {
    if holds { Ok(()) } else { Err(problem()) }
}

impl std::error::Error for ScriptError {}

impl fmt::Display for ScriptError {
    /// Formats `filter.v4.rules, line 3: there is no set pal-x`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(out, "{}, line {line}: {}", self.file, self.problem),
            None => write!(out, "{}: {}", self.file, self.problem),
        }
    }
}

#[cfg(test)]
mod tests;
