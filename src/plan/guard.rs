//! The transition guard: a copy of the desired filter table in the security table. Packets traverse
//! the security table after the filter table. So the guard drops what the desired policy denies,
//! and a packet that it accepts must have passed the filter table, too.
//!
//! Cost: a second filter table.

use std::collections::BTreeMap;

use crate::net::Family;
use crate::observe::ObservedKernel;
use crate::plan::DesiredKernel;
use crate::plan::tables::{TableComparison, are_equal, copied};
use crate::plan::targets::{SetTargets, SlotNames};
use crate::ruleset::{ParsedTable, RuleText, TableId, TableKind};

/// Transactions that install and remove a guard.
#[derive(Debug)]
pub(super) struct TransitionGuard {
    /// Installs the guard. Empty if it is installed already.
    pub(super) on: String,
    /// Removes the guard's hooks and rules, so that no packet enters its chains.
    pub(super) off: String,
    /// Deletes its chains.
    pub(super) removal: String,
    /// Number of its chains.
    pub(super) chains: usize,
    /// Whether it replaces another guard, which denied packets that the filter table does not deny.
    pub(super) is_replaced: bool,
}

impl TransitionGuard {
    /// Builds the guard of a family, for the desired filter table.
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

        // A left-over guard that is part of the filter table denies nothing beyond that table.
        let is_replaced =
            !on.is_empty() && !left.hooks.is_empty() && !is_part(left, comparison.tables(filter).1);
        // The removal is planned from the state after the installation.
        let observed = ObservedKernel {
            tables: BTreeMap::from([(id, behind(&put, id))]),
            ..ObservedKernel::default()
        };
        // The desired state of a rollback may contain a guard, which then stays.
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

/// Returns the security table as it is once the guard is installed. Its left-over chains have no
/// rules then.
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

/// Returns whether a table does nothing that another one does not do, too.
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
