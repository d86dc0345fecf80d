//! A difference as a comment on a pull request.

use std::fmt::Write;

use crate::analysis::diff::{Change, Portion, Sole, State};
use crate::answers::diff::Comparison;

/// Names in a cell.
const MOST: usize = 5;
/// Rows of a table; a comment may have 65,536 characters.
const MOST_ROWS: usize = 50;

/// A summary, tables of what is gained and lost, and details to unfold.
pub fn markdown(comparison: &Comparison<'_, '_>) -> String {
    let difference = comparison.difference;
    let mut out = String::from("### Network policy\n\n");
    if difference.is_empty() {
        out.push_str("No connection is gained or lost.\n");
    } else {
        let _ = writeln!(out, "**{}**", escaped(&comparison.summary()));
    }
    table(comparison, ("Gained", State::New), &mut out);
    table(comparison, ("Lost", State::Old), &mut out);
    details(comparison, &mut out);
    soles(comparison, ("New endpoints", &difference.sole.new), &mut out);
    soles(comparison, ("Endpoints gone", &difference.sole.old), &mut out);
    let nodes = comparison.nodes.unwrap_or_default();
    if !nodes.is_empty() {
        let _ = writeln!(out, "\n<details><summary>Nodes whose scripts change: {}</summary>\n", nodes.len());
        for node in nodes.iter().take(MOST_ROWS) {
            let _ = writeln!(out, "- {}", escaped(&node.to_string()));
        }
        more(nodes.len(), &mut out);
        out.push_str("\n</details>\n");
    }
    out
}

fn of<'change, 'input>(change: &'change Change<'input>, state: State) -> &'change [Portion<'input>] {
    match state {
        State::New => &change.gained,
        State::Old => &change.lost,
    }
}

fn table(comparison: &Comparison<'_, '_>, (title, state): (&str, State), out: &mut String) {
    let rows: Vec<(&Change<'_>, &Portion<'_>)> =
        comparison.difference.changes.iter().flat_map(|change| of(change, state).iter().map(move |portion| (change, portion))).collect();
    if rows.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n#### {title}\n\n| from → to | {} | why |\n|---|---|---|", title.to_lowercase());
    for (change, portion) in rows.iter().take(MOST_ROWS) {
        let pairs = comparison.pairs(change, MOST);
        let pairs: Vec<String> = pairs.iter().map(|line| escaped(line)).collect();
        let reasons: Vec<String> =
            portion.reasons.iter().flat_map(|reason| comparison.reasons(reason)).map(|line| escaped(&line)).collect();
        let traffic = escaped(comparison.traffic(portion.traffic));
        let _ = writeln!(out, "| {} | {traffic} | {} |", pairs.join("<br>"), reasons.join("<br>"));
    }
    more(rows.len(), out);
}

fn more(rows: usize, out: &mut String) {
    if rows > MOST_ROWS {
        let _ = writeln!(out, "\n{} more are left out here; `palisade diff` lists all.", rows - MOST_ROWS);
    }
}

fn details(comparison: &Comparison<'_, '_>, out: &mut String) {
    let changes = &comparison.difference.changes;
    if changes.is_empty() {
        return;
    }
    out.push_str("\n<details><summary>Witness packets</summary>\n\n");
    for change in changes.iter().take(MOST_ROWS) {
        for (word, portion) in
            change.gained.iter().map(|portion| ("gained", portion)).chain(change.lost.iter().map(|portion| ("lost", portion)))
        {
            let _ = writeln!(out, "- {word}: {}", escaped(&comparison.witness(&portion.witness)));
        }
    }
    more(changes.len(), out);
    out.push_str("\n</details>\n");
}

fn soles(comparison: &Comparison<'_, '_>, (title, soles): (&str, &[Sole]), out: &mut String) {
    if soles.is_empty() {
        return;
    }
    let _ = writeln!(out, "\n<details><summary>{title}: {}</summary>\n", soles.iter().map(|sole| sole.peers.len()).sum::<usize>());
    for sole in soles.iter().take(MOST_ROWS) {
        let _ = writeln!(out, "- {}", escaped(&comparison.peers(&sole.peers, MOST)));
        for (word, rows) in [("from", &sole.connections.from), ("to", &sole.connections.to)] {
            for (traffic, peers) in rows {
                let (peers, traffic) = (escaped(&comparison.peers(peers, MOST)), escaped(comparison.traffic(*traffic)));
                let _ = writeln!(out, "  - {word} {peers}: {traffic}");
            }
        }
    }
    more(soles.len(), out);
    out.push_str("\n</details>\n");
}

/// Text that Markdown leaves as it is: a manifest's must not end a cell, make a link, or mention anyone.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            '@' => out.push_str("&#64;"),
            '#' => out.push_str("&#35;"),
            '|' | '\\' | '`' | '*' | '_' | '[' | ']' | '~' | '!' | '$' => {
                out.push('\\');
                out.push(letter);
            }
            letter if letter.is_control() => out.push(' '),
            letter => out.push(letter),
        }
    }
    out
}
