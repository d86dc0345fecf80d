//! A run to its end: the kernel holds what it is to hold, or what it held before.

use crate::apply::goal::ConvergenceGoal;
use crate::apply::journal::{PreWriteStep, RunStart};
use crate::apply::{ApplyError, ApplyOutcome, ApplyTarget, round, state_store};

/// Brings the kernel there. Where that fails behind the first write, what the kernel held before
/// comes back.
pub(super) fn converge(
    node: &mut ApplyTarget<'_>,
    goal: ConvergenceGoal<'_>,
) -> Result<ApplyOutcome, ApplyError> {
    bring_or_roll_back(node, goal, RunStart::default())
}

/// The same, where something is to be done before the first write.
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
