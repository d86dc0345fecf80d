//! Differences as Markdown, for a comment on a pull request.

use crate::diff::{CausedTraffic, ConnectionChange, DiffState, UnmatchedPeers};
use crate::output::{MarkdownWriter, OutputSink};
use crate::report::diff::DiffReport;

/// The maximum number of names in a cell.
const MOST: usize = 5;
/// The maximum number of rows of a table; a comment may have 65,536 characters.
const MOST_ROWS: usize = 50;

/// Writes a summary, tables of what is gained and lost, and details to unfold.
pub fn markdown(comparison: &DiffReport<'_, '_>, out: &mut OutputSink<'_>) {
    let difference = comparison.difference;
    let mut out = MarkdownWriter::on(out);
    out.literal("### Network policy\n\n");
    if difference.is_empty() {
        out.literal("No connection is gained or lost.\n");
    } else {
        out.literal("**");
        out.text(comparison.summary());
        out.literal("**\n");
    }

    table(comparison, GAINED, &mut out);
    table(comparison, LOST, &mut out);
    details(comparison, &mut out);
    soles(comparison, "New endpoints", &difference.sole.new, &mut out);
    soles(comparison, "Endpoints gone", &difference.sole.old, &mut out);
    nodes(comparison, &mut out);
}

/// The content of a table.
#[derive(Clone, Copy)]
struct TableDirection {
    state: DiffState,
    /// The heading, and the column heads.
    head: &'static str,
    /// What happened to a connection.
    word: &'static str,
}

const GAINED: TableDirection = TableDirection {
    state: DiffState::New,
    head: "\n#### Gained\n\n| from → to | gained | why |\n|---|---|---|\n",
    word: "gained",
};
const LOST: TableDirection = TableDirection {
    state: DiffState::Old,
    head: "\n#### Lost\n\n| from → to | lost | why |\n|---|---|---|\n",
    word: "lost",
};

fn in_direction<'change, 'input>(
    change: &'change ConnectionChange<'input>,
    state: DiffState,
) -> &'change [CausedTraffic<'input>] {
    match state {
        DiffState::New => &change.gained,
        DiffState::Old => &change.lost,
    }
}

fn table(
    comparison: &DiffReport<'_, '_>,
    direction: TableDirection,
    out: &mut MarkdownWriter<'_, '_>,
) {
    let changes = &comparison.difference.changes;
    let portions = |change| {
        in_direction(change, direction.state)
            .iter()
            .map(move |portion| (change, portion))
    };
    let rows: Vec<(&ConnectionChange<'_>, &CausedTraffic<'_>)> =
        changes.iter().flat_map(portions).collect();
    if rows.is_empty() {
        return;
    }

    out.literal(direction.head);
    for (change, portion) in rows.iter().take(MOST_ROWS) {
        let reasons = portion
            .reasons
            .iter()
            .flat_map(|reason| comparison.reasons(reason));
        out.literal("| ");
        out.lines(&comparison.pairs(change, MOST));
        out.literal(" | ");
        out.text(comparison.traffic(portion.traffic));
        out.literal(" | ");
        out.lines(&reasons.collect::<Vec<_>>());
        out.literal(" |\n");
    }
    more(rows.len(), out);
}

fn more(rows: usize, out: &mut MarkdownWriter<'_, '_>) {
    if rows > MOST_ROWS {
        out.literal("\n");
        out.number(rows - MOST_ROWS);
        out.literal(" more are left out here; `palisade diff` lists all.\n");
    }
}

fn details(comparison: &DiffReport<'_, '_>, out: &mut MarkdownWriter<'_, '_>) {
    let changes = &comparison.difference.changes;
    if changes.is_empty() {
        return;
    }

    out.literal("\n<details><summary>Witness packets</summary>\n\n");
    for change in changes.iter().take(MOST_ROWS) {
        for direction in [GAINED, LOST] {
            for portion in in_direction(change, direction.state) {
                out.literal("- ");
                out.literal(direction.word);
                out.literal(": ");
                out.text(comparison.witness(&portion.witness));
                out.literal("\n");
            }
        }
    }
    more(changes.len(), out);
    out.literal("\n</details>\n");
}

fn soles(
    comparison: &DiffReport<'_, '_>,
    title: &'static str,
    soles: &[UnmatchedPeers],
    out: &mut MarkdownWriter<'_, '_>,
) {
    if soles.is_empty() {
        return;
    }

    out.literal("\n<details><summary>");
    out.literal(title);
    out.literal(": ");
    out.number(soles.iter().map(|sole| sole.peers.len()).sum());
    out.literal("</summary>\n\n");
    for sole in soles.iter().take(MOST_ROWS) {
        out.literal("- ");
        out.text(comparison.peers(&sole.peers, MOST));
        out.literal("\n");
        for (word, rows) in [
            ("  - from ", &sole.connections.from),
            ("  - to ", &sole.connections.to),
        ] {
            for (traffic, peers) in rows {
                out.literal(word);
                out.text(comparison.peers(peers, MOST));
                out.literal(": ");
                out.text(comparison.traffic(*traffic));
                out.literal("\n");
            }
        }
    }
    more(soles.len(), out);
    out.literal("\n</details>\n");
}

fn nodes(comparison: &DiffReport<'_, '_>, out: &mut MarkdownWriter<'_, '_>) {
    let nodes = comparison.nodes.unwrap_or_default();
    if nodes.is_empty() {
        return;
    }

    out.literal("\n<details><summary>Nodes whose scripts change: ");
    out.number(nodes.len());
    out.literal("</summary>\n\n");
    for node in nodes.iter().take(MOST_ROWS) {
        out.literal("- ");
        out.text(node);
        out.literal("\n");
    }
    more(nodes.len(), out);
    out.literal("\n</details>\n");
}
