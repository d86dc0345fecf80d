//! The strict grammar of a bundle's scripts, which `render`, `verify`, `apply`, `reconcile` and
//! `status` all pass.
//!
//! In: the texts of one node's scripts by file name, and the [`ExtensionSet`] that are allowed.
//! Out: [`CheckedScripts`], which nothing else makes; or the first line that no version of palisade
//! writes. What is accepted means to the stock tools what it means here: every byte is printable
//! ASCII, every line is one that the tools read whole, and every word is written in the one form
//! that palisade writes.
//!
//! Absent: what rules do with packets (`netfilter`), and how a kernel gets there (`plan`).
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

/// The scripts of one node of a bundle, as the stock tools read them.
#[derive(Debug, Clone)]
pub struct CheckedScripts(KernelContents);

/// What scripts put into a kernel.
#[derive(Debug, Clone)]
pub struct KernelContents {
    sets: ParsedSets,
    tables: BTreeMap<TableId, CheckedTable>,
}

/// Why scripts are refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptError {
    /// The file name of the script.
    pub file: String,
    /// The line, from 1; none where it is about the script as a whole.
    pub line: Option<usize>,
    /// What is wrong.
    pub problem: String,
}

/// File name of the script of the sets.
pub const SETS_FILE: &str = "sets.ipset";

/// What reading a part of a script yields, or what is wrong with it.
type ReadResult<T> = Result<T, String>;

/// What is wrong with a script, and in which line.
type ReadScript<T> = Result<T, (Option<usize>, String)>;

/// How much is asked of scripts.
#[derive(Debug, Clone, Copy)]
enum CheckLevel<'run> {
    /// All that a bundle has.
    Bundle(&'run ExtensionSet),
    /// Any part of what a kernel holds of palisade's.
    Kernel,
}

impl CheckedScripts {
    /// Reads all scripts of a node, given by file name.
    ///
    /// # Errors
    /// The first line that palisade would not have written, a script that is missing, or a file
    /// that is none.
    pub fn read<'text>(
        files: impl IntoIterator<Item = (&'text str, &'text str)>,
        allowed: &ExtensionSet,
    ) -> Result<Self, ScriptError> {
        let holdings = KernelContents::read(files, CheckLevel::Bundle(allowed))?;
        structure::check(&holdings)?;

        Ok(Self(holdings))
    }

    /// What they put into a kernel.
    pub fn holdings(&self) -> &KernelContents {
        &self.0
    }

    /// As [`holdings`](Self::holdings), given away.
    pub fn into_holdings(self) -> KernelContents {
        self.0
    }

    /// How many rules each extension has, by its name.
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
    /// Reads what some kernel holds, which need not be all of a bundle: sets under other names
    /// and in any order of members, no jump from a chain of the kernel, rules at either end.
    /// For models of kernels in tests; a bundle is read by [`CheckedScripts::read`].
    ///
    /// # Errors
    /// The first line that the stock tools would refuse, or that palisade would not write.
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

    /// The sets by name; members in the order in which scripts list them.
    pub fn sets(&self) -> &ParsedSets {
        &self.sets
    }

    /// The tables.
    pub fn tables(&self) -> &BTreeMap<TableId, CheckedTable> {
        &self.tables
    }

    /// Sets and tables, given away.
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

/// Whether a file name is that of a script.
fn is_script(file: &str) -> bool {
    file == SETS_FILE || TableId::of_bundles().any(|id| id.file() == file)
}

fn ensure(holds: bool, problem: impl FnOnce() -> String) -> ReadResult<()> {
    if holds { Ok(()) } else { Err(problem()) }
}

impl std::error::Error for ScriptError {}

impl fmt::Display for ScriptError {
    /// `filter.v4.rules, line 3: there is no set pal-x`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(out, "{}, line {line}: {}", self.file, self.problem),
            None => write!(out, "{}: {}", self.file, self.problem),
        }
    }
}

#[cfg(test)]
mod tests;
