//! The goal of a run, and which part of the kernel state counts for it.

use crate::apply::state_store::{self, AppliedState};
use crate::apply::{ApplyError, ApplyOutcome, ApplyTarget, TargetBundle, scope};
use crate::observe::{ObservedKernel, TableScope, ToolSettings, kernel};
use crate::plan::{DesiredKernel, PrintCache};
use crate::ruleset::TableKind;

/// The goal of a run.
#[derive(Debug, Clone, Copy)]
pub(super) struct ConvergenceGoal<'goal> {
    pub(super) desired: &'goal DesiredKernel,
    pub(super) node: &'goal str,
    scripts: &'goal str,
    pub(super) early: bool,
    pub(super) sort: GoalKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GoalKind {
    /// The sets and chains of a bundle.
    Bundle,
    /// Nothing of Palisade.
    Nothing,
    /// No Palisade chains; sets stay.
    NoChains,
    /// The state that was observed before a run.
    Before {
        /// The tables that were read.
        scope: TableScope,
        /// Whether sets were read, too.
        has_sets: bool,
    },
}

impl<'goal> ConvergenceGoal<'goal> {
    pub(super) fn for_target(wanted: &'goal TargetBundle) -> Self {
        let early = wanted.has_early_tables();
        Self {
            desired: &wanted.desired,
            node: &wanted.node,
            scripts: &wanted.scripts,
            early,
            sort: GoalKind::Bundle,
        }
    }

    /// Goal: nothing of Palisade. `nothing` is the empty state.
    pub(super) fn nothing(nothing: &'goal DesiredKernel) -> Self {
        Self {
            desired: nothing,
            node: "",
            scripts: "",
            early: false,
            sort: GoalKind::Nothing,
        }
    }

    /// Goal: no Palisade chains. `nothing` is the empty state.
    pub(super) fn no_chains(nothing: &'goal DesiredKernel) -> Self {
        Self {
            sort: GoalKind::NoChains,
            ..Self::nothing(nothing)
        }
    }

    /// Goal: the state observed before a run, in these tables, with or without sets.
    pub(super) fn before(before: &'goal DesiredKernel, scope: TableScope, has_sets: bool) -> Self {
        Self {
            sort: GoalKind::Before { scope, has_sets },
            ..Self::nothing(before)
        }
    }

    /// Returns which tables to read.
    pub(super) fn scope(&self, last: Option<&AppliedState>) -> TableScope {
        match self.sort {
            GoalKind::Bundle => scope(last, self.early),
            GoalKind::Nothing | GoalKind::NoChains => TableScope::All,
            GoalKind::Before { scope, .. } => scope,
        }
    }

    /// Reads the part of the kernel state that counts.
    pub(super) fn observe(
        &self,
        node: &mut ApplyTarget<'_>,
        tools: ToolSettings,
        scope: TableScope,
    ) -> Result<ObservedKernel, ApplyError> {
        let observed = kernel(node.runner, tools, scope).map_err(ApplyError::Kernel)?;
        match self.sort {
            GoalKind::Bundle | GoalKind::Nothing | GoalKind::Before { has_sets: true, .. } => {
                Ok(observed)
            }
            GoalKind::NoChains
            | GoalKind::Before {
                has_sets: false, ..
            } => Ok(ObservedKernel {
                tables: observed.tables,
                ..ObservedKernel::default()
            }),
        }
    }
}

impl ConvergenceGoal<'_> {
    /// Records what was written. If that fails, the next apply writes more than necessary.
    pub(super) fn remember(
        &self,
        node: &mut ApplyTarget<'_>,
        last: Option<&AppliedState>,
        memory: PrintCache,
        observed: &ObservedKernel,
        outcome: &mut ApplyOutcome,
    ) {
        if self.sort != GoalKind::Bundle {
            return;
        }

        let memory = PrintCache {
            node: self.node.to_owned(),
            scripts: self.scripts.to_owned(),
            ..memory
        };

        let now = AppliedState {
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

fn has_early_tables(observed: &ObservedKernel) -> bool {
    observed
        .tables
        .iter()
        .any(|(id, table)| id.kind != TableKind::Filter && !table.is_empty())
}
