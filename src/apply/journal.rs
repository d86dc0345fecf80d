//! What goes before the first write of a run, and what the kernel held then.

use crate::apply::state_store::Remembered;
use crate::apply::{Error, Node};
use crate::observe::{Observed, Scope, Tools};

/// What is to be done before the first write, with what the kernel holds; an error keeps the kernel
/// as it is.
pub(super) type First<'first> = dyn FnMut(&mut Node<'_>, &Observed) -> Result<(), Error> + 'first;

/// What goes before the first write of a run.
#[derive(Default)]
pub(super) struct Start<'first> {
    /// What is done, if anything.
    pub(super) first: Option<&'first mut First<'first>>,
    /// What the kernel held then.
    pub(super) journal: Journal,
}

/// What a kernel held before a run wrote to it for the first time.
pub(super) struct Before {
    pub(super) tools: Tools,
    pub(super) scope: Scope,
    /// Whether sets were looked at.
    pub(super) has_sets: bool,
    pub(super) observed: Observed,
    /// What was written last until then.
    pub(super) last: Option<Remembered>,
}

/// The way back of a run; empty before its first write.
#[derive(Default)]
pub(super) struct Journal(pub(super) Option<Before>);

impl Journal {
    /// Keeps what the kernel holds, before the first write.
    pub(super) fn note(&mut self, before: Before) {
        self.0.get_or_insert(before);
    }
}
