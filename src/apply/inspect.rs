//! What a kernel holds, and what an apply would do about it.

use crate::apply::{ApplyError, ApplyTarget, TargetBundle, scope, state_store};
use crate::observe::{ObservedKernel, ToolSettings, kernel};
use crate::plan::{Plan, between};

/// What the kernel holds, and what is to be done about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The calls that were used.
    pub tools: ToolSettings,
    /// What the kernel holds.
    pub observed: ObservedKernel,
    /// What would be done.
    pub plan: Plan,
}

/// Looks at the kernel, when no apply is under way, and writes nothing.
///
/// # Errors
/// When it cannot be seen, or an apply does not end in time.
pub fn inspect(
    node: &mut ApplyTarget<'_>,
    wanted: &TargetBundle,
) -> Result<Inspection, ApplyError> {
    let _lock = node.lock_to_look()?;
    let tools = state_store::tools(node)?;
    let last = state_store::remembered(node.runner, tools.backend);
    let observed = kernel(
        node.runner,
        tools,
        scope(last.as_ref(), wanted.has_early_tables()),
    )
    .map_err(ApplyError::Kernel)?;
    let memory = last.map(|last| last.memory).unwrap_or_default();
    let plan = between(&wanted.desired, &observed, &memory, &tools);

    Ok(Inspection {
        tools,
        observed,
        plan,
    })
}
