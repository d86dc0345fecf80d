//! Rollback: restores the kernel state from before a run that failed after its first write.
//!
//! In: the observed state from before that write. Out: the error of the run, with the state that is
//! enforced now. A rollback is an ordinary plan, so the invariant of plans holds for it.

use crate::apply::goal::ConvergenceGoal;
use crate::apply::journal::{KernelSnapshot, RollbackJournal, RunStart};
use crate::apply::round;
use crate::apply::state_store::{self, AppliedState, last_good};
use crate::apply::{ApplyError, ApplyTarget, EnforcedState, TargetBundle};
use crate::observe::{KernelProblem, kernel};
use crate::plan::{DesiredKernel, PrintCache, between, remember};
use crate::runner::RunnerFailure;

impl RollbackJournal {
    /// Restores the kernel state from before the run, which failed with `error`. Returns the error
    /// with the state that is enforced now, or `error` itself if nothing was written.
    pub(super) fn roll_back(self, node: &mut ApplyTarget<'_>, error: ApplyError) -> ApplyError {
        let Some(before) = self.0 else { return error };
        let why = Box::new(error);
        // A stuck process cannot be killed and may still write, so any write now could be undone.
        if matches!(
            *why,
            ApplyError::Kernel(KernelProblem::NoAnswer(RunnerFailure::Stuck(..)))
        ) {
            return ApplyError::NotRolledBack { why, then: None };
        }

        match before.bring_back(node) {
            Ok(enforced) => ApplyError::RolledBack { why, enforced },
            Err(then) => ApplyError::NotRolledBack {
                why,
                then: Some(Box::new(then)),
            },
        }
    }
}

impl KernelSnapshot {
    /// Restores the snapshot, and returns what is enforced now.
    fn bring_back(self, node: &mut ApplyTarget<'_>) -> Result<EnforcedState, ApplyError> {
        let desired = DesiredKernel::of_kernel(&self.observed);
        let goal = ConvergenceGoal::before(&desired, self.scope, self.has_sets);
        let outcome = round::converge_with(node, goal, self.tools, &mut RunStart::default())?;
        if desired.is_empty() {
            return Ok(EnforcedState::Nothing);
        }
        let Some((good, last)) = self.good(node) else {
            return Ok(EnforcedState::Before);
        };

        // Restored sets may be in other slots, so the tools print other rules.
        if outcome.rounds > 0 {
            self.remember(node, &good, &last);
        }

        Ok(EnforcedState::Bundle {
            node: good.node,
            scripts: good.scripts,
        })
    }

    /// Returns the last good bundle and its recorded state, if the snapshot equals it.
    fn good(&self, node: &mut ApplyTarget<'_>) -> Option<(TargetBundle, AppliedState)> {
        let good = last_good(node.runner).ok()??;
        let last = self
            .last
            .clone()
            .filter(|last| last.memory.scripts == good.scripts)?;
        let plan = between(&good.desired, &self.observed, &last.memory, &self.tools);
        plan.is_in_force().then_some((good, last))
    }

    /// Updates the print cache for restored sets in other slots. If that fails, the next apply
    /// writes more than necessary.
    fn remember(&self, node: &mut ApplyTarget<'_>, good: &TargetBundle, last: &AppliedState) {
        let Ok(now) = kernel(node.runner, self.tools, self.scope) else {
            return;
        };

        let plan = |memory: &PrintCache| between(&good.desired, &now, memory, &self.tools);
        let rewritten = plan(&last.memory);
        if rewritten.is_in_force() {
            return;
        }

        let memory = remember(&good.desired, &now, &rewritten, last.memory.clone());
        if plan(&memory).is_in_force() {
            let _ = state_store::remember(
                node.runner,
                &AppliedState {
                    memory,
                    ..last.clone()
                },
            );
        }
    }
}
