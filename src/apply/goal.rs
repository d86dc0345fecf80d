//! What the kernel is to hold after a run, and which part of it counts.

use crate::apply::state_store::{self, AppliedState};
use crate::apply::{ApplyError, ApplyOutcome, ApplyTarget, TargetBundle, scope};
use crate::observe::{ObservedKernel, TableScope, ToolSettings, kernel};
use crate::plan::{DesiredKernel, PrintCache};
use crate::ruleset::TableKind;

/// What the kernel is to hold.
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
    /// A bundle's sets and chains.
    Bundle,
    /// Nothing of ours.
    Nothing,
    /// No chains of ours; sets stay.
    NoChains,
    /// What was observed before a run.
    Before {
        /// In these tables.
        scope: TableScope,
        /// And whether sets were looked at, too.
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

    /// Nothing of ours.
    pub(super) fn nothing(nothing: &'goal DesiredKernel) -> Self {
        Self {
            desired: nothing,
            node: "",
            scripts: "",
            early: false,
            sort: GoalKind::Nothing,
        }
    }

    /// No chains of ours.
    pub(super) fn no_chains(nothing: &'goal DesiredKernel) -> Self {
        Self {
            sort: GoalKind::NoChains,
            ..Self::nothing(nothing)
        }
    }

    /// What was observed in a scope before a run, with sets or without.
    pub(super) fn before(before: &'goal DesiredKernel, scope: TableScope, has_sets: bool) -> Self {
        Self {
            sort: GoalKind::Before { scope, has_sets },
            ..Self::nothing(before)
        }
    }

    /// Which tables are looked at.
    pub(super) fn scope(&self, last: Option<&AppliedState>) -> TableScope {
        match self.sort {
            GoalKind::Bundle => scope(last, self.early),
            GoalKind::Nothing | GoalKind::NoChains => TableScope::All,
            GoalKind::Before { scope, .. } => scope,
        }
    }

    /// The kernel as far as it matters.
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
    /// Keeps in mind what was written. Where that fails, the next apply writes more than it must.
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
