//! Differences as text.

use crate::diff::{CausedTraffic, ConnectionChange, DiffState, UnmatchedPeers};
use crate::output::{OutputSink, TerminalWriter};
use crate::report::diff::DiffReport;

/// The maximum number of names in a line, and of lines of one item.
const MOST: usize = 8;
/// The maximum number of groups of new or removed endpoints that are printed.
const MOST_SOLE: usize = 200;

/// Writes the changes with gained traffic first, then those with lost traffic, then the rest.
/// Writes nothing if nothing differs and no script changes.
pub fn text(comparison: &DiffReport<'_, '_>, out: &mut OutputSink<'_>) {
    let difference = comparison.difference;
    let mut out = TerminalWriter::on(out);
    if difference.is_empty() && comparison.nodes.is_none_or(<[_]>::is_empty) {
        return;
    }

    let (old, new) = (comparison.names.old, comparison.names.new);
    out.line(format_args!("{old} → {new}: {}", comparison.summary()));
    portions(comparison, "gained", DiffState::New, &mut out);
    portions(comparison, "lost", DiffState::Old, &mut out);
    soles(comparison, "new endpoints", &difference.sole.new, &mut out);
    soles(comparison, "endpoints gone", &difference.sole.old, &mut out);

    let nodes = comparison.nodes.unwrap_or_default();
    if !nodes.is_empty() {
        out.literal("\nnodes whose scripts change:\n");
        nodes.iter().for_each(|node| out.indented(1, node));
    }
}

fn portions(
    comparison: &DiffReport<'_, '_>,
    title: &str,
    state: DiffState,
    out: &mut TerminalWriter<'_, '_>,
) {
    let (sign, of): (char, fn(&ConnectionChange<'_>) -> usize) = match state {
        DiffState::New => ('+', |change| change.gained.len()),
        DiffState::Old => ('-', |change| change.lost.len()),
    };

    let changes: Vec<_> = comparison
        .difference
        .changes
        .iter()
        .filter(|change| of(change) > 0)
        .collect();
    if changes.is_empty() {
        return;
    }

    out.literal("\n");
    out.line(format_args!("{title}:"));
    for change in changes {
        for line in comparison.pairs(change, MOST) {
            out.line(format_args!("{sign} {line}"));
        }
        let (before, after) = (
            comparison.traffic(change.before),
            comparison.traffic(change.after),
        );
        out.indented(2, format_args!("before: {before}; now: {after}"));
        let portions = match state {
            DiffState::New => &change.gained,
            DiffState::Old => &change.lost,
        };
        portions
            .iter()
            .for_each(|portion| write_portion(comparison, title, portion, out));
    }
}

fn write_portion(
    comparison: &DiffReport<'_, '_>,
    title: &str,
    portion: &CausedTraffic<'_>,
    out: &mut TerminalWriter<'_, '_>,
) {
    out.indented(
        2,
        format_args!("{title} {}", comparison.traffic(portion.traffic)),
    );

    for line in portion
        .reasons
        .iter()
        .flat_map(|reason| comparison.reasons(reason))
    {
        out.indented(3, line);
    }
    out.indented(
        3,
        format_args!("witness: {}", comparison.witness(&portion.witness)),
    );
}

fn soles(
    comparison: &DiffReport<'_, '_>,
    title: &str,
    soles: &[UnmatchedPeers],
    out: &mut TerminalWriter<'_, '_>,
) {
    if !soles.is_empty() {
        out.literal("\n");
        out.line(format_args!("{title}:"));
    }

    for sole in soles.iter().take(MOST_SOLE) {
        out.indented(1, comparison.peers(&sole.peers, MOST));
        for (word, rows) in [
            ("from", &sole.connections.from),
            ("to", &sole.connections.to),
        ] {
            for (traffic, peers) in rows.iter().take(MOST) {
                let (peers, traffic) =
                    (comparison.peers(peers, MOST), comparison.traffic(*traffic));
                out.indented(2, format_args!("{word} {peers}: {traffic}"));
            }
            if rows.len() > MOST {
                let more: usize = rows.iter().skip(MOST).map(|row| row.1.len()).sum();
                out.indented(2, format_args!("{word} and {more} more"));
            }
        }
    }

    let more: usize = soles
        .iter()
        .skip(MOST_SOLE)
        .map(|sole| sole.peers.len())
        .sum();
    if more > 0 {
        out.indented(
            1,
            format_args!("and {more} more; `--format json` lists all"),
        );
    }
}
