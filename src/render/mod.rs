//! Turns a node's program into the text of its scripts.
//!
//! In: a [`Program`] and a [`TemplateSet`]. Out: [`NodeScripts`], texts that the stock tools load.
//! Templates own the layout. Typed code ([`lines`](self)) writes rules and members and puts them
//! into the slots of the template, so a million lines cost no more than writing them. Absent:
//! files.
//!
//! Text from manifests reaches a script only through [`comment`](self), which truncates it and
//! leaves no quote, backslash or line end in it.
//!
//! Cost: linear in the output.

mod comment;
mod lines;
mod template;

pub use template::{TEMPLATES, TemplateSet, TemplateSource};

use crate::diagnostic::Diagnostic;
use crate::lower::{Program, ProgramTable, TableKind};
use crate::net::Family;

/// The scripts of one node, in load order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeScripts {
    /// For `ipset restore`: sets of both families.
    pub sets: String,
    /// For `iptables-restore --noflush`.
    pub filter_v4: String,
    /// For `ip6tables-restore --noflush`.
    pub filter_v6: String,
    /// The raw and mangle tables with their file names, if the node has them. They come before the
    /// filter table in the packet path.
    pub early: Vec<(&'static str, String)>,
}

impl NodeScripts {
    /// File names and texts, in load order.
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

/// Renders a program to text.
///
/// # Errors
/// Returns an error if a user's template does not render.
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

/// File names of all scripts that a node may have, in load order.
pub const SCRIPT_FILES: [&str; 7] = [
    "sets.ipset",
    "raw.v4.rules",
    "raw.v6.rules",
    "mangle.v4.rules",
    "mangle.v6.rules",
    "filter.v4.rules",
    "filter.v6.rules",
];

/// File name of a table's script.
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
