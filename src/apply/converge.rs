//! Runs an apply to its end: the kernel holds the desired state, or again what it held before.

use crate::apply::goal::ConvergenceGoal;
use crate::apply::journal::{PreWriteStep, RunStart};
use crate::apply::{ApplyError, ApplyOutcome, ApplyTarget, round, state_store};

/// Brings the kernel to the goal. A failure after the first write rolls back.
pub(super) fn converge(
    node: &mut ApplyTarget<'_>,
    goal: ConvergenceGoal<'_>,
) -> Result<ApplyOutcome, ApplyError> {
    bring_or_roll_back(node, goal, RunStart::default())
}

/// Like [`converge`], with a step that runs before the first write.
pub(super) fn converge_with_first_step<'first>(
    node: &mut ApplyTarget<'_>,
    goal: ConvergenceGoal<'_>,
    first: &'first mut PreWriteStep<'first>,
) -> Result<ApplyOutcome, ApplyError> {
    bring_or_roll_back(
        node,
        goal,
        RunStart {
            first: Some(first),
            ..RunStart::default()
        },
    )
}

fn bring_or_roll_back(
    node: &mut ApplyTarget<'_>,
    goal: ConvergenceGoal<'_>,
    mut start: RunStart<'_>,
) -> Result<ApplyOutcome, ApplyError> {
    let tools = state_store::tools(node)?;
    let brought = round::converge_with(node, goal, tools, &mut start);
    brought.map_err(|error| start.journal.roll_back(node, error))
}
