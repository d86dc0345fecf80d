//! What is left of packets at a rule, and what became of the others.

use crate::packet_space::{Traffic, TrafficId};

/// What becomes of packets in a table; the rest comes back from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Out {
    pub(crate) accepted: TrafficId,
    pub(crate) dropped: TrafficId,
    pub(crate) untracked: TrafficId,
    /// Packets of known connections of which a rule asks the original destination. Those of the
    /// reply direction have it for their source, so that the rule is not known to hit or to miss
    /// them.
    pub(crate) unclear: TrafficId,
}

/// Packets at a rule: those that are there, those that have left the chain by a return, and what
/// the others met.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Way {
    /// The rule that they are at. Those after it that ask about no address may have been passed
    /// over till now.
    pub(super) next: usize,
    pub(super) here: TrafficId,
    pub(super) back: TrafficId,
    /// What goes on to [`Sequence::goto`](crate::netfilter::sequence::Sequence).
    pub(super) gone: TrafficId,
    pub(super) out: Out,
    /// Which of those they are that came to the chain together; only of one are joined.
    pub(super) caller: usize,
}

impl Out {
    /// Nothing yet.
    pub(crate) const NONE: Out = Out {
        accepted: Traffic::NONE,
        dropped: Traffic::NONE,
        untracked: Traffic::NONE,
        unclear: Traffic::NONE,
    };
}

impl Way {
    /// At the first rule of a chain.
    pub(super) fn new(here: TrafficId, out: Out) -> Self {
        Self {
            next: 0,
            here,
            back: Traffic::NONE,
            gone: Traffic::NONE,
            out,
            caller: 0,
        }
    }

    /// Whether there are no packets at the rule.
    pub(super) fn is_done(&self) -> bool {
        self.here == Traffic::NONE
    }

    /// At no rule.
    pub(super) fn ended(self) -> Self {
        Self { next: 0, ..self }
    }
}
