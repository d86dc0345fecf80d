//! The desired state of a node's kernel, parsed from a bundle's scripts.

use std::collections::{BTreeMap, BTreeSet};

use crate::ruleset::{
    CheckedRule, CheckedScripts, CheckedTable, HookRule, KernelContents, ParsedSets, ParsedTable,
    RulePosition, RuleText, TableId,
};

/// The desired state of the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DesiredKernel {
    /// Sets, by their own names (not slots).
    pub sets: ParsedSets,
    /// Palisade's part of each table. A table that is absent here should contain nothing of
    /// Palisade.
    pub tables: BTreeMap<TableId, ParsedTable>,
    /// Sets that stay as they are, by their kernel names. Rules reference them, and Palisade cannot
    /// recreate them: `ipset` cannot list them, or they have a type that Palisade does not create.
    /// Empty for every bundle.
    pub untouched: BTreeSet<String>,
}

impl DesiredKernel {
    /// Converts a node's checked scripts.
    pub fn from_scripts(scripts: CheckedScripts) -> Self {
        Self::of_holdings(scripts.into_holdings())
    }

    pub(crate) fn of_holdings(holdings: KernelContents) -> Self {
        let (sets, tables) = holdings.into_parts();
        let tables = tables
            .iter()
            .map(|(id, table)| (*id, table_of(table)))
            .collect();
        Self {
            sets,
            tables,
            untouched: BTreeSet::new(),
        }
    }
}

fn table_of(checked: &CheckedTable) -> ParsedTable {
    let rules = |rules: &Vec<CheckedRule>| rules.iter().map(rule_of).collect();
    let chains = checked
        .chains
        .iter()
        .map(|(name, own)| (name.clone(), rules(own)))
        .collect();
    let mut table = ParsedTable {
        chains,
        ..ParsedTable::default()
    };

    for (chain, rules) in checked
        .built_in
        .iter()
        .filter(|(_, rules)| !rules.is_empty())
    {
        table.lengths.insert((*chain).to_owned(), rules.len());
        for (number, rule) in (1..).zip(rules) {
            let place = if rule.is_at_head {
                RulePosition::Head
            } else {
                RulePosition::Number(number)
            };
            let hook = HookRule {
                from: (*chain).to_owned(),
                rule: rule_of(rule),
                place,
            };
            table.hooks.push(hook);
        }
    }

    table
}

fn rule_of(rule: &CheckedRule) -> RuleText {
    RuleText::new(&rule.text)
}
