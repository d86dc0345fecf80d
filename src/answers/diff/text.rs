//! A difference for people.

use std::fmt::Write;

use crate::analysis::diff::{Change, Portion, Sole, State};
use crate::answers::diff::Comparison;

/// Names in a line, and lines of one thing, that are written out.
const MOST: usize = 8;

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
    if !difference.hosts.is_empty() {
        let _ = writeln!(out, "\nhost endpoints whose own policy differs, and is not proven equal:");
        for name in &difference.hosts {
            let _ = writeln!(out, "  {name}");
        }
    }
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
        for line in comparison.pairs(&change.blocks, MOST) {
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
    for sole in soles {
        let _ = writeln!(out, "  {}", comparison.peers(&[sole.peer], MOST));
        let Some(connections) = &sole.connections else {
            let _ = writeln!(out, "    not looked at, since there are too many");
            continue;
        };
        for (word, rows) in [("from", &connections.from), ("to", &connections.to)] {
            for (traffic, peers) in rows {
                let _ = writeln!(out, "    {word} {}: {}", comparison.peers(peers, MOST), comparison.traffic(*traffic));
            }
        }
    }
}
