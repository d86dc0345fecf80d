//! Sets that source validation asks before all else.
//!
//! Packets that such a set holds can only be dropped for it, or logged, and whether they are does
//! not depend on any other set or rule that a plan changes: as long as the chains on the way there
//! stay. So a set of this sort need not change together with others. What it is to gain it gains
//! before the other changes of a plan, and what it is to lose it loses behind them. Meanwhile it
//! holds both:
//!
//! - What was denied is denied. Before the other changes, because more is dropped than until then;
//!   and behind them, because more is dropped than will be.
//! - What was allowed and will be allowed is in neither, or its route back is right. It passes.
//!
//! Without this, a pod or node that comes would have the raw table written with the filter table,
//! behind a guard.

use std::collections::BTreeSet;

use crate::net::Family;
use crate::plan::tables::TableComparison;
use crate::plan::targets::SetTargets;
use crate::ruleset::{ParsedTable, RuleJump, RuleText, TableId, TableKind};

/// Our chains on the way there: the first begins with a jump to the second, of packets whose route
/// back is wrong.
const WAY: [&str; 2] = ["pal-PREROUTING", "pal-validate-source"];

/// Where packets with a wrong source end.
const SPOOFED: &str = "pal-spoofed";

/// The names in the kernel of sets that only source validation looks into, where its rules stay.
pub(super) fn gate_sets<'all>(
    comparison: &TableComparison<'all>,
    targets: &SetTargets<'_>,
) -> BTreeSet<&'all str> {
    let families = Family::BOTH.into_iter();
    let raw = families.map(|family| TableId {
        family,
        kind: TableKind::Raw,
    });
    let standing: Vec<TableId> = raw.filter(|id| stays(*id, comparison, targets)).collect();

    let (mut asked, mut elsewhere) = (BTreeSet::new(), BTreeSet::new());
    for (id, table) in &comparison.observed.tables {
        for (chain, rules) in &table.chains {
            let [_, validate] = WAY;
            let is_gate = standing.contains(id) && chain == validate;
            let sets = rules.iter().flat_map(RuleText::sets);
            if is_gate {
                asked.extend(sets)
            } else {
                elsewhere.extend(sets)
            }
        }
        elsewhere.extend(table.hooks.iter().flat_map(|hook| hook.rule.sets()));
        elsewhere.extend(table.sets_of_others.iter().map(String::as_str));
    }
    asked.difference(&elsewhere).copied().collect()
}

/// Whether a raw table begins with source validation, and no rule of that is written.
fn stays(id: TableId, comparison: &TableComparison<'_>, targets: &SetTargets<'_>) -> bool {
    let (wanted, found) = comparison.tables(id);
    if ![wanted, found].into_iter().all(is_validating) {
        return false;
    }
    let change = comparison.change(id, &targets.moved());
    let is_asked = |name: &str| WAY.contains(&name) || name == SPOOFED;
    let is_written = change.chains.iter().any(|(name, _)| is_asked(name));
    !is_written && !change.hooks.iter().any(|hooks| hooks.chain == "PREROUTING")
}

/// Whether packets come by source validation before all else of ours, and meet nothing else there.
fn is_validating(table: &ParsedTable) -> bool {
    let [prerouting, validate] = WAY;
    let rules = |name: &str| table.chains.get(name).map_or(&[][..], Vec::as_slice);
    let goes = |rule: &RuleText| rule.leads() == Some(RuleJump::Goto(SPOOFED));
    let ends = |rule: &RuleText| {
        matches!(
            rule.leads(),
            Some(RuleJump::Jump("LOG" | "DROP" | "RETURN"))
        )
    };
    let is_first = rules(prerouting).first().is_some_and(|rule| {
        rule.leads() == Some(RuleJump::Jump(validate)) && rule.sets().is_empty()
    });

    let is_plain = |rule: &RuleText| rule.looks().iter().all(|look| !look.is_negated);

    is_first
        && rules(validate)
            .iter()
            .all(|rule| goes(rule) && is_plain(rule))
        && rules(SPOOFED)
            .iter()
            .all(|rule| ends(rule) && rule.sets().is_empty())
}
