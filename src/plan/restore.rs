//! Converts what a kernel holds of Palisade into a state that a plan can restore.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use crate::observe::ObservedKernel;
use crate::plan::DesiredKernel;
use crate::plan::set_references::SetReferences;
use crate::plan::slots::base;
use crate::ruleset::{
    HookRule, PREFIX, ParsedSets, ParsedTable, RulePosition, RuleText, TableId, is_ours,
};

/// Hexadecimal digits in the name of a second set with the same base name. The name stays within
/// the kernel's limit of 31 characters.
const DIGITS: usize = 16;

/// Kernel names of sets, and the names under which a plan should keep them.
type RestoreNames<'observed> = BTreeMap<&'observed str, String>;

impl DesiredKernel {
    /// Returns the observed state as a desired state, so that a plan can restore it.
    ///
    /// Sets get their own names again, and the planner is free to choose the slot that it fills. If
    /// rules reference two slots of a set with different members, each becomes a set. Hooks from
    /// foreign chains are not Palisade's and are left out. Unreferenced slots affect no packet; of
    /// these, only the first is kept.
    ///
    /// Cost: linear in the rules and sets.
    pub fn of_kernel(observed: &ObservedKernel) -> Self {
        let looks = SetReferences::collect(&observed.tables);
        // `ipset` cannot list the set, or Palisade does not create its type.
        let is_unmakeable = |slot: &str| {
            observed.sets.get(slot).is_none_or(|set| set.kind.is_none()) && is_ours(slot)
        };
        let untouched: BTreeSet<String> = looks
            .sets()
            .filter(|slot| is_unmakeable(slot))
            .map(str::to_owned)
            .collect();

        let (sets, names) = named(observed, &looks, &untouched);
        let tables = observed
            .tables
            .iter()
            .map(|(id, table)| (*id, renamed(*id, table, &names)));
        Self {
            sets,
            tables: tables.collect(),
            untouched,
        }
    }

    /// Returns whether the state contains no sets, chains or hooks.
    pub fn is_empty(&self) -> bool {
        self.sets.is_empty() && self.tables.values().all(ParsedTable::is_empty)
    }
}

/// Returns the sets under the names that they should get, and the map of these names.
fn named<'observed>(
    observed: &'observed ObservedKernel,
    looks: &SetReferences<'_>,
    untouched: &BTreeSet<String>,
) -> (ParsedSets, RestoreNames<'observed>) {
    let (mut sets, mut names) = (ParsedSets::new(), RestoreNames::new());
    let makeable = observed.sets.iter().filter(|(_, set)| set.kind.is_some());
    let (live, idle): (Vec<_>, Vec<_>) = makeable.partition(|(slot, _)| looks.has(slot));

    for (slot, set) in live {
        let own = base(slot);
        let is_taken = untouched.contains(&own) || sets.get(&own).is_some_and(|other| other != set);
        let name = if is_taken { restored_name(slot) } else { own };
        sets.insert(name.clone(), set.clone());
        names.insert(slot, name);
    }

    // Unreferenced slots affect no packet. One per name is enough.
    for (slot, set) in idle {
        let own = base(slot);
        if !untouched.contains(&own) {
            sets.entry(own).or_insert_with(|| set.clone());
        }
    }

    (sets, names)
}

/// Returns a name for a slot whose base name belongs to another set.
fn restored_name(slot: &str) -> String {
    let digest = Sha256::digest(slot.as_bytes());
    let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{PREFIX}kept-{}", digits.get(..DIGITS).unwrap_or_default())
}

/// Returns Palisade's part of a table with the sets' own names and each hook at its exact number.
fn renamed(id: TableId, table: &ParsedTable, names: &RestoreNames<'_>) -> ParsedTable {
    let name = |slot: &str| names.get(slot).cloned().unwrap_or_else(|| slot.to_owned());
    let rule = |rule: &RuleText| rule.with_sets(name);
    let chains = table.chains.iter();
    let chains = chains.map(|(chain, rules)| (chain.clone(), rules.iter().map(rule).collect()));
    let own = table
        .hooks
        .iter()
        .filter(|hook| id.kind.built_in().contains(&hook.from.as_str()));
    let hooks = own.map(|hook| {
        let number = match hook.place {
            RulePosition::Head => 1,
            RulePosition::Number(number) | RulePosition::At(number) => number,
        };
        HookRule {
            from: hook.from.clone(),
            rule: rule(&hook.rule),
            place: RulePosition::At(number),
        }
    });

    ParsedTable {
        chains: chains.collect(),
        hooks: hooks.collect(),
        ..ParsedTable::default()
    }
}
