//! Formats the difference between two states as text, JSON, Markdown for pull requests, and SARIF
//! for code scanning.

mod json;
mod markdown;
mod sarif;
mod text;
mod phrases;

pub use json::json;
pub use markdown::markdown;
pub use sarif::sarif;
pub use text::text;

use std::collections::BTreeSet;

use rustc_hash::FxHashMap;

use crate::bundle::ScriptChange;
use crate::connectivity::port_list;
use crate::diff::{ConnectionChange, ConnectionDiff, OldNew, UnmatchedPeers};
use crate::net::Family;
use crate::packet_space::{HeaderSetId, HeaderSpace};
use crate::source::SourceFiles;

/// A difference, with the data that its text refers to.
#[derive(Debug)]
pub struct DiffReport<'compared, 'input> {
    difference: &'compared ConnectionDiff<'input>,
    files: OldNew<&'compared SourceFiles>,
    names: OldNew<&'compared str>,
    nodes: Option<&'compared [ScriptChange]>,
    /// The texts of sets of headers.
    words: FxHashMap<HeaderSetId, String>,
    /// `true` if endpoints change in both families, so that the family of a change is printed.
    has_both_families: bool,
}

/// The number of pairs of peers that gain and lose traffic.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct PairCounts {
    gained: usize,
    lost: usize,
}

impl<'compared, 'input> DiffReport<'compared, 'input> {
    /// Joins a difference with the files and names of both states, and with the nodes whose scripts
    /// change. `nodes` is `None` if scripts were not compared.
    pub fn new(
        difference: &'compared mut ConnectionDiff<'input>,
        files: OldNew<&'compared SourceFiles>,
        names: OldNew<&'compared str>,
        nodes: Option<&'compared [ScriptChange]>,
    ) -> Self {
        let words = traffic_texts(difference);
        let blocks = difference.changes.iter().flat_map(|change| &change.blocks);
        let families: BTreeSet<Family> = blocks
            .flat_map(|block| block.families.iter().copied())
            .collect();

        Self {
            difference,
            files,
            names,
            nodes,
            words,
            has_both_families: families.len() > 1,
        }
    }

    fn counts(&self) -> PairCounts {
        let pairs = |change: &ConnectionChange<'_>| {
            change
                .blocks
                .iter()
                .map(|block| self.difference.pairs(block))
                .sum::<usize>()
        };

        self.difference
            .changes
            .iter()
            .fold(PairCounts::default(), |sum, change| PairCounts {
                gained: sum.gained
                    + if change.gained.is_empty() {
                        0
                    } else {
                        pairs(change)
                    },
                lost: sum.lost
                    + if change.lost.is_empty() {
                        0
                    } else {
                        pairs(change)
                    },
            })
    }

    /// Returns the text of a set of headers.
    fn traffic(&self, id: HeaderSetId) -> &str {
        self.words.get(&id).map_or("nothing", String::as_str)
    }

    /// Returns a summary: `3 connections gained, 1 lost; 1 new endpoint`.
    fn summary(&self) -> String {
        let PairCounts { gained, lost } = self.counts();
        let several = |count: usize, one: &str, many: &str| {
            format!("{count} {}", if count == 1 { one } else { many })
        };

        let mut parts = vec![format!(
            "{} gained, {lost} lost",
            several(gained, "connection", "connections")
        )];
        let count =
            |soles: &[UnmatchedPeers]| soles.iter().map(|sole| sole.peers.len()).sum::<usize>();
        let (gone, new) = (
            count(&self.difference.sole.old),
            count(&self.difference.sole.new),
        );

        if new > 0 {
            parts.push(several(new, "new endpoint", "new endpoints"));
        }

        if gone > 0 {
            parts.push(several(gone, "endpoint gone", "endpoints gone"));
        }

        if let Some(nodes) = self.nodes.filter(|nodes| !nodes.is_empty()) {
            parts.push(format!(
                "scripts of {} change",
                several(nodes.len(), "node", "nodes")
            ));
        }

        parts.join("; ")
    }
}

/// Returns the texts of all sets of headers in a difference.
fn traffic_texts(difference: &mut ConnectionDiff<'_>) -> FxHashMap<HeaderSetId, String> {
    let mut ids = Vec::new();
    for change in &difference.changes {
        ids.extend([change.before, change.after]);
        ids.extend(
            change
                .gained
                .iter()
                .chain(&change.lost)
                .map(|portion| portion.traffic),
        );
    }

    for sole in difference.sole.old.iter().chain(&difference.sole.new) {
        ids.extend(
            sole.connections
                .to
                .iter()
                .chain(&sole.connections.from)
                .map(|row| row.0),
        );
    }

    ids.sort_unstable();
    ids.dedup();
    ids.into_iter()
        .map(|id| (id, in_words(id, &mut difference.traffic)))
        .collect()
}

/// Formats a set of headers: `TCP 80,443; UDP`, or `everything but …` if that is shorter.
fn in_words(id: HeaderSetId, traffic: &mut HeaderSpace) -> String {
    if id == HeaderSpace::NONE {
        return "nothing".to_owned();
    }
    if port_list::is_everything(id, traffic) {
        return "everything".to_owned();
    }

    let rest = traffic.less(HeaderSpace::ALL, id);
    let (own, rest) = (phrases::listed(id, traffic), phrases::listed(rest, traffic));
    // "everything but DNS" is easier to read than a list of all other ports
    match own.len() > rest.len() {
        true => format!("everything but {}", rest.join("; ")),
        false => own.join("; "),
    }
}
