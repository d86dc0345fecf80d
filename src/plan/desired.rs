//! What a node's kernel is to hold: a bundle's scripts, taken apart.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::script::{Set, Sets, Table, TableId};

/// What the kernel is to hold.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Desired {
    /// Sets, by their own names.
    pub sets: Sets,
    /// Our part of each table. A table that is not here is to hold nothing of ours.
    pub tables: BTreeMap<TableId, Table>,
    /// Sets by their names in the kernel that stay as they are: rules look into them, and they cannot be
    /// made anew, since `ipset` cannot list them or they are of a type that palisade does not make. No
    /// bundle has any.
    pub untouched: BTreeSet<String>,
}

/// A script that cannot be taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredError {
    /// Its file name in the bundle.
    pub file: String,
    /// What is wrong, with the line.
    pub problem: String,
}

/// The script of sets in a bundle.
const SETS: &str = "sets.ipset";

impl Desired {
    /// Takes a node's scripts apart; `text` gives a script by its file name.
    ///
    /// # Errors
    /// A script that is missing, or that palisade would not have written.
    pub fn read<'text>(text: impl Fn(&str) -> Option<&'text str>) -> Result<Self, DesiredError> {
        let error = |file: &str, problem: String| DesiredError { file: file.to_owned(), problem };
        let sets = text(SETS).ok_or_else(|| error(SETS, "it is missing".to_owned()))?;
        let mut desired = Self { sets: Set::read(sets).map_err(|problem| error(SETS, problem.to_string()))?, ..Self::default() };
        for id in TableId::of_bundles() {
            let file = id.file();
            let Some(text) = text(&file) else { continue };
            let mut tables = Table::read(text, id.family).map_err(|problem| error(&file, problem.to_string()))?;
            let table = tables.remove(&id).ok_or_else(|| error(&file, format!("it has no {} table", id.kind.word())))?;
            desired.tables.insert(id, table);
        }
        Ok(desired)
    }
}

impl std::error::Error for DesiredError {}

impl fmt::Display for DesiredError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}", self.file, self.problem)
    }
}
