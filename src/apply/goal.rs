//! What the kernel is to hold after a run, and which part of it counts.

use crate::apply::state_store::{self, Remembered};
use crate::apply::{Error, Node, Outcome, Wanted, scope};
use crate::observe::{Observed, Scope, Tools, kernel};
use crate::plan::{Desired, Memory};
use crate::ruleset::TableKind;

/// What the kernel is to hold.
#[derive(Debug, Clone, Copy)]
pub(super) struct Goal<'goal> {
    pub(super) desired: &'goal Desired,
    pub(super) node: &'goal str,
    scripts: &'goal str,
    pub(super) early: bool,
    pub(super) sort: Sort,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Sort {
    /// A bundle's sets and chains.
    Bundle,
    /// Nothing of ours.
    Nothing,
    /// No chains of ours; sets stay.
    NoChains,
    /// What was observed before a run.
    Before {
        /// In these tables.
        scope: Scope,
        /// And whether sets were looked at, too.
        has_sets: bool,
    },
}

impl<'goal> Goal<'goal> {
    pub(super) fn of(wanted: &'goal Wanted) -> Self {
        let early = wanted.has_early_tables();
        Self {
            desired: &wanted.desired,
            node: &wanted.node,
            scripts: &wanted.scripts,
            early,
            sort: Sort::Bundle,
        }
    }

    /// Nothing of ours.
    pub(super) fn nothing(nothing: &'goal Desired) -> Self {
        Self {
            desired: nothing,
            node: "",
            scripts: "",
            early: false,
            sort: Sort::Nothing,
        }
    }

    /// No chains of ours.
    pub(super) fn no_chains(nothing: &'goal Desired) -> Self {
        Self {
            sort: Sort::NoChains,
            ..Self::nothing(nothing)
        }
    }

    /// What was observed in a scope before a run, with sets or without.
    pub(super) fn before(before: &'goal Desired, scope: Scope, has_sets: bool) -> Self {
        Self {
            sort: Sort::Before { scope, has_sets },
            ..Self::nothing(before)
        }
    }

    /// Which tables are looked at.
    pub(super) fn scope(&self, last: Option<&Remembered>) -> Scope {
        match self.sort {
            Sort::Bundle => scope(last, self.early),
            Sort::Nothing | Sort::NoChains => Scope::All,
            Sort::Before { scope, .. } => scope,
        }
    }

    /// The kernel as far as it matters.
    pub(super) fn see(
        &self,
        node: &mut Node<'_>,
        tools: Tools,
        scope: Scope,
    ) -> Result<Observed, Error> {
        let observed = kernel(node.runner, tools, scope).map_err(Error::Kernel)?;
        match self.sort {
            Sort::Bundle | Sort::Nothing | Sort::Before { has_sets: true, .. } => Ok(observed),
            Sort::NoChains
            | Sort::Before {
                has_sets: false, ..
            } => Ok(Observed {
                tables: observed.tables,
                ..Observed::default()
            }),
        }
    }
}

impl Goal<'_> {
    /// Keeps in mind what was written. Where that fails, the next apply writes more than it must.
    pub(super) fn remember(
        &self,
        node: &mut Node<'_>,
        (last, memory): (Option<&Remembered>, Memory),
        observed: &Observed,
        outcome: &mut Outcome,
    ) {
        if self.sort != Sort::Bundle {
            return;
        }
        let memory = Memory {
            node: self.node.to_owned(),
            scripts: self.scripts.to_owned(),
            ..memory
        };
        let now = Remembered {
            early: has_early_tables(observed),
            memory,
        };
        if last != Some(&now) {
            let kept = state_store::remember(node.runner, &now);
            outcome.left.extend(
                kept.err()
                    .map(|failure| format!("keep in mind what was written: {failure}")),
            );
        }
    }
}

fn has_early_tables(observed: &Observed) -> bool {
    observed
        .tables
        .iter()
        .any(|(id, table)| id.kind != TableKind::Filter && !table.is_empty())
}
