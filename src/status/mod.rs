//! Compares a node's kernel with its bundle, and counts the packets of each policy rule.
//!
//! In: the scripts, an [`ObservedKernel`], and the [`KernelDifference`]s of a plan. Out: an
//! [`EnforcementStatus`], as text, JSON and Prometheus metrics. Absent: the kernel, and any repair.
//!
//! Policy rules see only the first packets of connections; later packets match the rules for known
//! connections. So the count of a rule is a number of connections, or of attempts if it denies. The
//! counts of a chain restart at 0 when it is written.
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

/// The inputs of a status.
#[derive(Debug, Clone, Copy)]
pub struct NodeInspection<'look> {
    /// The node's name.
    pub node: &'look str,
    /// Digest of the scripts.
    pub digest: &'look str,
    /// The iptables build that was called.
    pub backend: IptablesBackend,
    /// The desired state, parsed from the scripts.
    pub desired: &'look DesiredKernel,
    /// The texts of the tables' scripts.
    pub scripts: &'look BTreeMap<TableId, &'look str>,
    /// The observed state.
    pub observed: &'look ObservedKernel,
    /// Differences between the two states.
    pub differences: &'look [KernelDifference],
    /// Source positions of the policy rules, as far as known.
    pub places: &'look PolicyPlaces,
}

/// The status of a node.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnforcementStatus {
    /// The node's name.
    pub node: String,
    /// Digest of the scripts.
    pub digest: String,
    /// The iptables build that was called.
    pub backend: IptablesBackend,
    /// Differences from the scripts. Empty if the kernel is in sync.
    pub differences: Vec<KernelDifference>,
    /// Sizes of Palisade's state in the kernel.
    pub sizes: StateSizes,
    /// Counters by policy rule, in packet order.
    pub counters: Vec<RuleCounter>,
}

/// Sizes of Palisade's state in the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StateSizes {
    /// Number of sets.
    pub sets: usize,
    /// Number of members in all sets.
    pub members: usize,
    /// Number of chains and rules, by table.
    pub tables: BTreeMap<TableId, (usize, usize)>,
}

impl EnforcementStatus {
    /// Builds the status from an inspection.
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

    /// Returns whether the kernel holds exactly what the scripts specify.
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
            // Unlisted sets exist, too, but their members are unknown.
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

    /// Returns the number of chains in all tables.
    pub fn chains(&self) -> usize {
        self.tables.values().map(|(chains, _)| chains).sum()
    }

    /// Returns the number of rules in all tables.
    pub fn rules(&self) -> usize {
        self.tables.values().map(|(_, rules)| rules).sum()
    }
}

#[cfg(test)]
mod tests;
