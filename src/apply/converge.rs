//! A run to its end: the kernel holds what it is to hold, or what it held before.

use crate::apply::goal::Goal;
use crate::apply::journal::{First, Start};
use crate::apply::{Error, Node, Outcome, round, state_store};

/// Brings the kernel there. Where that fails behind the first write, what the kernel held before
/// comes back.
pub(super) fn bring(node: &mut Node<'_>, goal: Goal<'_>) -> Result<Outcome, Error> {
    bring_or_roll_back(node, goal, Start::default())
}

/// The same, where something is to be done before the first write.
pub(super) fn bring_first<'first>(
    node: &mut Node<'_>,
    goal: Goal<'_>,
    first: &'first mut First<'first>,
) -> Result<Outcome, Error> {
    bring_or_roll_back(
        node,
        goal,
        Start {
            first: Some(first),
            ..Start::default()
        },
    )
}

fn bring_or_roll_back(
    node: &mut Node<'_>,
    goal: Goal<'_>,
    mut start: Start<'_>,
) -> Result<Outcome, Error> {
    let tools = state_store::tools(node)?;
    let brought = round::bring_with(node, goal, tools, &mut start);
    brought.map_err(|error| start.journal.roll_back(node, error))
}
