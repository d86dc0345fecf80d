//! What a node's kernel holds beside what its bundle says, and how often each policy rule took a
//! packet.
//!
//! In: the scripts, what was [`ObservedKernel`], and the [`KernelDifference`]s that a plan found.
//! Out: a [`EnforcementStatus`], as text, JSON and Prometheus metrics. Absent: the kernel, and any
//! repair.
//!
//! Policy is asked about the packets that begin a connection; those behind them are `known
//! connections`. So a rule's count is of connections, and of attempts where it denies. Counts of a
//! chain begin anew when it is written.
//!
//! Cost: linear in the rules.

mod counters;
mod json;
mod layout;
mod prometheus;
mod text;

pub use counters::{CounterSource, PolicyPlaces, RuleCounter};

use std::collections::BTreeMap;

use crate::observe::{IptablesBackend, ObservedKernel};
use crate::plan::{DesiredKernel, KernelDifference};
use crate::ruleset::TableId;

/// What a look at a node brought.
#[derive(Debug, Clone, Copy)]
pub struct NodeInspection<'look> {
    /// The node.
    pub node: &'look str,
    /// What tells its scripts from others.
    pub digest: &'look str,
    /// The build of iptables that was asked.
    pub backend: IptablesBackend,
    /// The scripts, taken apart.
    pub desired: &'look DesiredKernel,
    /// The texts of the tables' scripts.
    pub scripts: &'look BTreeMap<TableId, &'look str>,
    /// What the kernel holds.
    pub observed: &'look ObservedKernel,
    /// How it differs.
    pub differences: &'look [KernelDifference],
    /// Where policy rules stand, as far as somebody knows.
    pub places: &'look PolicyPlaces,
}

/// A node's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnforcementStatus {
    /// The node.
    pub node: String,
    /// What tells its scripts from others.
    pub digest: String,
    /// The build of iptables that was asked.
    pub backend: IptablesBackend,
    /// How the kernel differs from the scripts; nothing where it is in sync.
    pub differences: Vec<KernelDifference>,
    /// What of ours the kernel holds.
    pub sizes: StateSizes,
    /// Packets by policy rule, in the order in which packets meet them.
    pub counters: Vec<RuleCounter>,
}

/// How much of ours there is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StateSizes {
    /// Sets.
    pub sets: usize,
    /// Members of all sets.
    pub members: usize,
    /// Chains and rules, by table.
    pub tables: BTreeMap<TableId, (usize, usize)>,
}

impl EnforcementStatus {
    /// What a look says.
    pub fn new(look: &NodeInspection<'_>) -> Self {
        Self {
            node: look.node.to_owned(),
            digest: look.digest.to_owned(),
            backend: look.backend,
            differences: look.differences.to_vec(),
            sizes: StateSizes::new(look.observed),
            counters: counters::counters(look),
        }
    }

    /// Whether the kernel holds exactly what the scripts say.
    pub fn is_in_sync(&self) -> bool {
        self.differences.is_empty()
    }
}

impl StateSizes {
    fn new(observed: &ObservedKernel) -> Self {
        let tables = observed
            .tables
            .iter()
            .filter(|(_, table)| !table.chains.is_empty());

        Self {
            sets: observed.sets.len() + observed.unlisted.len(),
            members: observed.sets.values().map(|set| set.members.len()).sum(),
            tables: tables
                .map(|(id, table)| {
                    (
                        *id,
                        (
                            table.chains.len(),
                            table.chains.values().map(Vec::len).sum(),
                        ),
                    )
                })
                .collect(),
        }
    }

    /// Chains of all tables.
    pub fn chains(&self) -> usize {
        self.tables.values().map(|(chains, _)| chains).sum()
    }

    /// Rules of all tables.
    pub fn rules(&self) -> usize {
        self.tables.values().map(|(_, rules)| rules).sum()
    }
}

#[cfg(test)]
mod tests;
