//! The packets that remain at a rule, and the outcome of the others.

use crate::packet_space::{HeaderSetId, HeaderSpace};

/// The outcome of a table, as sets of headers. Headers in none of the sets leave the table without
/// a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TableOutcome {
    pub(crate) accepted: HeaderSetId,
    pub(crate) dropped: HeaderSetId,
    pub(crate) untracked: HeaderSetId,
    /// Packets of known connections that reach a rule with a match on the original destination. The
    /// original destination of a reply is its source, so whether the rule matches is not known.
    pub(crate) unclear: HeaderSetId,
}

/// The packets of a block at a rule: those that are still in the chain, those that returned, and
/// the outcome of the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ChainState {
    /// The position of the next rule. Rules after it without address conditions may already have
    /// been skipped, to be applied later.
    pub(super) next: usize,
    pub(super) here: HeaderSetId,
    pub(super) back: HeaderSetId,
    /// The packets that go to [`RuleSequence::goto`](crate::netfilter::sequence::RuleSequence)
    /// later.
    pub(super) gone: HeaderSetId,
    pub(super) out: TableOutcome,
    /// The number of the call that brought these packets to the chain. Only states with the same
    /// caller are merged.
    pub(super) caller: usize,
}

impl TableOutcome {
    /// The outcome before any rule.
    pub(crate) const NONE: TableOutcome = TableOutcome {
        accepted: HeaderSpace::NONE,
        dropped: HeaderSpace::NONE,
        untracked: HeaderSpace::NONE,
        unclear: HeaderSpace::NONE,
    };
}

impl ChainState {
    /// Returns the state at the first rule of a chain.
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

    /// Returns `true` if no packets remain at the rule.
    pub(super) fn is_done(&self) -> bool {
        self.here == HeaderSpace::NONE
    }

    /// Returns the state after the last rule.
    pub(super) fn ended(self) -> Self {
        Self { next: 0, ..self }
    }
}
