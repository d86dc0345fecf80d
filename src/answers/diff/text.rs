//! A difference for people.

use std::fmt::Write;

use crate::analysis::diff::{Change, Portion, Sole, State};
use crate::answers::diff::Comparison;

/// Names in a line, and lines of one thing, that are written out.
const MOST: usize = 8;
/// Endpoints that are new or gone, in groups that speak with the same, that are written out.
const MOST_SOLE: usize = 200;

/// What is gained first, then what is lost, then the rest. Empty where nothing differs and no script changes.
pub fn text(comparison: &Comparison<'_, '_>) -> String {
    let difference = comparison.difference;
    let mut out = String::new();
    if difference.is_empty() && comparison.nodes.is_none_or(<[_]>::is_empty) {
        return out;
    }
    let _ = writeln!(out, "{} → {}: {}", comparison.names.old, comparison.names.new, comparison.summary());
    portions(comparison, ("gained", State::New), &mut out);
    portions(comparison, ("lost", State::Old), &mut out);
    soles(comparison, ("new endpoints", &difference.sole.new), &mut out);
    soles(comparison, ("endpoints gone", &difference.sole.old), &mut out);
    let nodes = comparison.nodes.unwrap_or_default();
    if !nodes.is_empty() {
        let _ = writeln!(out, "\nnodes whose scripts change:");
        for node in nodes {
            let _ = writeln!(out, "  {node}");
        }
    }
    out
}

fn portions(comparison: &Comparison<'_, '_>, (title, state): (&str, State), out: &mut String) {
    let (sign, of): (char, fn(&Change<'_>) -> usize) = match state {
        State::New => ('+', |change| change.gained.len()),
        State::Old => ('-', |change| change.lost.len()),
    };
    let changes: Vec<_> = comparison.difference.changes.iter().filter(|change| of(change) > 0).collect();
    if changes.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n{title}:");
    for change in changes {
        for line in comparison.pairs(change, MOST) {
            let _ = writeln!(out, "{sign} {line}");
        }
        let (before, after) = (comparison.traffic(change.before), comparison.traffic(change.after));
        let _ = writeln!(out, "    before: {before}; now: {after}");
        let portions = match state {
            State::New => &change.gained,
            State::Old => &change.lost,
        };
        portions.iter().for_each(|portion| write_portion(comparison, (title, portion), out));
    }
}

fn write_portion(comparison: &Comparison<'_, '_>, (title, portion): (&str, &Portion<'_>), out: &mut String) {
    let _ = writeln!(out, "    {title} {}", comparison.traffic(portion.traffic));
    for line in portion.reasons.iter().flat_map(|reason| comparison.reasons(reason)) {
        let _ = writeln!(out, "      {line}");
    }
    let _ = writeln!(out, "      witness: {}", comparison.witness(&portion.witness));
}

fn soles(comparison: &Comparison<'_, '_>, (title, soles): (&str, &[Sole]), out: &mut String) {
    if !soles.is_empty() {
        let _ = writeln!(out, "\n{title}:");
    }
    for sole in soles.iter().take(MOST_SOLE) {
        let _ = writeln!(out, "  {}", comparison.peers(&sole.peers, MOST));
        for (word, rows) in [("from", &sole.connections.from), ("to", &sole.connections.to)] {
            for (traffic, peers) in rows.iter().take(MOST) {
                let _ = writeln!(out, "    {word} {}: {}", comparison.peers(peers, MOST), comparison.traffic(*traffic));
            }
            if rows.len() > MOST {
                let _ = writeln!(out, "    {word} and {} more", rows.iter().skip(MOST).map(|row| row.1.len()).sum::<usize>());
            }
        }
    }
    let more: usize = soles.iter().skip(MOST_SOLE).map(|sole| sole.peers.len()).sum();
    if more > 0 {
        let _ = writeln!(out, "  and {more} more; `--format json` lists all");
    }
}
