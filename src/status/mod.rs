//! What a node's kernel holds beside what its bundle says, and how often each policy rule took a
//! packet.
//!
//! In: the scripts, what was [`Observed`], and the [`Difference`]s that a plan found. Out: a
//! [`Status`], as text, JSON and Prometheus metrics. Absent: the kernel, and any repair.
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

pub use counters::{Counter, Places, Source};

use std::collections::BTreeMap;

use crate::observe::{Backend, Observed};
use crate::plan::{Desired, Difference};
use crate::ruleset::TableId;

/// What a look at a node brought.
#[derive(Debug, Clone, Copy)]
pub struct Look<'look> {
    /// The node.
    pub node: &'look str,
    /// What tells its scripts from others.
    pub digest: &'look str,
    /// The build of iptables that was asked.
    pub backend: Backend,
    /// The scripts, taken apart.
    pub desired: &'look Desired,
    /// The texts of the tables' scripts.
    pub scripts: &'look BTreeMap<TableId, &'look str>,
    /// What the kernel holds.
    pub observed: &'look Observed,
    /// How it differs.
    pub differences: &'look [Difference],
    /// Where policy rules stand, as far as somebody knows.
    pub places: &'look Places,
}

/// A node's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The node.
    pub node: String,
    /// What tells its scripts from others.
    pub digest: String,
    /// The build of iptables that was asked.
    pub backend: Backend,
    /// How the kernel differs from the scripts; nothing where it is in sync.
    pub differences: Vec<Difference>,
    /// What of ours the kernel holds.
    pub sizes: Sizes,
    /// Packets by policy rule, in the order in which packets meet them.
    pub counters: Vec<Counter>,
}

/// How much of ours there is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sizes {
    /// Sets.
    pub sets: usize,
    /// Members of all sets.
    pub members: usize,
    /// Chains and rules, by table.
    pub tables: BTreeMap<TableId, (usize, usize)>,
}

impl Status {
    /// What a look says.
    pub fn of(look: &Look<'_>) -> Self {
        Self {
            node: look.node.to_owned(),
            digest: look.digest.to_owned(),
            backend: look.backend,
            differences: look.differences.to_vec(),
            sizes: Sizes::of(look.observed),
            counters: counters::of(look),
        }
    }

    /// Whether the kernel holds exactly what the scripts say.
    pub fn is_in_sync(&self) -> bool {
        self.differences.is_empty()
    }
}

impl Sizes {
    fn of(observed: &Observed) -> Self {
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
