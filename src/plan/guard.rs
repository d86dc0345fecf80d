//! A copy of the filter table that is to be, behind the one that is: in the security table, whose
//! chains packets pass behind the filter table's. What it denies is denied, and what it accepts
//! must have passed the filter table too.
//!
//! Cost: the filter table once more.

use std::collections::BTreeMap;

use crate::net::Family;
use crate::observe::ObservedKernel;
use crate::plan::DesiredKernel;
use crate::plan::tables::{TableComparison, are_equal, copied};
use crate::plan::targets::{SetTargets, SlotNames};
use crate::ruleset::{ParsedTable, RuleText, TableId, TableKind};

/// Transactions that put it up and take it away.
#[derive(Debug)]
pub(super) struct TransitionGuard {
    /// Puts it up; empty where it stands already.
    pub(super) on: String,
    /// Takes it away: nothing comes by its chains any more.
    pub(super) off: String,
    /// Removes its chains.
    pub(super) removal: String,
    /// How many chains these are.
    pub(super) chains: usize,
    /// Whether it takes the place of another one, which denied what the filter table does not.
    pub(super) is_replaced: bool,
}

impl TransitionGuard {
    /// The guard of a family, for what is to be.
    pub(super) fn new(
        family: Family,
        comparison: &TableComparison<'_>,
        targets: &SetTargets<'_>,
    ) -> Self {
        let [id, filter] =
            [TableKind::Security, TableKind::Filter].map(|kind| TableId { family, kind });
        let (_, left) = comparison.tables(id);
        let copy = copied(comparison.tables(filter).0, &targets.moved());
        let desired = DesiredKernel {
            tables: BTreeMap::from([(id, copy)]),
            ..DesiredKernel::default()
        };
        let put = TableComparison {
            desired: &desired,
            observed: comparison.observed,
            memory: None,
        };
        let change = put.change(id, &SlotNames::new());
        let (mut on, mut off, mut removal) = (String::new(), String::new(), String::new());

        if change.is_commit() {
            change.write(&mut on);
        }

        let is_replaced =
            !on.is_empty() && !left.hooks.is_empty() && !is_part(left, comparison.tables(filter).1);
        let observed = ObservedKernel {
            tables: BTreeMap::from([(id, behind(&put, id))]),
            ..ObservedKernel::default()
        };
        // a state that is brought back may have had a guard
        let before = copied(comparison.tables(id).0, &targets.moved());
        let before = DesiredKernel {
            tables: BTreeMap::from([(id, before)]),
            ..DesiredKernel::default()
        };

        let taken = TableComparison {
            desired: &before,
            observed: &observed,
            memory: None,
        }
        .change(id, &SlotNames::new());
        taken.write(&mut off);
        taken.remove(&mut removal);

        Self {
            on,
            off,
            removal,
            chains: taken.unwanted.len(),
            is_replaced,
        }
    }
}

/// The table when it is put up: chains that were left there have no rules then.
fn behind(put: &TableComparison<'_>, id: TableId) -> ParsedTable {
    let (copy, left) = put.tables(id);
    let mut table = copy.clone();
    for name in left.chains.keys() {
        table.chains.entry(name.clone()).or_default();
    }

    let of_others = left
        .hooks
        .iter()
        .filter(|hook| !id.kind.built_in().contains(&hook.from.as_str()));
    table.hooks.extend(of_others.cloned());
    table
}

/// Whether all that a table does another one does, too.
fn is_part(table: &ParsedTable, of: &ParsedTable) -> bool {
    let mut chains = table.chains.iter();
    let mut hooks = table.hooks.iter();
    chains.all(|(name, own)| {
        of.chains
            .get(name)
            .is_some_and(|others| are_equal(&each(own), &each(others)))
    }) && hooks.all(|hook| {
        of.hooks
            .iter()
            .any(|other| other.from == hook.from && other.rule.does_same(&hook.rule))
    })
}

fn each(rules: &[RuleText]) -> Vec<&RuleText> {
    rules.iter().collect()
}
