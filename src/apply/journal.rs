//! The step before the first write of a run, and the kernel state at that time.

use crate::apply::state_store::AppliedState;
use crate::apply::{ApplyError, ApplyTarget};
use crate::observe::{ObservedKernel, TableScope, ToolSettings};

/// A step that runs before the first write, with the observed kernel state. An error keeps the
/// kernel unchanged.
pub(super) type PreWriteStep<'first> =
    dyn FnMut(&mut ApplyTarget<'_>, &ObservedKernel) -> Result<(), ApplyError> + 'first;

/// Inputs and records of the start of a run.
#[derive(Default)]
pub(super) struct RunStart<'first> {
    /// The step before the first write, if any.
    pub(super) first: Option<&'first mut PreWriteStep<'first>>,
    /// The kernel state before the first write.
    pub(super) journal: RollbackJournal,
}

/// The kernel state before the first write of a run.
pub(super) struct KernelSnapshot {
    pub(super) tools: ToolSettings,
    pub(super) scope: TableScope,
    /// Whether sets were read.
    pub(super) has_sets: bool,
    pub(super) observed: ObservedKernel,
    /// The applied state that was recorded then.
    pub(super) last: Option<AppliedState>,
}

/// What a rollback restores. Empty before the first write.
#[derive(Default)]
pub(super) struct RollbackJournal(pub(super) Option<KernelSnapshot>);

impl RollbackJournal {
    /// Records the kernel state. Only the first call has an effect.
    pub(super) fn note(&mut self, before: KernelSnapshot) {
        self.0.get_or_insert(before);
    }
}
