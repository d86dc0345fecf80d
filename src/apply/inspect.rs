//! What a kernel holds, and what an apply would do about it.

use crate::apply::{Error, Node, Wanted, scope, state_store};
use crate::observe::{Observed, Tools, kernel};
use crate::plan::{Plan, between};

/// What the kernel holds, and what is to be done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Look {
    /// The calls that were used.
    pub tools: Tools,
    /// What the kernel holds.
    pub observed: Observed,
    /// What would be done.
    pub plan: Plan,
}

/// Looks at the kernel, when no apply is under way, and writes nothing.
///
/// # Errors
/// When it cannot be seen, or an apply does not end in time.
pub fn look(node: &mut Node<'_>, wanted: &Wanted) -> Result<Look, Error> {
    let _lock = node.lock_to_look()?;
    let tools = state_store::tools(node)?;
    let last = state_store::remembered(node.runner, tools.backend);
    let observed = kernel(
        node.runner,
        tools,
        scope(last.as_ref(), wanted.has_early_tables()),
    )
    .map_err(Error::Kernel)?;
    let memory = last.map(|last| last.memory).unwrap_or_default();
    let plan = between(&wanted.desired, &observed, &memory, &tools);
    Ok(Look {
        tools,
        observed,
        plan,
    })
}
