//! What a kernel held before a run: it comes back where the run fails behind its first write.
//!
//! In: what was observed before that write. Out: the error of the run, with what is enforced now.
//! The way back is a plan like any other, and so the law of plans holds on it.

use crate::apply::goal::Goal;
use crate::apply::journal::{Before, Journal, Start};
use crate::apply::round;
use crate::apply::state_store::{self, Remembered, last_good};
use crate::apply::{Enforced, Error, Node, Wanted};
use crate::observe::{Problem, kernel};
use crate::plan::{Desired, Memory, between, remember};
use crate::runner::Failure;

impl Journal {
    /// Brings back what the kernel held before the run, which failed with `error`; the error with
    /// what is enforced now. Where nothing was written, that is the error itself.
    pub(super) fn roll_back(self, node: &mut Node<'_>, error: Error) -> Error {
        let Some(before) = self.0 else { return error };
        let why = Box::new(error);
        if matches!(*why, Error::Kernel(Problem::NoAnswer(Failure::Stuck(..)))) {
            return Error::NotRolledBack { why, then: None };
        }
        match before.bring_back(node) {
            Ok(enforced) => Error::RolledBack { why, enforced },
            Err(then) => Error::NotRolledBack {
                why,
                then: Some(Box::new(then)),
            },
        }
    }
}

impl Before {
    /// Brings it back, and says what that is.
    fn bring_back(self, node: &mut Node<'_>) -> Result<Enforced, Error> {
        let desired = Desired::of_kernel(&self.observed);
        let goal = Goal::before(&desired, self.scope, self.has_sets);
        let outcome = round::bring_with(node, goal, self.tools, &mut Start::default())?;
        if desired.is_empty() {
            return Ok(Enforced::Nothing);
        }
        let Some((good, last)) = self.good(node) else {
            return Ok(Enforced::Before);
        };
        if outcome.rounds > 0 {
            self.remember(node, &good, &last);
        }
        Ok(Enforced::Bundle {
            node: good.node,
            scripts: good.scripts,
        })
    }

    /// The last good bundle, and what is remembered of it, if it is what the kernel held.
    fn good(&self, node: &mut Node<'_>) -> Option<(Wanted, Remembered)> {
        let good = last_good(node.runner).ok()??;
        let last = self
            .last
            .clone()
            .filter(|last| last.memory.scripts == good.scripts)?;
        let plan = between(&good.desired, &self.observed, &last.memory, &self.tools);
        plan.is_in_force().then_some((good, last))
    }

    /// Keeps in mind how the tools print what was brought back, where sets have other names than
    /// before. Where that fails, the next apply writes more than it must.
    fn remember(&self, node: &mut Node<'_>, good: &Wanted, last: &Remembered) {
        let Ok(now) = kernel(node.runner, self.tools, self.scope) else {
            return;
        };
        let plan = |memory: &Memory| between(&good.desired, &now, memory, &self.tools);
        let rewritten = plan(&last.memory);
        if rewritten.is_in_force() {
            return;
        }
        let memory = remember(&good.desired, &now, &rewritten, last.memory.clone());
        if plan(&memory).is_in_force() {
            let _ = state_store::remember(
                node.runner,
                &Remembered {
                    memory,
                    ..last.clone()
                },
            );
        }
    }
}
