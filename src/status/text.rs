//! A status for people.

use std::fmt;

use crate::script::TableKind;
use crate::status::{Counter, Source, Status};

/// The most differences that are told; JSON has them all.
const MOST: usize = 50;

/// Heads of the columns.
const HEADS: [&str; 6] = ["PACKETS", "BYTES", "TIER", "POLICY", "RULE", "PLACE"];

impl fmt::Display for Status {
    /// Whether it is in sync, what differs, and the table of counters.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { node, digest, sizes, .. } = self;
        match self.differences.len() {
            0 => writeln!(out, "{node}: in sync")?,
            1 => writeln!(out, "{node}: drift, 1 difference")?,
            several => writeln!(out, "{node}: drift, {several} differences")?,
        }
        self.differences.iter().take(MOST).try_for_each(|difference| write_indented(&difference.to_string(), out))?;
        if let Some(more) = self.differences.len().checked_sub(MOST).filter(|more| *more > 0) {
            writeln!(out, "  and {more} more, which `--format json` lists")?;
        }
        writeln!(
            out,
            "scripts {digest}, iptables-{}: {} sets, {} members, {} chains, {} rules",
            self.backend.word(),
            sizes.sets,
            sizes.members,
            sizes.chains(),
            sizes.rules()
        )?;
        table(&self.counters, out)
    }
}

fn write_indented(text: &str, out: &mut fmt::Formatter<'_>) -> fmt::Result {
    text.lines().try_for_each(|line| writeln!(out, "  {line}"))
}

fn table(counters: &[Counter], out: &mut fmt::Formatter<'_>) -> fmt::Result {
    let rows: Vec<[String; 6]> = counters.iter().map(row).collect();
    if rows.is_empty() {
        return Ok(());
    }
    let heads = HEADS.map(str::to_owned);
    let all = || std::iter::once(&heads).chain(&rows);
    let width = |column: usize| all().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max().unwrap_or_default();
    out.write_str("\n")?;
    for [packets, bytes, tier, policy, rule, place] in all() {
        let [a, b, c, d, e] = [0, 1, 2, 3, 4].map(width);
        let line = format!("{packets:>a$}  {bytes:>b$}  {tier:<c$}  {policy:<d$}  {rule:<e$}  {place}");
        writeln!(out, "{}", line.trim_end())?;
    }
    Ok(())
}

fn row(counter: &Counter) -> [String; 6] {
    let (packets, bytes) = (counter.counters.packets.to_string(), counter.counters.bytes.to_string());
    let table = match counter.table {
        TableKind::Filter => String::new(),
        TableKind::Raw | TableKind::Mangle | TableKind::Security => format!(" ({} table)", counter.table.word()),
    };
    let (tier, policy, rule) = match &counter.source {
        Source::Rule { tier, policy, direction, number } => {
            (tier.as_deref().unwrap_or("-"), policy.as_str(), format!("{direction} {number}{table}"))
        }
        Source::TierEnd { tier, direction } => (tier.as_str(), "end of the tier", format!("{direction}{table}")),
        Source::Beside { chain, about } => ("-", chain.as_str(), format!("{about}{table}")),
    };
    [packets, bytes, tier.to_owned(), policy.to_owned(), rule, counter.place.clone().unwrap_or_default()]
}
