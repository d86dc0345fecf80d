//! A node's program to the text of its scripts.
//!
//! In: a [`Program`] and [`Templates`]. Out: [`Scripts`], three texts that the stock tools load. Templates own the layout;
//! rules and members are written by typed code ([`lines`](self)) and put where a template has their slot, so that a million
//! lines cost what writing them costs. Absent: files.
//!
//! Text that came from manifests reaches a script only through [`comment`](self), which leaves no quote, no backslash and
//! no end of line in it, and cuts it.
//!
//! Cost: linear in the output.

mod comment;
mod lines;
mod template;

pub use template::{TEMPLATES, TemplateSource, Templates};

use crate::diagnostic::Diagnostic;
use crate::lower::{Program, Table};
use crate::net::Family;

/// The scripts of one node, in the order they are loaded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scripts {
    /// For `ipset restore`: sets of both families.
    pub sets: String,
    /// For `iptables-restore --noflush`.
    pub filter_v4: String,
    /// For `ip6tables-restore --noflush`.
    pub filter_v6: String,
}

impl Scripts {
    /// File names and texts, in the order they are loaded.
    pub fn files(&self) -> [(&'static str, &str); 3] {
        [("sets.ipset", &self.sets), ("filter.v4.rules", &self.filter_v4), ("filter.v6.rules", &self.filter_v6)]
    }
}

/// The text of a program.
///
/// # Errors
/// When a template of the user's does not render.
pub fn to_text(program: &Program, templates: &Templates) -> Result<Scripts, Diagnostic> {
    Ok(Scripts {
        sets: templates.sets(&lines::sets(&program.sets))?,
        filter_v4: filter(program.table(Family::V4), templates)?,
        filter_v6: filter(program.table(Family::V6), templates)?,
    })
}

fn filter(table: &Table, templates: &Templates) -> Result<String, Diagnostic> {
    let parts = [lines::declarations(table), lines::rules(table), lines::hooks(table)];
    templates.filter(table.family, &parts)
}

#[cfg(test)]
mod tests;
