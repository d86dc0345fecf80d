//! What the kernel is to hold and what it holds, to the calls that bring it there.
//!
//! In: a [`Desired`] state, what was [`Observed`](crate::observe::Observed), and the [`Memory`] of how the tools printed what we wrote. Out: a
//! [`Plan`], a value that can be printed, or run by `apply`. Absent: processes, files, time.

mod desired;
mod memory;
mod slots;

pub use desired::{Desired, DesiredError};
pub use memory::{Memory, Printed};
pub use slots::{base, slots};

use crate::runner::Call;
use crate::script::TableId;

/// Calls in their order, and what they are for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Plan {
    /// What differs now; nothing where the kernel is in sync.
    pub differences: Vec<Difference>,
    /// What is done about it, in order.
    pub steps: Vec<Step>,
}

/// One call of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// What it does, for people.
    pub about: String,
    /// How it is done.
    pub call: Call,
    /// What becomes of the plan when it fails.
    pub weight: Weight,
}

/// How much a step matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weight {
    /// The plan ends where it fails.
    Must,
    /// It removes what is no longer used; where it fails it is tried again with the next plan.
    BestEffort,
}

/// How the kernel differs from what it is to hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Difference {
    /// A set is missing.
    NoSet(String),
    /// A set is of another type, or too small.
    SetKind(String),
    /// `ipset` cannot list a set.
    SetUnlisted(String),
    /// Members of a set are missing, or too many: the first of each, and how many there are.
    Members {
        /// The set.
        set: String,
        /// Missing: the first few, and how many.
        missing: (Vec<String>, usize),
        /// Too many: the first few, and how many.
        extra: (Vec<String>, usize),
    },
    /// A set of ours that nobody wants.
    ExtraSet(String),
    /// A chain is missing.
    NoChain(TableId, String),
    /// A chain of ours that nobody wants.
    ExtraChain(TableId, String),
    /// A rule of a chain differs: its number from 1, what is wanted, what is there.
    Rule {
        /// The table.
        table: TableId,
        /// The chain.
        chain: String,
        /// The rule's number, from 1.
        number: usize,
        /// What it is to be; none where there is one too many.
        wanted: Option<String>,
        /// What it is; none where it is missing.
        found: Option<String>,
    },
    /// The jump from one of the kernel's chains into ours is missing, moved, changed or there more than once.
    Hook {
        /// The table.
        table: TableId,
        /// The kernel's chain.
        chain: String,
        /// What is wrong.
        problem: HookProblem,
    },
}

/// What can be wrong with a hook.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HookProblem {
    /// It is not there.
    Missing,
    /// It stands at this number, and is to stand at the other end.
    Moved(usize),
    /// It is another rule than ours.
    Changed,
    /// It is there so many times.
    Repeated(usize),
    /// It is there, and nobody wants it.
    Extra,
}
