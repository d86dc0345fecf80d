//! A node's program to the text of its scripts.
//!
//! In: a [`Program`] and [`TemplateSet`]. Out: [`NodeScripts`], texts that the stock tools load.
//! Templates own the layout; rules and members are written by typed code ([`lines`](self)) and put
//! where a template has their slot, so that a million lines cost what writing them costs. Absent:
//! files.
//!
//! Text that came from manifests reaches a script only through [`comment`](self), which leaves no
//! quote, no backslash and no end of line in it, and cuts it.
//!
//! Cost: linear in the output.

mod comment;
mod lines;
mod template;

pub use template::{TEMPLATES, TemplateSet, TemplateSource};

use crate::diagnostic::Diagnostic;
use crate::lower::{Program, ProgramTable, TableKind};
use crate::net::Family;

/// The scripts of one node, in the order they are loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeScripts {
    /// For `ipset restore`: sets of both families.
    pub sets: String,
    /// For `iptables-restore --noflush`.
    pub filter_v4: String,
    /// For `ip6tables-restore --noflush`.
    pub filter_v6: String,
    /// As these, with their file names: tables before the filter table, where a node has them.
    pub early: Vec<(&'static str, String)>,
}

impl NodeScripts {
    /// File names and texts, in the order they are loaded.
    pub fn files(&self) -> Vec<(&'static str, &str)> {
        let always = [
            ("sets.ipset", &self.sets),
            ("filter.v4.rules", &self.filter_v4),
            ("filter.v6.rules", &self.filter_v6),
        ];
        let early = self.early.iter().map(|(name, text)| (*name, text));

        always
            .into_iter()
            .chain(early)
            .map(|(name, text)| (name, text.as_str()))
            .collect()
    }
}

/// The text of a program.
///
/// # Errors
/// When a template of the user's does not render.
pub fn to_text(program: &Program, templates: &TemplateSet) -> Result<NodeScripts, Diagnostic> {
    Ok(NodeScripts {
        sets: templates.sets(&lines::sets(&program.sets))?,
        filter_v4: text(program.table(Family::V4), templates)?,
        filter_v6: text(program.table(Family::V6), templates)?,
        early: program
            .early
            .iter()
            .map(|table| Ok((file(table), text(table, templates)?)))
            .collect::<Result<_, Diagnostic>>()?,
    })
}

fn text(table: &ProgramTable, templates: &TemplateSet) -> Result<String, Diagnostic> {
    let parts = [
        lines::declarations(table),
        lines::rules(table),
        lines::hooks(table),
    ];
    templates.table(table.kind, table.family, &parts)
}

/// File names of all scripts that a node may have, in the order they are loaded.
pub const SCRIPT_FILES: [&str; 7] = [
    "sets.ipset",
    "raw.v4.rules",
    "raw.v6.rules",
    "mangle.v4.rules",
    "mangle.v6.rules",
    "filter.v4.rules",
    "filter.v6.rules",
];

/// The name of a table's script.
fn file(table: &ProgramTable) -> &'static str {
    match (table.kind, table.family) {
        (TableKind::Raw, Family::V4) => "raw.v4.rules",
        (TableKind::Raw, Family::V6) => "raw.v6.rules",
        (TableKind::Mangle, Family::V4) => "mangle.v4.rules",
        (TableKind::Mangle, Family::V6) => "mangle.v6.rules",
        (TableKind::Filter, Family::V4) => "filter.v4.rules",
        (TableKind::Filter, Family::V6) => "filter.v6.rules",
    }
}

#[cfg(test)]
mod tests;
