//! What is left of packets at a rule, and what became of the others.

use crate::packet_space::{HeaderSetId, HeaderSpace};

/// What becomes of packets in a table; the rest comes back from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TableOutcome {
    pub(crate) accepted: HeaderSetId,
    pub(crate) dropped: HeaderSetId,
    pub(crate) untracked: HeaderSetId,
    /// Packets of known connections of which a rule asks the original destination. Those of the
    /// reply direction have it for their source, so that the rule is not known to hit or to miss
    /// them.
    pub(crate) unclear: HeaderSetId,
}

/// Packets at a rule: those that are there, those that have left the chain by a return, and what
/// the others met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ChainState {
    /// The rule that they are at. Those after it that ask about no address may have been passed
    /// over till now.
    pub(super) next: usize,
    pub(super) here: HeaderSetId,
    pub(super) back: HeaderSetId,
    /// What goes on to [`Sequence::goto`](crate::netfilter::sequence::Sequence).
    pub(super) gone: HeaderSetId,
    pub(super) out: TableOutcome,
    /// Which of those they are that came to the chain together; only of one are joined.
    pub(super) caller: usize,
}

impl TableOutcome {
    /// Nothing yet.
    pub(crate) const NONE: TableOutcome = TableOutcome {
        accepted: HeaderSpace::NONE,
        dropped: HeaderSpace::NONE,
        untracked: HeaderSpace::NONE,
        unclear: HeaderSpace::NONE,
    };
}

impl ChainState {
    /// At the first rule of a chain.
    pub(super) fn new(here: HeaderSetId, out: TableOutcome) -> Self {
        Self {
            next: 0,
            here,
            back: HeaderSpace::NONE,
            gone: HeaderSpace::NONE,
            out,
            caller: 0,
        }
    }

    /// Whether there are no packets at the rule.
    pub(super) fn is_done(&self) -> bool {
        self.here == HeaderSpace::NONE
    }

    /// At no rule.
    pub(super) fn ended(self) -> Self {
        Self { next: 0, ..self }
    }
}
