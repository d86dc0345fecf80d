//! Formats a status as text.

use crate::output::{OutputSink, TerminalWriter};
use crate::plan::KernelDifference;
use crate::ruleset::TableKind;
use crate::status::{CounterSource, EnforcementStatus, RuleCounter};

/// Maximum number of differences in the text. JSON lists all.
const MOST: usize = 50;

/// Column heads of the counter table.
const HEADS: [&str; 6] = ["PACKETS", "BYTES", "TIER", "POLICY", "RULE", "PLACE"];

impl EnforcementStatus {
    /// Prints whether the node is in sync, the differences, and the counter table.
    pub fn text(&self, out: &mut OutputSink<'_>) {
        let mut out = TerminalWriter::on(out);
        let Self {
            node,
            digest,
            sizes,
            ..
        } = self;
        match self.differences.len() {
            0 => out.line(format_args!("{node}: in sync")),
            1 => out.line(format_args!("{node}: drift, 1 difference")),
            several => out.line(format_args!("{node}: drift, {several} differences")),
        }
        let shown = self.differences.iter().take(MOST);
        shown
            .flat_map(KernelDifference::lines)
            .for_each(|line| out.indented(1, line));
        if let Some(more) = self
            .differences
            .len()
            .checked_sub(MOST)
            .filter(|more| *more > 0)
        {
            out.indented(
                1,
                format_args!("and {more} more, which `--format json` lists"),
            );
        }

        let (sets, members) = (sizes.sets, sizes.members);
        let (chains, rules) = (sizes.chains(), sizes.rules());
        let build = self.backend.label();
        out.text(format_args!(
            "scripts {digest}, iptables-{build}: {sets} sets, "
        ));
        out.line(format_args!(
            "{members} members, {chains} chains, {rules} rules"
        ));
        table(&self.counters, &mut out);
    }
}

fn table(counters: &[RuleCounter], out: &mut TerminalWriter<'_, '_>) {
    let rows: Vec<[String; 6]> = counters.iter().map(row).collect();
    if rows.is_empty() {
        return;
    }

    let heads = HEADS.map(str::to_owned);
    let all = || std::iter::once(&heads).chain(&rows);
    let width = |column: usize| {
        let cells = all().filter_map(|row| row.get(column));
        cells
            .map(|cell| cell.chars().count())
            .max()
            .unwrap_or_default()
    };
    out.literal("\n");
    for [packets, bytes, tier, policy, rule, place] in all() {
        let [a, b, c, d, e] = [0, 1, 2, 3, 4].map(width);
        let numbers = format!("{packets:>a$}  {bytes:>b$}");
        let line = format!("{numbers}  {tier:<c$}  {policy:<d$}  {rule:<e$}  {place}");
        out.line(line.trim_end());
    }
}

fn row(counter: &RuleCounter) -> [String; 6] {
    let (packets, bytes) = (
        counter.counters.packets.to_string(),
        counter.counters.bytes.to_string(),
    );
    // Most counters come from the filter table, so only other tables are named.
    let table = match counter.table {
        TableKind::Filter => String::new(),
        TableKind::Raw | TableKind::Mangle | TableKind::Security => {
            format!(" ({} table)", counter.table.label())
        }
    };

    let (tier, policy, rule) = match &counter.source {
        CounterSource::Rule {
            tier,
            policy,
            direction,
            number,
        } => (
            tier.as_deref().unwrap_or("-"),
            policy.as_str(),
            format!("{direction} {number}{table}"),
        ),
        CounterSource::TierEnd { tier, direction } => (
            tier.as_str(),
            "end of the tier",
            format!("{direction}{table}"),
        ),
        CounterSource::Spoofed { is_dropped } => {
            let fate = if *is_dropped {
                "dropped"
            } else {
                "only logged"
            };
            ("-", "source validation", format!("spoofed, {fate}{table}"))
        }
        CounterSource::Beside { chain, about } => ("-", chain.as_str(), format!("{about}{table}")),
    };

    [
        packets,
        bytes,
        tier.to_owned(),
        policy.to_owned(),
        rule,
        counter.place.clone().unwrap_or_default(),
    ]
}
