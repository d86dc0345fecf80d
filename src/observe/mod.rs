//! Kernel to [`ObservedKernel`]: our sets and chains, of both families, as they are now.
//!
//! In: a [`Runner`](crate::runner::Runner), and which build of iptables is asked. Out: what the
//! kernel holds of ours and what others have to do with it. Nothing is written. An answer that is
//! not whole (another exit status than 0, an error on standard error, half a table) is a
//! [`KernelProblem`], never "nothing is there" (projectcalico/felix#2501).
//!
//! Cost: one process for sets and one a family for tables; linear in what they print.

mod answer;
mod backend;
mod kernel;
#[cfg(test)]
mod tests;
mod tools;

pub use answer::{ask, ask_all};
pub use backend::{backend, nft_chains, refuse_other};
pub use kernel::{TableScope, kernel};
pub use tools::ToolSettings;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::ruleset::{ParsedSets, ParsedTable, TableId};
use crate::runner::RunnerFailure;

/// The builds of iptables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum IptablesBackend {
    /// `iptables-legacy`: the xtables of the kernel.
    Legacy,
    /// `iptables-nft`: nf_tables behind the same syntax.
    Nft,
}

/// What the kernel holds.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObservedKernel {
    /// Our sets.
    pub sets: ParsedSets,
    /// Sets of ours that are there and that `ipset` could not list: a newer revision of their type
    /// than it knows (projectcalico/calico#5011).
    pub unlisted: BTreeSet<String>,
    /// Tables that there are, of those that were looked at.
    pub tables: BTreeMap<TableId, ParsedTable>,
}

/// Why the kernel could not be seen or changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KernelProblem {
    /// Somebody else holds a lock for longer than we wait: try again later.
    Busy(String),
    /// A tool refused, or its answer is not whole.
    Refused {
        /// The call, as one would type it.
        call: String,
        /// What it said.
        said: String,
    },
    /// There was no answer.
    NoAnswer(RunnerFailure),
    /// The other build of iptables holds chains of ours.
    OtherBackend(IptablesBackend),
}

impl IptablesBackend {
    /// Both of them.
    pub const BOTH: [IptablesBackend; 2] = [IptablesBackend::Nft, IptablesBackend::Legacy];

    /// The build of that word.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::BOTH
            .into_iter()
            .find(|backend| backend.label() == word)
    }

    /// The one that it is not.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            IptablesBackend::Legacy => IptablesBackend::Nft,
            IptablesBackend::Nft => IptablesBackend::Legacy,
        }
    }

    /// Its word in the names of the programs, and in `--backend`.
    pub fn label(self) -> &'static str {
        match self {
            IptablesBackend::Legacy => "legacy",
            IptablesBackend::Nft => "nft",
        }
    }
}

impl std::error::Error for KernelProblem {}

impl fmt::Display for KernelProblem {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KernelProblem::Busy(what) => write!(out, "{what} is held by somebody else"),
            KernelProblem::Refused { call, said } => write!(out, "`{call}` failed: {said}"),
            KernelProblem::NoAnswer(failure) => failure.fmt(out),
            KernelProblem::OtherBackend(other) => {
                write!(out, "iptables-{} holds chains of ours", other.label())
            }
        }
    }
}
