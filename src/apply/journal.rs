//! What goes before the first write of a run, and what the kernel held then.

use crate::apply::state_store::AppliedState;
use crate::apply::{ApplyError, ApplyTarget};
use crate::observe::{ObservedKernel, TableScope, ToolSettings};

/// What is to be done before the first write, with what the kernel holds; an error keeps the kernel
/// as it is.
pub(super) type PreWriteStep<'first> =
    dyn FnMut(&mut ApplyTarget<'_>, &ObservedKernel) -> Result<(), ApplyError> + 'first;

/// What goes before the first write of a run.
#[derive(Default)]
pub(super) struct RunStart<'first> {
    /// What is done, if anything.
    pub(super) first: Option<&'first mut PreWriteStep<'first>>,
    /// What the kernel held then.
    pub(super) journal: RollbackJournal,
}

/// What a kernel held before a run wrote to it for the first time.
pub(super) struct KernelSnapshot {
    pub(super) tools: ToolSettings,
    pub(super) scope: TableScope,
    /// Whether sets were looked at.
    pub(super) has_sets: bool,
    pub(super) observed: ObservedKernel,
    /// What was written last until then.
    pub(super) last: Option<AppliedState>,
}

/// The way back of a run; empty before its first write.
#[derive(Default)]
pub(super) struct RollbackJournal(pub(super) Option<KernelSnapshot>);

impl RollbackJournal {
    /// Keeps what the kernel holds, before the first write.
    pub(super) fn note(&mut self, before: KernelSnapshot) {
        self.0.get_or_insert(before);
    }
}
