//! Reads the kernel into an [`ObservedKernel`]: Palisade's sets and chains of both families.
//!
//! In: a [`Runner`](crate::runner::Runner), and the iptables build to call. Out: Palisade's objects
//! in the kernel, and the foreign rules that concern them. Nothing is written. An incomplete answer
//! (a nonzero exit status, an error on standard error, half a table) is a [`KernelProblem`], never
//! "nothing is there" (projectcalico/felix#2501).
//!
//! Cost: one process for the sets and one per family for the tables; linear in their output.

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

/// The two builds of iptables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum IptablesBackend {
    /// `iptables-legacy`, which uses the kernel's xtables.
    Legacy,
    /// `iptables-nft`, which uses nf_tables with the same syntax.
    Nft,
}

/// What the kernel holds of Palisade.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ObservedKernel {
    /// Palisade's sets.
    pub sets: ParsedSets,
    /// Palisade's sets that `ipset` could not list, because the kernel's revision of their type is
    /// newer than the tool (projectcalico/calico#5011).
    pub unlisted: BTreeSet<String>,
    /// The existing tables among those that were read.
    pub tables: BTreeMap<TableId, ParsedTable>,
}

/// Why the kernel could not be read or changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KernelProblem {
    /// Another process held a lock for too long. Try again later.
    Busy(String),
    /// A tool failed, or its answer is incomplete.
    Refused {
        /// The command line.
        call: String,
        /// The tool's message.
        said: String,
    },
    /// The tool gave no answer.
    NoAnswer(RunnerFailure),
    /// The other iptables build holds Palisade chains.
    OtherBackend(IptablesBackend),
}

impl IptablesBackend {
    /// Both builds.
    pub const BOTH: [IptablesBackend; 2] = [IptablesBackend::Nft, IptablesBackend::Legacy];

    /// Returns the build with this label, or `None` if there is none.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::BOTH
            .into_iter()
            .find(|backend| backend.label() == word)
    }

    /// Returns the other build.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            IptablesBackend::Legacy => IptablesBackend::Nft,
            IptablesBackend::Nft => IptablesBackend::Legacy,
        }
    }

    /// Returns the label, as in program names and in `--backend`.
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
