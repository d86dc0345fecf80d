//! Reads a kernel, and plans what an apply would do.

use crate::apply::{ApplyError, ApplyTarget, TargetBundle, scope, state_store};
use crate::observe::{ObservedKernel, ToolSettings, kernel};
use crate::plan::{Plan, between};

/// The kernel state, and what an apply would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inspection {
    /// The tools that were used.
    pub tools: ToolSettings,
    /// The kernel state.
    pub observed: ObservedKernel,
    /// The plan to the desired state.
    pub plan: Plan,
}

/// Reads the kernel and plans, without writing. Waits for a running apply first.
///
/// # Errors
/// If the kernel cannot be read, or if another apply does not end in time.
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
