//! What a kernel held of ours, as a state that a plan can bring back.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use crate::observe::Observed;
use crate::plan::Desired;
use crate::plan::set_references::Looks;
use crate::plan::slots::base;
use crate::ruleset::{Hook, PREFIX, Place, Rule, Sets, Table, TableId, is_ours};

/// Hexadecimal digits of the name of a second set of one name; it stays within 31 characters.
const DIGITS: usize = 16;

/// Names in the kernel, and the names under which a plan is to keep these sets.
type Names<'observed> = BTreeMap<&'observed str, String>;

impl Desired {
    /// The state that was observed, for a plan that brings it back.
    ///
    /// Sets have their own names again, so that the planner is free to choose where each is filled.
    /// A set of which rules look into two copies with different members becomes two sets. Jumps
    /// from chains of others are theirs, and left out. What no rule looks into is policy of no
    /// packet: of such copies the first is kept.
    ///
    /// Cost: linear in the rules and sets.
    pub fn of_kernel(observed: &Observed) -> Self {
        let looks = Looks::of(&observed.tables);
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

    /// Whether it holds nothing.
    pub fn is_empty(&self) -> bool {
        self.sets.is_empty() && self.tables.values().all(Table::is_empty)
    }
}

/// The sets under the names that they are to have, and these names.
fn named<'observed>(
    observed: &'observed Observed,
    looks: &Looks<'_>,
    untouched: &BTreeSet<String>,
) -> (Sets, Names<'observed>) {
    let (mut sets, mut names) = (Sets::new(), Names::new());
    let makeable = observed.sets.iter().filter(|(_, set)| set.kind.is_some());
    let (live, idle): (Vec<_>, Vec<_>) = makeable.partition(|(slot, _)| looks.has(slot));
    for (slot, set) in live {
        let own = base(slot);
        let is_taken = untouched.contains(&own) || sets.get(&own).is_some_and(|other| other != set);
        let name = if is_taken { apart(slot) } else { own };
        sets.insert(name.clone(), set.clone());
        names.insert(slot, name);
    }
    for (slot, set) in idle {
        let own = base(slot);
        if !untouched.contains(&own) {
            sets.entry(own).or_insert_with(|| set.clone());
        }
    }
    (sets, names)
}

/// A name for a copy whose own name is another set's.
fn apart(slot: &str) -> String {
    let digest = Sha256::digest(slot.as_bytes());
    let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{PREFIX}kept-{}", digits.get(..DIGITS).unwrap_or_default())
}

/// Our part of a table, with the sets' own names, and each jump at its number.
fn renamed(id: TableId, table: &Table, names: &Names<'_>) -> Table {
    let name = |slot: &str| names.get(slot).cloned().unwrap_or_else(|| slot.to_owned());
    let rule = |rule: &Rule| rule.with_sets(name);
    let chains = table.chains.iter();
    let chains = chains.map(|(chain, rules)| (chain.clone(), rules.iter().map(rule).collect()));
    let own = table
        .hooks
        .iter()
        .filter(|hook| id.kind.built_in().contains(&hook.from.as_str()));
    let hooks = own.map(|hook| {
        let number = match hook.place {
            Place::Head => 1,
            Place::Number(number) | Place::At(number) => number,
        };
        Hook {
            from: hook.from.clone(),
            rule: rule(&hook.rule),
            place: Place::At(number),
        }
    });
    Table {
        chains: chains.collect(),
        hooks: hooks.collect(),
        ..Table::default()
    }
}
