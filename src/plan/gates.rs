//! Gates: the sets that source validation matches before all other rules.
//!
//! A packet in such a set can only be dropped or logged because of it. While the chains up to that
//! match stay unchanged, this outcome does not depend on any other set or rule that a plan changes.
//! So a gate need not change together with other sets. It gains members before the other changes of
//! a plan, and loses members after them. Meanwhile it holds both the old and the new members:
//!
//! - What was denied stays denied. Before the other changes, the gate drops more than the old
//!   policy; after them, it drops more than the new policy.
//! - What was and will be allowed is in neither set of members, or its reverse path is right. It
//!   passes.
//!
//! Without gates, every pod or node that appears would make a plan write the raw table together
//! with the filter table, under a guard.

use std::collections::BTreeSet;

use crate::net::Family;
use crate::plan::tables::TableComparison;
use crate::plan::targets::SetTargets;
use crate::ruleset::{ParsedTable, RuleJump, RuleText, TableId, TableKind};

/// Palisade chains up to the match. The first begins with a jump to the second, for packets whose
/// reverse path is wrong.
const WAY: [&str; 2] = ["pal-PREROUTING", "pal-validate-source"];

/// The chain that handles packets with a wrong source.
const SPOOFED: &str = "pal-spoofed";

/// Returns the kernel names of the sets that only source validation references, in tables where its
/// rules stay unchanged.
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
    // A set that another rule references affects more than dropping and logging here.
    asked.difference(&elsewhere).copied().collect()
}

/// Returns whether a raw table begins with source validation and the plan writes none of its rules.
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

/// Returns whether packets meet source validation before all other Palisade rules, and its chains
/// do nothing else.
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

    // A negated match would turn a gain of members into a loss of drops.
    let is_plain = |rule: &RuleText| rule.looks().iter().all(|look| !look.is_negated);

    is_first
        && rules(validate)
            .iter()
            .all(|rule| goes(rule) && is_plain(rule))
        && rules(SPOOFED)
            .iter()
            .all(|rule| ends(rule) && rule.sets().is_empty())
}
